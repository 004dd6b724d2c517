"""The program under test: an agent that works for a while, instrumented with the public API; its environment says how.

What it records is arithmetic on the number of a step, so that ``expected.py`` can say what must arrive without knowing
this code. Its own result goes to a file, since standard output and standard error belong to the exporters under test.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from claude_monitoring import AgentMonitor

AGENT = "probe"
MODEL = "claude-sonnet-4-5"
TASK_TYPES = ("feature", "bugfix", "docs")


def work(monitor: AgentMonitor, step: int) -> int:
    """One step: a task with everything that an agent reports; the result is what the task was for."""
    with monitor.track_task(f"step {step}", task_type=TASK_TYPES[step % 3], complexity=1 + step % 4):
        monitor.record_usage(
            MODEL, input_tokens=100 + step, output_tokens=10 + step, cache_read_tokens=1000, cache_creation_tokens=20
        )
        monitor.record_lines(added=3 + step, removed=1, file_path=f"src/module_{step}.py", model=MODEL)
        monitor.record_edit_decision("accept" if step % 2 else "reject", source="config", language="Python")
        monitor.record_tool_call("Read", status="error" if step % 5 == 4 else "ok")
        monitor.record_active_time(0.5)
        monitor.record_commit()
        monitor.increment("probe_steps", 2, labels={"phase": "odd" if step % 2 else "even"})
        monitor.histogram("probe_size", step * 4)
        monitor.gauge("probe_level", step)
        monitor.event("probe_step", {"step": step, "last": False, "share": 0.5, "note": f"step {step}"})
        with monitor.span("probe_work", {"step": step}):
            answer = sum(range(step))
    if step % 4 == 3:
        monitor.record_error(LookupError(f"step {step}"))
    return answer


def say(what: str, moment_s: float) -> None:
    """Tell the runner, over the pipe that it gave us."""
    os.write(int(os.environ["PROBE_NEWS_FD"]), f"{what} {moment_s!r}\n".encode())


def show_telemetry() -> None:
    """Be a host that writes what the exporter ``logging`` logs to its standard output, as JSON."""

    class Printed(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print(json.dumps(record.__dict__["telemetry"]), flush=True)

    logger = logging.getLogger("claude_monitoring.export")
    logger.setLevel(logging.INFO)
    logger.addHandler(Printed())
    logger.propagate = False


def wait_until(moment_s: float) -> None:
    """Return at ``moment_s`` of the monotonic clock."""
    while (left_s := moment_s - time.monotonic()) > 0:
        time.sleep(left_s)


def main() -> int:
    """Work, close, write the result; the exit code is the one that was asked for, whatever telemetry did."""
    steps, step_s = int(os.environ["PROBE_STEPS"]), float(os.environ["PROBE_STEP_S"])
    if "PROBE_LOGS_TELEMETRY" in os.environ:
        show_telemetry()
    making_s = time.monotonic()
    monitor = AgentMonitor(AGENT, agent_level=2, project_name="matrix", sprint="6b")
    began_s = time.monotonic()
    answer = 0
    for step in range(steps):
        wait_until(began_s + ((step + 0.5) * step_s if step else 0))
        answer += work(monitor, step)
        if not step:  # the imports are done
            say("began", began_s)
    wait_until(began_s + steps * step_s)
    if "PROBE_HOLD" in os.environ:  # until the far side has what it wants
        say("worked", time.monotonic())
        sys.stdin.read()
    closing_s = time.monotonic()
    delivered = monitor.close()
    result = {
        "answer": answer,
        "making_s": making_s,
        "began_s": began_s,
        "closing_s": closing_s,
        "closed_s": time.monotonic(),
        "cpu_s": time.process_time(),
        "delivered": delivered,
        "health": asdict(monitor.health()),
    }
    Path(os.environ["PROBE_RESULT"]).write_text(json.dumps(result), encoding="utf-8")
    return int(os.environ.get("PROBE_EXIT_CODE", "0"))


if __name__ == "__main__":
    sys.exit(main())
