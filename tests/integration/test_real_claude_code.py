"""The real Claude Code works with the fake API, and its own OTLP says of that session what REFERENCE.md foretells."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from claude_monitoring import AgentMonitor, Settings
from claude_monitoring.conformance import check
from claude_monitoring.receiver import OtlpReceiver
from claude_monitoring.testing.fake_anthropic import (
    Answer,
    ApiError,
    Drop,
    FakeAnthropic,
    Raw,
    Request,
    Scripted,
    StreamFault,
    Thinking,
    Usage,
)
from tests.integration.claude_code import ClaudeCode, Finished, claude_version, no_network, otlp_environment
from tests.integration.story import ANSWER_USD, MAIN_ANSWERS, MODEL, TOKENS, from_subagent, script

pytestmark = pytest.mark.slow  # and one interpreter has the program

BEGUN_USD = 0.00612  # of what the beginning of an answer tells: all of it but 74 of the tokens that it says


def messages(api: FakeAnthropic) -> list[Request]:
    """What was asked of the API, without the ``HEAD /`` of older versions, which opens the connection."""
    return [one for one in api.requests if (one.method, one.path) != ("HEAD", "/")]


@dataclass
class Session:
    finished: Finished
    api: FakeAnthropic
    otlp: OtlpReceiver
    work: Path
    log: str


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    with no_network(), FakeAnthropic() as api, OtlpReceiver(grpc=False) as otlp:
        claude = ClaudeCode(tmp_path_factory.mktemp("claude"), api.base_url, **otlp_environment(otlp.http_endpoint))
        script(api, claude.work)
        finished = claude.run("make hello.py", model=MODEL)
        return Session(finished, api, otlp, claude.work, claude.git("log", "--format=%s"))


def test_the_session_ran_to_its_end(session: Session) -> None:
    assert (session.finished.code, session.finished.stderr) == (0, "")
    assert session.finished.result["result"] == "Done."
    assert session.finished.result["total_cost_usd"] == pytest.approx(8 * ANSWER_USD, abs=1e-9)
    assert session.api.answers_left == 0
    assert (session.work / "hello.py").read_text(encoding="utf-8").splitlines() == [
        "print('a')", "print('bb')", "print('bbb')", "print('c')",
    ]  # fmt: skip
    assert session.log == "add hello\n"


def test_the_program_asked_the_api_and_nothing_else(session: Session) -> None:
    requests = messages(session.api)
    assert {(one.method, one.path, one.model, one.stream) for one in requests} == {
        ("POST", "/v1/messages", MODEL, True)
    }
    assert Counter(from_subagent(one) for one in requests) == {False: MAIN_ANSWERS + 1, True: 1}  # one refused with 529
    results = [str(result["content"]) for one in requests if not from_subagent(one) for result in one.tool_results]
    assert any("No such file or directory" in result for result in results)
    assert any("https://github.com/acme/books/pull/" in result for result in results)
    assert any("Looked." in result for result in results)


@pytest.mark.parametrize(("source", "answers"), [("main", MAIN_ANSWERS), ("subagent", 1)])
def test_tokens_and_cost_are_those_of_the_answers(session: Session, source: str, answers: int) -> None:
    assert session.otlp.total("claude_code.cost.usage", model=MODEL, query_source=source) == pytest.approx(
        answers * ANSWER_USD, abs=1e-9
    )
    for kind, tokens in TOKENS.items():
        total = session.otlp.total("claude_code.token.usage", model=MODEL, query_source=source, type=kind)
        assert total == answers * tokens
    whose = {"agent.name": "general-purpose"} if source == "subagent" else {}
    assert session.otlp.total("claude_code.token.usage", whose, query_source=source, type="input") == answers * 1200


def test_work_is_counted_once(session: Session) -> None:
    def total(metric: str, **attributes: Any) -> float:
        return session.otlp.total(f"claude_code.{metric}", **attributes)

    assert total("session.count", start_type="fresh") == total("session.count") == 1
    assert total("lines_of_code.count", type="added") == 6  # 4 of the new file, 2 of the Edit: 4.2
    assert total("lines_of_code.count", type="removed") == 1
    assert total("commit.count") == 1
    assert total("pull_request.count") == 1
    for tool in ("Write", "Edit"):
        decided = {"decision": "accept", "source": "config", "tool_name": tool, "language": "Python"}
        assert total("code_edit_tool.decision", **decided) == 1
    assert total("code_edit_tool.decision") == 2
    assert total("active_time.total", type="cli") > 0


def test_events_tell_the_session(session: Session) -> None:
    events = Counter(log.body.removeprefix("claude_code.") for log in session.otlp.logs)
    assert {name: events[name] for name in ("user_prompt", "api_request", "tool_decision", "tool_result")} == {
        "user_prompt": 1, "api_request": MAIN_ANSWERS + 1, "tool_decision": 6, "tool_result": 6,
    }  # fmt: skip
    assert events["subagent_completed"] == 1
    assert events["api_error"] == 0  # a failed attempt that was repeated is none: REFERENCE 5
    tools = [log.attributes for log in session.otlp.logs if log.body == "claude_code.tool_result"]
    failed = [one["error_type"] for one in tools if one["success"] == "false"]
    assert failed == ["ShellError"]
    request_ids = {log.attributes["request_id"] for log in session.otlp.logs if log.body == "claude_code.api_request"}
    assert len(request_ids) == MAIN_ANSWERS + 1
    assert all(str(one).startswith("req_fake_") for one in request_ids)


def test_the_retry_is_an_attempt_of_one_span(session: Session) -> None:
    spans = [span for span in session.otlp.spans if span.name == "claude_code.llm_request"]
    assert sorted(span.attributes["attempt"] for span in spans) == [1] * MAIN_ANSWERS + [2]


def test_all_of_it_is_by_the_version_that_is_installed(session: Session) -> None:
    assert {one.resource["service.version"] for one in session.otlp.metrics} == {claude_version()}


@pytest.mark.parametrize(
    ("first", "said"),
    [
        pytest.param([Thinking("Hm."), "Fine."], "Fine.", id="thinking"),
        pytest.param(Answer("Fine.", usage=Usage(split=False)), "Fine.", id="usage as in the captures"),
        pytest.param(Drop(), "Hello.", id="dropped connection"),
        pytest.param(Answer("x", fault=StreamFault(0, ApiError(529))), "Hello.", id="error as the first event"),
        pytest.param(Answer("Many words", fault=StreamFault(4, ApiError(529))), "Hello.", id="error in the stream"),
        pytest.param(Answer("Many words", fault=StreamFault(4)), "Hello.", id="connection lost in the stream"),
        pytest.param(Raw("{not json"), "Hello.", id="malformed JSON"),
    ],
)
def test_what_breaks_is_asked_again(first: Scripted, said: str, tmp_path: Path) -> None:
    with no_network(), FakeAnthropic(first) as api:
        finished = ClaudeCode(tmp_path, api.base_url).run("hi", model=MODEL)
    assert finished.code == 0
    assert finished.result["result"] == said
    costs = [ANSWER_USD]
    if isinstance(first, Answer) and first.fault == StreamFault(4):
        costs.append(ANSWER_USD + BEGUN_USD)  # if the program has read the beginning before the connection is gone
    assert finished.result["total_cost_usd"] in [pytest.approx(cost, abs=1e-9) for cost in costs]
    assert len(messages(api)) == (1 if said == "Fine." else 2)


@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux'")
def test_without_a_network_there_is_loopback_and_nothing_else() -> None:
    names = Path("/proc/thread-self/ns/net")
    before = names.readlink()
    with no_network() as alone:
        if not alone:
            pytest.skip("needs root")
        assert names.readlink() != before
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
            pass
        with pytest.raises(OSError, match="unreachable"):
            socket.create_connection(("192.0.2.1", 80), timeout=5)
    assert names.readlink() == before


def test_a_program_started_with_our_environment_joins_our_trace_and_carries_our_labels(tmp_path: Path) -> None:
    with no_network(), FakeAnthropic("Done.") as api, OtlpReceiver(grpc=False) as receiver:
        claude = ClaudeCode(tmp_path, api.base_url)
        environ = otlp_environment(receiver.http_endpoint, OTEL_RESOURCE_ATTRIBUTES="team.id=platform")
        with AgentMonitor("backend", project_name="books", settings=Settings.load(environ)) as monitor:
            with monitor.span("start_claude"):
                claude.env = monitor.subprocess_env(claude.env)
                assert claude.run("hi", model=MODEL).code == 0
            monitor.flush()
        ours = next(span for span in receiver.spans if span.name == "start_claude")
        theirs = next(span for span in receiver.spans if span.name == "claude_code.interaction")
        assert (theirs.trace_id, theirs.parent_span_id) == (ours.trace_id, ours.span_id)
        assert theirs.attributes["parent.source"] == "env"
        labels = {"agent": "backend", "project": "books", "team.id": "platform", "type": "input"}
        assert receiver.total("claude_code.token.usage", labels) == TOKENS["input"]
        assert theirs.resource["service.name"] == "claude-code"


def test_the_checker_finds_no_departure_in_the_real_session(session: Session) -> None:
    assert check(session.otlp.requests) == []
