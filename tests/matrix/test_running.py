"""How the matrix runs: what it refuses to call a pass, and what it leaves behind."""

from __future__ import annotations

import ast
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from matrix import network, process
from matrix.http2 import grpc_requests
from matrix.mutations import Mutation, mutate
from matrix.network import Place
from matrix.scenarios import EXTENDED, SCENARIOS
from matrix.session import run_all

pytestmark = pytest.mark.slow

REPO = Path(__file__).parents[2]
BY_ID = {scenario.id: scenario for scenario in SCENARIOS}
SHORT = replace(BY_ID["console-500ms"], periods=3)
AT_CLOSE = "        self.store.close()\n        return all(results)"


def rows_of(*scenarios: Any, **how: Any) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in run_all(scenarios, lambda _: None, **how)["rows"]}


def test_there_are_54_scenarios() -> None:
    assert Counter(scenario.group for scenario in SCENARIOS) == {"otlp": 3 * 7 * 2, "plain": 4, "fault": 5, "fast": 3}
    assert len({scenario.id for scenario in (*SCENARIOS, *EXTENDED)}) == 54 + len(EXTENDED)


@pytest.mark.parametrize("module", ["expected", "scenarios"])
def test_what_is_expected_is_not_computed_by_what_is_tested(module: str) -> None:
    tree = ast.parse((REPO / "matrix" / f"{module}.py").read_text())
    named = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    named += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert not [name for name in named if name.startswith("claude_monitoring")]


def test_a_probe_that_hangs_is_killed_and_not_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "END_TIMEOUT_S", 1.0)
    hanging = mutate(
        Mutation("it hangs", "_pipeline.py", AT_CLOSE, f"        time.sleep(600)\n{AT_CLOSE}", {}), tmp_path
    )
    row = rows_of(SHORT, packages={SHORT.id: hanging})[SHORT.id]
    assert row["outcome"] == "not run"
    assert "did not end in time" in row["why"]


def test_a_probe_that_was_killed_fails(tmp_path: Path) -> None:
    killed = f"        import os, signal\n        os.kill(os.getpid(), signal.SIGKILL)\n{AT_CLOSE}"
    row = rows_of(
        SHORT, packages={SHORT.id: mutate(Mutation("killed", "_pipeline.py", AT_CLOSE, killed, {}), tmp_path)}
    )
    assert row[SHORT.id]["outcome"] == "failed"
    assert row[SHORT.id]["why"].startswith("exit code: expected 0, seen -9")


def test_without_prometheus_its_row_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    row = rows_of(BY_ID["prometheus"])["prometheus"]
    assert (row["outcome"], row["why"]) == ("not run", "needs prometheus and promtool: apt-get install prometheus")


def test_without_root_a_relay_makes_the_way_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with Place(remote=True) as place:
        assert place.host == "127.0.0.2"
        assert place.path == network.LONG_WAY
        assert place.description.endswith("no network namespace: needs root")


def test_a_default_port_that_somebody_has_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(("127.0.0.1", 4318))
            holder.listen()
        except OSError:
            pass  # somebody really has it
        results = run_all([SHORT], lambda _: None)
    assert "port 4318 of this machine taken by another program" in results["network"]
    assert results["rows"][0]["outcome"] == "passed"


def runs(process: psutil.Process, program: str) -> bool:
    """Whether its command line names the program; a process that has ended has none."""
    try:
        return program in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def heeds_sigint() -> Iterator[None]:
    """A shell that starts this in the background has it ignore SIGINT, and so would what it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at network devices")
@pytest.mark.usefixtures("heeds_sigint")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-m", "pytest", "matrix", "-k", "remote and 10s", f"--results={tmp_path}"]
    pipe, env = subprocess.PIPE, {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=REPO, env=env, stdout=pipe, stderr=subprocess.STDOUT) as running:
        try:
            family = psutil.Process(running.pid)
            deadline_s = time.monotonic() + 30
            while not (begun := [one for one in family.children() if runs(one, "probe.py")]):
                assert time.monotonic() < deadline_s, "no probe was started"
                time.sleep(0.05)
            children = family.children(recursive=True)
            running.send_signal(how)
            output, _ = running.communicate(timeout=30)
        finally:
            running.kill()  # where the test failed
    assert begun
    assert running.returncode == pytest.ExitCode.INTERRUPTED, output.decode()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    assert not [name for name in psutil.net_if_addrs() if name.startswith(f"mx{running.pid}")]
    assert not list(tmp_path.glob("matrix-*"))


def test_a_cut_off_connection_shows_the_requests_that_were_whole() -> None:
    assert grpc_requests(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x04") == []
