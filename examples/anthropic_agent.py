"""An agent on Anthropic's SDK, instrumented: ``python examples/anthropic_agent.py``.

With ``ANTHROPIC_API_KEY`` it asks the real API; without, a fake one in the same program.
"""

import os
from contextlib import ExitStack
from typing import Any

import anthropic

from claude_monitoring import AgentMonitor
from claude_monitoring.integrations.anthropic import instrument
from claude_monitoring.receiver import OtlpReceiver
from claude_monitoring.testing.fake_anthropic import FakeAnthropic, ToolUse

TOOL: Any = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def get_weather(city: str) -> str:
    return f"{city}: sunny, 24 degrees"


def answer(client: anthropic.Anthropic, monitor: AgentMonitor, prompt: str) -> str:
    messages: list[Any] = [{"role": "user", "content": prompt}]
    with monitor.interaction(prompt):
        while True:
            with client.messages.stream(
                model="claude-haiku-4-5", max_tokens=500, messages=messages, tools=[TOOL]
            ) as said:
                reply = said.get_final_message()
            wanted = [block for block in reply.content if block.type == "tool_use"]
            if not wanted:
                return "".join(block.text for block in reply.content if block.type == "text")
            results = []
            for block in wanted:
                arguments: Any = block.input
                with monitor.tool_use(block.name, tool_use_id=block.id, tool_input=arguments) as tool:
                    tool.decided("accept")
                    with tool.execution():
                        text = get_weather(**arguments)
                        tool.returned(text)
                results.append({"type": "tool_result", "tool_use_id": block.id, "content": text})
            messages += [{"role": "assistant", "content": reply.content}, {"role": "user", "content": results}]


def main() -> None:
    with ExitStack() as stack:
        receiver = stack.enter_context(OtlpReceiver())
        where: dict[str, str] = {}
        if not os.environ.get("ANTHROPIC_API_KEY"):
            fake = FakeAnthropic(["I look.", ToolUse("get_weather", {"city": "Rome"})], "It is sunny in Rome.")
            where = {"base_url": stack.enter_context(fake).base_url, "api_key": "dummy"}
        monitor = AgentMonitor("weather", export_to_grafana=True, endpoint=receiver.http_endpoint)
        instrument(monitor)
        client = stack.enter_context(anthropic.Anthropic(**where))  # type: ignore[arg-type]
        print(answer(client, monitor, "What is the weather in Rome?"))
        monitor.close()
        for kind in ("input", "output", "cacheRead", "cacheCreation"):
            print(f"{kind:14}{receiver.total('claude_code.token.usage', type=kind):8g} tokens")
        print(f"{'cost':14}{receiver.total('claude_code.cost.usage'):8.4f} USD")
        print("events:", ", ".join(log.event_name for log in receiver.logs))


if __name__ == "__main__":
    main()
