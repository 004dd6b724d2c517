"""Rows that need processes of their own: import, exit with a collector that does not help, fork."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.metadata import distributions
from itertools import product
from pathlib import Path

from bulk import run_child
from harness import Effort, Reading, Sample, Side

__all__ = ["black_hole", "dead", "exits", "forks", "imports", "mute", "refusing"]

_CHILD = Path(__file__).with_name("child.py")
_LONGEST_EXIT_S = 120
_HAS_JSON = any(dist.metadata["Name"] == "opentelemetry-exporter-otlp-json-http" for dist in distributions())
"""Whether the official exporter for http/json is there; it is a package of its own."""

Collector = Callable[[], AbstractContextManager[Callable[[str], int]]]
"""Ports on 127.0.0.1, by protocol, behind which something is wrong."""


def imports(module: str, python: str = sys.executable) -> Side:
    """Seconds that ``import module`` takes in a fresh process of that interpreter."""
    code = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    # Byte code is on disk where a library is installed; without this a run from a checkout would compile each time.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}

    def sample() -> Reading:
        done = subprocess.run(
            [python, "-c", code], capture_output=True, text=True, check=True, env=environment
        )  # fmt: skip
        return Reading(float(done.stdout))

    @contextmanager
    def side(effort: Effort) -> Iterator[Sample]:
        sample()
        yield sample

    return side


@contextmanager
def dead() -> Iterator[Callable[[str], int]]:
    """Bound and not listening: connections are refused, and nobody else gets the port."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield lambda _: int(server.getsockname()[1])


@contextmanager
def mute() -> Iterator[Callable[[str], int]]:
    """Accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(128)
        yield lambda _: int(server.getsockname()[1])


@contextmanager
def black_hole() -> Iterator[Callable[[str], int]]:
    """Drops the first packet of every connection: the queue of a listener that never accepts is full (Linux)."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0.2)
            try:
                filler.connect(address)
            except TimeoutError:
                break
        else:
            raise RuntimeError("no black hole: this system goes on accepting connections")
        yield lambda _: int(address[1])


@contextmanager
def refusing() -> Iterator[Callable[[str], int]]:
    """Answers every request with 503, or UNAVAILABLE."""
    from claude_monitoring.receiver import OtlpReceiver

    with OtlpReceiver() as receiver:
        receiver.answer(status=503)
        yield lambda protocol: int(receiver.endpoint(protocol).rpartition(":")[2])


def exits(which: str, collector: Collector) -> Side:
    """Seconds from the last statement to the end of a process that recorded, the longest over the protocols."""

    @contextmanager
    def side(effort: Effort) -> Iterator[Sample]:
        protocols = [name for name in effort.protocols if which == "ours" or name != "http/json" or _HAS_JSON]
        cells = list(product(protocols, effort.in_flight))
        with collector() as port_of:

            def one(cell: tuple[str, bool]) -> tuple[float, str]:
                protocol, in_flight = cell
                took = _exit_s(which, protocol, port_of(protocol), in_flight=in_flight)
                return took, f"{protocol}{' in flight' if in_flight else ''} {took:.1f}"

            def sample() -> Reading:
                # The stock processes only wait, and for long: all at once. Ours run alone, as their bound is tight.
                with ThreadPoolExecutor(1 if which == "ours" else len(cells)) as pool:
                    took = list(pool.map(one, cells))
                return Reading(max(took)[0], f"{which}: {', '.join(text for _, text in took)} s")

            yield sample

    return side


def _exit_s(which: str, protocol: str, port: int, *, in_flight: bool) -> float:
    command = [sys.executable, str(_CHILD), "exit", which, protocol, str(port), str(int(in_flight))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        process.wait(_LONGEST_EXIT_S)
        ended = time.monotonic()
    finally:
        process.kill()
        output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[2:])} ended with {process.returncode}")
    return ended - float(json.loads(output))


def forks(which: str, *, first_use: bool = False) -> Side:
    """The share of forked children that hang or count wrongly while four threads of the parent record.

    With ``first_use`` the fork comes before the first recording is over, so each child needs a parent of its own.
    """

    @contextmanager
    def side(effort: Effort) -> Iterator[Sample]:
        # Children of the stock SDK may hang, each until it is given up, so fewer show what there is to see.
        children = effort.children if which == "ours" else min(effort.children, 20)
        runs = [(1, "first-use")] * max(2, children // 10) if first_use else [(children, "warm")]

        def sample() -> Reading:
            found = [run_child("fork", which, *run, timeout_s=60 + 2 * children) for run in runs]
            total = sum(number for number, _ in runs)
            hung, wrong = (sum(one[key] for one in found) for key in ("hung", "wrong"))
            parents = sum(not one["parent_exact"] for one in found)
            text = f"{which}: of {total} children {hung} hung, {wrong} failed or counted wrongly"
            if parents:
                text += f"; {parents} parents counted wrongly"
            return Reading(min(1.0, (hung + wrong + parents) / total), text)

        yield sample

    return side
