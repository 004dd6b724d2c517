"""Laws of the guard: for any recordings and any bounds, sums are exact and the bounds are kept."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_monitoring import AgentMonitor
from claude_monitoring._bounds import Bounds
from claude_monitoring._catalog import MetricSpec
from claude_monitoring._series import Cell, SumSeries
from claude_monitoring._store import Store
from claude_monitoring.cardinality import make_report
from claude_monitoring.testing import capture

pytestmark = pytest.mark.any_python

METRICS = tuple(MetricSpec(f"claude.test_{number}", "counter", "", "") for number in range(3))
BASE = (("agent", "a"),)

LABELS = st.dictionaries(st.sampled_from(["model", "status", "tool"]), st.sampled_from("xyz"), max_size=3)
EXPLODING = st.builds(
    lambda labels, users, user: {**labels, users: user},
    LABELS,
    st.sampled_from(["user", "file"]),
    st.one_of(st.integers(0, 60).map("u{}".format), st.integers(0, 60), st.booleans(), st.floats()),
)
ROWS = st.lists(st.tuples(st.sampled_from(METRICS), st.one_of(LABELS, EXPLODING), st.integers(0, 99)), max_size=120)
BOUNDS = st.tuples(st.integers(1, 40), st.integers(1, 12), st.integers(100, 130)).map(lambda given: Bounds(*given))

Row = tuple[MetricSpec, dict[str, Any], int]


def record(store: Store, rows: Iterable[Row]) -> None:
    for spec, labels, amount in rows:
        instrument = store.instrument(spec)
        series = instrument.series(BASE, instrument.labels(labels))
        assert isinstance(series, SumSeries)
        series.add(amount)


def typed(value: object) -> tuple[str, str]:
    """A value that tells 1, 1.0 and True apart and is equal to itself."""
    return type(value).__name__, repr(value)


def exported(store: Store, metric: str) -> list[tuple[dict[str, Any], float]]:
    return [
        (series.attributes, value)
        for instrument in store.instruments()
        if instrument.spec.name == metric
        for series in instrument.all_series()
        if not isinstance(value := series.read(), Cell)
    ]


@given(ROWS, BOUNDS)
def test_the_sum_over_all_series_is_the_sum_recorded(rows: list[Row], bounds: Bounds) -> None:
    store = Store(bounds)
    record(store, rows)
    for spec in METRICS:
        truth = sum(amount for metric, _, amount in rows if metric is spec)
        assert sum(value for _, value in exported(store, spec.name)) == truth


@given(ROWS, BOUNDS)
def test_by_every_label_that_was_not_collapsed_the_sums_are_exact_too(rows: list[Row], bounds: Bounds) -> None:
    store = Store(bounds)
    record(store, rows)
    for metric in make_report(store).metrics:
        if any("otel.metric.overflow" in attributes for attributes, _ in exported(store, metric.name)):
            continue  # there, labels are lost, which is what the next tests are about
        for label in metric.labels:
            if label.is_collapsed or label.name == "agent":
                continue
            truth: Counter[object] = Counter()
            for spec, labels, amount in rows:
                if spec.name == metric.name:
                    truth[typed(labels.get(label.name))] += amount
            found: Counter[object] = Counter()
            for attributes, value in exported(store, metric.name):
                found[typed(attributes.get(label.name))] += int(value)
            assert +found == +truth


@given(ROWS, BOUNDS)
def test_the_bounds_are_never_passed(rows: list[Row], bounds: Bounds) -> None:
    store = Store(bounds)
    for row in rows:
        record(store, [row])
        kept = [exported(store, spec.name) for spec in METRICS]
        assert max(map(len, kept)) <= bounds.max_series
        assert sum(map(len, kept)) <= bounds.max_total_series
    for spec in METRICS:
        values: dict[str, set[object]] = {}
        for attributes, _ in exported(store, spec.name):
            for key, value in attributes.items():
                values.setdefault(key, set()).add(typed(value))
        assert all(len(found - {typed("__other__")}) <= bounds.max_label_values for found in values.values())


@given(ROWS, BOUNDS, st.randoms(use_true_random=False))
def test_the_order_of_the_keys_in_the_labels_means_nothing(
    rows: list[Row], bounds: Bounds, chance: random.Random
) -> None:
    def shuffled(labels: dict[str, Any]) -> dict[str, Any]:
        pairs = list(labels.items())
        chance.shuffle(pairs)
        return dict(pairs)

    one, other = Store(bounds), Store(bounds)
    record(one, rows)
    record(other, [(spec, shuffled(labels), amount) for spec, labels, amount in rows])
    for spec in METRICS:
        # NaN is not equal to itself, so the lists are compared as text.
        assert repr(exported(one, spec.name)) == repr(exported(other, spec.name))


@given(ROWS)
def test_within_the_bounds_every_label_set_has_its_own_series(rows: list[Row]) -> None:
    store = Store(Bounds(max_series=2_000, max_label_values=200))
    record(store, rows)
    for spec in METRICS:
        given_sets = {
            frozenset((key, typed(value)) for key, value in labels.items())
            for metric, labels, _ in rows
            if metric is spec
        }
        assert len(exported(store, spec.name)) == len(given_sets)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 30).map("user-{}".format),
            st.sampled_from(["opus", "sonnet", "haiku"]),
            st.integers(1, 9),
            st.booleans(),
        ),
        max_size=80,
    )
)
def test_the_fast_path_of_a_monitor_counts_as_the_store_does(rows: list[tuple[str, str, int, bool]]) -> None:
    with capture() as seen:
        monitor = AgentMonitor("shop")
        for user, model, amount, swapped in rows:
            labels = {"user": user, "model": model}
            monitor.increment("calls", amount, dict(reversed(labels.items())) if swapped else labels)
            monitor._registry.resolve("calls", "counter").guard.max_label_values = 5  # so that it takes few to fold
        for model in ("opus", "sonnet", "haiku"):
            assert seen.value("claude.calls", model=model) == sum(row[2] for row in rows if row[1] == model)
        users = {dict(labels)["user"] for labels in seen.series("claude.calls")}
        assert len(users - {"__other__"}) <= 5
        first = list(dict.fromkeys(row[0] for row in rows))[:5]
        for user in first:
            assert seen.value("claude.calls", user=user) == sum(row[2] for row in rows if row[0] == user)


@pytest.mark.parametrize("late", ["model", "status"])
def test_the_label_with_the_most_values_is_closed_whichever_explodes_first(late: str) -> None:
    """A product of well-bounded labels: 60 x 50 x 3 combinations in a bound of 2,000."""
    sizes = {"model": 60, "status": 50, "region": 3}
    store = Store()
    instrument = store.instrument(METRICS[0])
    truth: Counter[tuple[str, int]] = Counter()
    order = sorted(sizes, key=lambda key: key == late)
    combinations = [
        dict(zip(order, (a, b, c), strict=True))
        for a in range(sizes[order[0]])
        for b in range(sizes[order[1]])
        for c in range(sizes[order[2]])
    ]
    for number, labels in enumerate(combinations):
        record(store, [(METRICS[0], {key: f"{key}-{value}" for key, value in labels.items()}, number)])
        truth.update(dict.fromkeys(labels.items(), number))
    report = make_report(store).metrics[0]
    collapsed = [label.name for label in report.labels if label.is_collapsed]
    assert len(collapsed) == 1
    assert len(instrument.all_series()) <= 2_000
    for key in {"model", "status", "region"} - set(collapsed):
        for value in range(sizes[key]):
            found = sum(v for attributes, v in exported(store, METRICS[0].name) if attributes[key] == f"{key}-{value}")
            assert found == truth[key, value]
