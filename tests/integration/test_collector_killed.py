"""A collector that is killed, and is away for the whole life of a process: with a spool nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from claude_monitoring import AgentMonitor
from claude_monitoring.receiver import OtlpReceiver

from .program import environment, run_program

pytestmark = pytest.mark.slow

COLLECTOR = """
import sys
from claude_monitoring.receiver import OtlpReceiver
with OtlpReceiver() as receiver:
    print(receiver.grpc_endpoint, receiver.http_endpoint, flush=True)
    sys.stdin.read()
"""
PROGRAM = """
    from claude_monitoring import AgentMonitor
    with AgentMonitor("worker") as monitor:
        for number in range({first}, {first} + 500):
            with monitor.track_task("work", task_type="work"):
                monitor.increment("amount", number)
                monitor.histogram("sizes", number % 10)
                monitor.event("step", {{"number": number}})
"""


def killed_collector() -> dict[str, str]:
    """The endpoints of a collector that is gone: it was there, and was killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", COLLECTOR], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        grpc, http = process.stdout.readline().split()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return {"grpc": grpc, "http/protobuf": http, "http/json": http}


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
def test_what_a_process_recorded_while_the_collector_was_dead_arrives_with_the_next_one(
    protocol: str, temporality: str, tmp_path: Path
) -> None:
    endpoint = killed_collector()[protocol]
    more = {
        "CLAUDE_MONITORING_SPOOL_DIR": str(tmp_path / "spool"),
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality,
        "CLAUDE_CODE_OTEL_SHUTDOWN_TIMEOUT_MS": "30000",  # a busy machine; past it a third process would send the rest
    }
    dead = run_program(PROGRAM.format(first=0), environment(endpoint, protocol, **more))
    assert (dead.returncode, len(dead.stderr.splitlines())) == (0, 1), dead.stderr
    port = int(endpoint.rpartition(":")[2])
    with OtlpReceiver(**{"grpc_port" if protocol == "grpc" else "http_port": port}) as receiver:
        alive = run_program(PROGRAM.format(first=500), environment(endpoint, protocol, **more))
        assert (alive.returncode, alive.stderr) == (0, "")
        assert receiver.total("claude.amount") == sum(range(1000))
        assert receiver.total("claude.tasks", status="ok") == 1000
        assert receiver.total("claude.sizes") == 1000
        numbers = [log.attributes["number"] for log in receiver.logs if "number" in log.attributes]
        assert sorted(numbers) == list(range(1000))
        assert len(receiver.spans) == 1000
    assert list((tmp_path / "spool").glob("*.jsonl")) == []


SENDER = """
import sys, time
from pathlib import Path
from claude_monitoring import AgentMonitor
with AgentMonitor("sender") as monitor:
    monitor.increment("alive")
    deadline = time.monotonic() + 30
    while list(Path(sys.argv[1]).glob("*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.02)
"""


def test_four_processes_that_share_a_spool_send_each_file_once(tmp_path: Path) -> None:
    for number in range(40):
        with AgentMonitor(
            "worker", export_to_grafana=True, endpoint="http://127.0.0.1:1", spool=tmp_path, service_name="books"
        ) as monitor:
            monitor.event("step", {"number": number})
    assert len(list(tmp_path.glob("*.jsonl"))) == 80  # events, and the totals of each
    with OtlpReceiver() as receiver:
        receiver.answer(delay_s=0.01)
        env = environment(
            receiver.http_endpoint, CLAUDE_MONITORING_SPOOL_DIR=str(tmp_path), OTEL_SERVICE_NAME="books"
        )  # fmt: skip
        senders = [subprocess.Popen([sys.executable, "-c", SENDER, str(tmp_path)], env=env) for _ in range(4)]
        assert [sender.wait(50) for sender in senders] == [0] * 4
        numbers = [log.attributes["number"] for log in receiver.logs if log.body == "claude.step"]
        assert sorted(numbers) == list(range(40))
        assert receiver.total("claude.alive") == 4
    assert list(tmp_path.glob("*.jsonl")) == []
