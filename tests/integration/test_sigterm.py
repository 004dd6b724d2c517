"""``SIGTERM``: nothing is done unless the host asks; then what is recorded is sent, and the host's handler runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from claude_monitoring.receiver import OtlpReceiver
from tests.contract.exporter_parts import PROTOCOLS
from tests.integration.program import PATIENT, environment, run_program

PROGRAM = """
    import os, signal, sys, time
    from claude_monitoring import AgentMonitor
    {before}
    monitor = AgentMonitor("worker"{arguments})
    with monitor.track_task("work"):
        monitor.increment("steps", 3)
        monitor.event("step")
        print("ready", flush=True)
        for _ in range(600):  # a signal that comes just before a sleep does not end it
            time.sleep(0.1)
"""
HANDLER = """
    def on_term(number, frame):
        monitor.increment("late")
        os.write(1, b"handled %d" % (number == signal.SIGTERM))  # print() may be what it interrupts
        monitor.close()
        sys.exit(5)
    signal.signal(signal.SIGTERM, on_term)
"""


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as one:
        yield one


def terminated(env: dict[str, str], arguments: str = "", before: str = "") -> subprocess.CompletedProcess[str]:
    code = dedent(PROGRAM).format(arguments=arguments, before=dedent(before).strip())
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    return subprocess.CompletedProcess([], process.returncode, out, err)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_asked_for_it_all_is_delivered_before_the_program_ends_by_the_signal(
    receiver: OtlpReceiver, protocol: str
) -> None:
    ended = terminated(environment(receiver.endpoint(protocol), protocol, **PATIENT), ", flush_on_sigterm=True")
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGTERM, "", "")
    assert receiver.total("claude.steps") == 3
    assert receiver.total("claude.sessions.active") == 0
    assert [log.body for log in receiver.logs] == ["claude.step"]


def test_the_variable_asks_as_well(receiver: OtlpReceiver) -> None:
    env = environment(receiver.http_endpoint, CLAUDE_MONITORING_FLUSH_ON_SIGTERM="1", **PATIENT)
    assert terminated(env).returncode == -signal.SIGTERM
    assert receiver.total("claude.steps") == 3


def test_not_asked_for_it_the_signal_does_what_it_always_did(receiver: OtlpReceiver) -> None:
    ended = terminated(environment(receiver.http_endpoint))
    assert (ended.returncode, ended.stderr) == (-signal.SIGTERM, "")
    assert receiver.requests == ()


def test_the_hosts_own_handler_runs_after_the_flush_and_may_still_record(receiver: OtlpReceiver) -> None:
    ended = terminated(environment(receiver.http_endpoint, **PATIENT), ", flush_on_sigterm=True", HANDLER)
    assert (ended.returncode, ended.stdout, ended.stderr) == (5, "handled 1", "")
    assert receiver.total("claude.steps") == 3
    assert receiver.total("claude.late") == 1


def test_a_host_that_ignores_the_signal_goes_on_ignoring_it(receiver: OtlpReceiver) -> None:
    code = """
        import os, signal
        from claude_monitoring import AgentMonitor
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        monitor = AgentMonitor("worker", flush_on_sigterm=True)
        monitor.increment("steps")
        os.kill(os.getpid(), signal.SIGTERM)
        print("still here")
    """
    done = run_program(code, environment(receiver.http_endpoint, **PATIENT))
    assert (done.returncode, done.stdout, done.stderr) == (0, "still here\n", "")
    assert receiver.total("claude.steps") == 1


def test_a_dead_collector_holds_the_end_up_no_longer_than_the_bound(tmp_path: Path) -> None:
    env = environment("http://127.0.0.1:1", CLAUDE_CODE_OTEL_SHUTDOWN_TIMEOUT_MS="1500")
    ended = terminated(env | {"CLAUDE_MONITORING_SPOOL_DIR": str(tmp_path)}, ", flush_on_sigterm=True")
    assert ended.returncode == -signal.SIGTERM
    assert len(ended.stderr.splitlines()) == 1
    assert len(list(tmp_path.glob("*.jsonl"))) == 2  # the span under way has no end yet


def test_outside_the_main_thread_it_says_that_it_has_no_effect(receiver: OtlpReceiver) -> None:
    code = """
        import signal, threading
        from claude_monitoring import AgentMonitor
        thread = threading.Thread(target=lambda: AgentMonitor("worker", flush_on_sigterm=True))
        thread.start()
        thread.join()
        print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
    """
    done = run_program(code, environment(receiver.http_endpoint))
    assert done.stdout == "True\n"
    (line,) = done.stderr.splitlines()
    assert "flush_on_sigterm has no effect" in line


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_sends_its_own(receiver: OtlpReceiver) -> None:
    code = """
        import os, signal, time
        from claude_monitoring import AgentMonitor
        monitor = AgentMonitor("worker", flush_on_sigterm=True)
        monitor.increment("steps", 1)
        monitor.flush()
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            monitor.increment("steps", 10)
            os.write(writing, b"x")
            for _ in range(600):
                time.sleep(0.1)
        os.read(reading, 1)
        os.kill(child, signal.SIGTERM)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = run_program(code, environment(receiver.http_endpoint, **PATIENT))
    assert done.stdout == f"{-signal.SIGTERM}\n"
    assert receiver.total("claude.steps") == 11
