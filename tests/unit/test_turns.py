"""Turns, requests and tools are reported as Claude Code reports them (reference sections 3, 5, 6, 12)."""

from __future__ import annotations

import asyncio
import subprocess
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from claude_monitoring import AgentMonitor
from claude_monitoring._repository import parse_remote, repository_attributes
from claude_monitoring._settings import Settings
from claude_monitoring.conformance import check
from claude_monitoring.receiver import OtlpReceiver

MODEL = "claude-sonnet-4-5"
USAGE = {"input_tokens": 1200, "output_tokens": 77, "cache_read_tokens": 4500, "cache_creation_tokens": 300}
SECRET = "the launch code is 0000"


@contextmanager
def working(**env: str) -> Iterator[tuple[AgentMonitor, OtlpReceiver]]:
    """A monitor; what it sent can be read after ``flush``."""
    with OtlpReceiver(grpc=False) as receiver:
        settings = Settings.load(environ=env, enabled=True, export_to_grafana=True, endpoint=receiver.http_endpoint)
        with AgentMonitor("worker", settings=settings, strict=False) as monitor:
            yield monitor, receiver


def one_turn(monitor: AgentMonitor) -> None:
    with monitor.interaction(SECRET):
        with monitor.llm_request(MODEL) as request:
            request.first_token()
            request.answered(text=SECRET, stop_reason="tool_use", request_id="req_1", **USAGE)
        with monitor.tool_use(
            "Bash", tool_use_id="toolu_1", tool_input={"command": SECRET}, request_id="req_1"
        ) as tool:
            tool.decided("accept", source="config", parameters={"bash_command": SECRET})
            with tool.execution():
                tool.returned("done")


def events(receiver: OtlpReceiver) -> dict[str, Any]:
    return {log.event_name: log for log in receiver.logs}


def spans(receiver: OtlpReceiver) -> dict[str, Any]:
    return {span.name.removeprefix("claude_code."): span for span in receiver.spans}


def test_a_turn_is_told_in_claude_codes_order_under_one_prompt_id() -> None:
    with working() as (monitor, receiver):
        one_turn(monitor)
        monitor.flush()
        assert [log.body for log in receiver.logs] == [
            f"claude_code.{name}"
            for name in ("user_prompt", "api_request", "assistant_response", "tool_decision", "tool_result")
        ]
        assert len({log.attributes["prompt.id"] for log in receiver.logs}) == 1
        assert {log.scope_name for log in receiver.logs} == {"com.anthropic.claude_code.events"}
        assert [log.attributes["event.sequence"] for log in receiver.logs] == [0, 1, 2, 3, 4]


def test_the_spans_of_a_turn_form_claude_codes_tree() -> None:
    with working() as (monitor, receiver):
        one_turn(monitor)
        monitor.flush()
        found = spans(receiver)
        names = {span.span_id: name for name, span in found.items()}
        assert {name: names.get(span.parent_span_id, "") for name, span in found.items()} == {
            "interaction": "",
            "llm_request": "interaction",
            "tool": "interaction",
            "tool.blocked_on_user": "tool",
            "tool.execution": "tool",
        }
        assert {(span.scope_name, span.scope_version) for span in receiver.spans} == {
            ("com.anthropic.claude_code.tracing", "1.0.0")
        }
        assert all(span.attributes["span.type"] == name for name, span in found.items())
        where = {name: names.get(log.span_id) for name, log in events(receiver).items()}
        assert where == {
            "user_prompt": "interaction",
            "api_request": "interaction",
            "assistant_response": "interaction",
            "tool_decision": "tool.blocked_on_user",
            "tool_result": "interaction",
        }


def test_a_turn_counts_tokens_cost_time_and_the_tool() -> None:
    with working() as (monitor, receiver):
        one_turn(monitor)
        monitor.flush()
        assert receiver.total("claude_code.token.usage", type="cacheRead", query_source="main") == 4500
        assert receiver.total("claude_code.cost.usage", model=MODEL) == pytest.approx(0.00723, abs=1e-12)
        assert receiver.total("claude_code.active_time.total", type="cli") > 0
        assert receiver.total("claude.tool.calls", tool="Bash", status="ok") == 1


def test_numbers_are_sent_as_claude_code_sends_them() -> None:
    with working() as (monitor, receiver):
        one_turn(monitor)
        monitor.flush()
        found = events(receiver)
        assert found["user_prompt"].attributes["prompt_length"] == str(len(SECRET))
        assert found["assistant_response"].attributes["response_length"] == len(SECRET)
        request = found["api_request"].attributes
        assert (request["cost_usd"], request["cost_usd_micros"]) == (pytest.approx(0.00723), 7230)
        assert {type(request[name]) for name in (*USAGE, "duration_ms", "ttft_ms")} == {int}
        result = found["tool_result"].attributes
        assert (result["success"], result["tool_result_size_bytes"]) == ("true", "4")
        assert {type(result[name]) for name in ("duration_ms", "tool_input_size_bytes")} == {str}
        assert spans(receiver)["llm_request"].attributes["gen_ai.response.finish_reasons"] == ["tool_use"]


def everything(receiver: OtlpReceiver) -> str:
    return repr([(log.body, log.attributes) for log in receiver.logs]) + repr(
        [(span.name, span.status_message, span.attributes, span.events) for span in receiver.spans]
    )


def test_no_text_leaves_the_process_unless_switched_on() -> None:
    with working() as (monitor, receiver):
        one_turn(monitor)
        with monitor.tool_use("Bash", tool_input={"command": SECRET}) as tool, tool.execution():
            tool.failed(RuntimeError(SECRET))
        monitor.flush()
        assert SECRET not in everything(receiver)
        assert events(receiver)["user_prompt"].attributes["prompt"] == "<REDACTED>"


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
@pytest.mark.parametrize(
    "switches", [{}, {"OTEL_LOG_USER_PROMPTS": "1", "OTEL_LOG_TOOL_DETAILS": "1"}], ids=["off", "on"]
)
def test_nothing_that_we_send_departs_from_claude_codes_conventions(protocol: str, switches: dict[str, str]) -> None:
    with OtlpReceiver() as receiver:
        settings = Settings.load(
            environ=switches,
            enabled=True,
            export_to_grafana=True,
            endpoint=receiver.endpoint(protocol),
            protocol=protocol,
        )
        with AgentMonitor("worker", project_name="books", settings=settings, strict=False) as monitor:
            one_turn(monitor)
            with monitor.interaction("again"):
                with monitor.llm_request(MODEL, effort="high", speed="fast") as request:
                    request.answered(text="No.", stop_reason="refusal", request_id="req_2", **USAGE)
                with monitor.llm_request(MODEL, query_source="agent:builtin:Explore") as request:
                    request.attempt()
                    request.attempt()
                    request.failed("Overloaded", status_code=529)
                with monitor.tool_use("Write", tool_use_id="toolu_2", tool_input={"file_path": "/x/y.py"}) as tool:
                    tool.decided("reject", source="user_reject", permission_mode="default")
                with monitor.tool_use("Bash", tool_use_id="toolu_3", tool_input={"command": "false"}) as tool:
                    tool.decided("accept", source="config", permission_mode="default")
                    with tool.execution():
                        tool.failed(RuntimeError("exit code 1"))
            monitor.record_lines(added=3, removed=1, file_path="/x/y.py", model=MODEL)
            monitor.record_commit()
            monitor.record_pull_request()
        assert check(receiver.requests) == []


@pytest.mark.parametrize(
    ("switch", "event", "attribute"),
    [
        ("OTEL_LOG_USER_PROMPTS", "user_prompt", "prompt_text"),
        ("OTEL_LOG_USER_PROMPTS", "assistant_response", "response"),
        ("OTEL_LOG_ASSISTANT_RESPONSES", "assistant_response", "response"),
        ("OTEL_LOG_TOOL_DETAILS", "tool_result", "tool_input"),
        ("OTEL_LOG_TOOL_DETAILS", "tool_decision", "tool_parameters"),
        ("OTEL_LOG_TOOL_DETAILS", "tool_result", "tool_parameters"),
    ],
)
def test_a_switch_lets_its_texts_out(switch: str, event: str, attribute: str) -> None:
    with working(**{switch: "1"}) as (monitor, receiver):
        one_turn(monitor)
        monitor.flush()
        assert SECRET in events(receiver)[event].attributes[attribute]
        others = [name for name, log in events(receiver).items() if SECRET in repr(log.attributes)]
        expected = {"OTEL_LOG_USER_PROMPTS": 2, "OTEL_LOG_ASSISTANT_RESPONSES": 1, "OTEL_LOG_TOOL_DETAILS": 2}
        assert len(others) == expected[switch]


def test_what_is_known_of_a_call_only_in_the_end_is_told_with_its_result() -> None:
    with working(OTEL_LOG_TOOL_DETAILS="1") as (monitor, receiver):
        with monitor.tool_use("Bash", tool_input={"command": "git commit"}) as tool:
            tool.decided("accept", parameters={"timeout": 5})
            tool.returned("", parameters={"git_commit_id": "1f"})
        monitor.flush()
        told = {name: log.attributes["tool_parameters"] for name, log in events(receiver).items()}
        assert told == {
            "tool_decision": '{"bash_command":"git","full_command":"git commit","timeout":5}',
            "tool_result": '{"bash_command":"git","full_command":"git commit","timeout":5,"git_commit_id":"1f"}',
        }


def test_a_request_has_opentelemetrys_counts_beside_claude_codes_and_none_where_one_is_absurd() -> None:
    found = []
    for usage in (USAGE, USAGE | {"output_tokens": -1}):
        with working() as (monitor, receiver):
            with monitor.llm_request(MODEL) as request:
                request.answered(stop_reason="end_turn", **usage)
            monitor.flush()
            attributes = spans(receiver)["llm_request"].attributes
            found.append({key: value for key, value in attributes.items() if key.startswith("gen_ai.usage.")})
    assert found == [
        {
            "gen_ai.usage.input_tokens": 6000,
            "gen_ai.usage.output_tokens": 77,
            "gen_ai.usage.cache_read.input_tokens": 4500,
            "gen_ai.usage.cache_write.input_tokens": 300,
        },
        {},
    ]


def test_tokens_that_the_cache_keeps_for_an_hour_cost_more() -> None:
    with working() as (monitor, receiver):
        monitor.record_api_request(MODEL, **USAGE, cache_creation_5m_tokens=100, cache_creation_1h_tokens=200)
        monitor.flush()
        assert receiver.total("claude_code.cost.usage") == pytest.approx(0.00768, abs=1e-12)
        assert events(receiver)["api_request"].attributes["cost_usd"] == pytest.approx(0.00768, abs=1e-12)


def test_a_request_to_a_model_that_nobody_prices_is_told_without_a_cost() -> None:
    with working() as (monitor, receiver):
        monitor.record_api_request("made-up-1", **USAGE)
        monitor.flush()
        request = events(receiver)["api_request"].attributes
        assert request["input_tokens"] == 1200
        assert "cost_usd" not in request


def test_a_table_of_ones_own_may_price_the_hour() -> None:
    prices = {"mine": {"input": 1.0, "cache_creation": 2.0, "cache_creation_1h": 5.0}}
    monitor = AgentMonitor("worker", enabled=True, prices=prices)
    usage = {"input_tokens": 10, "cache_creation_tokens": 30, "cache_creation_1h_tokens": 20}
    assert monitor.record_usage("mine", **usage) == pytest.approx((10 * 1 + 10 * 2 + 20 * 5) / 1e6)
    monitor.close()


@pytest.mark.parametrize(
    ("status_code", "error_class"),
    [(529, "server_overload"), (500, "server_error"), (429, "rate_limit"), (401, "auth_error"), (400, "client_error"),
     (None, "connection_error")],
)  # fmt: skip
def test_a_failed_request_names_its_class_and_counts_nothing(status_code: int | None, error_class: str) -> None:
    with working() as (monitor, receiver):
        with monitor.llm_request(MODEL) as request:
            request.attempt()
            request.attempt()
            request.failed("Overloaded", status_code=status_code, request_id="req_2")
        monitor.flush()
        span = spans(receiver)["llm_request"]
        assert (span.status, span.status_message, span.attributes["error_class"]) == (
            "error",
            "Overloaded",
            error_class,
        )
        assert [event.attributes["attempt"] for event in span.events] == [1, 2]
        found = events(receiver)
        assert list(found) == ["api_error", "api_retries_exhausted"]
        assert found["api_error"].attributes.get("status_code") == status_code
        assert found["api_retries_exhausted"].attributes["total_attempts"] == 2
        assert receiver.total("claude_code.token.usage") == 0


def test_an_exception_of_the_host_fails_the_request_and_goes_on() -> None:
    with working() as (monitor, receiver):
        with pytest.raises(ConnectionError), monitor.llm_request(MODEL):
            raise ConnectionError("gone")
        monitor.flush()
        assert list(events(receiver)) == ["api_error"]


def test_a_rejected_tool_has_no_execution_and_no_result() -> None:
    with working() as (monitor, receiver):
        with monitor.tool_use("Write", tool_input={"file_path": "/x/y.py"}) as tool:
            tool.decided("reject", source="user_reject")
        monitor.flush()
        assert list(events(receiver)) == ["tool_decision"]
        assert set(spans(receiver)) == {"tool", "tool.blocked_on_user"}
        decision = {"decision": "reject", "source": "user_reject", "tool_name": "Write", "language": "Python"}
        assert receiver.total("claude_code.code_edit_tool.decision", decision) == 1


@pytest.mark.parametrize(
    ("finer", "coarser"),
    [("sdk", "main"), ("repl_main_thread", "main"), ("main", "main"), ("agent:builtin:Explore", "subagent"),
     ("agent:custom", "subagent"), ("subagent", "subagent"), ("compact", "auxiliary"), ("auxiliary", "auxiliary")],
)  # fmt: skip
def test_metrics_have_three_words_for_the_source_of_a_request(finer: str, coarser: str) -> None:
    with working() as (monitor, receiver):
        monitor.record_api_request(MODEL, input_tokens=1, query_source=finer)
        monitor.flush()
        assert receiver.total("claude_code.token.usage", type="input", query_source=coarser) == 1


def test_a_tool_of_an_mcp_server_is_named_on_spans_alone() -> None:
    with working() as (monitor, receiver):
        with monitor.tool_use("mcp__books__search") as tool:
            tool.decided("accept")
        monitor.flush()
        assert {log.attributes["tool_name"] for log in receiver.logs} == {"mcp_tool"}
        span = spans(receiver)["tool"].attributes
        assert (span["tool_name"], span["anthropic.mcp.server.name"]) == ("mcp__books__search", "books")


def test_turns_side_by_side_keep_their_own_prompts() -> None:
    async def turn(monitor: AgentMonitor, barrier: asyncio.Event, number: int) -> None:
        async with monitor.interaction(f"{number}"):
            await barrier.wait()
            monitor.record_api_request(MODEL, input_tokens=number)

    async def both(monitor: AgentMonitor) -> None:
        barrier = asyncio.Event()
        running = [asyncio.create_task(turn(monitor, barrier, number)) for number in (1, 2)]
        await asyncio.sleep(0)
        barrier.set()
        await asyncio.gather(*running)

    with working() as (monitor, receiver):
        asyncio.run(both(monitor))
        monitor.flush()
        by_event: dict[str, list[str]] = {}
        for log in receiver.logs:
            by_event.setdefault(log.event_name, []).append(log.attributes["prompt.id"])
        assert by_event["user_prompt"] == by_event["api_request"]
        assert len(set(by_event["api_request"])) == 2


@pytest.mark.parametrize("bad", [-1, float("nan"), "many", None, True])
def test_an_absurd_count_is_refused_and_counted(bad: Any) -> None:
    with working() as (monitor, receiver):
        monitor.record_api_request(MODEL, input_tokens=bad)
        monitor.flush()
        assert not receiver.logs
        assert monitor.health().dropped == {"invalid_value": 1}


def test_whatever_is_given_nothing_is_raised() -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError("no")

        __repr__ = __str__

    odd: Any = Hostile()
    with working() as (monitor, _):
        with monitor.interaction(odd), monitor.llm_request(odd, query_source=odd, effort=odd) as request:
            request.answered(model=odd, text=odd, stop_reason=odd, request_id=odd, input_tokens=odd)
        with monitor.tool_use(odd, tool_use_id=odd, tool_input=odd) as tool, tool.execution():
            tool.decided(odd, source=odd)
            tool.returned(odd)
            tool.failed(odd)
        monitor.record_api_error(odd, odd, status_code=odd, attempt=odd)
        monitor.record_api_refusal(odd, category=odd)


@pytest.mark.parametrize(
    ("env", "provider", "custom"),
    [
        ({}, "firstParty", False),
        ({"CLAUDE_CODE_USE_BEDROCK": "1"}, "bedrock", False),
        ({"CLAUDE_CODE_USE_VERTEX": "true"}, "vertex", False),
        ({"CLAUDE_CODE_USE_FOUNDRY": "yes"}, "foundry", False),
        ({"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}, "firstParty", True),
    ],
)
def test_the_provider_is_told_as_claude_code_tells_it(env: dict[str, str], provider: str, custom: bool) -> None:
    with working(**env) as (monitor, receiver):
        monitor.record_commit()
        monitor.flush()
        (point,) = [point for point in receiver.metrics if point.metric == "claude_code.commit.count"]
        assert point.attributes["anthropic.provider"] == provider
        assert point.attributes["anthropic.custom_base_url"] is custom


@pytest.mark.parametrize(
    ("remote", "url", "provider"),
    [
        ("https://me:pw@github.com/acme/books.git", "https://github.com/acme/books", "github"),
        ("git@gitlab.com:acme/sub/books.git", "https://gitlab.com/acme/sub/books", "gitlab"),
        ("ssh://git@git.example:2222/acme/books", "https://git.example/acme/books", None),
    ],
)
def test_a_remote_is_told_without_its_user(remote: str, url: str, provider: str | None) -> None:
    found = parse_remote(remote)
    assert (found["vcs.repository.url.full"], found.get("vcs.provider.name")) == (url, provider)
    assert found["vcs.repository.name"] == "books"


@pytest.mark.parametrize("remote", ["", "books", "/srv/books.git", "https://[::1", "https://github.com/"])
def test_what_is_no_remote_tells_nothing(remote: str) -> None:
    assert parse_remote(remote) == {}


def test_the_repository_is_told_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    origin = "https://github.com/acme/books.git"
    subprocess.run(["git", "-C", str(tmp_path), "remote", "add", "origin", origin], check=True)
    monkeypatch.chdir(tmp_path)
    repository_attributes.cache_clear()
    with working(OTEL_METRICS_INCLUDE_REPOSITORY="1") as (monitor, receiver):
        monitor.record_commit()
        monitor.flush()
        assert receiver.total("claude_code.commit.count", {"vcs.owner.name": "acme"}) == 1
    repository_attributes.cache_clear()


def test_the_length_of_a_long_text_is_told_before_any_cut() -> None:
    long = "x" * 300_000
    with working(OTEL_LOG_USER_PROMPTS="1") as (monitor, receiver):
        with monitor.interaction(long), monitor.llm_request(MODEL) as request:
            request.answered(text=long)
        monitor.record_api_error(MODEL, "y" * 1_000)
        monitor.flush()
        found = {name: log.attributes for name, log in events(receiver).items()}
        assert (found["user_prompt"]["prompt_length"], len(found["user_prompt"]["prompt"])) == ("300000", 61_440)
        assert found["assistant_response"]["response_length"] == 300_000
        assert len(found["api_error"]["error"]) == 1_000
        assert spans(receiver)["interaction"].attributes["user_prompt_length"] == 300_000


def test_what_failed_does_not_hold_the_exception() -> None:
    class GoneError(Exception):
        pass

    with working() as (monitor, _):
        request, tool = monitor.llm_request(MODEL), monitor.tool_use("Bash")
        try:
            raise GoneError
        except GoneError as exc:
            seen = weakref.ref(exc)
            with request:
                request.failed(exc)
            with tool:
                tool.failed(exc)
        assert seen() is None
