"""The demo's team: three agents that do a real job on the installed standard library."""

from __future__ import annotations

import ast
import re
import sysconfig
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from claude_monitoring._monitor import AgentMonitor
from claude_monitoring._settings import Settings

__all__ = ["AGENTS", "Tally", "run_team", "source_files"]

MODEL = "claude-sonnet-4-5"
_ASYNC = re.compile(r"\basync def \w+")


def source_files(limit: int) -> list[Path]:
    """The first modules of the standard library by name."""
    return sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:limit]


def _parse(monitor: AgentMonitor, path: Path, text: str) -> str:
    tree = ast.parse(text)
    functions = sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(tree))
    monitor.increment("functions_found", functions, labels={"file_type": "python"})
    return f"{path.name}: {text.count(chr(10))} lines, {functions} functions"


def _search(monitor: AgentMonitor, path: Path, text: str) -> str:
    found = _ASYNC.findall(text)
    monitor.increment("matches_found", len(found))
    monitor.record_tool_call("Grep")
    return f"{path.name}: {len(found)} coroutines"


def _compile(monitor: AgentMonitor, path: Path, text: str) -> str:
    code = compile(text, str(path), "exec")
    monitor.histogram("bytecode_bytes", len(code.co_code))
    monitor.record_tool_call("Bash")
    return f"{path.name}: {len(code.co_names)} names"


Job = Callable[[AgentMonitor, Path, str], str]

AGENTS: dict[str, Job] = {
    "parser": _parse,
    "searcher": _search,
    "compiler": _compile,
}


class Tally:
    """What the agents did, counted by themselves in plain numbers: what has to arrive, whatever our library does."""

    def __init__(self) -> None:
        self.by_metric: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, **counts: int) -> None:
        """Add counts; the metric's name is written with ``__`` for a dot."""
        with self._lock:
            self.by_metric.update({name.replace("__", "."): count for name, count in counts.items()})


def _work(monitor: AgentMonitor, job: Job, files: list[Path], tally: Tally, done: Callable[[], None]) -> None:
    with monitor.track_task(f"{monitor.agent_id} the standard library", complexity=5, task_type="feature") as task:
        for path in files:
            text = path.read_text(encoding="utf-8", errors="replace")
            with monitor.span("read_file", {"file.name": path.name}):
                summary = job(monitor, path, text)
            monitor.increment("files_read")
            # About four characters make a token; the instructions in front are read from the cache.
            sent, answered = len(text) // 4, len(summary) // 4
            monitor.record_usage(MODEL, sent, answered, cache_read_tokens=1_500, cache_creation_tokens=300)
            tally.add(claude__files_read=1, claude__api__calls=1, claude_code__token__usage=sent + answered + 1_800)
            tally.add(claude__tokens__input=sent, claude__tokens__output=answered)
            done()
        task.items = len(files)
    monitor.event("report_written", {"files": len(files)})
    tally.add(claude__tasks=1, claude__features__delivered=1, claude__story_points__delivered=5)


def run_team(settings: Settings, files: list[Path], done: Callable[[], None]) -> tuple[list[AgentMonitor], Tally]:
    """Let the three agents work at the same time; ``done`` is called after each file.

    Returns:
        Their monitors, still open, and what they say that they did.
    """
    tally = Tally()
    monitors = [AgentMonitor(name, project_name="stdlib", sprint="demo", settings=settings) for name in AGENTS]
    threads = [
        threading.Thread(target=_work, args=(monitor, AGENTS[monitor.agent_id], files, tally, done))
        for monitor in monitors
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return monitors, tally
