"""A session that the fake API scripts: what happens in it, whoever reports it."""

from __future__ import annotations

from pathlib import Path

from claude_monitoring.testing.fake_anthropic import ApiError, FakeAnthropic, Request, ToolUse

__all__ = ["ANSWER_USD", "MAIN_ANSWERS", "MODEL", "TOKENS", "from_subagent", "script"]

MODEL = "claude-sonnet-4-5"
ANSWER_USD = 0.00723  # of one answer, REFERENCE 4.2
TOKENS = {"input": 1200, "output": 77, "cacheRead": 4500, "cacheCreation": 300}
MAIN_ANSWERS = 7


def from_subagent(request: Request) -> bool:
    """Whether a subagent asks."""
    return "x-claude-code-agent-id" in request.headers


def script(api: FakeAnthropic, work: Path) -> None:
    """A Write, an Edit, a commit, an overloaded API, a failing command, a pull request, a subagent, and the end."""
    path = str(work / "hello.py")
    edit = {"file_path": path, "old_string": "print('b')\n", "new_string": "print('bb')\nprint('bbb')\n"}
    task = {
        "description": "look", "prompt": "Look at it.", "subagent_type": "general-purpose", "run_in_background": False,
    }  # fmt: skip
    api.answer("Looked.", when=from_subagent)
    api.answer(
        ["Working.", ToolUse("Write", {"file_path": path, "content": "print('a')\nprint('b')\nprint('c')\n"})],
        ToolUse("Edit", edit),
        ToolUse("Bash", {"command": "git add -A && git commit -q -m 'add hello'", "description": "commit"}),
        ApiError(529, retry_after_s=0.01),
        ToolUse("Bash", {"command": "cat /nonexistent", "description": "fail"}),
        ToolUse("Bash", {"command": "gh pr create --title x --body y", "description": "open pr"}),
        ToolUse("Agent", task),
        "Done.",
        when=lambda request: not from_subagent(request),
    )
