"""Forks beside busy threads: no child hangs, none counts for its parent, and what each recorded arrives once."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from claude_monitoring.receiver import OtlpReceiver

from .program import PATIENT, environment, run_file, run_program, unmeasured

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

FORK_PROGRAM = Path(__file__).with_name("fork_program.py")
DELTA = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta", "OTEL_METRIC_EXPORT_INTERVAL": "300"}


def fork_many(receiver: OtlpReceiver, folder: Path, children: int, moment: str, protocol: str, **more: str) -> None:
    """Run the program, and compare all that came with all that was recorded."""
    env = unmeasured(environment(receiver.endpoint(protocol), protocol, **more))
    ended = subprocess.run(
        [sys.executable, "-W", "error", str(FORK_PROGRAM), str(children), moment],
        env=env, cwd=folder, capture_output=True, text=True, timeout=50 if children < 100 else 180, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    report = json.loads(ended.stdout)
    assert report["hung"] == []
    assert Counter(report["ended"]) == {0: children}
    assert report["delivered"]
    assert receiver.total("claude.steps", who="parent") == report["counted"]
    assert sum(receiver.total("claude.labelled", thread=str(place)) for place in range(4)) == report["counted"]
    assert receiver.total("claude.sizes") == report["counted"]
    amount = children * (children - 1) / 2  # 0 + 1 + 2 + ...
    assert receiver.total("claude.steps", who="child") == amount
    assert receiver.total("claude.labelled", thread="child") == amount
    assert receiver.total("claude.tasks", task_type="child") == children
    assert receiver.total("claude.tasks.active") == 0
    born = [log for log in receiver.logs if log.body == "claude.born"]
    assert sorted(log.attributes["number"] for log in born) == list(range(children))
    assert len({log.resource["service.instance.id"] for log in born}) == children
    assert len({point.resource["service.instance.id"] for point in receiver.metrics}) == children + 1
    tasks = Counter(span.name for span in receiver.spans)
    assert tasks == {"child": children, "parent": receiver.total("claude.tasks", task_type="parent")}


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize(("protocol", "more"), [("grpc", {}), ("http/protobuf", DELTA)])
def test_a_thousand_children_forked_beside_busy_threads_end_and_every_number_is_exact(
    protocol: str, more: dict[str, str], tmp_path: Path
) -> None:
    with OtlpReceiver() as receiver:
        fork_many(receiver, tmp_path, 1000, "warm", protocol, **more)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
def test_forks_during_the_first_use_lose_nothing(protocol: str, tmp_path: Path) -> None:
    with OtlpReceiver() as receiver:
        fork_many(receiver, tmp_path, 40, "first-use", protocol)


def test_forks_during_the_first_use_beside_threads_that_compute_find_no_module_half_made(tmp_path: Path) -> None:
    with OtlpReceiver() as receiver:
        fork_many(receiver, tmp_path, 10, "computing", "grpc")


# The beginning and the end of a program that forks 20 children while a thread of the parent records.
PARENT = """
    import os, threading, warnings
    from itertools import count
    from claude_monitoring import AgentMonitor

    warnings.simplefilter("ignore", DeprecationWarning)
    monitor = AgentMonitor("forker")
    stop = threading.Event()
    recorded = 0

    def work():
        global recorded
        while not stop.is_set():
            monitor.increment("steps", 1, {"who": "parent"})
            recorded += 1

    busy = threading.Thread(target=work, daemon=True)
    busy.start()
    monitor.event("begun")
    assert monitor.flush(20)

    def child(number):
        BODY

    pids = []
    for number in range(20):
        pid = os.fork()
        if pid == 0:
            code = 4
            try:
                code = child(number)
            finally:
                os._exit(code)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 20
    stop.set()
    busy.join()
    assert monitor.close(20)
    print(recorded)
"""


def parent(body: str) -> str:
    return textwrap.dedent(PARENT).replace("BODY", textwrap.indent(textwrap.dedent(body), "    ").strip())


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_threads_that_a_child_starts_record(protocol: str) -> None:
    program = parent("""
        def in_thread(place):
            for _ in range(100):
                monitor.increment("steps", 1, {"who": "child"})
                monitor.histogram("sizes", place)
            with monitor.track_task("in a thread", task_type="child"):
                monitor.event("in_thread")
        threads = [threading.Thread(target=in_thread, args=(place,)) for place in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return 0 if monitor.flush(20) else 3
    """)
    with OtlpReceiver() as receiver:
        ended = run_program(program, unmeasured(environment(receiver.endpoint(protocol), protocol)))
        assert (ended.returncode, ended.stderr) == (0, "")
        assert receiver.total("claude.steps", who="parent") == int(ended.stdout)
        assert receiver.total("claude.steps", who="child") == 20 * 4 * 100
        assert receiver.total("claude.sizes") == 20 * 4 * 100
        assert receiver.total("claude.tasks", task_type="child") == 20 * 4
        assert sum(log.body == "claude.in_thread" for log in receiver.logs) == 20 * 4
        assert sum(span.name == "in a thread" for span in receiver.spans) == 20 * 4


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_children_that_end_at_once_after_recording_harm_nobody(protocol: str) -> None:
    program = parent("""
        monitor.increment("steps", 1, {"who": "child"})
        monitor.event("never sent")
        with monitor.span("never sent"):
            pass
        return 0
    """)
    with OtlpReceiver() as receiver:
        ended = run_program(program, unmeasured(environment(receiver.endpoint(protocol), protocol)))
        assert (ended.returncode, ended.stderr) == (0, "")
        assert receiver.total("claude.steps", who="parent") == int(ended.stdout)
        assert [log.body for log in receiver.logs if "begun" in str(log.body)] == ["claude.begun"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["Pool", "ProcessPoolExecutor"])
def test_pools_of_workers_deliver_when_they_are_closed(kind: str, method: str, tmp_path: Path) -> None:
    program = tmp_path / "pool.py"
    program.write_text(
        textwrap.dedent(f"""
            import multiprocessing, warnings
            from concurrent.futures import ProcessPoolExecutor
            warnings.simplefilter("ignore", DeprecationWarning)
            from claude_monitoring import AgentMonitor
            monitor = AgentMonitor("worker")
            def work(number):
                with monitor.track_task("work", task_type="pool"):
                    monitor.increment("steps", number)
                    monitor.event("worked")
                return number
            if __name__ == "__main__":
                monitor.increment("steps", 1000)
                context = multiprocessing.get_context("{method}")
                if "{kind}" == "Pool":
                    pool = context.Pool(3)
                    assert sum(pool.imap_unordered(work, range(30))) == 435
                    pool.close()
                    pool.join()
                else:
                    with ProcessPoolExecutor(3, mp_context=context) as pool:
                        assert sum(pool.map(work, range(30))) == 435
        """)
    )
    with OtlpReceiver() as receiver:
        ended = run_file(program, unmeasured(environment(receiver.http_endpoint, **PATIENT)))
        assert (ended.returncode, ended.stderr) == (0, "")
        assert receiver.total("claude.steps") == 1435
        assert receiver.total("claude.tasks", task_type="pool") == 30
        assert sum(log.body == "claude.worked" for log in receiver.logs) == 30
        assert sum(span.name == "work" for span in receiver.spans) == 30
        assert receiver.total("claude.sessions.active") == 0


WITH_PROMETHEUS = """
    import os, sys, time, warnings
    from claude_monitoring import AgentMonitor

    warnings.simplefilter("ignore", DeprecationWarning)
    monitor = AgentMonitor("served")
    monitor.increment("steps")
    print(*monitor._pipeline.prometheus_address, flush=True)
    sys.stdin.readline()
    ours, childs = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(childs, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(ours, 1)  # the child is through with its fork
    print(child, flush=True)
    sys.stdin.readline()
    END
    print("ended", flush=True)
    os._exit(0)
"""


@pytest.mark.parametrize("end", ["monitor.close(10)", "pass"])
def test_a_child_keeps_neither_the_prometheus_port_nor_its_connections_when_the_parent_ends(end: str) -> None:
    env = environment(
        OTEL_METRICS_EXPORTER="prometheus", OTEL_EXPORTER_PROMETHEUS_HOST="127.0.0.1", OTEL_EXPORTER_PROMETHEUS_PORT="0"
    )
    program = textwrap.dedent(WITH_PROMETHEUS).replace("END", end)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program],
        env=unmeasured(env), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    child = 0
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline().split()[1])
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as scraper:
            scraper.request("GET", "/metrics")
            assert "claude_steps_total" in scraper.getresponse().read().decode()
            process.stdin.write("\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "ended\n"
            process.wait(10)
            with socket.create_server(("127.0.0.1", port)):  # it would be refused while somebody listens there
                pass
            assert scraper.sock is None or scraper.sock.recv(1) == b""  # the child holds no connection open
            os.kill(child, 0)  # it lives
    finally:
        process.kill()
        if child:
            os.kill(child, signal.SIGKILL)
        _, errors = process.communicate(timeout=10)
    assert not re.search("claude_monitoring|Traceback", errors), errors
