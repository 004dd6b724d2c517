"""Whatever is wrong with telemetry, the program ends as it would without it."""

from __future__ import annotations

import platform
import socket
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from claude_monitoring.receiver import OtlpReceiver

from .program import PATIENT, environment, run_file, run_program

FarSide = Callable[[], AbstractContextManager[int]]
PROTOCOLS = ("grpc", "http/protobuf", "http/json")

PROGRAM = """
    import sys
    from claude_monitoring import AgentMonitor
    monitor = AgentMonitor("worker")
    with monitor.track_task("a job"):
        monitor.increment("steps")
        monitor.event("done")
    print("the answer")
    sys.exit(7)
"""


@contextmanager
def mute() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as server:
        yield server.getsockname()[1]


@contextmanager
def closed_port() -> Iterator[int]:
    """A port that nobody listens on; it stays bound, so that nobody else takes it."""
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


FIRST_RECORDS = """
    import asyncio, sys, threading
    from claude_monitoring import AgentMonitor
    monitor = AgentMonitor("worker")

    @monitor.track_task(task_type="job")
    async def work():
        monitor.increment("steps")
        monitor.event("done")

    imported, here = [], threading.get_ident()
    sys.addaudithook(lambda event, what: event == "import" and threading.get_ident() == here and imported.append(what))

    async def main():
        imported.clear()
        await work()
        print(*(name for name, *_ in imported))

    asyncio.run(main())
"""


@pytest.mark.parametrize("metrics", ["otlp", "console", "prometheus"])
def test_an_event_loop_that_records_first_does_not_wait_for_imports(metrics: str) -> None:
    with OtlpReceiver(grpc=False) as receiver:
        env = environment(receiver.http_endpoint, "http/protobuf", OTEL_METRICS_EXPORTER=metrics)
        ended = run_program(FIRST_RECORDS, {**env, "OTEL_EXPORTER_PROMETHEUS_PORT": "0"}, timeout_s=20)
    assert ended.returncode == 0, ended.stderr
    imported = ended.stdout.split("\n")[0].split()
    assert [name for name in imported if name.partition(".")[0] in {"claude_monitoring", "opentelemetry"}] == []


@pytest.mark.parametrize("far_side", [mute, closed_port])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_without_a_collector_nothing_changes_and_there_is_one_line(protocol: str, far_side: FarSide) -> None:
    with far_side() as port:
        # An attempt may take a minute: only the bound on the exit can end the program within the test's time.
        env = environment(f"http://127.0.0.1:{port}", protocol, OTEL_EXPORTER_OTLP_TIMEOUT="60000")
        ended = run_program(PROGRAM, env, timeout_s=20)
    assert (ended.returncode, ended.stdout) == (7, "the answer\n")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("claude_monitoring: metrics not delivered by otlp")
    assert f"127.0.0.1:{port}" in line
    assert ("nothing listens" if far_side is closed_port else "no answer") in line


def test_one_bad_exporter_name_is_told_and_silences_no_other_signal() -> None:
    with OtlpReceiver() as receiver:
        env = environment(receiver.http_endpoint, OTEL_LOGS_EXPORTER="otpl")
        ended = run_program(PROGRAM, env)
        assert ended.returncode == 7
        (line,) = ended.stderr.splitlines()
        assert "OTEL_LOGS_EXPORTER" in line
        assert "otpl" in line
        assert receiver.total("claude.steps") == 1
        assert [span.name for span in receiver.spans] == ["a job"]
        assert receiver.logs == ()


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_switched_off_nothing_is_printed_started_or_loaded(value: str) -> None:
    program = """
        import sys, threading
        from claude_monitoring import AgentMonitor, track_task
        monitor = AgentMonitor("worker")
        @monitor.track_task(complexity=3)
        def job():
            monitor.record_usage("claude-sonnet-4-5", 10, 10)
            monitor.increment("bad name!", "not a number")
            return 5
        print(job(), threading.active_count(), monitor.flush(), monitor.close())
        print(sorted({"grpc", "urllib3", "prometheus_client", "opentelemetry.sdk", "genai_prices"} & set(sys.modules)))
    """
    with OtlpReceiver() as receiver:
        env = environment(receiver.http_endpoint) | {"CLAUDE_CODE_ENABLE_TELEMETRY": value}
        ended = run_program(program, env)
        assert (ended.stdout, ended.stderr) == ("5 1 True True\n[]\n", "")
        assert receiver.requests == ()


def test_a_thousand_monitors_share_one_thread_and_one_connection_a_signal() -> None:
    program = """
        import threading
        import psutil
        from claude_monitoring import AgentMonitor
        monitors = [AgentMonitor(f"agent-{n}") for n in range(1000)]
        for monitor in monitors:
            monitor.increment("steps")
            monitor.event("done")
            with monitor.span("s"):
                pass
        assert monitors[0].flush(20)
        names = [thread.name for thread in threading.enumerate() if thread.name.startswith("claude")]
        connections = [c for c in psutil.Process().net_connections("tcp") if c.status == "ESTABLISHED"]
        print(names, len(connections))
    """
    for protocol in ("grpc", "http/protobuf"):
        with OtlpReceiver() as receiver:
            ended = run_program(program, environment(receiver.endpoint(protocol), protocol))
            names, _, connections = ended.stdout.rpartition(" ")
            assert names == "['claude-monitoring-exporter']", ended.stderr
            assert int(connections) <= 3
            assert receiver.total("claude.steps") == 1000
            assert len(receiver.spans) == len(receiver.logs) == 1000


def test_a_taken_prometheus_port_is_one_line_and_the_rest_goes_on() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken, OtlpReceiver() as receiver:
        port = taken.getsockname()[1]
        env = environment(
            receiver.http_endpoint,
            OTEL_METRICS_EXPORTER="otlp,prometheus",
            OTEL_EXPORTER_PROMETHEUS_HOST="127.0.0.1",
            OTEL_EXPORTER_PROMETHEUS_PORT=str(port),
        )
        ended = run_program(PROGRAM, env)
        assert ended.returncode == 7
        (line,) = ended.stderr.splitlines()
        assert str(port) in line
        assert receiver.total("claude.steps") == 1


def test_custom_exporters_that_raise_or_hang_harm_nobody() -> None:
    program = """
        import threading
        from claude_monitoring import AgentMonitor
        from claude_monitoring.exporters import CustomExporter
        class Raises(CustomExporter):
            def export_metric(self, metric):
                raise RuntimeError("the database is gone")
        class Hangs(CustomExporter):
            def export_metric(self, metric):
                threading.Event().wait()
        class Works(CustomExporter):
            def __init__(self):
                self.seen = {}
            def export_metric(self, metric):
                self.seen[metric.name] = metric.value
        works = Works()
        monitor = AgentMonitor("worker", exporters=[Raises(), Hangs(), works])
        monitor.increment("steps", 3)
        print(monitor.flush(3), works.seen["claude.steps"])
        monitor.close(1)
    """
    with OtlpReceiver() as receiver:
        ended = run_program(program, environment(receiver.http_endpoint))
        assert ended.stdout == "False 3.0\n", ended.stderr
        assert ended.returncode == 0
        raises, hangs = ended.stderr.splitlines()
        assert "delivered by Raises" in raises
        assert "the database is gone" in raises
        assert "delivered by Hangs: no answer" in hangs
        assert receiver.total("claude.steps") == 3


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_program_that_ends_at_once_still_delivers(protocol: str) -> None:
    with OtlpReceiver() as receiver:
        ended = run_program(PROGRAM, environment(receiver.endpoint(protocol), protocol))
        assert (ended.returncode, ended.stderr) == (7, "")
        assert receiver.total("claude.steps") == 1
        assert receiver.total("claude.sessions.active") == 0
        assert len(receiver.spans) == 1


def test_what_is_recorded_in_an_exit_hook_is_delivered() -> None:
    program = """
        import atexit
        from claude_monitoring import AgentMonitor
        monitor = AgentMonitor("worker")
        atexit.register(lambda: monitor.increment("steps", 2))
    """
    with OtlpReceiver() as receiver:
        ended = run_program(program, environment(receiver.http_endpoint))
        assert (ended.returncode, ended.stderr) == (0, "")
        assert receiver.total("claude.steps") == 2


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_forked_child_reports_its_own_and_not_its_parents(protocol: str) -> None:
    program = """
        import os, sys, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later warn of fork beside threads
        from claude_monitoring import AgentMonitor
        monitor = AgentMonitor("worker")
        handle = monitor.counter("steps")
        handle.add(100)
        assert monitor.flush(10)
        child = os.fork()
        if child == 0:
            handle.add(1)
            monitor.increment("steps")
            ok = monitor.close(10)
            os._exit(0 if ok else 1)
        assert os.waitpid(child, 0)[1] == 0
        handle.add(1)
    """
    with OtlpReceiver() as receiver:
        ended = run_program(program, environment(receiver.endpoint(protocol), protocol))
        assert ended.returncode == 0, ended.stderr
        assert receiver.total("claude.steps") == 103
        assert len({point.resource["service.instance.id"] for point in receiver.metrics}) == 2


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_multiprocessing_deliver_what_they_recorded(method: str, tmp_path: Path) -> None:
    program = tmp_path / "pool.py"
    program.write_text(
        textwrap.dedent(f"""
            import multiprocessing, warnings
            warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside threads, Python 3.12 and later
            from claude_monitoring import AgentMonitor
            monitor = AgentMonitor("worker")
            def work(number):
                monitor.increment("steps", number)
            if __name__ == "__main__":
                monitor.increment("steps", 100)
                context = multiprocessing.get_context("{method}")
                workers = [context.Process(target=work, args=(number,)) for number in (1, 2, 3)]
                for worker in workers:
                    worker.start()
                for worker in workers:
                    worker.join()
        """)
    )
    with OtlpReceiver() as receiver:
        ended = run_file(program, environment(receiver.http_endpoint, **PATIENT))
        assert (ended.returncode, ended.stderr) == (0, "")
        assert receiver.total("claude.steps") == 106
        assert receiver.total("claude.sessions.active") == 0


def test_a_forked_child_adds_its_process_id_to_an_instance_id_that_the_user_set() -> None:
    program = """
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from claude_monitoring import AgentMonitor
        monitor = AgentMonitor("worker")
        monitor.increment("steps")
        child = os.fork()
        monitor.increment("steps")
        monitor.close(10)
        if child:
            os.waitpid(child, 0)
            print(child)
        else:
            os._exit(0)
    """
    with OtlpReceiver() as receiver:
        more = {"OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=mine", "OTEL_RESOURCE_INCLUDE_HOST": "true"}
        ended = run_program(program, environment(receiver.http_endpoint, **more))
        assert ended.stderr == ""
        ids = {point.resource["service.instance.id"] for point in receiver.metrics}
        assert ids == {"mine", f"mine-{ended.stdout.strip()}"}
        assert {point.resource["host.name"] for point in receiver.metrics} == {platform.node()}
        assert receiver.total("claude.steps") == 3


def test_one_of_several_monitors_that_closes_leaves_the_others_recording() -> None:
    program = """
        from claude_monitoring import AgentMonitor
        first, second = AgentMonitor("first"), AgentMonitor("second")
        first.increment("steps")
        second.increment("steps")
        assert first.close(10)
        first.increment("steps", 100)
        second.increment("steps")
        assert first.health().dropped == {"already_closed": 1}, first.health()
        assert second.health().enabled
    """
    with OtlpReceiver() as receiver:
        ended = run_program(program, environment(receiver.http_endpoint))
        assert ended.returncode == 0, ended.stderr
        assert len(ended.stderr.splitlines()) == 1  # that a closed monitor records nothing more
        assert receiver.total("claude.steps", agent="first") == 1
        assert receiver.total("claude.steps", agent="second") == 2
        assert receiver.total("claude.sessions.active") == 0
