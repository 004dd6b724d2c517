"""Forks in the middle of things: the child neither waits for the parent's locks nor doubles what the parent counted."""

from __future__ import annotations

import os

import pytest

from claude_monitoring.receiver import OtlpReceiver

from .program import environment, run_program, unmeasured

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

WHILE_THE_STORE_IS_LOCKED = """
    import os, threading, warnings
    from claude_monitoring import AgentMonitor

    warnings.simplefilter("ignore", DeprecationWarning)  # of os.fork() beside threads, from Python 3.12 on
    monitor = AgentMonitor("shop")
    task = monitor.track_task("x", task_type="import")
    task.__enter__()
    held, forked = threading.Event(), threading.Event()

    def hold():
        with monitor._pipeline.store.lock:
            held.set()
            forked.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    pid = os.fork()
    if pid == 0:
        task.__exit__(None, None, None)
        monitor.increment("jobs")
        os._exit(0 if monitor.close(10) else 1)
    forked.set()
    holder.join()
    assert os.waitpid(pid, 0)[1] == 0
    task.__exit__(None, None, None)
    assert monitor.close(10)
"""

WITH_A_THREAD_POOL_OF_THE_HOSTS = """
    import os, warnings
    from claude_monitoring import AgentMonitor

    warnings.simplefilter("ignore", DeprecationWarning)
    monitor = AgentMonitor("shop")
    with monitor.span("first"):
        pass
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
    pid = os.fork()
    if pid == 0:
        with monitor.span("second"):
            monitor.increment("jobs")
        os._exit(0 if monitor.close(10) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert monitor.close(10)
"""

WHILE_A_SNAPSHOT_IS_READ = """
    import os, threading, warnings
    from claude_monitoring._snapshot import Snapshot

    warnings.simplefilter("ignore", DeprecationWarning)
    begun, forked = threading.Event(), threading.Event()

    class Slow(list):
        def __iter__(self):
            begun.set()
            forked.wait()
            return super().__iter__()

    reader = threading.Thread(target=lambda: Snapshot(0, Slow()).values)
    reader.start()
    begun.wait()
    pid = os.fork()
    if pid == 0:
        import faulthandler

        faulthandler.dump_traceback_later(10, exit=True)
        os._exit(0 if Snapshot(0, []).values == {} else 1)
    forked.set()
    reader.join()
    assert os.waitpid(pid, 0)[1] == 0
"""

EXPLODING = """
    import os, threading, warnings
    from claude_monitoring import AgentMonitor

    warnings.simplefilter("ignore", DeprecationWarning)
    monitor = AgentMonitor("shop", max_label_values=20, max_series=60)
    done = threading.Event()

    def explode(start, calls):
        for number in range(start, start + calls):
            monitor.increment("calls", 1, {"user": f"u{number}", "model": f"m{number % 3}"})
            with monitor.session():
                monitor.record_commit()

    def until_done():
        number = 0
        while not done.is_set():
            monitor.increment("noise", 1, {"user": f"u{number}"})
            number += 1

    explode(0, 300)
    assert monitor.flush(20)  # what is imported by the first export would take minutes beside busy threads
    threads = [threading.Thread(target=until_done, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    children = []
    for child in range(5):
        pid = os.fork()
        if pid == 0:
            explode(1_000 * child, 300)
            os._exit(0 if monitor.close(20) else 1)
        children.append(pid)
    ended = [os.waitpid(pid, 0)[1] for pid in children]
    done.set()
    for thread in threads:
        thread.join()
    assert ended == [0] * 5
    assert monitor.close(20)
"""


@pytest.fixture
def receiver() -> OtlpReceiver:
    return OtlpReceiver()


def test_a_child_does_not_wait_for_a_thread_of_the_parent_that_held_the_store(receiver: OtlpReceiver) -> None:
    with receiver:
        ended = run_program(WHILE_THE_STORE_IS_LOCKED, environment(receiver.http_endpoint))
        assert (ended.returncode, ended.stderr) == (0, "")
        assert receiver.total("claude.jobs") == 1
        assert receiver.total("claude.tasks", task_type="import") == 1


def test_a_child_does_not_wait_for_a_thread_of_the_parent_that_reads_a_snapshot() -> None:
    ended = run_program(WHILE_A_SNAPSHOT_IS_READ, unmeasured(environment()))
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_child_with_spans_does_not_wait_for_the_thread_pool_of_the_host(receiver: OtlpReceiver) -> None:
    with receiver:
        ended = run_program(WITH_A_THREAD_POOL_OF_THE_HOSTS, environment(receiver.http_endpoint))
        assert (ended.returncode, ended.stderr) == (0, "")
        assert sorted(span.name for span in receiver.spans) == ["first", "second"]


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_labels_that_explode_in_parent_and_children_stay_bounded_and_exact(
    receiver: OtlpReceiver, temporality: str
) -> None:
    preference = {
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality,
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
    }
    with receiver:
        env = unmeasured(environment(receiver.http_endpoint, **preference))
        ended = run_program(EXPLODING, env)
        assert ended.returncode == 0, ended.stderr
        assert receiver.total("claude.calls") == 6 * 300
        assert [receiver.total("claude.calls", model=f"m{n}") for n in range(3)] == [600.0] * 3
        assert receiver.total("claude_code.commit.count") == 6 * 300
        by_process: dict[object, set[object]] = {}
        for point in receiver.metrics:
            if point.metric == "claude.calls":
                process = point.scope.resource["service.instance.id"]
                by_process.setdefault(process, set()).add(frozenset(point.attributes.items()))
        assert len(by_process) == 6
        assert max(map(len, by_process.values())) <= 60
