"""Label values on their way to an exporter: plain, bounded, and never mixed up."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_monitoring._guard import MAX_VALUE_CHARS, identity, normalise, plain
from claude_monitoring._instruments import registry_of
from claude_monitoring.testing import Captured


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", "x"),
        ("", ""),
        (3, 3),
        (True, True),
        (1.5, 1.5),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (2**63, str(2**63)),
        (10**5000, "<int>"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Decimal("1.50"), "1.50"),
        (PurePosixPath("/a/b"), "/a/b"),
        (["a", 1], "['a', 1]"),
        (b"x", "b'x'"),
        ("é" * 200, "é" * 128),
        ("a\ud800b", "a?b"),
        (Broken(), "<Broken>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_becomes_what_every_exporter_can_carry(value: object, expected: object) -> None:
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)


def test_none_leaves_the_label_out() -> None:
    assert plain(None) is None
    assert normalise({"a": None, "b": 1}) == (("b", 1),)


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(alphabet=st.characters(), max_size=200),
    st.binary(max_size=200),
    st.decimals(),
    st.lists(st.text(), max_size=3),
    st.builds(Broken),
    st.builds(lambda: 10**5000),  # too long for Python to write out, so hypothesis must not see it before the test
)


@given(ANYTHING)
def test_whatever_the_value_it_is_plain_bounded_and_can_be_encoded(value: object) -> None:
    found = plain(value)
    assert found is None or type(found) in {str, bool, int, float}
    if isinstance(found, str):
        assert len(found) <= MAX_VALUE_CHARS
        found.encode()
    elif isinstance(found, int):
        assert -(2**63) <= found < 2**63


KEYS = st.one_of(st.none(), st.integers(), st.text(max_size=200), st.builds(Broken))


@given(st.dictionaries(KEYS, ANYTHING, max_size=6))
def test_whatever_the_labels_their_keys_are_sorted_text_and_each_there_once(labels: dict[Any, object]) -> None:
    keys = [key for key, _ in normalise(labels)]
    assert all(type(key) is str and len(key) <= MAX_VALUE_CHARS for key in keys)
    assert keys == sorted(set(keys))


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=6), st.randoms())
def test_the_order_of_the_labels_means_nothing(labels: dict[str, str], chance: Any) -> None:
    shuffled = list(labels.items())
    chance.shuffle(shuffled)
    assert identity(normalise(dict(shuffled))) == identity(normalise(labels))


@given(ANYTHING, ANYTHING)
def test_two_values_share_a_series_only_if_they_are_the_same(one: object, other: object) -> None:
    first, second = normalise({"k": one}), normalise({"k": other})
    same = repr(first) == repr(second)  # repr tells 1, 1.0, True and "1" apart and takes NaN for NaN
    assert (identity(first) == identity(second)) is same
    assert not same or hash(identity(first)) == hash(identity(second))


def test_one_and_true_and_their_texts_are_series_of_their_own(seen: Captured) -> None:
    for value in (1, 1.0, True, "1", "True"):
        for _ in range(2):
            seen.monitor.increment("jobs", labels={"flag": value})
    kept = registry_of(seen.monitor._pipeline.store).resolve("jobs", None).all_series()  # type: ignore[union-attr]
    assert len(kept) == 5
    assert seen.value("claude.jobs", flag="1") == 2
    assert seen.value("claude.jobs", flag=1) == 6  # what is equal in Python is added up for a test


class ReadOnly(Mapping[str, object]):
    """A mapping that is no dictionary."""

    def __getitem__(self, key: str) -> object:
        return {"team": "core"}[key]

    def __iter__(self) -> Any:
        return iter(["team"])

    def __len__(self) -> int:
        return 1


def test_any_mapping_will_do_for_labels(seen: Captured) -> None:
    seen.monitor.increment("jobs", labels=ReadOnly())
    assert seen.value("claude.jobs", team="core") == 1


def test_a_label_that_can_not_be_written_does_not_cost_the_measurement(seen: Captured) -> None:
    seen.monitor.increment("jobs", labels={"who": Broken(), "n": 10**5000, Broken(): "x"})  # type: ignore[dict-item]
    assert seen.value("claude.jobs", {"<Broken>": "x"}, who="<Broken>", n="<int>") == 1


ROWS = st.lists(st.tuples(st.dictionaries(st.sampled_from("ab"), ANYTHING, max_size=2), st.integers(0, 9)), max_size=30)


@given(ROWS)
def test_whatever_the_labels_the_sum_over_all_series_is_exact(rows: list[tuple[dict[str, object], int]]) -> None:
    from claude_monitoring._catalog import MetricSpec
    from claude_monitoring._store import Store, SumSeries

    instrument = Store(4).instrument(MetricSpec("claude.x", "counter", "", ""))
    for labels, amount in rows:
        series = instrument.series((("agent", "a"),), normalise(labels))
        assert isinstance(series, SumSeries)
        series.add(amount)
    kept = instrument.all_series()
    assert sum(series.read() for series in kept if isinstance(series, SumSeries)) == sum(amount for _, amount in rows)
    assert len(kept) <= 5  # the fifth is the overflow series
