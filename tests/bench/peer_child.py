"""Measures one library in a process of its own: ``python peer_child.py NAME OPERATION ARGUMENT``.

The last line printed is a JSON object: for each operation that was measured its value and a note. Addresses other than
this machine's are refused, and named in the notes.
"""

from __future__ import annotations

import time

_BEGIN = time.perf_counter()

import json  # noqa: E402 - with the clock running, and no more than is needed: a start is measured from here
import socket  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

from peer_sides import SIDES, PeerSide  # noqa: E402

_SAMPLES = 7


def main(name: str, operation: str, argument: str) -> None:
    """Do what is asked: ``calls``, ``argument`` seconds a sample; ``start``; or ``exit`` with that endpoint."""
    refused: list[str] = []
    _stay_here(refused)
    side = SIDES[name]
    if operation == "calls":
        found = _calls(side, float(argument))
    else:
        found = {operation: (_start(side) if operation == "start" else _exit(side, argument), "")}
    tried = f"refused: {', '.join(dict.fromkeys(refused))}" if refused else ""
    result = {
        key: {"value": value, "note": "; ".join(filter(None, (note, tried)))} for key, (value, note) in found.items()
    }
    print("\n" + json.dumps(result), flush=True)


def _stay_here(refused: list[str]) -> None:
    """Refuse every connection and look-up beyond loopback. Plain functions cost nothing where no socket is used."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def check(host: object) -> None:
        if str(host) not in {"127.0.0.1", "::1", "localhost"}:
            refused.append(str(host))
            raise OSError(f"{host}: nothing leaves this machine in a benchmark")

    def checked_connect(self: socket.socket, address: Any) -> None:
        if self.family != getattr(socket, "AF_UNIX", None):
            check(address[0])
        connect(self, address)

    def checked_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        check(host)
        return look_up(host, *args, **kwargs)

    socket.socket.connect = checked_connect  # type: ignore[method-assign,assignment]
    socket.getaddrinfo = checked_look_up


def _calls(side: PeerSide, sample_s: float) -> dict[str, tuple[float, str]]:
    """Seconds that a decorated call, an async one and a scope take, each the median of some samples."""
    import inspect
    import statistics
    from contextlib import nullcontext

    from harness import Effort
    from loops import statement

    names = side.ready()
    found: dict[str, tuple[float, str]] = {}
    for operation, text in (("sync", "task()"), ("async", "await async_task()"), ("scope", side.scope)):
        is_async = operation == "async"
        measured = statement(text, lambda: nullcontext(names), is_async=is_async)
        with measured(Effort(sample_s=sample_s)) as sample:
            value = statistics.median(sample().value for _ in range(_SAMPLES))
        lost = is_async and not inspect.iscoroutinefunction(names["async_task"])
        found[operation] = value, "await not timed, the result is no coroutine function" if lost else ""
    return found


def _start(side: PeerSide) -> float:
    """Seconds from this program's first line to the first task recorded: imports, set-up, decoration, call."""
    side.ready()["task"]()
    return time.perf_counter() - _BEGIN


def _exit(side: PeerSide, endpoint: str) -> float:
    """The moment at which the program is done; its parent looks when the process is gone."""
    assert side.deliver is not None
    side.deliver(endpoint)
    return time.monotonic()


if __name__ == "__main__":
    main(*sys.argv[1:])
