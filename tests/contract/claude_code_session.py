"""The session of the snapshots, told with this library: a Write, an Edit, a commit, a retry, a failing command, a pull
request, a subagent."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from claude_monitoring import AgentMonitor, Settings
from claude_monitoring._repository import repository_attributes
from claude_monitoring.receiver import OtlpReceiver
from tests.contract.claude_code_snapshot import VARIANTS, Snapshot, as_text, told

__all__ = ["session", "told_by_us"]

MODEL = "claude-sonnet-4-5"
COMMIT_ID = "8a917a25034cacec0adbdfa63b6027bc0bd4eb66"
COMMIT = "git add -A && git commit -q -m 'add hello'"


class ShellError(Exception):
    """A command that failed; Claude Code has an error of this name."""


def told_by_us(variant: str, folder: Path) -> Snapshot:
    """What arrives of the session, recorded with the switches of the variant, in the form of the snapshots.

    Args:
        variant: Of ``VARIANTS``.
        folder: An empty folder, for a repository to work in.
    """
    with OtlpReceiver(grpc=False) as receiver, _repository(folder):
        environ = {
            "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
            **{f"OTEL_{signal}_EXPORTER": "otlp" for signal in ("METRICS", "LOGS", "TRACES")},
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http_endpoint,
            "CLAUDE_MONITORING_DEFAULTS": "claude-code",  # sums as deltas
            "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
            "TERM": "xterm",
            **VARIANTS[variant],
        }
        with AgentMonitor("coder", settings=Settings.load(environ)) as monitor:
            session(monitor, "/tmp/claude-code-00000000/work/hello.py")
        assert not monitor.health().dropped
        found: Snapshot = json.loads(as_text(told(receiver)))
        return found


@contextmanager
def _repository(folder: Path) -> Iterator[None]:
    """Inside, the working directory is a git repository with an origin."""
    before = Path.cwd()
    for arguments in (("init", "-q"), ("remote", "add", "origin", "https://github.com/acme/books.git")):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    os.chdir(folder)
    repository_attributes.cache_clear()
    try:
        yield
    finally:
        os.chdir(before)
        repository_attributes.cache_clear()


def session(monitor: AgentMonitor, path: str) -> None:
    """What Claude Code did for the snapshots; ``path`` is that of ``hello.py``."""
    with monitor.interaction("make hello.py"):
        ask(monitor, 1, text="Working.")
        content = "print('a')\nprint('b')\nprint('c')\n"
        use(monitor, "Write", "0001_1", {"file_path": path, "content": content}, result="written")
        monitor.record_lines(added=4, file_path=path, model=MODEL)

        ask(monitor, 2)
        edit = {"old_string": "print('b')\n", "new_string": "print('bb')\nprint('bbb')\n", "replace_all": False}
        use(monitor, "Edit", "0002_0", {"file_path": path, **edit}, result="edited")
        monitor.record_lines(added=2, removed=1, file_path=path, model=MODEL)

        ask(monitor, 3)
        use(monitor, "Bash", "0003_0", {"command": COMMIT, "description": "commit"}, commit_id=COMMIT_ID)
        monitor.record_commit()

        ask(monitor, 5, attempts=2)  # the fourth request was refused: the API was overloaded
        failure = ShellError("Shell command failed")
        use(monitor, "Bash", "0005_0", {"command": "cat /nonexistent", "description": "fail"}, failure=failure)

        ask(monitor, 6)
        pull_request = {"command": "gh pr create --title x --body y", "description": "open pr"}
        use(monitor, "Bash", "0006_0", pull_request, result="https://github.com/acme/books/pull/1")
        monitor.record_pull_request()

        ask(monitor, 7)
        delegate(monitor, "0007_0", number=8)
        ask(monitor, 9, text="Done.", stop_reason="end_turn")


def ask(
    monitor: AgentMonitor, number: int, *, text: str = "", stop_reason: str = "tool_use", attempts: int = 1,
    query_source: str | None = None,
) -> None:  # fmt: skip
    """One request to the model, and its answer."""
    with monitor.llm_request(MODEL, query_source=query_source) as request:
        for _ in range(attempts):
            request.attempt()
        request.first_token()
        request.answered(
            text=text, stop_reason=stop_reason, request_id=f"req_fake_{number:04}", input_tokens=1200, output_tokens=77,
            cache_read_tokens=4500, cache_creation_tokens=300, cache_creation_5m_tokens=300,
        )  # fmt: skip


def use(
    monitor: AgentMonitor, name: str, call: str, tool_input: Mapping[str, object], *, result: str = "",
    failure: ShellError | None = None, commit_id: str = "",
) -> None:  # fmt: skip
    """One call of a tool, which nobody needs to be asked for."""
    parameters: dict[str, object] = {}
    if name == "Bash":
        command = str(tool_input["command"])
        parameters = {
            "bash_command": command.split(maxsplit=1)[0],
            "full_command": command,
            "description": tool_input["description"],
        }
    with monitor.tool_use(
        name, tool_use_id=f"toolu_fake_{call}", tool_input=tool_input, request_id=f"req_fake_{call[:4]}"
    ) as tool:
        tool.decided("accept", source="config", permission_mode="bypassPermissions", parameters=parameters)
        with tool.execution():
            if failure is not None:
                tool.failed(failure)
            elif commit_id:
                tool.returned(result, parameters={"git_commit_id": commit_id, "git_branch": "main"})
            else:
                tool.returned(result)


def delegate(monitor: AgentMonitor, call: str, *, number: int) -> None:
    """A tool that is a subagent."""
    who = {"subagent_type": "general-purpose"}
    task = {"description": "look", "prompt": "Look at it.", **who, "run_in_background": False}
    with monitor.tool_use(
        "Agent", tool_use_id=f"toolu_fake_{call}", tool_input=task, request_id=f"req_fake_{call[:4]}"
    ) as tool:
        tool.decided("accept", source="config", permission_mode="bypassPermissions", parameters=who)
        with tool.execution(), monitor.child("general-purpose") as helper:
            ask(helper, number, text="Looked.", stop_reason="end_turn", query_source="agent:builtin:general-purpose")
            helper.event(
                "subagent_completed",
                {
                    "agent_type": "general-purpose", "agent.source": "built-in", "is_built_in": True, "is_async": False,
                    "total_tokens": 6077, "total_tool_uses": 0, "duration_ms": 54, "model": MODEL,
                    "final_model": MODEL, "model_swapped": False,
                },
            )  # fmt: skip
            tool.returned("Looked.")
