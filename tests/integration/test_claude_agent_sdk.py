"""``integrations.claude_agent_sdk`` beside the real Claude Code, which reports the same session by itself."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from claude_monitoring.conformance import check
from claude_monitoring.receiver.model import Span
from claude_monitoring.testing.fake_anthropic import ToolUse
from tests.integration.agent_sdk import OURS, THEIRS, Stage, events, points, spans, stage, sums
from tests.integration.claude_code import claude_version
from tests.integration.story import ANSWER_USD, MAIN_ANSWERS, MODEL, TOKENS, from_subagent, script

pytestmark = pytest.mark.slow  # and one interpreter has the program

OBSERVED = {
    "agent.name": "ours says it of every agent, the program of subagents alone",
    "project.name": "ours alone",
    "event.timestamp": "the time of ours is when the hook came",
    "event.sequence": "the program counts events about itself in between",
    "terminal.type": "each has its own terminal",
    "user.id": "each has its own home",
    "duration_ms": "of a request: the program knows when it was sent, we when the step before it ended",
    "ttft_ms": "the program alone knows when the first token came",
    "cost_usd": "equal to 1e-9",
    "message.uuid": "an id that the program makes",
}
DETAILED = {
    "error": "the program sends a word for the kind of error, we what the tool said",
    "tool_parameters": "the program adds the commit that it made",
    "vcs.ref.head.name": "the program alone looks at the repository",
    "vcs.ref.head.revision": "the program alone looks at the repository",
    "vcs.ref.head.type": "the program alone looks at the repository",
}
SPAN_ONLY = {
    "ttft_ms": OBSERVED["ttft_ms"],
    "first_content_ms": OBSERVED["ttft_ms"],
    "bash_command_class": "how the program tells them is not known",
    "bash_argv0": "how the program tells them is not known",
    "agent.name": OBSERVED["agent.name"],
    "project.name": OBSERVED["project.name"],
}


OLDER = {
    "prompt.id": "its hooks don't tell it",
    "total_tokens": "its messages have those of a subagent in the background before its last answer ended",
}


def is_old() -> bool:
    """Whether the program is of before 2.1.330, the first whose every word is known.

    The oldest that we work with, 2.1.139, reports fewer events and attributes; a subagent's spans are below the tool's.
    """
    return tuple(int(part) for part in claude_version().split(".")) < (2, 1, 330)


async def ask(prompt: str, options: Any) -> list[Any]:
    """All messages of a ``query``."""
    import claude_agent_sdk

    return [message async for message in claude_agent_sdk.query(prompt=prompt, options=options)]


@pytest.fixture(scope="module", params=["as it is", "with details"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One session, told by the program and by us, to one receiver."""
    switches = ("OTEL_LOG_USER_PROMPTS", "OTEL_LOG_TOOL_DETAILS") if request.param == "with details" else ()
    with stage(tmp_path_factory.mktemp("both"), **dict.fromkeys(switches, "1")) as made:
        script(made.api, made.claude.work)
        asyncio.run(ask("make hello.py", made.options(env=made.environ)))
        made.monitor.flush()
        yield made


def test_all_metrics_are_equal_attribute_by_attribute(both: Stage) -> None:
    theirs, ours = sums(both.otlp, THEIRS), sums(both.otlp, OURS)
    if is_old():  # its lines say no model
        ours = {(name, pairs if "lines" not in name else pairs[1:]): value for (name, pairs), value in ours.items()}
    active = ("claude_code.active_time.total", (("type", "cli"),))
    assert 0 < ours.pop(active) <= theirs.pop(active) * 1.05
    assert ours == {key: pytest.approx(value, abs=1e-9) for key, value in theirs.items()}
    assert sum(value for (name, _), value in ours.items() if "cost" in name) == pytest.approx(
        (MAIN_ANSWERS + 1) * ANSWER_USD, abs=1e-9
    )


def test_all_metrics_have_the_same_shape(both: Stage) -> None:
    def shapes(service: str) -> set[tuple[Any, ...]]:
        return {(one.metric, one.unit, one.description, one.kind, one.monotonic) for one in points(both.otlp, service)}

    differing = {one[0] for one in shapes(OURS) ^ shapes(THEIRS)}
    assert differing == ({"claude_code.lines_of_code.count"} if is_old() else set())  # it has another description there


def test_all_events_are_equal_in_name_order_and_attributes(both: Stage) -> None:
    details = "tool_parameters" in {key for one in events(both.otlp, THEIRS) for key in one.attributes}
    excused = {**OBSERVED, **(DETAILED if details else {})}
    assert differing_events(both, excused) == set(excused) or is_old(), "an exception that is not needed is none"


def differing_events(both: Stage, excused: Mapping[str, str], *, agents_at_once: bool = False) -> set[str]:
    """The attributes in which the program's events and ours differ; others than ``excused`` fail the test.

    Where agents work at once, only the order of each one's events is looked at.
    """
    theirs, ours = events(both.otlp, THEIRS), events(both.otlp, OURS)
    if agents_at_once:
        for found in (theirs, ours):
            found.sort(key=lambda one: str(one.attributes.get("agent_id", "")))
    if is_old():
        ours = [one for one in ours if one.body != "claude_code.assistant_response"]
        excused = {**excused, **OLDER}
    assert [one.body for one in ours] == [one.body for one in theirs]
    needed = set()
    for their, our in zip(theirs, ours, strict=True):
        keys = set(their.attributes) if is_old() else {*their.attributes, *our.attributes}
        for key in keys:
            a, b = their.attributes.get(key), our.attributes.get(key)
            if (a, type(a)) == (b, type(b)):
                continue
            needed.add(key)
            assert key in excused, f"{their.body}: {key} is {a!r} of the program, {b!r} of ours"
            if key == "cost_usd":
                assert b == pytest.approx(a, abs=1e-9)
            assert b is None or a is None or type(a) is type(b), f"{their.body}: the type of {key}"
    return needed


def test_all_spans_are_equal_in_name_parent_and_attributes(both: Stage) -> None:
    compare_spans(both)


def compare_spans(both: Stage) -> None:
    """Fails where the program's spans and ours differ, but for ``SPAN_ONLY``."""

    def tree(service: str) -> Counter[tuple[str, str]]:
        found = spans(both.otlp, service)
        return Counter((span.name, parent.removesuffix(".execution") if is_old() else parent) for span, parent in found)

    def kinds(service: str) -> dict[tuple[str, str], str]:
        return {
            (span.name, key): type(value).__name__
            for span, _ in spans(both.otlp, service)
            for key, value in span.attributes.items()
            if key not in SPAN_ONLY
        }

    def states(service: str) -> Counter[tuple[str, str, str]]:
        return Counter((span.name, span.status, span.kind) for span, _ in spans(both.otlp, service))

    assert tree(OURS) == tree(THEIRS)
    assert states(OURS) == states(THEIRS)
    theirs, ours = kinds(THEIRS), kinds(OURS)
    if is_old():
        ours = {key: value for key, value in ours.items() if key in theirs}
    assert ours == theirs


def test_spans_have_the_times_of_what_they_stand_for(both: Stage) -> None:
    ours = [span for span, _ in spans(both.otlp, OURS)]
    turn = next(span for span in ours if span.name == "claude_code.interaction")
    assert all(turn.start_unix_nano <= span.start_unix_nano <= span.end_unix_nano for span in ours)

    def ended(found: list[Span]) -> list[str]:
        order = sorted(found, key=lambda span: span.end_unix_nano)
        kept = ("claude_code.tool", "claude_code.llm_request")
        return [str(span.attributes.get("tool_name", "request")) for span in order if span.name in kept]

    assert ended(ours) == ended([span for span, _ in spans(both.otlp, THEIRS)])
    assert {span.attributes.get("attempt") for span in ours if span.name == "claude_code.llm_request"} == {1, 2}


def test_events_stand_in_the_spans_of_their_turn(both: Stage) -> None:
    trace_ids = {span.trace_id for span, _ in spans(both.otlp, OURS)}
    assert {one.trace_id for one in events(both.otlp, OURS)} == trace_ids
    assert len(trace_ids) == 1
    prompt_ids = {one.attributes["prompt.id"] for one in events(both.otlp, THEIRS) if "prompt.id" in one.attributes}
    assert is_old() or {one.attributes["prompt.id"] for one in events(both.otlp, OURS)} == prompt_ids


def test_ours_keeps_the_conventions(both: Stage) -> None:
    assert check([one for one in both.otlp.requests if OURS in str(one.message)]) == []


def test_the_framework_metrics_are_fed_as_well(both: Stage) -> None:
    both.monitor.flush()
    of_agents = {"agent": "backend", "project": "books"}
    assert both.otlp.total("claude.api.calls", of_agents, model=MODEL) == MAIN_ANSWERS
    assert both.otlp.total("claude.api.calls", agent="general-purpose") == 1
    assert both.otlp.total("claude.tool.calls", of_agents, tool="Bash", status="ok") == 2
    assert both.otlp.total("claude.tool.calls", of_agents, tool="Bash", status="error") == 1
    assert both.otlp.total("claude.lines_added", of_agents, file_type="python") == 6
    assert both.otlp.total("claude.sessions", of_agents) == 1


# -- propagate ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def propagated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The program reports itself, as our settings say."""
    more = {"OTEL_RESOURCE_ATTRIBUTES": "team.id=platform"}
    with stage(tmp_path_factory.mktemp("propagated"), mode="propagate", **more) as made:
        script(made.api, made.claude.work)
        with made.monitor.span("work"):
            asyncio.run(ask("make hello.py", made.options()))
        made.monitor.flush()
        yield made


def test_propagated_the_program_reports_itself_and_nothing_counts_twice(propagated: Stage) -> None:
    assert points(propagated.otlp, OURS) == []
    assert events(propagated.otlp, OURS) == []
    theirs = {name: 0.0 for name, _ in sums(propagated.otlp, THEIRS)}
    for (name, _), value in sums(propagated.otlp, THEIRS).items():
        theirs[name] += value
    assert theirs["claude_code.session.count"] == theirs["claude_code.commit.count"] == 1
    assert theirs["claude_code.cost.usage"] == pytest.approx((MAIN_ANSWERS + 1) * ANSWER_USD, abs=1e-9)
    assert theirs["claude_code.token.usage"] == (MAIN_ANSWERS + 1) * sum(TOKENS.values())


def test_propagated_all_spans_are_one_trace_below_ours(propagated: Stage) -> None:
    (work,) = (span for span in propagated.otlp.spans if span.resource["service.name"] == OURS)
    theirs = [span for span, _ in spans(propagated.otlp, THEIRS)]
    assert {span.trace_id for span in theirs} == {work.trace_id}
    turn = next(span for span in theirs if span.name == "claude_code.interaction")
    assert turn.parent_span_id == work.span_id
    assert turn.attributes.get("parent.source", "env") == "env"  # older programs don't say


def test_propagated_the_program_carries_our_labels(propagated: Stage) -> None:
    labels = {"agent": "backend", "project": "books", "team.id": "platform"}
    theirs = points(propagated.otlp, THEIRS)
    assert all(labels.items() <= one.resource.items() for one in theirs)
    assert is_old() or all(labels.items() <= one.attributes.items() for one in theirs)


def test_propagated_we_report_what_the_program_does_not(propagated: Stage) -> None:
    of_agents = {"agent": "backend", "project": "books"}
    assert propagated.otlp.total("claude.api.calls", of_agents, model=MODEL) == MAIN_ANSWERS
    assert propagated.otlp.total("claude.lines_added", of_agents) == 6
    assert propagated.otlp.total("claude.sessions", of_agents) == 1


# -- ClaudeSDKClient ---------------------------------------------------------------------------------


async def talk(options: Any, *prompts: str) -> list[Any]:
    """The messages of a conversation."""
    from claude_agent_sdk import ClaudeSDKClient

    messages = []
    async with ClaudeSDKClient(options) as client:
        for prompt in prompts:
            await client.query(prompt)
            messages += [message async for message in client.receive_response()]
    return messages


def test_a_client_is_one_session_of_many_turns_each_below_the_span_around_its_prompt(tmp_path: Path) -> None:
    from claude_agent_sdk import ClaudeSDKClient

    async def work(made: Stage) -> None:
        async with ClaudeSDKClient(made.options()) as client:
            for number in range(3):
                with made.monitor.span(f"step {number}"):
                    await client.query(f"step {number}")
                    async for _ in client.receive_response():
                        pass

    with stage(tmp_path) as made:
        asyncio.run(work(made))
        assert made.total("claude_code.session.count") == 1
        assert made.total("claude_code.token.usage", type="output") == 3 * TOKENS["output"]
        found = spans(made.otlp, OURS)
        assert [parent for span, parent in found if span.name == "claude_code.interaction"] == [
            "step 0", "step 1", "step 2",
        ]  # fmt: skip
        assert [
            span.attributes["interaction.sequence"] for span, _ in found if "interaction.sequence" in span.attributes
        ] == [1, 2, 3]


def test_a_resumed_session_counts_what_is_new_alone(tmp_path: Path) -> None:
    with stage(tmp_path) as made:
        (*_, result) = asyncio.run(ask("one", made.options()))
        asyncio.run(ask("two", made.options(resume=result.session_id)))
        asyncio.run(ask("three", made.options(continue_conversation=True)))
        assert made.total("claude_code.token.usage", type="input") == 3 * TOKENS["input"]
        assert made.total("claude_code.cost.usage") == pytest.approx(3 * ANSWER_USD, abs=1e-9)
        assert [
            made.total("claude_code.session.count", start_type=kind) for kind in ("fresh", "resume", "continue")
        ] == [1, 1, 1]
        assert {one.attributes["session.id"] for one in events(made.otlp, OURS)} == {result.session_id}


# -- more sessions beside the program's own report ---------------------------------------------------


def equal_sums(made: Stage) -> None:
    """Fails where a metric differs, the time of activity left out."""
    made.monitor.flush()
    theirs, ours = (
        {key: value for key, value in sums(made.otlp, service).items() if "active_time" not in key[0]}
        for service in (THEIRS, OURS)
    )
    assert ours == {key: pytest.approx(value, abs=1e-9) for key, value in theirs.items()}


@pytest.mark.parametrize("in_background", [False, True], ids=["in the foreground", "in the background"])
def test_a_subagent_that_uses_tools_is_told_as_the_program_does(tmp_path: Path, in_background: bool) -> None:
    task = {"description": "look", "prompt": "Look.", "subagent_type": "general-purpose"}
    with stage(tmp_path) as made:
        made.api.answer(ToolUse("Bash", {"command": "echo hi"}), "Looked.", when=from_subagent)
        given = {**task, "run_in_background": in_background}
        made.api.answer(ToolUse("Agent", given), "Done.", when=lambda request: not from_subagent(request))
        asyncio.run(ask("look", made.options(env=made.environ)))
        equal_sums(made)
        if not (in_background and is_old()):  # which doesn't say of which agent a tool's events are
            differing_events(made, OBSERVED, agents_at_once=in_background)
            compare_spans(made)
        (end,) = (one for one in events(made.otlp, OURS) if one.body == "claude_code.subagent_completed")
        assert end.attributes["is_async"] is in_background


@pytest.mark.parametrize("mode", ["observe", "propagate"])
def test_a_settings_file_does_not_turn_the_programs_own_telemetry_on_or_off(tmp_path: Path, mode: str) -> None:
    with stage(tmp_path, mode=mode) as made:
        switch = {"CLAUDE_CODE_ENABLE_TELEMETRY": "1" if mode == "observe" else "0"}
        settings = made.claude.home / ".claude" / "settings.json"
        settings.parent.mkdir(exist_ok=True)
        settings.write_text(json.dumps({"env": {**made.environ, **switch}}), encoding="utf-8")
        asyncio.run(ask("hi", made.options(setting_sources=["user"])))
        made.monitor.flush()
        who, other = (OURS, THEIRS) if mode == "observe" else (THEIRS, OURS)
        assert points(made.otlp, other) == []
        of_tokens = {key[1]: value for key, value in sums(made.otlp, who).items() if "token" in key[0]}
        assert sum(of_tokens.values()) == sum(TOKENS.values())
