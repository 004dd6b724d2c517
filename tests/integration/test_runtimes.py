"""Under uvloop, trio, gevent and in sub-interpreters: contexts stay apart, totals are exact, the loop goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from importlib import import_module

import pytest

from claude_monitoring.receiver import OtlpReceiver

from .program import environment, run_program, unmeasured

PROTOCOLS = ("grpc", "http/protobuf", "http/json")
AGENTS, PARTS = 6, 3
BOUND_S = 0.5
SLACK_S = 4  # a busy machine; without the bound an exit would take as long as an export may, a minute

ASYNC = """
    import anyio
    from anyio import sleep
    from claude_monitoring import AgentMonitor
    monitor = AgentMonitor("worker", interval_s=0.2)

    async def part(number, name):
        async with monitor.track_task(f"part {number}.{name}", task_type="part"):
            await sleep(0.01)
            monitor.increment("steps", number, {"kind": str(number)})

    async def agent(number):
        async with monitor.session(f"session-{number}"):
            async with monitor.track_task(f"agent {number}", task_type="agent") as task:
                await sleep(0.01)
                async with anyio.create_task_group() as group:
                    for name in range(PARTS):
                        group.start_soon(part, number, name)
                async with monitor.span(f"call {number}"):
                    await sleep(0.01)
                    monitor.record_usage("m", number, cost_usd=0)
                    monitor.event("called", {"number": number})
                assert task.input_tokens == number

    async def agents():
        async with anyio.create_task_group() as group:
            for number in range(1, AGENTS + 1):
                group.start_soon(agent, number)

    async def beat(beats):
        while True:
            beats.append(time.time())
            await sleep(0.01)

    async def with_beat(beats):
        async with anyio.create_task_group() as group:
            group.start_soon(beat, beats)
            await agents()
            await sleep(HANG_S)
            group.cancel_scope.cancel()

    async def flushed():
        await agents()
        return await anyio.to_thread.run_sync(monitor.flush, 20)
"""

GEVENT = """
    import gevent
    from contextvars import copy_context
    from gevent import sleep
    from claude_monitoring import AgentMonitor
    monitor = AgentMonitor("worker", interval_s=0.2)

    def part(number, name):
        with monitor.track_task(f"part {number}.{name}", task_type="part"):
            sleep(0.01)
            monitor.increment("steps", number, {"kind": str(number)})

    def agent(number):
        with monitor.session(f"session-{number}"), monitor.track_task(f"agent {number}", task_type="agent") as task:
            sleep(0.01)
            # A greenlet begins without a context, as a thread does, unless it is given one.
            parts = [gevent.spawn(copy_context().run, part, number, name) for name in range(PARTS)]
            gevent.joinall(parts, raise_error=True)
            with monitor.span(f"call {number}"):
                sleep(0.01)
                monitor.record_usage("m", number, cost_usd=0)
                monitor.event("called", {"number": number})
            assert task.input_tokens == number

    def agents():
        gevent.joinall([gevent.spawn(agent, number) for number in range(1, AGENTS + 1)], raise_error=True)

    def beat(beats):
        while True:
            beats.append(time.time())
            sleep(0.01)

    def with_beat(beats):
        beating = gevent.spawn(beat, beats)
        agents()
        sleep(HANG_S)
        beating.kill()

    def flushed():
        agents()
        return monitor.flush(20)

    def run(function, *args):
        return function(*args)
"""

RUNTIMES = {
    "asyncio": ("import anyio; run = anyio.run", ASYNC),
    "trio": ("import anyio, functools; run = functools.partial(anyio.run, backend='trio')", ASYNC),
    "uvloop": ("import uvloop\ndef run(function, *args): return uvloop.run(function(*args))", ASYNC),
    "gevent": ("from gevent import monkey; monkey.patch_all()", GEVENT),
    "gevent-late": ("import claude_monitoring\nfrom gevent import monkey; monkey.patch_all()", GEVENT),
    "gevent-real-threads": ("from gevent import monkey; monkey.patch_all(thread=False)", GEVENT),
    "gevent-init_gevent": (
        "from gevent import monkey; monkey.patch_all(); import grpc.experimental.gevent as it; it.init_gevent()",
        GEVENT,
    ),
}


def run_under(
    runtime: str, code: str, endpoint: str, protocol: str, hang_s: float = 0
) -> subprocess.CompletedProcess[str]:
    """Run ``code`` after the program of the runtime; it has ``run``, ``flushed`` and ``with_beat``."""
    prelude, body = RUNTIMES[runtime]
    import_module("gevent" if "gevent" in runtime else "uvloop" if runtime == "uvloop" else "anyio")
    if runtime == "trio":
        import_module("trio")
    constants = f"import time\nAGENTS, PARTS, HANG_S = {AGENTS}, {PARTS}, {hang_s}"
    parts = (prelude, constants, textwrap.dedent(body), textwrap.dedent(code))
    more = {
        "OTEL_EXPORTER_OTLP_TIMEOUT": "60000",
        "CLAUDE_CODE_OTEL_SHUTDOWN_TIMEOUT_MS": str(int(BOUND_S * 1000)) if hang_s else "20000",
    }
    return run_program("\n".join(parts), unmeasured(environment(endpoint, protocol, **more)))


def assert_all_arrived_in_its_place(receiver: OtlpReceiver) -> None:
    numbers = range(1, AGENTS + 1)
    spans = {span.name: span for span in receiver.spans}
    assert len(spans) == len(receiver.spans) == AGENTS * (2 + PARTS)
    for number in numbers:
        session = f"session-{number}"
        outer = spans[f"agent {number}"]
        inner = [spans[f"call {number}"], *(spans[f"part {number}.{name}"] for name in range(PARTS))]
        assert outer.parent_span_id == ""
        assert {span.parent_span_id for span in inner} == {outer.span_id}
        assert {span.trace_id for span in inner} == {outer.trace_id}
        assert {span.attributes["session.id"] for span in (outer, *inner)} == {session}
        assert receiver.total("claude.steps", kind=str(number)) == PARTS * number
        assert receiver.total("claude_code.token.usage", {"session.id": session}) == number
    assert {(event.attributes["session.id"], event.span_id) for event in receiver.logs} == {
        (f"session-{number}", spans[f"call {number}"].span_id) for number in numbers
    }
    assert len(receiver.logs) == AGENTS
    assert receiver.total("claude.tasks", task_type="agent") == AGENTS
    assert receiver.total("claude.tasks", task_type="part") == AGENTS * PARTS
    assert receiver.total("claude.tasks.active") == receiver.total("claude.sessions.active") == 0


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_runs_at_the_same_time_keeps_its_context_and_totals_are_exact(runtime: str, protocol: str) -> None:
    with OtlpReceiver() as receiver:
        ended = run_under(runtime, "print(run(flushed))", receiver.endpoint(protocol), protocol)
        assert (ended.stdout, ended.stderr, ended.returncode) == ("True\n", "", 0)
        assert_all_arrived_in_its_place(receiver)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_was_not_flushed_is_delivered_at_the_exit(runtime: str, protocol: str) -> None:
    with OtlpReceiver() as receiver:
        ended = run_under(runtime, "run(agents)", receiver.endpoint(protocol), protocol)
        assert (ended.stderr, ended.returncode) == ("", 0)
        assert_all_arrived_in_its_place(receiver)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_while_the_far_side_is_mute_the_loop_goes_on_and_the_exit_is_bounded(runtime: str, protocol: str) -> None:
    code = """
        import json
        beats = []
        run(with_beat, beats)
        gap = max(after - before for before, after in zip(beats, beats[1:]))
        print(json.dumps({"gap_s": gap, "last": beats[-1], "done": time.time()}))
    """
    with OtlpReceiver() as receiver:
        receiver.answer(delay_s=60)
        ended = run_under(runtime, code, receiver.endpoint(protocol), protocol, hang_s=3)
        after = time.time()
        assert ended.returncode == 0, ended.stderr
        said = json.loads(ended.stdout)
        asked = receiver.requests[0].received_unix_nano / 1e9
    assert said["last"] - asked >= 2, "no export hung while the loop was watched"
    assert said["gap_s"] < 1.5
    assert after - said["done"] < BOUND_S + SLACK_S
    assert len(ended.stderr.splitlines()) <= 3
    assert all("claude_monitoring" in line for line in ended.stderr.splitlines()), ended.stderr


@pytest.mark.parametrize(
    "runtime",
    [
        "asyncio",
        "uvloop",
        "trio",
    ],
)
def test_a_monitor_as_an_async_context_manager_is_closed_beside_the_loop(runtime: str) -> None:
    code = """
        async def main():
            beats = []
            async with anyio.create_task_group() as group:
                group.start_soon(beat, beats)
                async with monitor:
                    await agents()
                group.cancel_scope.cancel()
            print(monitor.health().enabled, max(after - before for before, after in zip(beats, beats[1:])) < 1.5)
        run(main)
    """
    with OtlpReceiver() as receiver:
        receiver.answer(delay_s=2, times=1)
        ended = run_under(runtime, code, receiver.endpoint("http/protobuf"), "http/protobuf")
        assert (ended.stdout, ended.stderr, ended.returncode) == ("False True\n", "", 0)
        assert_all_arrived_in_its_place(receiver)


# `concurrent.interpreters` of Python 3.14 or its backport, which works on 3.13; before that there is no public way in.
INTERPRETERS = "concurrent.interpreters" if sys.version_info >= (3, 14) else "interpreters_backport.interpreters"
SUB_PROGRAM = """
    import importlib, sys, textwrap
    interpreter = importlib.import_module(sys.argv[1]).create()
    interpreter.exec(textwrap.dedent(sys.argv[2]))
    interpreter.close()
    print("the end")
"""
SUB_WORK = """
    import time
    from claude_monitoring import AgentMonitor
    monitor = AgentMonitor("worker")
    with monitor.session("session-1"), monitor.track_task("job"):
        monitor.increment("steps", 3)
        monitor.event("done")
        with monitor.span("inner"):
            pass
"""


def run_in_sub_interpreter(code: str, endpoint: str, protocol: str, **more: str) -> subprocess.CompletedProcess[str]:
    if sys.version_info < (3, 13):
        pytest.skip("no public way to make a sub-interpreter")
    return subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(SUB_PROGRAM),
            INTERPRETERS,
            textwrap.dedent(SUB_WORK) + textwrap.dedent(code),
        ],
        env=unmeasured(environment(endpoint, protocol, **more)),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


@pytest.mark.parametrize(
    "code", ["assert monitor.flush(10)", "assert monitor.close(10)", ""], ids=["flush", "close", "exit"]
)
@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
def test_a_sub_interpreter_delivers_over_http_when_asked_and_at_its_end(protocol: str, code: str) -> None:
    with OtlpReceiver() as receiver:
        ended = run_in_sub_interpreter(code, receiver.endpoint(protocol), protocol)
        assert (ended.stdout, ended.returncode) == ("the end\n", 0), ended.stderr
        assert receiver.total("claude.steps") == 3
        assert receiver.total("claude.tasks.active") == receiver.total("claude.sessions.active") == 0
        spans = {span.name: span for span in receiver.spans}
        assert spans["inner"].parent_span_id == spans["job"].span_id
        assert [event.span_id for event in receiver.logs] == [spans["job"].span_id]


def test_a_sub_interpreter_without_background_threads_is_told_once_what_that_means() -> None:
    with OtlpReceiver() as receiver:
        ended = run_in_sub_interpreter("assert monitor.flush(10)", receiver.http_endpoint, "http/protobuf")
    [line] = ended.stderr.splitlines()
    assert "allows no background thread" in line
    assert "flush()" in line


def test_grpc_in_a_sub_interpreter_is_told_and_changes_nothing_else() -> None:
    with OtlpReceiver() as receiver:
        ended = run_in_sub_interpreter("assert not monitor.flush(10)", receiver.grpc_endpoint, "grpc")
        assert (ended.stdout, ended.returncode) == ("the end\n", 0), ended.stderr
        assert receiver.requests == ()
    assert "does not support loading in subinterpreters" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_mute_far_side_does_not_hold_a_sub_interpreter_past_the_bound() -> None:
    bound_s = 4  # protobuf is pure Python there, and its import takes a second of that
    more = {"OTEL_EXPORTER_OTLP_TIMEOUT": "60000", "CLAUDE_CODE_OTEL_SHUTDOWN_TIMEOUT_MS": str(1000 * bound_s)}
    with OtlpReceiver() as receiver:
        receiver.answer(delay_s=60)
        ended = run_in_sub_interpreter("print(time.time())", receiver.http_endpoint, "http/protobuf", **more)
        after = time.time()
        assert receiver.requests != ()
    began, last = ended.stdout.splitlines()
    assert (last, ended.returncode) == ("the end", 0)
    assert after - float(began) < bound_s + SLACK_S
