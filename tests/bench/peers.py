"""Ours beside each peer: the rows, and an environment for each peer, since their dependencies exclude one another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import Effort, Reading, Row, Sample, Side
from peer_sides import SIDES
from processes import Collector, dead, imports, mute

__all__ = ["PEERS", "Installed", "Peer", "install", "peer_rows"]

_CHILD = Path(__file__).resolve().with_name("peer_child.py")
_LONGEST_INSTALL_S = 300
_LONGEST_S = 120
_EXIT_LIMIT_S = 2.5
_OURS = ("ours", "ours-spans")
_CLOSED = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Peer:
    """One library, and what its decorator and its scope are called."""

    name: str
    requirements: tuple[str, ...]
    decorator: str
    scope: str
    traces: bool = True
    """Whether it records spans; what does not is beside our metrics alone."""
    target: float | None = 0.1
    """Our decorator with metrics alone to this one, at most (design section 7: peers for agents)."""


PEERS = (
    Peer(
        "prometheus_client", ("prometheus_client",), "@Histogram.time()", "Histogram.time()", traces=False, target=None
    ),
    Peer(
        "opentelemetry-sdk",
        ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
        "@start_as_current_span()",
        "start_as_current_span()",
        target=None,
    ),
    Peer("openlit", ("openlit>=1.45",), "@trace", "start_trace()"),
    # It imports httpx and does not ask for it.
    Peer("traceloop-sdk", ("traceloop-sdk>=0.62", "httpx"), "@task", "track_llm_call()"),
    Peer("logfire", ("logfire>=5",), "@instrument", "span()"),
    Peer("agentops", ("agentops>=0.4",), "@operation", "start_trace()"),
    Peer("langfuse", ("langfuse>=5",), "@observe", "start_as_current_observation()"),
)


@dataclass(frozen=True)
class Installed:
    """What came of installing a peer."""

    python: str = ""
    """Its interpreter; empty if it can't be installed."""
    version: str = ""
    problem: str = ""


def install(peer: Peer, folder: Path) -> Installed:
    """Give the peer an environment of its own below ``folder``; what is there already is kept."""
    environment = folder.resolve() / peer.name
    try:
        if not (environment / "pyvenv.cfg").is_file():
            _uv("venv", "--python", sys.executable, str(environment))
        python = next(environment.glob("[bS]*/python*"))
        _uv("pip", "install", "--compile-bytecode", "--python", str(python), *peer.requirements)
        listed = json.loads(_uv("pip", "list", "--format", "json", "--python", str(python)))
    except (OSError, subprocess.SubprocessError, ImportError) as exc:
        lines = str(getattr(exc, "stderr", None) or exc).strip().splitlines()
        return Installed(problem=f"can't be installed: {lines[-1].strip(' ╰─▶') if lines else exc!r}"[:200])
    wanted = peer.name.replace("_", "-")
    return Installed(str(python), next(one["version"] for one in listed if one["name"].replace("_", "-") == wanted))


def _uv(*arguments: str) -> str:
    from uv import find_uv_bin

    done = subprocess.run(
        [find_uv_bin(), "--quiet", *arguments], capture_output=True, text=True, check=True, timeout=_LONGEST_INSTALL_S
    )
    return done.stdout


def peer_rows(peer: Peer, installed: Installed) -> list[Row]:
    """Ours beside this peer. Ids end in ``/`` and the peer's name."""
    if installed.problem:
        return [Row(id=f"all/{peer.name}", what="everything", other=peer.name, unmeasured=installed.problem)]

    sides = {which: (_Calls(sys.executable, which), _Calls(installed.python, peer.name)) for which in _OURS}

    def called(operation: str, what: str, other: str, which: str = "ours", target: float | None = None) -> Row:
        ours, theirs = (calls.side(operation) for calls in sides[which])
        return Row(
            id=f"{operation}/{peer.name}" if which == "ours" else f"{operation}-span/{peer.name}",
            what=what,
            other=f"{peer.name} {other}",
            ours=ours,
            theirs=theirs,
            target=target,
            repeats="rounds",
        )

    rows = [
        called("sync", "@track_task, no-op, 3 metrics", peer.decorator, target=peer.target),
        called("async", "@track_task, async no-op, 3 metrics", peer.decorator, target=peer.target),
        called("scope", "with monitor.track_task(), 3 metrics", peer.scope),
    ]
    if peer.traces:
        rows += [
            called("sync", "@track_task, 3 metrics and a span", peer.decorator, "ours-spans"),
            called("async", "@track_task, async, 3 metrics and a span", peer.decorator, "ours-spans"),
            called("scope", "with monitor.track_task() and a span", peer.scope, "ours-spans"),
        ]
    return [*rows, *_whole_processes(peer, installed), *_exits(peer, installed)]


def _whole_processes(peer: Peer, installed: Installed) -> list[Row]:
    module = SIDES[peer.name].module
    return [
        Row(
            id=f"import/{peer.name}",
            what="import claude_monitoring",
            other=f"import {module}",
            ours=imports("claude_monitoring"),
            theirs=imports(module, installed.python),
            repeats="rounds",
        ),
        Row(
            id=f"start/{peer.name}",
            what="import, set up, first task",
            other=f"{peer.name}, the same",
            ours=_start(sys.executable, "ours"),
            theirs=_start(installed.python, peer.name),
            repeats="rounds",
        ),
    ]


def _exits(peer: Peer, installed: Installed) -> list[Row]:
    if SIDES[peer.name].deliver is None:
        return []
    return [
        Row(
            id=f"exit-{collector.__name__}/{peer.name}",
            what=f"exit, {collector.__name__} collector",
            other=f"{peer.name}, its defaults",
            ours=_exit(sys.executable, "ours", collector),
            theirs=_exit(installed.python, peer.name, collector),
            limit=_EXIT_LIMIT_S,
            repeats="once",
        )
        for collector in (dead, mute)
    ]


class _Calls:
    """Processes that measure every statement, a process a turn; what one row does not need waits for the others."""

    def __init__(self, python: str, which: str) -> None:
        self._python = python
        self._which = which
        self._waiting: dict[str, deque[Reading]] = {}

    def side(self, operation: str) -> Side:
        """The samples of one of the statements."""

        @contextmanager
        def side(effort: Effort) -> Iterator[Sample]:
            yield lambda: self._next(operation, effort)

        return side

    def _next(self, operation: str, effort: Effort) -> Reading:
        if not self._waiting.get(operation):
            found, _ = _child(self._python, self._which, "calls", str(effort.sample_s))
            for name, reading in found.items():
                self._waiting.setdefault(name, deque()).append(reading)
        return self._waiting[operation].popleft()


def _start(python: str, which: str) -> Side:
    def sample() -> Reading:
        found, _ = _child(python, which, "start", "")
        return found["start"]

    @contextmanager
    def side(effort: Effort) -> Iterator[Sample]:
        sample()  # byte code that is not there yet is written
        yield sample

    return side


def _exit(python: str, which: str, collector: Collector) -> Side:
    @contextmanager
    def side(effort: Effort) -> Iterator[Sample]:
        with collector() as port_of:

            def sample() -> Reading:
                found, ended = _child(python, which, "exit", f"http://127.0.0.1:{port_of('http/protobuf')}")
                return Reading(ended - found["exit"].value, found["exit"].note)

            yield sample

    return side


def _child(python: str, which: str, operation: str, argument: str) -> tuple[dict[str, Reading], float]:
    """What it measured, and when it was gone. It works in a folder of its own, since some write logs where they are."""
    command = [python, str(_CHILD), which, operation, argument]
    with TemporaryDirectory(prefix="bench-peer-") as folder:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=_environment(), cwd=folder
        )
        try:
            output, _ = process.communicate(timeout=_LONGEST_S)
            ended = time.monotonic()
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}; to see why: {' '.join(command)}")
    found = {
        name: Reading(one["value"], f"{which}: {one['note']}" if one["note"] else "")
        for name, one in json.loads(output.splitlines()[-1]).items()
    }
    return found, ended


def _environment() -> dict[str, str]:
    """The caller's, without keys and settings of any peer, and with a closed port as the way out."""
    foreign = tuple(f"{peer.name.partition('-')[0].partition('_')[0].upper()}_" for peer in PEERS)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign) and "KEY" not in key}
    return {
        **kept,
        "HTTP_PROXY": _CLOSED,
        "HTTPS_PROXY": _CLOSED,
        "http_proxy": _CLOSED,
        "https_proxy": _CLOSED,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PYTHONDONTWRITEBYTECODE": "",
    }
