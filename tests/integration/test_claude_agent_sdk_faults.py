"""``integrations.claude_agent_sdk`` where things go wrong, beside the real Claude Code, which reports it too."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from claude_monitoring.testing.fake_anthropic import Answer, ApiError, Drop, FakeAnthropic, Thinking, ToolUse, Usage
from tests.integration.agent_sdk import OURS, THEIRS, Stage, events, stage, sums
from tests.integration.story import ANSWER_USD, MODEL, TOKENS, from_subagent
from tests.integration.test_claude_agent_sdk import is_old

pytestmark = pytest.mark.slow  # and one interpreter has the program

Scripted = Callable[[FakeAnthropic, Path], None]


def bash(command: str, **more: Any) -> ToolUse:
    """A command."""
    return ToolUse("Bash", {"command": command, "description": "run", **more})


def of_main(request: Any) -> bool:
    """Whether the main agent asks."""
    return not from_subagent(request)


def says(*answers: Any) -> Scripted:
    """The main agent's answers."""
    return lambda api, _: api.answer(*answers, when=of_main)


async def asks(prompt: str, options: Any) -> list[Any]:
    """All messages of a ``query``; an error that ends it is the last."""
    import claude_agent_sdk

    messages: list[Any] = []
    try:
        async for message in claude_agent_sdk.query(prompt=prompt, options=options):
            messages.append(message)  # noqa: PERF401 - those before an error count
    except Exception as exc:  # noqa: BLE001 - the program failed, as it should
        messages.append(exc)
    return messages


async def talks(options: Any, *prompts: str) -> list[Any]:
    """All messages of a client."""
    from claude_agent_sdk import ClaudeSDKClient

    messages: list[Any] = []
    async with ClaudeSDKClient(options) as client:
        for prompt in prompts:
            await client.query(prompt)
            messages += [message async for message in client.receive_response()]
    return messages


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for it."""
    while not is_so():  # noqa: ASYNC110 - another program has to do it
        await asyncio.sleep(0.01)


def hooked(answer: dict[str, Any]) -> dict[str, Any]:
    """Options with a hook before each tool that answers so."""
    from claude_agent_sdk import HookMatcher

    async def before(*_: Any) -> Any:
        return {"hookSpecificOutput": {"hookEventName": "PreToolUse", **answer}}

    return {"hooks": {"PreToolUse": [HookMatcher(hooks=[before])]}}


def asked(behavior: str, **more: Any) -> dict[str, Any]:
    """Options with a ``can_use_tool`` that answers so."""
    from claude_agent_sdk import PermissionResultAllow, PermissionResultDeny

    async def can_use_tool(*_: Any) -> Any:
        return PermissionResultAllow(**more) if behavior == "allow" else PermissionResultDeny(message="no", **more)

    return {"can_use_tool": can_use_tool, "permission_mode": "default"}


def failing_server() -> dict[str, Any]:
    """Options with a server of tools in this process, one of which fails."""
    from claude_agent_sdk import create_sdk_mcp_server, tool

    @tool("good", "does", {"a": int})
    async def good(_: Any) -> dict[str, Any]:
        return {"content": [{"type": "text", "text": "done"}]}

    @tool("bad", "fails", {"a": int})
    async def bad(_: Any) -> dict[str, Any]:
        raise ValueError("broken")

    return {"mcp_servers": {"own": create_sdk_mcp_server("own", tools=[good, bad])}}


def agents() -> dict[str, Any]:
    """Options with a subagent of the user's own."""
    from claude_agent_sdk import AgentDefinition

    return {"agents": {"reviewer": AgentDefinition(description="reviews", prompt="Review.")}}


def task(kind: str = "general-purpose", background: bool = False, **more: Any) -> ToolUse:
    """A subagent."""
    given = {"description": "look", "prompt": "Look at it.", "subagent_type": kind, **more}
    return ToolUse("Agent", given if background else {**given, "run_in_background": False})


def subagents(*main: Any, of_subagent: tuple[Any, ...]) -> Scripted:
    """The answers of the main agent, and those of subagents, which may come in any order."""

    def script(api: FakeAnthropic, _: Path) -> None:
        api.answer(*of_subagent, when=from_subagent)
        api.answer(*main, when=of_main)

    return script


def edits(api: FakeAnthropic, work: Path) -> None:
    """An edit of text that is not there, and one that is."""
    path = str(work / "a.py")
    api.answer(
        ToolUse("Write", {"file_path": path, "content": "a = 1\n"}),
        ToolUse("Edit", {"file_path": path, "old_string": "b = 1\n", "new_string": "c = 1\n"}),
        ToolUse("Edit", {"file_path": path, "old_string": "a = 1\n", "new_string": "a = 2\nb = 3\n"}),
        ToolUse("Write", {"file_path": path, "content": "z = 1\ny = 2\n"}),
        "Done.",
    )


@dataclass
class Case:
    """What happens, and by which options."""

    script: Scripted
    options: Callable[[], dict[str, Any]] = dict
    env: dict[str, str] = field(default_factory=dict)
    prompts: tuple[str, ...] = ("go",)
    client: bool = False
    without: tuple[str, ...] = ()
    """Attributes of metrics that differ."""
    untold: dict[str, int] = field(default_factory=dict)
    """Events that the program alone reports."""
    why: str = ""


CASES = {
    "denied by a rule": Case(
        says(bash("rm x"), "Done."), lambda: {"settings": '{"permissions": {"deny": ["Bash(rm:*)"]}}'}
    ),
    "denied by a hook": Case(says(bash("ls"), "Done."), lambda: hooked({"permissionDecision": "deny"})),
    "changed by a hook": Case(
        says(bash("true"), "Done."),
        lambda: hooked(
            {
                "permissionDecision": "allow",
                "updatedInput": {"command": "git commit -q --allow-empty -m x", "description": "x"},
            }
        ),
    ),
    "denied by can_use_tool": Case(says(bash("touch x"), "Done."), lambda: asked("deny")),
    "denied by can_use_tool, and over": Case(says(bash("touch x"), "Done."), lambda: asked("deny", interrupt=True)),
    "allowed by can_use_tool": Case(says(bash("touch x"), "Done."), lambda: asked("allow")),
    "changed by can_use_tool": Case(
        says(bash("touch x"), "Done."),
        lambda: asked("allow", updated_input={"command": "git commit -q --allow-empty -m x", "description": "x"}),
    ),
    "unknown tool": Case(says(ToolUse("Nope", {"a": 1}), "Done.")),
    "wrong input": Case(says(ToolUse("Bash", {"nothing": 1}), "Done.")),
    "edits": Case(edits),
    "parallel tools": Case(says(["Three.", bash("echo 1"), bash("false"), bash("echo 3")], "Done.")),
    "tools in process": Case(
        says([ToolUse("mcp__own__good", {"a": 1}), ToolUse("mcp__own__bad", {"a": 1})], "Done."),
        failing_server,
        without=("mcp_server.name", "mcp_tool.name"),
        why="we do not say which request took a result of MCP",
    ),
    "a subagent with tools": Case(subagents(task(), "Done.", of_subagent=(bash("echo 1"), bash("false"), "Looked."))),
    "two subagents": Case(
        subagents([task(), task("Explore")], "Done.", of_subagent=(bash("echo 1"), bash("echo 2"), "A.", "B.")),
    ),
    "two subagents of a kind": Case(
        subagents([task(), task()], "Done.", of_subagent=(bash("echo 1"), bash("echo 2"), "A.", "B."))
    ),
    "a subagent in the background": Case(
        subagents(task(background=True), "Waiting.", "Done.", of_subagent=(bash("echo 1"), "Looked.")),
    ),
    "a subagent of the user's own": Case(
        subagents(task("reviewer"), "Done.", of_subagent=(bash("echo 1"), "Looked.")), agents
    ),
    "effort": Case(says(bash("echo 1"), "Done."), lambda: {"model": "claude-opus-4-8", "effort": "high"}),
    "unknown model": Case(
        says(bash("echo 1"), "Done."),
        lambda: {"model": "nobodys-model-9"},
        without=("effort",),
        why="only the program has a price for it: the result's cost is told at the end of the turn",
    ),
    "another model answers": Case(
        says(Answer([bash("echo 1")], model="nobodys-model-9"), "Done."),
        without=("model",),
        why="the program counts under the name that it asked for, we under the answer's",
    ),
    "long context": Case(says("Done."), lambda: {"model": f"{MODEL}[1m]"}),
    "thinking": Case(says([Thinking("Hm."), "So.", bash("echo 1")], [Thinking("Hm."), "Done."])),
    "cache for an hour": Case(says(Answer("Done.", usage=Usage(cache_creation_1h_tokens=700)))),
    "no usage": Case(says(Answer([bash("echo 1")], usage=None), "Done.")),
    "unknown block": Case(says([{"type": "hologram", "data": 1}, "Well."])),
    "bad request": Case(says(bash("echo 1"), ApiError(400))),
    "overloaded to the end": Case(
        says(bash("echo 1"), ApiError(529), ApiError(529)), env={"CLAUDE_CODE_MAX_RETRIES": "1"}
    ),
    "no connection": Case(says(bash("echo 1"), Drop(), Drop()), env={"CLAUDE_CODE_MAX_RETRIES": "1"}),
    "too many turns": Case(says(bash("echo 1"), bash("echo 2"), bash("echo 3"), "Done."), lambda: {"max_turns": 2}),
    "compact": Case(
        says("One.", "Summary.", "Two."),
        prompts=("one", "/compact", "two"),
        client=True,
        untold={
            "claude_code.user_prompt": 1,
            "claude_code.api_request": 2,
            "claude_code.assistant_response": 2,
            "claude_code.compaction": 1,
        },
        why="no hook tells of the program's own commands, and no transcript of their requests: the result does",
    ),
    "clear": Case(
        says("One.", "Two."),
        prompts=("one", "/clear", "two"),
        client=True,
        untold={"claude_code.user_prompt": 1},
        why="as for /compact",
    ),
    "partial messages": Case(says(bash("echo 1"), "Done."), lambda: {"include_partial_messages": True}),
    "three turns": Case(says("One.", bash("echo 2"), "Two.", "Three."), prompts=("1", "2", "3"), client=True),
    "no transcript": Case(
        says(bash("echo 1"), bash("false"), "Done."), lambda: {"extra_args": {"no-session-persistence": None}}
    ),
    "no transcript, many turns": Case(
        says("One.", bash("echo 2"), "Two.", "Three."),
        lambda: {"extra_args": {"no-session-persistence": None}},
        prompts=("1", "2", "3"),
        client=True,
    ),
}


NEW = {
    "tools in process": "this version of the SDK goes with an older mcp",
    "cache for an hour": "the program took no more for it then",
}


def told(made: Stage, who: str, without: tuple[str, ...] = ()) -> dict[Any, Any]:
    """The sums of one side; active time differs by itself."""
    found: Counter[Any] = Counter()
    for (name, pairs), value in sums(made.otlp, who).items():
        kept = tuple((key, it) for key, it in pairs if key not in without)
        if "active_time" not in name:
            found[name, kept if not is_old() or "lines" not in name else ()] += value
    return dict(found)


def near(given: dict[Any, float]) -> dict[Any, Any]:
    """Equal to 1e-9."""
    return {key: pytest.approx(value, abs=1e-9) for key, value in given.items()}


PLAIN = Case(says())


def assert_equal(made: Stage, case: Case = PLAIN) -> None:
    """Both sides tell the same."""
    made.monitor.flush()
    assert told(made, OURS, case.without) == near(told(made, THEIRS, case.without)), case.why
    names = [Counter(str(one.body) for one in events(made.otlp, who)) for who in (THEIRS, OURS)]
    assert is_old() or names[1] + Counter(case.untold) == names[0], case.why


@pytest.mark.parametrize("name", CASES)
def test_what_is_told_is_what_the_program_tells(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    if is_old() and name in NEW:
        pytest.skip(NEW[name])
    with stage(tmp_path) as made:
        case.script(made.api, made.claude.work)
        options = made.options(env={**made.environ, **case.env}, **case.options())
        asyncio.run(talks(options, *case.prompts) if case.client else asks(case.prompts[0], options))
        assert_equal(made, case)


def test_usage_that_can_not_be_is_left_out_and_the_rest_counted(tmp_path: Path) -> None:
    usage = {"input_tokens": -5, "output_tokens": 10**12}
    with stage(tmp_path) as made:
        made.api.answer(Answer([bash("echo 1")], usage=usage), "Done.")
        asyncio.run(asks("go", made.options()))
        assert made.total("claude_code.token.usage") == sum(TOKENS.values())
        assert made.total("claude_code.cost.usage") == pytest.approx(ANSWER_USD, abs=1e-9)


def test_a_transcript_with_rubbish_in_it_changes_nothing(tmp_path: Path) -> None:
    from claude_agent_sdk import HookMatcher

    rubbish = [
        b'\xff\xfe{"assistant"',
        b'{"type": "assistant", "timestamp": "9", "message": {"id": 5, "content": [5, {"type": "tool_use"}]}}',
        b'{"type": "assistant", "timestamp": "9", "message": 7}',
        b'{"tool_result":' + b"[" * 100_000,
        b'"assistant"' + b"x" * 5_000_000,
        b'{"type": "assis',
    ]

    async def spoil(given: Any, *_: Any) -> Any:
        with Path(given["transcript_path"]).open("ab") as file:  # noqa: ASYNC230
            file.write(b"\n".join(rubbish))
        return {}

    with stage(tmp_path) as made:
        made.api.answer(bash("echo 1"), bash("echo 2"), "Done.")
        hooks = {"PreToolUse": [HookMatcher(hooks=[spoil])]}
        asyncio.run(asks("go", made.options(env=made.environ, hooks=hooks)))
        assert_equal(made)


def test_a_tool_that_is_interrupted_was_accepted_and_failed(tmp_path: Path) -> None:
    async def work(options: Any) -> None:
        from claude_agent_sdk import AssistantMessage, ClaudeSDKClient

        async with ClaudeSDKClient(options) as client:
            await client.query("go")
            async for message in client.receive_response():
                if isinstance(message, AssistantMessage):
                    await until((tmp_path / "work" / "begun").exists)
                    await client.interrupt()
            await client.query("again")
            assert [one async for one in client.receive_response()]

    with stage(tmp_path) as made:
        made.api.answer(bash("touch begun; sleep 20"), "Done.")
        asyncio.run(work(made.options(env=made.environ)))
        assert_equal(made)
        (ours,) = (one for one in events(made.otlp, OURS) if one.body == "claude_code.tool_decision")
        assert is_old() or ours.attributes["decision"] == "accept"  # the old one tells it as it does a refusal


def test_many_at_once_are_told_apart(tmp_path: Path) -> None:
    async def work(options: Any) -> None:
        await asyncio.gather(asks("a", options), asks("b", options), talks(options, "c", "d"))

    with stage(tmp_path) as made:
        asyncio.run(work(made.options(env=made.environ)))
        assert_equal(made)
        assert made.total("claude_code.session.count") == 3


def test_trio_is_as_good(tmp_path: Path) -> None:
    trio = pytest.importorskip("trio")
    with stage(tmp_path) as made:
        made.api.answer(bash("echo 1"), "Done.")
        trio.run(asks, "go", made.options(env=made.environ))
        assert_equal(made)


def test_messages_that_nobody_takes_are_counted(tmp_path: Path) -> None:
    async def work(made: Stage) -> None:
        from claude_agent_sdk import ClaudeSDKClient

        async with ClaudeSDKClient(made.options(env=made.environ)) as client:
            await client.query("go")
            transcript = made.claude.home / ".claude"
            await until(lambda: any("Done." in one.read_text() for one in transcript.rglob("*.jsonl")))

    with stage(tmp_path) as made:
        made.api.answer(bash("echo 1"), "Done.")
        asyncio.run(work(made))
        assert_equal(made)


def test_another_model_from_the_middle_on_is_told_as_it_is(tmp_path: Path) -> None:
    async def work(options: Any) -> None:
        from claude_agent_sdk import ClaudeSDKClient

        async with ClaudeSDKClient(options) as client:
            for model in (MODEL, "claude-haiku-4-5"):
                await client.set_model(model)
                await client.query("go")
                assert [one async for one in client.receive_response()]

    with stage(tmp_path) as made:
        asyncio.run(work(made.options(env=made.environ)))
        assert_equal(made)


@pytest.mark.parametrize(("kind", "answers"), [("AssistantMessage", 1), ("UserMessage", 1), ("ResultMessage", 3)])
def test_who_leaves_early_and_closes_at_once_has_all_of_it_counted_once(
    kind: str, answers: int, tmp_path: Path
) -> None:
    async def work(options: Any) -> None:
        import claude_agent_sdk

        async for message in claude_agent_sdk.query(prompt="go", options=options):
            if type(message).__name__ == kind:
                return

    with stage(tmp_path) as made:
        made.api.answer(bash("echo 1"), bash("sleep 1"), "Done.")
        asyncio.run(work(made.options()))
        made.monitor.close()
        assert made.total("claude_code.token.usage", type="input") == answers * TOKENS["input"]
        assert made.total("claude_code.session.count") == 1
