"""What can't be delivered before the end goes to a folder, and the next process of the service delivers it, once."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from claude_monitoring import AgentMonitor
from claude_monitoring._spool import Spool
from claude_monitoring.cli import main
from claude_monitoring.exporters import encoding
from claude_monitoring.receiver import OtlpReceiver
from claude_monitoring.types import Signal
from tests.contract.exporter_parts import PROTOCOLS, RESOURCE, SIGNALS, batch_of

EACH_PROTOCOL = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as one:
        yield one


def monitor_of(endpoint: str, folder: Path, protocol: str = "http/protobuf", **more: Any) -> AgentMonitor:
    return AgentMonitor(
        "worker",
        export_to_grafana=True,
        endpoint=endpoint,
        protocol=protocol,
        spool=folder,
        service_name="books",
        **more,
    )


def work(monitor: AgentMonitor, number: int = 1) -> None:
    monitor.increment("steps", number)
    monitor.event("step", {"number": number})
    with monitor.span("step", {"number": number}):
        pass


@pytest.fixture
def nowhere() -> Iterator[str]:
    """Where nothing listens, and nobody else can."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@EACH_PROTOCOL
@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_the_next_process_delivers_what_the_first_could_not(
    receiver: OtlpReceiver, tmp_path: Path, protocol: str, temporality: str, nowhere: str
) -> None:
    first = monitor_of(nowhere, tmp_path, protocol, temporality=temporality)
    work(first, 7)
    assert not first.close(5)
    assert [state.spooled > 0 for state in first.health().exporters] == [True, True, True]
    assert first.health().dropped == {}
    assert receiver.requests == ()

    with monitor_of(receiver.endpoint(protocol), tmp_path, protocol, temporality=temporality) as second:
        work(second, 5)
    assert receiver.total("claude.steps") == 12
    assert sorted(log.attributes["number"] for log in receiver.logs) == [5, 7]
    assert sorted(span.attributes["number"] for span in receiver.spans) == [5, 7]
    assert len({point.scope.resource["service.instance.id"] for point in receiver.metrics}) == 2
    assert files(tmp_path) == []


def test_each_line_is_one_request_of_one_signal_in_otlp_json(tmp_path: Path, nowhere: str) -> None:
    monitor = monitor_of(nowhere, tmp_path)
    work(monitor)
    monitor.close(5)
    for path, signal in zip(files(tmp_path), ("metrics", "logs", "traces"), strict=True):
        (line,) = path.read_text("utf-8").splitlines()
        (key,) = json.loads(line)
        assert key == {"metrics": "resourceMetrics", "logs": "resourceLogs", "traces": "resourceSpans"}[signal]
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_request_is_the_same_after_it_was_on_disk(signal: Signal) -> None:
    (part,) = encoding.parts(signal, batch_of(signal), RESOURCE, 1_000_000)
    assert encoding.from_json(signal, encoding.to_json(part.request)) == part.request


def test_a_program_with_a_spool_does_not_wait_for_a_collector_that_is_not_there(tmp_path: Path, nowhere: str) -> None:
    monitor = monitor_of(nowhere, tmp_path)
    work(monitor)
    attempts = Counter(log.consecutive_failures for log in monitor.health().exporters)
    assert attempts == {0: 3}
    monitor.close(60)  # the test would time out
    assert [state.consecutive_failures for state in monitor.health().exporters] == [1, 1, 1]


def test_more_events_than_memory_may_hold_are_kept_on_disk_while_the_far_side_is_away(
    receiver: OtlpReceiver, tmp_path: Path, nowhere: str
) -> None:
    monitor = monitor_of(nowhere, tmp_path)
    monitor.event("step", {"number": 0})
    assert not monitor.flush(1)  # it is known to be away from now on
    for number in range(1, 25_000):
        monitor.event("step", {"number": number})
        if number % 2_000 == 0:  # as fast as the disk takes them
            until(lambda: monitor.health().exporters[1].waiting < 6_000)
    monitor.close(5)
    assert monitor.health().dropped == {}
    spool = Spool(str(tmp_path), 10**9)
    assert sum(one.items for one in spool.entries("books") if one.signal == "logs") == 25_000
    assert max(path.stat().st_size for path in files(tmp_path)) < 2**20  # what the Collector takes as a line


def test_past_the_bound_the_oldest_files_go_and_are_counted(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), 1_000)
    assert [spool.keep("logs", "books", b"x" * 399, 10) for _ in range(4)] == [0, 0, 10, 10]
    assert sum(one.body_bytes for one in spool.entries()) == 800
    assert spool.keep("logs", "books", b"x" * 5_000, 3) == 23
    assert spool.entries() == []


def test_files_of_another_service_and_strange_files_are_left_alone(
    receiver: OtlpReceiver, tmp_path: Path, nowhere: str
) -> None:
    other = AgentMonitor("w", export_to_grafana=True, endpoint=nowhere, spool=tmp_path, service_name="sh/elves: ä")
    work(other)
    other.close(5)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".01795652509048847142-f9b623dc.13.metrics.books.jsonl.tmp").write_text('{"resourceMet')
    before = files(tmp_path)
    with monitor_of(receiver.http_endpoint, tmp_path) as monitor:
        work(monitor)
    assert files(tmp_path) == before
    assert receiver.total("claude.steps") == 1
    with AgentMonitor(
        "w", export_to_grafana=True, endpoint=receiver.http_endpoint, spool=tmp_path, service_name="sh/elves: ä"
    ) as monitor:
        work(monitor)
    assert files(tmp_path) == []
    assert receiver.total("claude.steps") == 3


def test_a_file_that_is_no_request_stays_and_the_others_go(
    receiver: OtlpReceiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = [
        b"",
        b"null",
        b"[]",
        b'{"resourceMetrics": 3}',
        b"\xff\xfe",
        b'{"resourceMetrics":[{"resource',
        b"[" * 100_000,
    ]
    Spool(str(tmp_path), 10**9).keep("logs", "books", b"{}", 1)
    for number, content in enumerate(bad):
        (tmp_path / f"{number:020d}-00000000.1.metrics.books.jsonl").write_bytes(content)
    with monitor_of(receiver.http_endpoint, tmp_path) as monitor:
        work(monitor)
    assert len(files(tmp_path)) == len(bad)
    assert receiver.total("claude.steps") == 1
    assert "can't be read" in caplog.text


def test_what_is_refused_stays_on_disk_and_is_told(
    receiver: OtlpReceiver, tmp_path: Path, caplog: pytest.LogCaptureFixture, nowhere: str
) -> None:
    first = monitor_of(nowhere, tmp_path)
    work(first)
    first.close(5)
    receiver.answer(status=400, signal="logs", times=1)
    with monitor_of(receiver.http_endpoint, tmp_path) as second:
        second.increment("steps")
    assert [".logs." in path.name for path in files(tmp_path)] == [True]
    assert "it stays there" in caplog.text


def test_several_processes_send_each_file_once(receiver: OtlpReceiver, tmp_path: Path, nowhere: str) -> None:
    for number in range(20):
        monitor = monitor_of(nowhere, tmp_path)
        monitor.event("step", {"number": number})
        monitor.close(5)
    receiver.answer(delay_s=0.02)
    monitors = [monitor_of(receiver.http_endpoint, tmp_path, interval_s=30 + place) for place in range(4)]
    for monitor in monitors:  # each has a pipeline, a thread and a lock of its own, as processes have
        monitor.increment("steps")
    until(lambda: not files(tmp_path))
    for monitor in monitors:
        monitor.close(5)
    numbers = Counter(log.attributes["number"] for log in receiver.logs if "number" in log.attributes)
    assert numbers == Counter(range(20))


def test_a_folder_that_another_process_sends_from_is_left_to_it(
    receiver: OtlpReceiver, tmp_path: Path, nowhere: str
) -> None:
    first = monitor_of(nowhere, tmp_path)
    work(first)
    first.close(5)
    before = files(tmp_path)
    with FileLock(tmp_path / ".lock"):
        with monitor_of(receiver.http_endpoint, tmp_path) as second:
            work(second)
        assert main(["spool", "drop", "--dir", str(tmp_path)]) == 1
    assert files(tmp_path) == before


def test_a_folder_that_can_not_be_written_is_one_line_and_the_loss_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, nowhere: str
) -> None:
    folder = tmp_path / "spool"
    monitor = monitor_of(nowhere, folder)
    work(monitor)
    folder.write_text("a file by now")
    assert not monitor.close(5)
    assert sum("nothing can be written" in line for line in caplog.messages) == 1
    assert monitor.health().dropped["not_delivered_at_exit"] >= 3


def test_the_command_lists_sends_and_drops(
    receiver: OtlpReceiver,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    nowhere: str,
) -> None:
    monkeypatch.setenv("CLAUDE_MONITORING_SPOOL_DIR", str(tmp_path))
    assert main(["spool", "list"]) == 0
    assert "nothing waits" in capsys.readouterr().out
    monitor = monitor_of(nowhere, tmp_path)
    work(monitor, 3)
    monitor.close(5)
    assert main(["spool", "list"]) == 0
    assert "1 events" in capsys.readouterr().out
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", nowhere)
    assert main(["spool", "send"]) == 1
    assert "nothing listens" in capsys.readouterr().err
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint)
    assert main(["spool", "send", "--service", "another"]) == 0
    assert len(files(tmp_path)) == 3
    assert main(["spool", "send"]) == 0
    assert (receiver.total("claude.steps"), files(tmp_path)) == (3, [])
    monitor = monitor_of(nowhere, tmp_path)
    work(monitor)
    monitor.close(5)
    assert main(["spool", "drop"]) == 0
    assert files(tmp_path) == []
    monkeypatch.delenv("CLAUDE_MONITORING_SPOOL_DIR")
    assert main(["spool", "list"]) == 2
    assert "CLAUDE_MONITORING_SPOOL_DIR" in capsys.readouterr().err
