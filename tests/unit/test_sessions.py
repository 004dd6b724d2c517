"""Sessions: the implicit one of a monitor, and explicit ones, many at once."""

from __future__ import annotations

import asyncio
import sys
import threading
import uuid
from functools import partial

import pytest
from opentelemetry import trace

from claude_monitoring import AgentMonitor
from claude_monitoring.exporters import CustomExporter, Metric
from claude_monitoring.testing import Captured, capture


def test_a_monitor_has_one_session_from_its_first_use_to_its_close() -> None:
    with capture("x") as seen:
        monitor = AgentMonitor("backend", project_name="p")
        assert seen.value("claude.sessions", agent="backend") == 0
        monitor.increment("jobs")
        monitor.increment("jobs")
        assert seen.value("claude.sessions", agent="backend", project="p") == 1
        assert seen.value("claude.sessions.active", agent="backend") == 1
        assert seen.value("claude.session.duration", agent="backend") == 0
        monitor.close()
        assert seen.value("claude.sessions.active", agent="backend") == 0
        assert seen.value("claude.session.duration", agent="backend") == 1
        assert seen.value("claude_code.session.count", {"agent.name": "backend"}, start_type="fresh") == 1


def test_the_implicit_session_has_an_id_that_stays(seen: Captured) -> None:
    monitor = AgentMonitor("m")
    assert monitor.session_id == ""
    monitor.record_commit()
    first = monitor.session_id
    assert uuid.UUID(first).version == 4
    monitor.record_commit()
    assert seen.value("claude_code.commit.count", {"session.id": first}) == 2


def test_an_explicit_session_puts_its_id_on_what_is_recorded_inside(seen: Captured) -> None:
    with seen.monitor.session("s-1") as session:
        assert session.is_open
        assert seen.monitor.session_id == "s-1"
        seen.monitor.record_commit()
        with seen.monitor.track_task("x"):
            seen.monitor.record_commit()
            with seen.monitor.span("y"):
                seen.monitor.record_commit()
    assert not session.is_open
    seen.monitor.record_commit()
    assert seen.value("claude_code.commit.count", {"session.id": "s-1"}) == 3
    assert seen.value("claude_code.commit.count", {"session.id": seen.monitor.session_id}) == 1


def test_the_session_id_is_never_a_label_of_the_frameworks_metrics(seen: Captured) -> None:
    with seen.monitor.session("s-1"), seen.monitor.track_task("x"):
        seen.monitor.record_usage("m", 1, 1, cost_usd=1)
    for metric in ("claude.sessions", "claude.tasks", "claude.tokens.input", "claude.api.cost_usd"):
        assert all("s-1" not in dict(labels).values() for labels in seen.series(metric))


def test_a_session_without_an_id_gets_one_of_its_own(seen: Captured) -> None:
    ids = {seen.monitor.session().session_id for _ in range(3)}
    assert len(ids) == 3
    assert all(uuid.UUID(found).version == 4 for found in ids)


def test_a_session_is_counted_once_and_timed_once(seen: Captured) -> None:
    before = seen.value("claude.sessions")
    with seen.monitor.session("s-1"):
        assert seen.value("claude.sessions.active") == 2  # the implicit one is still open
    assert seen.value("claude.sessions") == before + 1
    assert seen.value("claude.sessions.active") == 1
    assert seen.value("claude.session.duration") == 1
    assert seen.value("claude_code.session.count", {"session.id": "s-1"}) == 1


def test_a_session_ends_with_an_exception_that_passes(seen: Captured) -> None:
    with pytest.raises(ValueError, match="x"), seen.monitor.session("s-1"):
        raise ValueError("x")
    assert seen.value("claude.session.duration") == 1
    assert seen.monitor.session_id != "s-1"


def test_sessions_nest_and_the_inner_one_counts(seen: Captured) -> None:
    with seen.monitor.session("outer"):
        with seen.monitor.session("inner"):
            seen.monitor.record_commit()
        seen.monitor.record_commit()
    assert seen.value("claude_code.commit.count", {"session.id": "inner"}) == 1
    assert seen.value("claude_code.commit.count", {"session.id": "outer"}) == 1


def test_a_hundred_coroutines_have_a_hundred_sessions_at_once(seen: Captured) -> None:
    async def serve(number: int, gate: asyncio.Event) -> None:
        async with seen.monitor.session(f"s-{number}"):
            await gate.wait()
            for _ in range(number):
                seen.monitor.record_commit()
                await asyncio.sleep(0)

    async def main() -> None:
        gate = asyncio.Event()
        running = [asyncio.create_task(serve(number, gate)) for number in range(100)]
        await asyncio.sleep(0)
        assert seen.value("claude.sessions.active") == 101
        gate.set()
        await asyncio.gather(*running)

    asyncio.run(main())
    for number in range(100):
        assert seen.value("claude_code.commit.count", {"session.id": f"s-{number}"}) == number
    assert seen.value("claude.sessions.active") == 1
    assert seen.value("claude.session.duration") == 100


def test_sessions_in_threads_do_not_see_each_other(seen: Captured) -> None:
    meet = threading.Barrier(4)

    def serve(number: int) -> None:
        with seen.monitor.session(f"s-{number}"):
            meet.wait(10)
            seen.monitor.record_commit(number)
            meet.wait(10)

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [seen.value("claude_code.commit.count", {"session.id": f"s-{number}"}) for number in range(1, 5)]
    assert found == [1, 2, 3, 4]


def test_a_child_shares_its_parents_session_and_adds_none(seen: Captured) -> None:
    child = seen.monitor.child("helper")
    child.record_commit()
    with seen.monitor.session("s-1"):
        child.record_commit()
    assert seen.value("claude.sessions") == 2  # the parent's implicit one and s-1
    where = {"session.id": seen.monitor.session_id, "agent.name": "helper"}
    assert seen.value("claude_code.commit.count", where) == 1
    assert seen.value("claude_code.commit.count", {"session.id": "s-1", "agent.name": "helper"}) == 1


def test_a_childs_task_belongs_to_the_parents_session(seen: Captured) -> None:
    child = seen.monitor.child("helper")
    with seen.monitor.session("s-1"), child.track_task("x"):
        child.record_commit()
    assert seen.value("claude_code.commit.count", {"session.id": "s-1", "agent.name": "helper"}) == 1
    assert [span.attributes["session.id"] for span in seen.spans] == ["s-1"]


def test_a_childs_span_belongs_to_the_parents_session(seen: Captured) -> None:
    child = seen.monitor.child("helper")
    with seen.monitor.session("s-1"), child.span("x"):
        child.record_commit()
    assert seen.value("claude_code.commit.count", {"session.id": "s-1", "agent.name": "helper"}) == 1
    assert [span.attributes["session.id"] for span in seen.spans] == ["s-1"]


def test_another_monitors_session_is_not_ones_own(seen: Captured) -> None:
    other = AgentMonitor("other")
    with seen.monitor.session("s-1"):
        other.record_commit()
        with other.track_task("x"):
            seen.monitor.record_commit()
    assert seen.value("claude_code.commit.count", {"session.id": other.session_id}) == 1
    assert [span.attributes["session.id"] for span in seen.spans] == [other.session_id]
    assert seen.value("claude_code.commit.count", {"session.id": "s-1", "agent.name": "backend"}) == 1


def test_threads_that_use_a_monitor_first_at_the_same_moment_begin_one_session(request: pytest.FixtureRequest) -> None:
    request.addfinalizer(partial(sys.setswitchinterval, sys.getswitchinterval()))
    sys.setswitchinterval(1e-6)
    for _ in range(20):
        with capture("x") as seen:
            monitor = AgentMonitor("backend")
            meet = threading.Barrier(8)

            def first_use(monitor: AgentMonitor = monitor, meet: threading.Barrier = meet) -> None:
                meet.wait(10)
                monitor.increment("jobs")

            threads = [threading.Thread(target=first_use) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert seen.value("claude.jobs") == 8
            assert seen.value("claude.sessions", agent="backend") == 1


def test_a_monitor_closes_with_its_block_also_in_a_coroutine() -> None:
    async def main() -> AgentMonitor:
        async with AgentMonitor("backend") as monitor:
            monitor.increment("jobs")
        return monitor

    with capture("x") as seen:
        monitor = asyncio.run(main())
        assert seen.value("claude.session.duration", agent="backend") == 1
        assert not monitor.health().enabled


def test_a_session_of_a_closed_monitor_is_a_counted_no_op(seen: Captured) -> None:
    monitor = AgentMonitor("m")
    monitor.increment("jobs")
    monitor.close()
    with monitor.session("s-1") as session:
        assert not session.is_open
    assert monitor.health().dropped["already_closed"] >= 1
    assert seen.value("claude_code.session.count", {"session.id": "s-1"}) == 0


def test_recording_in_the_middle_of_the_first_use_is_counted_and_begins_no_second_session() -> None:
    class Reentrant:
        """A tracer provider that records when it is asked for a tracer, as a signal handler might at that moment."""

        def get_tracer(self, *args: object) -> object:
            monitor.increment("early")
            return trace.NoOpTracerProvider().get_tracer("none")

    seen: dict[str, float] = {}

    class Keep(CustomExporter):
        def export_metric(self, metric: Metric) -> None:
            seen[metric.name] = metric.value

    monitor = AgentMonitor("backend", tracer_provider=Reentrant(), exporters=[Keep()])  # type: ignore[arg-type]
    monitor.increment("steps")
    assert monitor.flush(10)
    assert seen["claude.sessions"] == 1
    assert seen["claude.steps"] == 1
    assert "claude.early" not in seen
    assert monitor.health().dropped == {"during_start": 1}
    monitor.close(10)


def test_a_monitor_that_is_used_in_explicit_sessions_alone_adds_none_of_its_own() -> None:
    with capture() as seen:
        monitor = AgentMonitor("m")
        with monitor.session("one", start_type="resume"):
            monitor.record_commit()
        with monitor.session("two"), monitor.span("work"):
            monitor.record_commit()
        where = {"agent.name": "m"}
        assert seen.value("claude_code.session.count", where) == 2
        assert seen.value("claude_code.session.count", {**where, "session.id": "one"}, start_type="resume") == 1
        assert seen.value("claude_code.session.count", {**where, "session.id": "two"}, start_type="fresh") == 1


def test_what_is_recorded_outside_of_explicit_sessions_begins_the_monitors_own() -> None:
    with capture() as seen:
        monitor = AgentMonitor("m")
        with monitor.session("one"):
            monitor.record_commit()
        monitor.record_commit()
        monitor.record_commit()
        where = {"agent.name": "m"}
        assert seen.value("claude_code.session.count", where) == 2
        assert seen.value("claude_code.commit.count", {**where, "session.id": monitor.session_id}) == 2
        assert monitor.session_id != "one"
