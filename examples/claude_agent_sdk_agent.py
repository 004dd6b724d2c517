"""An agent on the Claude Agent SDK, instrumented: ``python examples/claude_agent_sdk_agent.py``.

With ``ANTHROPIC_API_KEY`` it asks the real API; without, a fake one in the same program, and the Claude Code that the
SDK brings sees neither settings nor keys of this machine.
"""

import asyncio
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from claude_monitoring import AgentMonitor
from claude_monitoring.integrations.claude_agent_sdk import instrument
from claude_monitoring.receiver import OtlpReceiver
from claude_monitoring.testing.fake_anthropic import FakeAnthropic, ToolUse

try:
    import claude_agent_sdk
except ModuleNotFoundError:
    sys.exit("This example needs the Claude Agent SDK: pip install 'claude-monitoring[claude-agent-sdk]'")

PROMPT = "Write hello.py, a program that prints the numbers from 1 to 3 with three calls of print."


def offline(home: Path, base_url: str) -> dict[str, str]:
    """What to lay over this environment, so that Claude Code knows the fake API alone."""
    foreign = ("ANTHROPIC_", "AWS_", "CLAUDE_", "GOOGLE_")
    return {
        **dict.fromkeys((name for name in os.environ if name.startswith(foreign)), ""),
        **dict.fromkeys(("HOME", "USERPROFILE", "CLAUDE_CONFIG_DIR"), str(home)),
        "ANTHROPIC_BASE_URL": base_url,
        "ANTHROPIC_API_KEY": "dummy",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "NO_PROXY": "127.0.0.1",
    }


async def answer(prompt: str, work: Path, env: dict[str, str]) -> str | None:
    options = claude_agent_sdk.ClaudeAgentOptions(
        model="claude-haiku-4-5", cwd=work, env=env, tools=["Write"], permission_mode="acceptEdits", setting_sources=[]
    )
    said = None
    async for message in claude_agent_sdk.query(prompt=prompt, options=options):
        if isinstance(message, claude_agent_sdk.ResultMessage):
            said = message.result
    return said


def show(receiver: OtlpReceiver) -> None:
    for kind in ("input", "output", "cacheRead", "cacheCreation"):
        print(f"{kind:14}{receiver.total('claude_code.token.usage', type=kind):8g} tokens")
    print(f"{'cost':14}{receiver.total('claude_code.cost.usage'):8.4f} USD")
    print(f"{'added':14}{receiver.total('claude_code.lines_of_code.count', type='added'):8g} lines")
    for tool in sorted({str(one.attributes["tool"]) for one in receiver.metrics if one.metric == "claude.tool.calls"}):
        print(f"{tool:14}{receiver.total('claude.tool.calls', tool=tool):8g} calls")
    print("events:", ", ".join(log.event_name for log in receiver.logs))


def main() -> None:
    with ExitStack() as stack:
        receiver = stack.enter_context(OtlpReceiver())
        work, home = (Path(stack.enter_context(TemporaryDirectory())).resolve() for _ in range(2))
        env: dict[str, str] = {}
        if not os.environ.get("ANTHROPIC_API_KEY"):
            file = {"file_path": str(work / "hello.py"), "content": "print(1)\nprint(2)\nprint(3)"}
            fake = FakeAnthropic(["I write it.", ToolUse("Write", file)], "hello.py is there.")
            env = offline(home, stack.enter_context(fake).base_url)
        monitor = AgentMonitor("writer", export_to_grafana=True, endpoint=receiver.http_endpoint)
        instrument(monitor)
        print(asyncio.run(answer(PROMPT, work, env)))
        print("files:", *(file.name for file in work.iterdir()))
        monitor.close()
        show(receiver)


if __name__ == "__main__":
    main()
