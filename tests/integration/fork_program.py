"""Forks many times while four threads record, for ``test_thousand_forks``: ``python fork_program.py CHILDREN MOMENT``.

``MOMENT`` is ``warm``, or ``first-use``: the forks begin while the threads do what the first use imports and starts; or
``computing``: likewise, beside two threads that leave the interpreter to others only when they must.
Prints as JSON what the threads of the parent counted, and what became of the children.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
import warnings
from itertools import count
from pathlib import Path
from typing import Any

from claude_monitoring import AgentMonitor

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later warn of a fork beside threads

THREADS = 4
AT_ONCE = 12
GIVE_UP_S = 30.0  # after the last fork
PAUSE_S = 0.002  # the threads record all the time, and leave the children some of the processor


class Busy:
    """Threads that record all the time, and how often each did."""

    def __init__(self, monitor: AgentMonitor) -> None:
        self.done = [0] * THREADS
        self._monitor = monitor
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(place,), daemon=True) for place in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, place: int) -> None:
        monitor = self._monitor
        handle = monitor.counter("steps", {"who": "parent"})
        for number in count():
            if self._stop.is_set():
                return
            handle.add(1)
            monitor.increment("labelled", 1, {"thread": str(place), "step": str(number % 50)})
            monitor.histogram("sizes", number % 7, {"thread": str(place)})
            self.done[place] += 1
            if number % 20 == 0:
                with monitor.track_task("parent", task_type="parent"):
                    monitor.event("beat")
                self._stop.wait(PAUSE_S)


def compute() -> None:
    while True:
        pass


def main(children: int, moment: str) -> None:
    if moment == "computing":
        for _ in range(2):
            threading.Thread(target=compute, daemon=True).start()
    monitor = AgentMonitor("forker")
    busy = Busy(monitor)
    if moment == "warm":
        while not all(busy.done):
            time.sleep(0.01)
        assert monitor.flush(20)
    running: set[int] = set()
    ended: list[int] = []
    for number in range(children):
        running.add(fork(monitor, number))
        while len(running) >= AT_ONCE:
            reap(running, ended)
    deadline = time.monotonic() + GIVE_UP_S
    while running and time.monotonic() < deadline:
        reap(running, ended)
    stacks = [stack_of(pid) for pid in running]
    busy.end()
    delivered = monitor.close(20)
    report: dict[str, Any] = {"counted": sum(busy.done), "delivered": delivered, "hung": stacks, "ended": ended}
    print(json.dumps(report), flush=True)


def fork(monitor: AgentMonitor, number: int) -> int:
    """A child that records its own amount, sends it and ends without any of Python's exit hooks."""
    pid = os.fork()
    if pid:
        return pid
    code = 4
    try:
        log = Path(f"stack-{os.getpid()}").open("w")  # noqa: SIM115 - faulthandler writes to it until the end
        faulthandler.register(signal.SIGUSR1, log, all_threads=True)
        monitor.increment("steps", number, {"who": "child"})
        monitor.increment("labelled", number, {"thread": "child", "step": str(number % 50)})
        with monitor.track_task("child", task_type="child"):
            monitor.event("born", {"number": number})
        code = 0 if monitor.flush(20) else 3
    finally:
        os._exit(code)
    raise AssertionError


def reap(running: set[int], ended: list[int]) -> None:
    for pid in list(running):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            running.remove(pid)
            ended.append(os.waitstatus_to_exitcode(status))
    time.sleep(0.002)


def stack_of(pid: int) -> str:
    """Where a child hangs, by its own faulthandler; then it is ended."""
    path = Path(f"stack-{pid}")
    if path.exists():
        os.kill(pid, signal.SIGUSR1)
        deadline = time.monotonic() + 2
        while not path.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return path.read_text() if path.exists() else "it hangs in the fork itself"


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
