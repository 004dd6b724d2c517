"""The guard against decay: how many byte codes each of the ten hottest operations executes.

``python tests/bench/decay.py`` prints the counts of now beside those of ``decay.json``; ``--write`` writes them there,
for the interpreter that runs it. A count is the same on every machine, under any load: it is a number of steps, not of
seconds. What it does not see is a call into C that takes longer than before; ``tox -e bench`` does.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

__all__ = ["FILE", "TOLERANCE", "WRITE", "Count", "compare", "main", "read", "table"]

FILE = Path(__file__).with_name("decay.json")
TOLERANCE = 0.01
"""More than this share up or down is a change. Counts did not vary at all; one step of a short operation is more."""
WRITE = "python tests/bench/decay.py --write"
"""Writes the file anew."""

_OF = ("wrapt", "opentelemetry-api", "opentelemetry-sdk", "genai-prices")
_WARM_UPS = 50
_SAMPLES = 15
_TOO_NEW = (3, 12)
"""From here on a frame that asks for its byte codes is told of some of them."""
Operations = Mapping[str, Callable[[], object]]


class Count(NamedTuple):
    """Byte codes that one call executes: in our own modules, and in those that they call."""

    ours: int
    theirs: int


class Change(NamedTuple):
    """One count that is not what it was."""

    operation: str
    whose: str
    before: int
    now: int

    @property
    def share(self) -> float:
        """The change as a share of what it was."""
        return (self.now - self.before) / self.before if self.before else float(self.now)


def compare(
    before: Mapping[str, Count], now: Mapping[str, Count], tolerance: float = TOLERANCE, *, theirs: bool
) -> list[Change]:
    """What got worse, and what got better: that has to be written down as well, or it may be lost again unseen.

    Args:
        before: Of the file.
        now: Of this moment.
        tolerance: The share that is no change.
        theirs: Whether the dependencies are those of the file, so that their counts mean something.
    """
    changes = [
        Change(name, whose, getattr(before.get(name, Count(0, 0)), whose), getattr(count, whose))
        for name, count in now.items()
        for whose in (("ours", "theirs") if theirs else ("ours",))
    ]
    return [change for change in changes if abs(change.share) > tolerance]


def table(changes: Sequence[Change]) -> str:
    """The changes as text."""
    rows = [f"{one.operation:<22}{one.whose:<16}{one.before:>8}{one.now:>8}{one.share:>+9.1%}" for one in changes]
    return "\n".join([f"{'operation':<22}{'byte codes of':<16}{'before':>8}{'now':>8}{'change':>9}", *rows])


def versions() -> dict[str, str]:
    """What a count depends on, beside our code."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in _OF}}


def read(minor: str) -> tuple[dict[str, str], dict[str, Count]] | None:
    """The versions and the counts that the file has for an interpreter such as ``3.11``; ``None`` if it has none."""
    found = json.loads(FILE.read_text(encoding="utf-8")).get(minor)
    return (found["versions"], {name: Count(*both) for name, both in found["counts"].items()}) if found else None


def _write(minor: str, counts: Mapping[str, Count]) -> None:
    whole = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    whole[minor] = {"versions": versions(), "counts": counts}
    FILE.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


@contextmanager
def operations() -> Iterator[Operations]:
    """The ten, each ready to be called."""
    from calls import LABELS, ours, ours_off, spans

    from claude_monitoring import AgentMonitor
    from claude_monitoring.exporters import CustomExporter, Metric
    from claude_monitoring.types import EventRecord

    class Sink(CustomExporter):
        """Takes events, so that there are some."""

        def export_metric(self, metric: Metric) -> None:
            """Nothing to do with it."""

        def export_event(self, event: EventRecord) -> None:
            """Nor with that."""

    with ExitStack() as stack:
        here, off, traced = (stack.enter_context(one()) for one in (ours, ours_off, spans))
        monitor = here["monitor"]
        told = AgentMonitor("bench", project_name="bench", enabled=True, exporters=[Sink()], interval_s=3600)
        stack.callback(told.close, 1)
        handle, task, coroutine = here["handle"], here["task"], here["async_task"]

        def run_async() -> None:
            """Without an event loop, which would be counted as well."""
            try:
                coroutine().send(None)
            except StopIteration:
                return

        yield {
            "increment": lambda: monitor.increment("bench_calls", labels=LABELS),
            "handle": lambda: handle.add(1),
            "gauge": lambda: monitor.gauge("bench_level", 1.7, LABELS),
            "histogram": lambda: monitor.histogram("bench_duration", 1.7, LABELS),
            "task": task,
            "async task": run_async,
            "task with a span": traced["task"],
            "task, telemetry off": off["task"],
            "record_usage": lambda: monitor.record_usage("claude-sonnet-4-5", 10, 5),
            "event": lambda: told.event("bench", {"status": "ok"}),
        }


def count(call: Callable[[], object], folder: str) -> Count:
    """The least of some calls: a task that happens to be the longest so far takes three steps more."""
    for _ in range(_WARM_UPS):
        call()
    return min(_once(call, folder) for _ in range(_SAMPLES))


def _once(call: Callable[[], object], folder: str) -> Count:
    ours = theirs = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal ours, theirs
        if event == "call":
            if frame.f_code.co_filename == __file__:
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            if frame.f_code.co_filename.startswith(folder):
                ours += 1
            else:
                theirs += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return Count(ours, theirs)


def measure(only: Sequence[str] = ()) -> dict[str, Count]:
    """The counts of now."""
    import claude_monitoring

    folder = str(Path(claude_monitoring.__file__).parent) + os.sep
    logging.getLogger("claude_monitoring").setLevel(logging.CRITICAL)  # no hint that this goes nowhere
    gc.disable()  # what it calls back is not the operation's
    with operations() as found:
        return {name: count(call, folder) for name, call in found.items() if not only or name in only}


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, and print.

    Returns:
        1 if something changed and was not written.
    """
    parser = argparse.ArgumentParser(description="Byte codes of the ten hottest operations, beside those of the file.")
    parser.add_argument("--write", action="store_true", help="write the file anew")
    parser.add_argument("--json", action="store_true", help="print the counts alone, as JSON")
    parser.add_argument("--only", metavar="OPERATION", action="append", default=[], help="count this one")
    options = parser.parse_args(arguments)
    if sys.version_info >= _TOO_NEW:
        parser.error("sys.settrace tells of each byte code up to Python 3.11; run it there")
    now = measure(options.only)
    minor = "{}.{}".format(*sys.version_info)
    if options.json:
        print(json.dumps({"versions": versions(), "counts": now}))
        return 0
    if options.write:
        _write(minor, now)
    noted = read(minor)
    if noted is None:
        print(f"{FILE.name} has nothing of Python {minor}")
        return 1
    print(table(compare(noted[1], now, -1, theirs=True)))
    return 1 if compare(noted[1], now, theirs=noted[0] == versions()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
