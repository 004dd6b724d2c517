"""A far side that is killed, stopped, mute, late, refusing and cut off at random: in the end every number is exact."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from claude_monitoring.receiver import Log, Point, Span

from .chaos_receiver import read_journal
from .chaos_truth import faults_of, repeats
from .program import environment, unmeasured

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SEED = int(os.environ.get("CHAOS_SEED", "2026"))
CHAOS_S = 60.0
PROTOCOLS = ("grpc", "http/protobuf", "http/json")
TEMPORALITIES = ("cumulative", "delta")
SIGNALS = ("metrics", "logs", "traces")
HOST_MAY_WAIT_MS = 50.0
HERE = Path(__file__).parent
# What the far side does instead of answering; "stopped" and "killed" are the process itself.
HALF_DEAD: dict[str, dict[str, Any]] = {
    "mute": {"delay_s": 2, "accepted": False},
    "late": {"delay_s": 0.8, "accepted": True},  # the client waits 0.5 s, so it never learns that this was taken
    "unavailable": {"status": 503},
    "cut after taking": {"drop": True, "accepted": True},
    "cut before taking": {"drop": True, "accepted": False},
    "slow, then killed": {"delay_s": 0.4, "accepted": True},
    "events refused": {"status": 400, "signal": "logs"},
}
KINDS = (*HALF_DEAD, "killed", "stopped", "stopped, then killed")


class FarSide:
    """The receiver's process, on the same ports in each of its lives."""

    def __init__(self, folder: Path, ports: tuple[int, int]) -> None:
        self.ports = ports
        self.journals: list[Path] = []
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        journal = self._folder / f"journal-{len(self.journals)}"
        self.journals.append(journal)
        arguments = [str(HERE / "chaos_receiver.py"), str(journal), *map(str, self.ports)]
        # Not measured: what is killed writes no coverage, and starts slower.
        env = unmeasured(os.environ)
        self._process = subprocess.Popen(
            [sys.executable, *arguments], env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._expect_ok()

    def answer(self, **how: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(how) + "\n")
        self._process.stdin.flush()
        self._expect_ok()

    def send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.communicate()
        self._process = None

    def end(self) -> None:
        """In peace: its own faults fail the test."""
        assert self._process is not None
        process, self._process = self._process, None
        process.communicate(timeout=20)
        assert process.returncode == 0

    def _expect_ok(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ok\n"


class Programs:
    """Six programs side by side, each named by protocol and temporality."""

    def __init__(self, folder: Path, ports: tuple[int, int], stack: ExitStack) -> None:
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._errors: dict[str, Path] = {}
        for protocol in PROTOCOLS:
            for temporality in TEMPORALITIES:
                name = f"{protocol} {temporality}"
                self._errors[name] = folder / f"{name.replace('/', '-')}.stderr"
                env = environment(f"http://127.0.0.1:{ports[protocol == 'grpc']}", protocol, **_settings(name))
                process = subprocess.Popen(
                    [sys.executable, "-W", "error", str(HERE / "chaos_program.py")],
                    env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=stack.enter_context(self._errors[name].open("w")),
                )  # fmt: skip
                stack.callback(_end, process)
                self._running[name] = process
        for name, process in self._running.items():
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", self.errors(name)

    def errors(self, name: str) -> str:
        return self._errors[name].read_text()

    def reports(self) -> dict[str, dict[str, Any]]:
        """Let all of them end; what each recorded."""
        for process in self._running.values():
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        reports = {}
        for name, process in self._running.items():
            output, _ = process.communicate(timeout=60)
            assert process.returncode == 0, self.errors(name)
            reports[name] = json.loads(output)
        return reports


def _settings(name: str) -> dict[str, str]:
    intervals = ("OTEL_METRIC_EXPORT_INTERVAL", "OTEL_LOGS_EXPORT_INTERVAL", "OTEL_TRACES_EXPORT_INTERVAL")
    return {
        **dict.fromkeys(intervals, "1000"),
        "OTEL_EXPORTER_OTLP_TIMEOUT": "500",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": name.rpartition(" ")[2],
        "OTEL_SERVICE_NAME": name,
    }


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate()


@contextmanager
def two_ports() -> Iterator[tuple[int, int]]:
    """Ports that stay ours while the far side is dead: bound, not listening, so that nobody is given them."""
    with ExitStack() as stack:
        ports = []
        for _ in range(2):
            holder = stack.enter_context(socket.socket())
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", 0))
            ports.append(holder.getsockname()[1])
        yield (ports[0], ports[1])


def play(far_side: FarSide, chance: random.Random) -> list[str]:
    """Sixty seconds of outages, with and without a good moment between two of them; every kind comes up again."""
    begun = time.monotonic()
    played: list[str] = []
    while time.monotonic() - begun < CHAOS_S:
        for kind in chance.sample(KINDS, len(KINDS)):
            if time.monotonic() - begun >= CHAOS_S:
                break
            if chance.random() < 0.5:
                far_side.answer()
                time.sleep(chance.uniform(0.5, 2.5))
            _suffer(far_side, kind, chance.uniform(0.5, 2.5))
            played.append(kind)
    return played


def _suffer(far_side: FarSide, kind: str, for_s: float) -> None:
    if kind in HALF_DEAD:
        far_side.answer(**HALF_DEAD[kind])
    if kind.startswith("stopped"):
        far_side.send(signal.SIGSTOP)
    if kind == "killed":
        far_side.kill()
    time.sleep(for_s)
    if kind.endswith("then killed"):
        far_side.kill()
    if kind.endswith("killed"):
        far_side.start()
    elif kind == "stopped":
        far_side.send(signal.SIGCONT)  # what came meanwhile is taken now: too late for who sent it


def test_after_a_minute_of_outages_every_number_is_exact(tmp_path: Path) -> None:
    print(f"CHAOS_SEED={SEED}")
    with ExitStack() as stack:
        ports = stack.enter_context(two_ports())
        far_side = FarSide(tmp_path, ports)
        stack.callback(far_side.kill)
        far_side.start()
        programs = Programs(tmp_path, ports, stack)
        played = play(far_side, random.Random(SEED))
        far_side.answer()
        reports = programs.reports()
        far_side.end()
    print("outages:", ", ".join(played))
    seen: defaultdict[str, list[Point | Log | Span]] = defaultdict(list)
    for journal in far_side.journals:
        for item in read_journal(journal):
            seen[item.resource["service.name"]].append(item)
    faults = {
        name: [*faults_of(report, seen[name], name), *faults_of_host(report, programs.errors(name), len(played))]
        for name, report in reports.items()
    }
    text = "\n".join(f"{name}: {fault}" for name, found in faults.items() for fault in found)
    assert not text, f"CHAOS_SEED={SEED}\n{text}"
    # Else the minute was too quiet to show anything.
    assert all(repeats(seen[f"{protocol} delta"]) for protocol in PROTOCOLS)
    assert all(report["dropped"]["logs"] for report in reports.values())


def faults_of_host(report: dict[str, Any], errors: str, outages: int) -> list[str]:
    """What the program itself had to suffer."""
    faults = []
    if not report["delivered"]:
        faults.append("flush() never became true")
    if report["slow_ms"] > HOST_MAY_WAIT_MS:
        faults.append(f"one increment in a thousand took {report['slow_ms']:.1f} ms or more")
    lines = errors.splitlines()
    # One when an endpoint begins to fail and one when it works again; a loaded machine has short outages of its own.
    if len(lines) > 2 * len(SIGNALS) * (outages + 3):
        faults.append(f"{len(lines)} lines for {outages} outages")
    faults += [f"on stderr: {line}" for line in lines if "claude_monitoring" not in line]
    return faults
