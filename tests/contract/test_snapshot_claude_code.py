"""Our telemetry of a session is that of the real Claude Code, but for what is listed with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest

from tests.contract.claude_code_differences import (
    EXCEPTIONS,
    OLDER,
    Difference,
    differences,
    exceptions_for,
    is_older,
    listed,
    unexplained,
)
from tests.contract.claude_code_session import told_by_us
from tests.contract.claude_code_snapshot import VARIANTS, Snapshot, snapshots

SNAPSHOTS = list(snapshots())
NEWEST = max((version for version, _, _ in SNAPSHOTS), key=lambda version: [*map(int, version.split("."))])
EVERY_SNAPSHOT = pytest.mark.parametrize(
    ("version", "variant", "path"), [pytest.param(*one, id=one[-1].stem) for one in SNAPSHOTS]
)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Snapshot]:
    return {variant: told_by_us(variant, tmp_path_factory.mktemp("work")) for variant in VARIANTS}


def loaded(path: Path) -> Snapshot:
    found: Snapshot = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_each_version_has_a_snapshot_of_each_variant() -> None:
    versions = {version for version, _, _ in SNAPSHOTS}
    assert versions
    assert {(version, variant) for version, variant, _ in SNAPSHOTS} == {
        (version, variant) for version in versions for variant in VARIANTS
    }


@EVERY_SNAPSHOT
def test_our_session_is_told_as_claude_code_tells_it(
    version: str, variant: str, path: Path, ours: dict[str, Snapshot]
) -> None:
    found = unexplained(loaded(path), ours[variant], version)
    assert not found, listed(found)


def test_every_exception_is_needed(ours: dict[str, Snapshot]) -> None:
    now: set[str] = set()
    before: set[str] = set()
    for version, variant, path in SNAPSHOTS:
        for one in differences(loaded(path), ours[variant]):
            covering = exceptions_for(one, version)
            if not is_older(version):
                now |= covering
            elif covering <= set(OLDER):
                before |= covering
    assert (now, before) == (set(EXCEPTIONS), set(OLDER))


@EVERY_SNAPSHOT
def test_a_snapshot_is_small_and_has_nothing_of_a_machine(version: str, variant: str, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) < 200_000
    assert "sk-ant" not in text
    assert "127.0.0.1" not in text
    found = loaded(path)
    assert {key: found["resource"][key] for key in ("host.arch", "os.type", "os.version")} == {
        "host.arch": "<HOST_ARCH>", "os.type": "<OS_TYPE>", "os.version": "<OS_VERSION>",
    }  # fmt: skip


def one_of(found: Snapshot, signal: str, name: str) -> Snapshot:
    """The first metric, event or span of a name."""
    key = "body" if signal == "events" else "name"
    one: Snapshot = next(one for one in found[signal] if one[key] == f"claude_code.{name}")
    return one


def change(signal: str, name: str, **members: object) -> Callable[[Snapshot], object]:
    return lambda found: one_of(found, signal, name).update(members)


def attribute(signal: str, name: str, **attributes: object) -> Callable[[Snapshot], object]:
    return lambda found: one_of(found, signal, name)["attributes"].update(attributes)


def drop(signal: str, name: str) -> Callable[[Snapshot], object]:
    return lambda found: found[signal].remove(one_of(found, signal, name))


def series(name: str, change_it: Callable[[list[Snapshot]], object]) -> Callable[[Snapshot], object]:
    return lambda found: change_it(one_of(found, "metrics", name)["series"])


CHANGES: dict[str, Callable[[Snapshot], object]] = {
    "missing metric commit.count": drop("metrics", "commit.count"),
    "value metric token.usage unit": change("metrics", "token.usage", unit="token"),
    "value metric token.usage value_type": change("metrics", "token.usage", value_type="int"),
    "value metric cost.usage monotonic": change("metrics", "cost.usage", monotonic=False),
    "value metric cost.usage (value)": series("cost.usage", lambda found: found[0].update(value=0.0506)),
    "missing metric token.usage (series)": series("token.usage", lambda found: found.pop()),
    "missing metric token.usage type": series("token.usage", lambda found: found[0]["attributes"].pop("type")),
    "value metric active_time.total (value)": series("active_time.total", lambda found: found[0].update(value="0")),
    "missing event subagent_completed": drop("events", "subagent_completed"),
    "value event tool_decision (span)": change("events", "tool_decision", span="claude_code.tool"),
    "type event api_request input_tokens": attribute("events", "api_request", input_tokens="1200"),
    "value event api_request input_tokens": attribute("events", "api_request", input_tokens=5700),
    "extra event user_prompt length": attribute("events", "user_prompt", length=13),
    "missing span interaction": drop("spans", "interaction"),
    "value span tool (parent)": change("spans", "tool", parent="claude_code.llm_request"),
    "value span tool.execution (status)": change("spans", "tool.execution", status="ok"),
    "value span tool tool_name": attribute("spans", "tool", tool_name="write"),
    "value scope events": lambda found: found["scopes"]["events"].append(["events", ""]),
    "missing resource os.type": lambda found: found["resource"].pop("os.type"),
}


@pytest.mark.parametrize("key", CHANGES)
def test_the_comparison_sees(key: str, ours: dict[str, Snapshot]) -> None:
    changed = deepcopy(ours["all-on"])
    CHANGES[key](changed)
    found = differences(ours["all-on"], changed)
    assert key in {one.key for one in found}
    assert unexplained(ours["all-on"], changed, NEWEST) == found


def test_events_in_another_order_differ(ours: dict[str, Snapshot]) -> None:
    changed = deepcopy(ours["defaults"])
    changed["events"][1:3] = changed["events"][2:0:-1]
    assert {one.kind for one in unexplained(ours["defaults"], changed, NEWEST)} == {"missing", "extra"}


def test_a_cost_may_differ_by_less_than_a_billionth_of_a_dollar(ours: dict[str, Snapshot]) -> None:
    changed = deepcopy(ours["defaults"])
    one_of(changed, "metrics", "cost.usage")["series"][0]["value"] += 5e-10
    assert differences(ours["defaults"], changed) == []


def test_a_failure_says_where_what_and_how() -> None:
    one = Difference("value", "event", "api_request", "speed", "normal", "fast", at=3)
    assert listed([one]) == "\nevents, at 3: value event api_request speed: Claude Code 'normal', ours 'fast'"
