"""``integrations.claude_agent_sdk`` with hosts and programs that do odd things; a transport plays the program."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import subprocess
import sys
import textwrap
import threading
import time
import types
import typing
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import wrapt

from claude_monitoring.integrations.claude_agent_sdk import instrument, uninstrument
from claude_monitoring.receiver import OtlpReceiver
from tests.integration.agent_sdk_played import Played, Watched, assistant, hook, result, text, turn, watched

sdk: Any = pytest.importorskip("claude_agent_sdk")
pytestmark = pytest.mark.any_python  # where the SDK is installed

ONE = 15  # tokens of an answer
NAN, INF = float("nan"), float("inf")


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """It hangs for no longer than 20 s."""
    return asyncio.run(asyncio.wait_for(work, 20))


async def ask(*turns: Any, **more: Any) -> list[Any]:
    """The messages of a query."""
    return [one async for one in sdk.query(prompt="go", transport=Played(*turns), **more)]


async def talk(client: Any, *prompts: str) -> list[Any]:
    """The messages of a client that is connected."""
    messages: list[Any] = []
    for prompt in prompts:
        await client.query(prompt)
        messages += [one async for one in client.receive_response()]
    return messages


def turns(count: int) -> list[list[Any]]:
    """So many, of one answer each."""
    return [turn(number=number + 1) for number in range(count)]


async def converse(client: Any, count: int = 1) -> None:
    """Connect, take turns, disconnect."""
    async with client:
        await talk(client, *["go"] * count)


# -- instrumented more than once, or in the middle ---------------------------------------------------


def test_instrumented_twice_counts_once_and_undone_twice_leaves_nothing() -> None:
    before = {**vars(sdk.ClaudeSDKClient), "sdk.query": sdk.query}
    uninstrument()
    with watched() as seen:
        instrument(seen.monitor)
        run(ask(turn()))
        uninstrument()
        run(ask(turn()))
        instrument(seen.monitor)
        run(converse(sdk.ClaudeSDKClient(transport=Played(turn()))))
        assert seen.tokens() == 2 * ONE
    uninstrument()
    assert {**vars(sdk.ClaudeSDKClient), "sdk.query": sdk.query} == before


def test_a_session_under_way_is_told_to_its_end_and_then_nothing_is_left() -> None:
    before = dict(vars(sdk.ClaudeSDKClient))

    async def work() -> None:
        async with sdk.ClaudeSDKClient(transport=Played(*turns(3))) as client:
            await talk(client, "go")
            uninstrument()
            await talk(client, "go", "go")

    with watched() as seen:
        run(work())
        assert seen.tokens() == 3 * ONE
        assert dict(vars(sdk.ClaudeSDKClient)) == before


@pytest.mark.parametrize("name", ["query", "ask"])
def test_a_module_that_has_query_by_any_name_already_is_covered(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host: Any = types.ModuleType("host_of_query")
    setattr(host, name, sdk.query)
    monkeypatch.setitem(sys.modules, "host_of_query", host)

    async def work() -> None:
        assert [one async for one in getattr(host, name)(prompt="go", transport=Played(turn()))]

    with watched() as seen:
        run(work())
        assert seen.tokens() == ONE
    assert getattr(host, name) is sdk.query


def test_a_module_that_loads_on_use_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy(types.ModuleType):
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(f"loaded for {name}")

    monkeypatch.setitem(sys.modules, "lazy_module", Lazy("lazy_module"))
    with watched() as seen:
        run(ask(turn()))
        assert seen.tokens() == ONE


def test_a_wrapper_around_ours_stays_and_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def through(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    with watched() as seen:
        ours = sdk.query
        monkeypatch.setattr(sdk, "query", wrapt.FunctionWrapper(ours, through))
        uninstrument()
        run(ask(turn()))
        assert seen.tokens() == 0
        instrument(seen.monitor)
        run(ask(turn()))
        run(converse(sdk.ClaudeSDKClient(transport=Played(turn()))))
        assert seen.tokens() == 2 * ONE
    monkeypatch.undo()  # which puts our own wrapper back
    assert sdk.query is ours
    with watched() as seen:
        run(ask(turn()))
        assert seen.tokens() == ONE
    assert not isinstance(sdk.query, wrapt.ObjectProxy)


def test_what_somebody_made_of_query_keeps_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    original = sdk.query

    class Answers:
        extra = 7

        def __init__(self, **given: Any) -> None:
            self.inner = original(**given)

        def __aiter__(self) -> AsyncIterator[Any]:
            found: AsyncIterator[Any] = aiter(self.inner)
            return found

    monkeypatch.setattr(sdk, "query", Answers)

    async def work() -> None:
        answers = sdk.query(prompt="go", transport=Played(turn()))
        assert isinstance(answers, Answers)
        assert answers.extra == 7
        assert len([one async for one in answers]) == 2

    with watched() as seen:
        run(work())
        assert seen.tokens() == ONE


# -- the host's own ----------------------------------------------------------------------------------


def test_the_hosts_options_hooks_and_types_are_untouched() -> None:
    called = []

    async def stopped(given: Any, *_: Any) -> dict[str, Any]:
        called.append(given["hook_event_name"])
        return {}

    async def can_use_tool(*_: Any) -> Any:
        return None

    hooks = {"Stop": [sdk.HookMatcher(hooks=[stopped])]}
    options = sdk.ClaudeAgentOptions(hooks=hooks, env={"A": "b"}, can_use_tool=can_use_tool)
    before = {name: dict(it) if isinstance(it, dict) else it for name, it in vars(options).items()}

    async def prompts() -> AsyncIterator[dict[str, Any]]:
        yield {"type": "user", "message": {"role": "user", "content": "go"}}

    async def work() -> None:
        messages = sdk.query(prompt=prompts(), options=options, transport=Played(turn()))
        assert inspect.isasyncgen(messages)
        async with aclosing(messages) as inside:
            kinds = [type(one) async for one in inside]
        assert kinds == [sdk.AssistantMessage, sdk.ResultMessage]
        async with sdk.ClaudeSDKClient(options, transport=Played(turn())) as client:
            assert client.options is options
            await talk(client, "go")

    with watched() as seen:
        run(work())
        assert inspect.isasyncgenfunction(sdk.query)
        assert inspect.iscoroutinefunction(sdk.ClaudeSDKClient.connect)
        assert list(inspect.signature(sdk.query).parameters) == ["prompt", "options", "transport"]
        assert seen.tokens() == 2 * ONE
    assert vars(options) == before
    assert len(hooks["Stop"]) == 1
    assert called == ["Stop", "Stop"]


def test_a_subclass_without_a_hash_that_overrides_everything_is_covered() -> None:
    @dataclass
    class Mine(sdk.ClaudeSDKClient):  # type: ignore[misc]
        name: str = "mine"

        def __post_init__(self) -> None:
            super().__init__(transport=Played(*turns(2)))

        async def connect(self, prompt: Any = None) -> None:
            await super().connect(prompt)

        async def query(self, prompt: Any, session_id: str = "mine") -> None:
            await super().query(prompt, session_id)

        async def receive_messages(self) -> AsyncIterator[Any]:
            async for message in super().receive_messages():
                yield message

    with watched() as seen:
        run(converse(Mine(), 2))
        assert seen.tokens() == 2 * ONE
        assert seen.total("claude_code.session.count") == 1


def test_a_proxy_of_a_client_is_covered() -> None:
    with watched() as seen:
        client: Any = wrapt.ObjectProxy(sdk.ClaudeSDKClient(transport=Played(turn())))

        async def work() -> None:  # without `async with`: wrapt's oldest proxies don't pass it on
            await client.connect()
            await talk(client, "go")
            await client.disconnect()

        run(work())
        assert seen.tokens() == ONE


def test_a_client_that_connects_anew_is_a_new_session() -> None:
    client = sdk.ClaudeSDKClient(transport=Played(turn()))

    async def work() -> None:
        await converse(client)
        client._custom_transport = Played(turn())
        await converse(client)

    with watched() as seen:
        run(work())
        assert seen.tokens() == 2 * ONE
        assert seen.total("claude_code.session.count") == 2


def error_of(*steps: Any) -> tuple[type[BaseException], str]:
    """How a query ends of which the program says only so much."""
    with pytest.raises(Exception, match=r".") as caught:
        run(ask([hook("UserPromptSubmit", prompt="go"), assistant(), *steps]))
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize("step", [ConnectionError("gone"), {"no": "type"}, {"type": "assistant"}])
def test_a_stream_that_breaks_raises_what_it_would_without_us(step: Any) -> None:
    expected = error_of(step)
    with watched() as seen:
        assert error_of(step) == expected
        assert seen.tokens() == ONE


def test_a_timeout_in_the_middle_is_a_timeout() -> None:
    async def work() -> None:
        steps = [hook("UserPromptSubmit", prompt="go"), assistant()]
        messages = sdk.query(prompt="go", transport=Played(steps, stays=True))
        await anext(messages)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(messages), 0.05)
        with pytest.raises(StopAsyncIteration):
            await anext(messages)

    with watched() as seen:
        run(work())
        assert seen.tokens() == ONE


def test_a_generator_that_is_used_wrongly_goes_on() -> None:
    async def work() -> None:
        messages = sdk.query(prompt="go", transport=Played(turn(assistant(), assistant(), number=2)))
        with pytest.raises(TypeError, match="just-started"):
            await messages.asend(1)
        assert len([one async for one in messages]) == 3

    with watched() as seen:
        run(work())
        assert seen.tokens() == 2 * ONE


def test_telemetry_that_is_off_touches_nothing() -> None:
    options = sdk.ClaudeAgentOptions()

    async def work() -> None:
        transport = Played(turn())
        messages = sdk.query(prompt="go", options=options, transport=transport)
        assert messages.__name__ == "query"
        assert len([one async for one in messages]) == 2
        assert transport.hooks == {}

    with watched(enabled=False, export_to_grafana=False):
        run(work())


def test_a_monitor_that_is_closed_in_the_middle_takes_no_more() -> None:
    async def work(seen: Watched) -> None:
        async with sdk.ClaudeSDKClient(transport=Played(*turns(2))) as client:
            await talk(client, "go")
            seen.monitor.close()
            assert len(await talk(client, "go")) == 2

    with watched() as seen:
        run(work(seen))
        assert seen.otlp.total("claude_code.token.usage") <= ONE


def test_a_consumer_that_is_slow_has_each_answer_counted_once() -> None:
    async def work() -> None:
        answers = [assistant() for _ in range(20)]
        async for _ in sdk.query(prompt="go", transport=Played(turn(*answers, number=20))):
            await asyncio.sleep(0.05)

    with watched() as seen:
        run(work())
        assert seen.tokens() == 20 * ONE


def test_threads_and_tasks_at_the_same_time_are_told_apart() -> None:
    async def two() -> None:
        await asyncio.gather(ask(turn()), ask(turn()))

    with watched() as seen:
        beside = threading.Thread(target=run, args=(two(),))
        beside.start()
        run(two())
        beside.join()
        assert seen.tokens() == 4 * ONE
        assert seen.total("claude_code.session.count") == 4


def test_each_turn_is_below_the_span_around_its_prompt_whatever_commands_come_between() -> None:
    said = [turn(prompt="a"), [result(1)], turn(prompt="b", number=2)]

    async def work(seen: Watched) -> None:
        async with sdk.ClaudeSDKClient(transport=Played(*said)) as client:
            for prompt in ("a", "/compact", "b"):
                with seen.monitor.span(prompt):
                    await talk(client, prompt)

    with watched() as seen:
        run(work(seen))
        seen.monitor.flush()
        names = {span.span_id: span.name for span in seen.otlp.spans}
        turns_ = [span for span in seen.otlp.spans if span.name == "claude_code.interaction"]
        assert [names[span.parent_span_id] for span in turns_] == ["a", "b"]


# -- odd words ---------------------------------------------------------------------------------------


def test_a_hook_that_the_sdk_does_not_have_is_one_line_and_the_rest_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sdk.types, "HookEvent", typing.Literal["UserPromptSubmit", "Stop"])
    with watched() as seen:
        run(ask(turn()))
        run(ask(turn()))
        assert seen.tokens() == 2 * ONE
    lines = [one.getMessage() for one in caplog.records if "has no hook" in one.getMessage()]
    assert len(lines) == len(set(lines)) == 5


USAGES = [
    None, [], "x", {}, {"input_tokens": -1, "output_tokens": 5}, {"input_tokens": NAN, "output_tokens": INF},
    {"input_tokens": "7"}, {"input_tokens": True}, {"cache_creation": 3}, {"input_tokens": 10**400},
]  # fmt: skip


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("usage", USAGES, ids=str)
def test_usage_of_any_kind_is_made_good_by_the_result(usage: Any, strict: bool) -> None:
    with watched(strict=strict) as seen:
        run(ask(turn(assistant(usage=usage))))
        assert seen.tokens() == ONE


MODEL = "claude-sonnet-4-5"
TOTALS = [
    None, [], "x", {MODEL: None}, {MODEL: {"inputTokens": -1, "costUSD": NAN}},
    {MODEL: {"inputTokens": INF, "costUSD": INF}}, {MODEL: {"inputTokens": 10**30, "costUSD": 1e300}},
    {MODEL: {"inputTokens": 10**400}}, {"": {"inputTokens": 5}}, {5: {"inputTokens": 5}},
]  # fmt: skip


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("total", TOTALS, ids=str)
def test_totals_of_any_kind_never_count_an_answer_twice(total: Any, strict: bool) -> None:
    first, second = turns(2)
    first[-1]["modelUsage"] = total
    with watched(strict=strict) as seen:
        run(converse(sdk.ClaudeSDKClient(transport=Played(first, second)), 2))
        assert seen.total("claude_code.token.usage", model=MODEL) == 2 * ONE


def test_answers_that_all_have_the_same_id_are_all_counted() -> None:
    said = [turn(assistant(id="same"), number=number + 1) for number in range(3)]
    with watched() as seen:
        run(converse(sdk.ClaudeSDKClient(transport=Played(*said)), 3))
        assert seen.tokens() == 3 * ONE


def test_hooks_and_messages_of_any_form_are_survived() -> None:
    edit = {"tool_name": "Edit", "tool_use_id": "t1", "tool_input": {"file_path": 5}}
    write = {"tool_name": "Write", "tool_use_id": "t2", "tool_input": {"file_path": 5}}
    odd: list[Any] = [
        hook("PreToolUse", tool_name=None, tool_use_id=None, tool_input=[1]),
        hook("PreToolUse"),
        hook("PostToolUse", tool_use_id="unheard of", duration_ms="x"),
        hook("PostToolUse", tool_use_id=None, duration_ms=NAN),
        hook("SubagentStart"),
        hook("SubagentStart", agent_id=5, agent_type=None),
        hook("SubagentStop", agent_id=5),
        hook("SubagentStop"),
        hook("PreToolUse", **edit),
        hook("PostToolUse", **edit, tool_response={"structuredPatch": [{"lines": [1, None]}, 4]}, duration_ms=-5),
        hook("PreToolUse", **write),
        hook("PostToolUse", **write, tool_response={"structuredPatch": 5, "originalFile": 3}, duration_ms=1e300),
        hook("PreToolUse", tool_name="Bash", tool_use_id="t3", tool_input={"command": 5}),
        hook("PostToolUseFailure", tool_name="Bash", tool_use_id="t3", error=None),
        hook("Stop", last_assistant_message=5),
        {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "t3", "content": {"a": 1}}]}},
        {"type": "user", "message": {"content": [{"type": "hologram"}]}},
        {"type": "user", "message": {"content": None}},
        {"type": "assistant", "message": {"model": None, "content": [{"type": "tool_use", **dict.fromkeys(TOOL)}]}},
        {"type": "hologram"},
        {"type": "system", "subtype": "init", "session_id": 4, "model": 5},
        assistant(text(None), {"type": "hologram"}),
    ]
    with watched() as seen:
        run(ask(turn(*odd)))
        assert seen.tokens() == ONE
        assert [seen.total("claude.tool.calls", tool=name) for name in ("Edit", "Write", "Bash")] == [1, 1, 1]


TOOL = ("id", "name", "input")


def test_the_hosts_own_price_is_not_set_right_by_the_programs() -> None:
    with watched(prices={MODEL: {"input": 1, "output": 1}}) as seen:
        run(ask(turn()))
        assert seen.total("claude_code.cost.usage") == pytest.approx(ONE / 1e6)


def test_a_session_without_a_transcript_keeps_up_with_fast_turns() -> None:
    from claude_monitoring.integrations import claude_agent_sdk as ours

    async def work() -> int:
        async with sdk.ClaudeSDKClient(transport=Played(*turns(100))) as client:
            await talk(client, *["go"] * 100)
            ((session, _),) = ours._sessions.values()
            return len(session._steps.queue)

    with watched() as seen:
        assert run(work()) < 10
        assert seen.tokens() == 100 * ONE


# -- the end -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_tells_nothing_of_its_parents_session() -> None:
    async def work(seen: Watched) -> None:
        client = sdk.ClaudeSDKClient(transport=Played(turn()))
        await client.connect()
        await client.query("go")
        messages = client.receive_response()
        await anext(messages)
        child = os.fork()
        if child == 0:
            try:
                from claude_monitoring.integrations import claude_agent_sdk as ours

                for session, _ in list(ours._sessions.values()):
                    session.finish()
                seen.monitor.flush()
            finally:
                os._exit(0)
        os.waitpid(child, 0)  # noqa: ASYNC222 - nothing else is to happen meanwhile
        assert len([one async for one in messages]) == 1
        await client.disconnect()

    with watched() as seen:
        run(work(seen))
        assert seen.tokens() == ONE


def test_all_is_told_when_the_generator_ends_even_if_a_thread_is_about_to(monkeypatch: pytest.MonkeyPatch) -> None:
    from claude_monitoring.integrations._agent_session import AgentSession

    read = AgentSession._read_transcripts

    def slow(session: AgentSession) -> None:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.4)
        read(session)

    monkeypatch.setattr(AgentSession, "_read_transcripts", slow)
    with watched() as seen:
        run(ask([*turn(), 0.3]))
        assert seen.tokens() == ONE


PROGRAM = """
import asyncio, sys
sys.path.insert(0, {root!r})
import claude_agent_sdk as sdk
from claude_monitoring import AgentMonitor
from claude_monitoring.integrations.claude_agent_sdk import instrument
from tests.integration.agent_sdk_played import Played, turn

instrument(AgentMonitor("backend", enabled=True, endpoint={endpoint!r}, protocol="http/json", export_to_grafana=True))
kept = []

async def main():
{body}

asyncio.run(main())
"""
ENDS = {
    "right after the result": """
        async for message in sdk.query(prompt="go", transport=Played(turn())):
            if isinstance(message, sdk.ResultMessage):
                return
    """,
    "by sys.exit": """
        async for message in sdk.query(prompt="go", transport=Played(turn())):
            if isinstance(message, sdk.ResultMessage):
                sys.exit(0)
    """,
    "with a generator that is kept": """
        kept.append(sdk.query(prompt="go", transport=Played(turn())))
        await anext(kept[0])
    """,
    "with a client that was never disconnected": """
        kept.append(sdk.ClaudeSDKClient(transport=Played(turn(), stays=True)))
        await kept[0].connect()
        await kept[0].query("go")
        async for message in kept[0].receive_response():
            pass
    """,
}


@pytest.mark.parametrize("name", ENDS)
def test_a_process_that_ends_so_has_told_all(name: str) -> None:
    with OtlpReceiver(grpc=False) as otlp:
        body = textwrap.indent(textwrap.dedent(ENDS[name]), "    ")
        code = PROGRAM.format(root=str(Path(__file__).parents[2]), endpoint=otlp.http_endpoint, body=body)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert otlp.total("claude_code.token.usage") == ONE


def growth(count: int, steps: Callable[[int], list[Any]]) -> dict[str, int]:
    """What is kept of a client after so many turns, by what it is."""
    from claude_monitoring.integrations._agent_items import Actor, Item, ToolCall

    async def work() -> dict[str, int]:
        said = [turn(*steps(number), number=number + 1) for number in range(count)]
        async with sdk.ClaudeSDKClient(transport=Played(*said)) as client:
            await talk(client, *["go"] * count)
            gc.collect()
            found = gc.get_objects()
            kinds: tuple[type, ...] = (ToolCall, Actor)  # type(one): __class__ of somebody's lazy proxy may raise
            of = {kind.__name__: sum(type(one) is kind for one in found) for kind in kinds}
            return {**of, "text": sum(len(getattr(one, "text", "")) for one in found if issubclass(type(one), Item))}

    with watched():
        kept: dict[str, int] = run(work())
        return kept


def test_a_long_conversation_keeps_neither_texts_nor_calls() -> None:
    def steps(number: int) -> list[Any]:
        name = f"toolu_{number}"
        call = {"tool_name": "Bash", "tool_use_id": name, "tool_input": {"command": "true"}}
        asks = assistant({"type": "tool_use", "id": name, "name": "Bash", "input": {}}, usage=None)
        denied = number % 2
        done = [] if denied else [hook("PostToolUse", **call)]
        return [asks, hook("PreToolUse", **call), *done, assistant(text("x" * 1000))]

    kept = growth(100, steps)
    assert kept["ToolCall"] < 10
    assert kept["text"] < 10_000
