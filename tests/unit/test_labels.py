"""Labels on their way to an exporter: plain, bounded, private, under one spelling, and never mixed up."""

from __future__ import annotations

import enum
import logging
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from claude_monitoring._catalog import CATALOG, MetricSpec
from claude_monitoring._instruments import registry_of
from claude_monitoring._labels import (
    MAX_VALUE_CHARS,
    REDACTED,
    LabelRules,
    Pairs,
    identity,
    monitor_labels,
    plain,
    renew_salt,
)
from claude_monitoring._names import prometheus_label
from claude_monitoring.errors import CardinalityError
from claude_monitoring.testing import Captured
from claude_monitoring.types import PrivateLabels

CUSTOM = MetricSpec("claude.x", "counter", "", "")
"""A metric that never had any labels."""
LINES = CATALOG["claude.lines_added"]
DECISIONS = CATALOG["claude_code.code_edit_tool.decision"]


def rules(
    spec: MetricSpec = CUSTOM, *, private: PrivateLabels = "redact", allowed: list[str] | None = None
) -> LabelRules:
    return LabelRules(spec, private, allowed)


def normalise(labels: Mapping[Any, object], *, strict: bool = False) -> Pairs:
    """The labels of a metric that is new."""
    return rules().apply(labels, strict=strict)


def lines(caplog: pytest.LogCaptureFixture, words: str = "") -> list[str]:
    return [record.message for record in caplog.records if words in record.message]


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


# -- values -------------------------------------------------------------------------------------


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
        (Mock(spec=str), "<Mock>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_becomes_what_every_exporter_can_carry(value: object, expected: object) -> None:
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)
    assert repr(normalise({"k": value})) == repr((("k", expected),))


@pytest.mark.parametrize("kind", [int, float])
def test_what_only_claims_to_be_a_number_becomes_text(kind: type) -> None:
    assert plain(Mock(spec=kind)) == "<Mock>"


def test_none_leaves_the_label_out() -> None:
    assert plain(None) is None
    assert normalise({"a": None, "b": 1}) == (("b", 1),)
    assert monitor_labels({"team": None, "tier": 1}) == (("tier", 1),)


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(alphabet=st.characters(), max_size=200),
    st.binary(max_size=200),
    st.decimals(),
    st.lists(st.text(), max_size=3),
    st.sampled_from([Colour.RED, Level.HIGH, PurePosixPath("/a/b.py"), object, ...]),
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


# -- identifiers --------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["agent", "agent.name", "task_type", "status", "file_type", "gate", "result"])
def test_an_identifier_is_lower_case_and_that_is_told_once(caplog: pytest.LogCaptureFixture, key: str) -> None:
    metric = rules()
    assert metric.apply({key: "Backend"}) == ((key, "backend"),)
    assert metric.apply({key: "FRONTEND"}) == ((key, "frontend"),)
    assert rules(LINES).apply({key: "Backend"}) == ((key, "backend"),)
    (line,) = lines(caplog)
    assert f"{key} 'Backend' is recorded as 'backend'" in line


def test_an_identifier_in_lower_case_is_nothing_to_talk_about(caplog: pytest.LogCaptureFixture) -> None:
    assert normalise({"agent": "backend", "status": 3}) == (("agent", "backend"), ("status", 3))
    assert lines(caplog) == []


@pytest.mark.parametrize("key", ["model", "tool", "project", "sprint", "error_type", "team", "language"])
def test_what_others_spell_keeps_its_spelling(caplog: pytest.LogCaptureFixture, key: str) -> None:
    assert normalise({key: "NotebookEdit"}) == ((key, "NotebookEdit"),)
    assert lines(caplog) == []


def test_strict_has_nothing_against_upper_case() -> None:
    assert normalise({"agent": "Backend"}, strict=True) == (("agent", "backend"),)


def test_an_identifier_that_grows_in_lower_case_stays_bounded() -> None:
    ((_, value),) = normalise({"agent": "İ" * 128})
    assert isinstance(value, str)
    assert len(value) == MAX_VALUE_CHARS


# -- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("/home/alice/secret-project/app.py", "Python"),
        ("C:\\Users\\alice\\secret-project\\App.TSX", "TypeScript"),
        (PurePosixPath("secret-project/index.html"), "HTML, XML"),
        (PureWindowsPath("C:\\secret-project\\setup.bat"), "Batch file (DOS)"),
        ("secret-project/index.php", "php"),
        ("secret-project/Makefile", "unknown"),
        ("secret-project/\ud800", "unknown"),
        ("", "unknown"),
        (5, "unknown"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("strict", [True, False])
def test_a_files_path_becomes_its_language_and_appears_nowhere(
    caplog: pytest.LogCaptureFixture, path: object, language: str, strict: bool
) -> None:
    for spec in (CUSTOM, LINES):
        assert rules(spec).apply({"file_path": path}, strict=strict) == (("file_type", language.lower()),)
    assert rules(DECISIONS).apply({"file_path": path}, strict=strict) == (("language", language),)
    assert lines(caplog) == []


@pytest.mark.parametrize(("spec", "key"), [(CUSTOM, "file_type"), (LINES, "file_type"), (DECISIONS, "language")])
def test_a_type_that_the_caller_gives_is_taken_instead_of_the_paths(spec: MetricSpec, key: str) -> None:
    labels = {"file_path": "/secret/a.py", key: "cython"}
    assert rules(spec).apply(labels) == ((key, "cython"),)
    assert rules(spec).apply(dict(reversed(labels.items()))) == ((key, "cython"),)


def test_without_a_path_there_is_no_type_and_without_a_type_there_is_that_of_the_path() -> None:
    assert normalise({"file_path": None}) == ()
    assert normalise({"file_path": "a.py", "file_type": None}) == (("file_type", "python"),)


@pytest.mark.parametrize("key", ["file.path", "file-path"])
def test_a_path_under_another_spelling_of_its_key_appears_nowhere(key: str) -> None:
    assert normalise({key: "/home/alice/app.py"}) == (("file_type", "python"),)


def test_a_type_under_another_spelling_is_taken_instead_of_the_paths() -> None:
    assert rules(LINES).apply({"file_path": "a.py", "file.type": "cython"}, strict=True) == (("file_type", "cython"),)


class PathOf:
    def __init__(self, path: Callable[[], str | bytes]) -> None:
        self.path = path

    def __fspath__(self) -> str | bytes:
        return self.path()


@pytest.mark.parametrize("path", [PathOf(lambda: b"/home/alice/app.py"), PathOf(Mock(side_effect=OSError))])
def test_an_odd_path_does_not_cost_the_measurement(path: object) -> None:
    ((key, _),) = normalise({"file_path": path})
    assert key == "file_type"


# -- keys ---------------------------------------------------------------------------------------


def test_two_spellings_in_two_calls_are_one_label_and_that_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    metric = rules()
    assert metric.apply({"tenant_kind": "a"}) == (("tenant_kind", "a"),)
    for _ in range(3):
        assert metric.apply({"tenant.kind": "b"}) == (("tenant_kind", "b"),)
    (line,) = lines(caplog)
    assert "'tenant.kind' is the same as 'tenant_kind' in Prometheus" in line


def test_two_spellings_in_one_call_are_one_label_and_the_loss_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    metric = rules()
    for _ in range(3):
        assert metric.apply({"session_id": "b", "session.id": "a"}) == (("session.id", "a"),)
    (line,) = lines(caplog, "left out")
    assert "claude.x: the label 'session_id'" in line
    assert "the same as 'session.id' in Prometheus" in line
    assert metric.dropped == {"session_id": "is the same as 'session.id' in Prometheus"}


def test_what_is_left_out_is_not_said_to_be_recorded(caplog: pytest.LogCaptureFixture) -> None:
    normalise({"session_id": "b", "session.id": "a"})
    assert len(lines(caplog)) == 1


def test_strict_raises_for_two_spellings_in_one_call_and_not_in_two() -> None:
    metric = rules()
    with pytest.raises(CardinalityError, match=r"claude\.x: the label 'session_id' is left out: .* 'session\.id'"):
        metric.apply({"session_id": "b", "session.id": "a"}, strict=True)
    assert metric.apply({"session_id": "b"}, strict=True) == (("session.id", "b"),)


@pytest.mark.parametrize("key", ["session.id", "session_id", "session-id"])
def test_a_key_of_the_catalogue_has_the_catalogues_spelling(key: str) -> None:
    assert rules(DECISIONS).apply({key: "s-1"}) == (("session.id", "s-1"),)


@pytest.mark.parametrize(
    ("key", "text"), [(1, "1"), (1.5, "1.5"), (True, "True"), (None, "None"), (b"k", "b'k'"), (Colour.RED, "red")]
)
def test_a_key_that_is_no_text_becomes_text(key: object, text: str) -> None:
    assert normalise({key: "x"}) == ((text, "x"),)


def test_a_label_without_a_name_is_left_out_and_that_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    metric = rules()
    for _ in range(3):
        assert metric.apply({"": "x", "a": 1}) == (("a", 1),)
    (line,) = lines(caplog)
    assert "left out: it has no name" in line
    assert list(metric.dropped) == [""]
    with pytest.raises(CardinalityError, match="no name"):
        metric.apply({"": "x"}, strict=True)


def test_keys_without_a_letter_that_prometheus_knows_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    labels = {"___": 1, "é": 2, "команда": 3, "団体": 4}
    assert dict(rules().apply(labels, strict=True)) == labels
    assert lines(caplog) == []


def test_a_key_with_half_a_character_can_be_encoded() -> None:
    ((key, _),) = normalise({"a\ud800": 1})
    key.encode()


@pytest.mark.parametrize("keys", [(1, "1"), ("k" * 128 + "a", "k" * 128 + "b"), (Broken(), Broken())])
def test_the_order_of_keys_with_the_same_text_means_nothing(keys: tuple[object, object]) -> None:
    labels = dict(zip(keys, "ab", strict=True))
    assert normalise(labels) == normalise(dict(reversed(labels.items())))


def test_two_spellings_in_one_call_are_one_label_however_many_keys_there_were() -> None:
    metric = rules()
    for number in range(300):
        metric.apply({f"k{number}": 1})
    assert len(metric.apply({"tenant.kind": 1, "tenant_kind": 2})) == 1


NAMES = st.sampled_from(
    [
        "agent", "status", "model", "team", "session.id", "session_id", "session_a", "a", "1", "_1", "é", "___", "",
        "file_path", "file_type", "file.type", "language", "user.email", "user_email", "k" * 128, "k" * 127,
    ]
)  # fmt: skip
KEYS = st.one_of(st.none(), st.integers(), st.text(max_size=200), st.builds(Broken), NAMES)
SPECS = st.sampled_from([CUSTOM, LINES, DECISIONS])


@given(st.dictionaries(st.one_of(NAMES, st.text(max_size=5)), st.text(max_size=5), max_size=8), SPECS, st.randoms())
def test_the_order_of_the_labels_means_nothing(labels: dict[str, str], spec: MetricSpec, chance: Any) -> None:
    shuffled = list(labels.items())
    chance.shuffle(shuffled)
    assert rules(spec).apply(dict(shuffled)) == rules(spec).apply(labels)


# -- allow-lists --------------------------------------------------------------------------------


def test_a_key_that_is_not_allowed_is_left_out_and_that_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    metric = rules(allowed=["team", "tenant.kind"])
    for user in ("alice", "bob"):
        assert metric.apply({"team": "core", "user": user}) == (("team", "core"),)
    (line,) = lines(caplog)
    assert "claude.x: the label 'user' is left out: it is not among those allowed" in line
    assert metric.dropped == {"user": "is not among those allowed by labels="}


def test_strict_raises_for_a_key_that_is_not_allowed() -> None:
    metric = rules(allowed=["team"])
    assert metric.apply({"team": "core"}, strict=True) == (("team", "core"),)
    with pytest.raises(CardinalityError, match=r"claude\.x: the label 'user' is left out"):
        metric.apply({"team": "core", "user": "alice"}, strict=True)


@pytest.mark.parametrize("key", ["tenant.kind", "tenant_kind", "tenant-kind"])
def test_a_key_is_allowed_in_every_spelling(key: str) -> None:
    for allowed in ("tenant.kind", "tenant_kind"):
        assert rules(allowed=[allowed]).apply({key: "a"}, strict=True) == ((key, "a"),)


@pytest.mark.parametrize("key", ["agent", "project", "sprint"])
def test_the_monitors_own_keys_are_always_allowed(key: str) -> None:
    assert rules(allowed=[]).apply({key: "x", "other": "y"}) == ((key, "x"),)


def test_what_a_path_becomes_is_what_has_to_be_allowed() -> None:
    assert rules(allowed=["file_type"]).apply({"file_path": "/a.py"}, strict=True) == (("file_type", "python"),)


def test_who_allows_the_path_allows_what_becomes_of_it() -> None:
    assert rules(allowed=["file_path"]).apply({"file_path": "/a.py"}) == (("file_type", "python"),)


def test_what_is_remembered_of_keys_that_were_left_out_is_bounded() -> None:
    metric = rules(allowed=[])
    for number in range(1_000):
        metric.apply({f"user-{number}": 1})
    assert 0 < len(metric.dropped) < 1_000


# -- privacy ------------------------------------------------------------------------------------

# Written in two pieces, so that nobody who searches this repository for lost keys finds one.
BODY = "Zx7Qm2Rv9Tb4Yw6Kp8Nd3Hc5Lf1Gs0Ja"
SECRETS = {
    "anthropic": "sk-ant-" + f"api03-{BODY}-{BODY}AA",
    "openai": "sk-" + f"proj-{BODY}",
    "github": "ghp" + f"_{BODY}",
    "github, fine-grained": "github_" + f"pat_{BODY}",
    "gitlab": "glpat" + f"-{BODY}",
    "slack": "xoxb" + f"-123456789012-{BODY}",
    "hugging face": "hf" + f"_{BODY}",
    "stripe": "sk" + f"_live_{BODY}",
}
CASED = {  # shapes that are known by their upper case
    "aws": "AK" + "IAZX7QM2RV9TB4YW6K",
    "google": "AI" + f"za{BODY}",
    "jwt": "ey" + f"JhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ{BODY}.{BODY}",
    "basic": "Basic " + "dXNlcjpaeDdRbTJSdjlUYjRZdzY=",
}
NAMED = {
    "password": f"password={BODY}",
    "api key": f"X-Api-Key: {BODY}",
    "aws secret": f"aws_secret_access_key = {BODY}",
    "json": f'{{"client_secret": "{BODY}"}}',
    "bearer": f"Authorization: Bearer {BODY}",
    "connection": f"postgres://shop:{BODY}@db.internal/orders",
    "private key": f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}",
}
EMAILS = {
    "plain": "alice.cooper@example.com",
    "with a name": "Alice <alice.cooper@example.com>",
    "in upper case": "Alice.Cooper+Test@Example.Co.UK",
    "in a sentence": "mail to alice.cooper@example.com please",
    "international": "алиса.купер@пример.рф",
}
EVERY_SECRET = {**SECRETS, **CASED, **NAMED, **EMAILS}
PIECE = 12


def shows(text: str, secret: str) -> bool:
    """Whether a piece of the secret is in ``text``, in any case of letters."""
    starts = range(len(secret) - PIECE + 1)
    return any(secret[start : start + PIECE].lower() in text.lower() for start in starts)


@pytest.mark.parametrize("secret", EVERY_SECRET.values(), ids=EVERY_SECRET)
@pytest.mark.parametrize("private", ["redact", "hash"])
def test_a_private_value_appears_nowhere_and_is_told_once(
    caplog: pytest.LogCaptureFixture, private: PrivateLabels, secret: str
) -> None:
    caplog.set_level(logging.DEBUG)
    metric = rules(private=private)
    for value in (secret, [secret], {"k": secret}, f"\n {secret}"):
        ((_, found),) = metric.apply({"note": value})
        assert re.fullmatch("__redacted__" if private == "redact" else "redacted-[0-9a-f]{12}", str(found))
    (line,) = lines(caplog)
    assert "claude.x: the label 'note' holds " in line
    assert not shows(caplog.text, secret)


@pytest.mark.parametrize("secret", [*SECRETS.values(), *EMAILS.values()], ids=[*SECRETS, *EMAILS])
def test_a_private_value_of_an_identifier_appears_nowhere_either(caplog: pytest.LogCaptureFixture, secret: str) -> None:
    for value in (secret, secret.upper()):
        assert normalise({"agent": value}) == (("agent", REDACTED),)
        assert monitor_labels({"agent": value}) == (("agent", REDACTED),)
    assert not shows(caplog.text, secret)


@pytest.mark.parametrize("secret", CASED.values(), ids=CASED)
def test_a_secret_known_by_its_case_appears_nowhere_in_an_identifier(
    caplog: pytest.LogCaptureFixture, secret: str
) -> None:
    assert normalise({"agent": secret}) == (("agent", REDACTED),)
    assert not shows(caplog.text, secret)


@pytest.mark.parametrize("secret", EVERY_SECRET.values(), ids=EVERY_SECRET)
def test_strict_raises_for_a_private_value_and_does_not_show_it(caplog: pytest.LogCaptureFixture, secret: str) -> None:
    with pytest.raises(CardinalityError, match=r"claude\.x: the label 'note' holds an? ") as caught:
        normalise({"note": secret}, strict=True)
    assert not shows(str(caught.value) + caplog.text, secret)


def test_of_a_list_of_lines_a_secret_at_the_start_of_one_is_found() -> None:
    assert normalise({"note": ["first", f"line\n{SECRETS['anthropic']}"]}) == (("note", REDACTED),)
    assert normalise({"note": f"line\n{SECRETS['anthropic']}".encode()}) == (("note", REDACTED),)


def test_hashes_of_equal_values_are_equal_and_of_others_not() -> None:
    alice, bob = "alice@example.com", "bob@example.com"
    one = rules(private="hash").apply({"a": alice, "b": bob, "c": alice})
    other = rules(LINES, private="hash").apply({"a": alice, "b": bob})
    assert one[0][1] == one[2][1] != one[1][1]
    assert one[:2] == other
    assert monitor_labels({"a": alice}, "hash") == one[:1]


def test_a_new_salt_makes_new_hashes() -> None:
    labels = {"a": "alice@example.com"}
    before = rules(private="hash").apply(labels)
    renew_salt()
    assert rules(private="hash").apply(labels) != before


@pytest.mark.parametrize("strict", [True, False])
def test_an_accounts_address_is_set_on_purpose(caplog: pytest.LogCaptureFixture, strict: bool) -> None:
    labels = {"user.email": "alice@example.com"}
    for spec in (CUSTOM, DECISIONS):
        assert dict(rules(spec).apply(labels, strict=strict)) == labels
    assert dict(monitor_labels(labels)) == labels
    assert lines(caplog) == []


@pytest.mark.parametrize("value", [5, 1.5, True, "core", "@", "a@b", "team@2", "Basic functionality", "sk-learn"])
def test_what_is_not_private_is_not_hidden(value: object) -> None:
    assert normalise({"note": value}, strict=True) == (("note", value),)


@given(
    filler=st.text(min_size=1, max_size=3),
    length=st.integers(0, 300),
    before=st.sampled_from(["", " ", "\n", "=", ":", "/", "_", "'", "é"]),
    secret=st.sampled_from(list(SECRETS.values())),
    after=st.text(max_size=200),
    key=st.sampled_from(["note", "agent"]),
    private=st.sampled_from(["redact", "hash"]),
)
@example("x", 114, " ", SECRETS["github"], "", "note", "redact")
def test_of_a_secret_at_the_cutting_edge_no_piece_is_seen(
    filler: str, length: int, before: str, secret: str, after: str, key: str, private: PrivateLabels
) -> None:
    padding = (filler * length)[:length]
    if padding and not before and padding[-1].isalnum():  # no key, but a part of a longer word
        before = " "
    ((_, found),) = rules(private=private).apply({key: f"{padding}{before}{secret}{after}"})
    assert not shows(str(found), secret)


def test_a_long_password_in_a_url_is_not_shown_in_part() -> None:
    assert normalise({"note": f"https://shop:{BODY * 9}@db.internal"}) == (("note", REDACTED),)


# -- what a monitor gives to all of its series --------------------------------------------------


def test_a_monitors_labels_are_sorted_plain_and_lower_case_where_they_are_identifiers() -> None:
    labels = {
        "team": "Core",
        "agent": "Backend",
        "agent.name": "Backend",
        "n": Level.HIGH,
        "big": 2**70,
        "x": "é" * 200,
    }
    assert monitor_labels(labels) == (
        ("agent", "backend"),
        ("agent.name", "backend"),
        ("big", str(2**70)),
        ("n", 3),
        ("team", "Core"),
        ("x", "é" * 128),
    )


def test_one_name_under_two_keys_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    monitor_labels({"agent": "Backend", "agent.name": "Backend"})
    (line,) = lines(caplog)
    assert "'Backend' is recorded as 'backend'" in line


def test_what_the_operator_sets_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    labels = {"agent": "Backend", "owner": "alice@example.com", "skipped": None, "long": "x" * 200}
    found = monitor_labels(labels, as_given=labels)
    assert found == (("agent", "Backend"), ("long", "x" * 128), ("owner", "alice@example.com"))
    assert lines(caplog) == []


# -- laws ---------------------------------------------------------------------------------------

VALUES = st.one_of(ANYTHING, st.sampled_from(list(EVERY_SECRET.values())))
LABELS = st.dictionaries(KEYS, VALUES, max_size=8)
PRIVATE = st.sampled_from(["redact", "hash"])
ALLOWED = st.one_of(st.none(), st.lists(NAMES, max_size=5))


def sendable(pairs: Pairs) -> bool:
    """Whether every exporter can carry the pairs."""
    assert all(type(key) is str and 0 < len(key) <= MAX_VALUE_CHARS for key, _ in pairs)
    assert all(plain(value) == value or value != value for _, value in pairs)  # noqa: PLR0124 - NaN
    assert all(value.encode() is not None for pair in pairs for value in pair if isinstance(value, str))
    return [key for key, _ in pairs] == sorted({key for key, _ in pairs})


@given(LABELS, SPECS, PRIVATE, ALLOWED)
@example({"session_a": 1, "session_id": 2}, DECISIONS, "redact", None)  # the catalogue's spelling sorts before
def test_whatever_the_labels_they_can_be_sent_and_each_key_is_there_once(
    labels: dict[Any, object], spec: MetricSpec, private: PrivateLabels, allowed: list[str] | None
) -> None:
    pairs = rules(spec, private=private, allowed=allowed).apply(labels)
    assert sendable(pairs)
    shown = [label for key, _ in pairs if (label := prometheus_label(key)).strip("_")]
    assert len(shown) == len(set(shown))


@given(LABELS, SPECS, PRIVATE, ALLOWED)
def test_done_twice_is_done_once(
    labels: dict[Any, object], spec: MetricSpec, private: PrivateLabels, allowed: list[str] | None
) -> None:
    metric = rules(spec, private=private, allowed=allowed)
    once = metric.apply(labels)
    assert identity(metric.apply(dict(once))) == identity(once)
    assert identity(rules(spec, private=private, allowed=allowed).apply(dict(once), strict=True)) == identity(once)


@given(LABELS, SPECS, ALLOWED)
def test_what_strict_lets_pass_is_what_is_kept_without(
    labels: dict[Any, object], spec: MetricSpec, allowed: list[str] | None
) -> None:
    lenient = rules(spec, allowed=allowed)
    kept = lenient.apply(labels)
    try:
        found = rules(spec, allowed=allowed).apply(labels, strict=True)
    except CardinalityError:
        assert lenient.dropped or REDACTED in dict(kept).values()
    else:
        assert identity(found) == identity(kept)
        assert not lenient.dropped


@given(st.dictionaries(st.text(max_size=128), VALUES, max_size=8), PRIVATE)
def test_a_monitors_labels_done_twice_are_done_once_and_can_be_sent(
    labels: dict[str, object], private: PrivateLabels
) -> None:
    once = monitor_labels(labels, private)
    assert [key for key, _ in once] == sorted(labels.keys() & dict(once).keys())
    assert identity(monitor_labels(dict(once), private)) == identity(once)
