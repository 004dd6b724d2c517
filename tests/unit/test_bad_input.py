"""Design section 5, the rows on recording: refused, counted, told once, and raised only with ``strict``."""

from __future__ import annotations

import gc
import math
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import get_current_span

from claude_monitoring import AgentMonitor, Settings
from claude_monitoring._context import current_frame
from claude_monitoring.testing import Captured, capture, totals

REPOSITORY = Path(__file__).parents[2]
CALLS = ["increment", "gauge", "histogram", "record_metric"]


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text for you")

    __repr__ = __str__


BAD_VALUES: list[Any] = [
    math.nan,
    math.inf,
    -math.inf,
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("Infinity"),
    True,
    "5",
    b"5",
    None,
    [1],
    1j,
]


@pytest.mark.parametrize("value", BAD_VALUES, ids=repr)
@pytest.mark.parametrize("call", CALLS)
def test_what_is_no_finite_number_is_refused_counted_and_told_once(
    seen: Captured, caplog: pytest.LogCaptureFixture, call: str, value: Any
) -> None:
    record = getattr(seen.monitor, call)
    record("jobs", 2)
    for _ in range(3):
        record("jobs", value)
    record("jobs", 2)
    assert seen.monitor.health().dropped == {"invalid_value": 3}
    assert ["jobs: not recorded" in line.message for line in caplog.records] == [True]
    assert seen.value("claude.jobs") == (4 if call in {"increment", "record_metric"} else 2)


@pytest.mark.parametrize("call", ["increment", "histogram", "record_metric"])
@pytest.mark.parametrize("value", [-1, -0.001, Decimal(-1)], ids=repr)
def test_a_negative_amount_is_refused_where_sums_only_grow(seen: Captured, call: str, value: Any) -> None:
    record = getattr(seen.monitor, call)
    record("jobs", 3)
    record("jobs", value)
    assert seen.monitor.health().dropped == {"invalid_value": 1}
    assert seen.value("claude.jobs") == (1 if call == "histogram" else 3)


def test_a_gauge_and_an_up_down_counter_may_go_below_zero(seen: Captured) -> None:
    seen.monitor.gauge("balance", -12.5)
    seen.monitor.increment("concurrent_requests", -2)
    assert seen.value("claude.balance") == -12.5
    assert seen.value("claude.concurrent_requests") == -2
    assert seen.monitor.health().dropped == {}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("jobs", math.nan), ValueError),
        (("jobs", "5"), TypeError),
        (("jobs", True), TypeError),
        (("1st", 1), ValueError),
        (("jobs", 1, ["a"]), TypeError),
    ],
    ids=repr,
)
def test_strict_raises_what_python_would(
    seen: Captured, call: str, arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    monitor = AgentMonitor("strict", strict=True)
    with pytest.raises(error):
        getattr(monitor, call)(*arguments)
    getattr(monitor, call)("jobs", 1)
    assert seen.value("claude.jobs", agent="strict") == 1


def test_strict_raises_for_a_kind_that_the_name_does_not_have(seen: Captured) -> None:
    monitor = AgentMonitor("strict", strict=True)
    monitor.increment("jobs")
    with pytest.raises(ValueError, match=r"'jobs' is a counter \(claude\.jobs\), so it can't be used as a gauge"):
        monitor.gauge("jobs", 1)


@pytest.mark.parametrize("labels", [["a"], "ab", 5, [("a", "b")], {"a"}], ids=repr)
def test_labels_that_are_no_mapping_are_refused(seen: Captured, labels: Any) -> None:
    seen.monitor.increment("jobs", 1, labels)
    seen.monitor.gauge("depth", 1, labels)
    assert seen.monitor.health().dropped == {"invalid_value": 2}
    assert seen.series("claude.jobs") == {}


@pytest.mark.parametrize("value", [Decimal("1.5"), Fraction(3, 2), 1.5], ids=repr)
def test_any_real_number_will_do(seen: Captured, value: Any) -> None:
    seen.monitor.increment("jobs", value)
    seen.monitor.increment("jobs", 2)
    assert seen.value("claude.jobs") == 3.5


@pytest.mark.parametrize("value", [2**63, 2**64, 10**300])
def test_an_amount_beyond_64_bits_does_not_stop_what_comes_later(seen: Captured, value: int) -> None:
    seen.monitor.increment("jobs", value)
    seen.monitor.increment("other", 1)
    assert seen.value("claude.jobs") == float(value)
    assert seen.monitor.flush()
    assert seen.monitor.health().ok


@pytest.mark.parametrize("value", [10**400, Fraction(10**400)], ids=["int", "Fraction"])
def test_an_amount_that_no_float_holds_is_the_callers_mistake(
    seen: Captured, value: Any, internal_faults: list[BaseException]
) -> None:
    seen.monitor.increment("jobs", value)
    faults = list(internal_faults)
    internal_faults.clear()
    assert faults == []
    assert seen.monitor.health().dropped == {"invalid_value": 1}


def test_a_value_that_can_not_be_shown_is_refused_like_another(
    seen: Captured, internal_faults: list[BaseException]
) -> None:
    seen.monitor.increment("jobs", Unprintable())  # type: ignore[arg-type]
    faults = list(internal_faults)
    internal_faults.clear()
    assert faults == []
    assert seen.monitor.health().dropped == {"invalid_value": 1}


def samples_of(seen: Captured) -> list[tuple[str, str]]:
    """Metric and attributes of every series, as an exporter gets them."""
    store = seen.monitor._pipeline.store  # type: ignore[union-attr]
    return [
        (metric.spec.name, repr(sorted(series.attributes.items())))
        for metric in store.instruments()
        for series in metric.all_series()
    ]


def test_labels_that_repeat_the_monitors_own_do_not_make_a_second_series() -> None:
    with capture("x") as seen:
        monitor = AgentMonitor("backend", project_name="book-cataloger", sprint="6B")
        monitor.record_metric("api_calls", 1)
        monitor.record_metric("api_calls", 1, labels={"agent": "backend", "project": "book-cataloger", "sprint": "6B"})
        AgentMonitor("frontend", project_name="book-cataloger", sprint="6B").increment("jobs", 1, {"agent": "backend"})
        monitor.increment("jobs")
        found = samples_of(seen)
    assert len(found) == len(set(found))
    assert seen.value("claude.api.calls", agent="backend") == 2
    assert seen.value("claude.jobs", agent="backend") == 2


def test_a_label_of_the_callers_own_replaces_the_monitors(seen: Captured) -> None:
    seen.monitor.increment("jobs", 1, {"agent": "frontend"})
    assert seen.series("claude.jobs") == {frozenset({("agent", "frontend")}): 1}


LABELS = st.dictionaries(st.sampled_from(["team", "tier"]), st.sampled_from(["x", "y", None, 1, True]), max_size=2)
GOOD = st.integers(0, 2**40)
BAD = st.sampled_from([math.nan, math.inf, -1, True, "5", None])


@given(st.lists(st.tuples(GOOD | BAD, LABELS), max_size=40))
def test_whatever_is_mixed_in_the_good_amounts_are_kept_to_the_last_unit(rows: list[tuple[Any, Any]]) -> None:
    with capture() as seen:
        for amount, labels in rows:
            seen.monitor.increment("jobs", amount, labels)
        dropped = seen.monitor.health().dropped
    good = [amount for amount, _ in rows if type(amount) is int and amount >= 0]
    assert seen.value("claude.jobs") == sum(good)
    assert dropped.get("invalid_value", 0) == len(rows) - len(good)


@pytest.mark.parametrize("agent_id", ["", "   ", None, 7, b"x"], ids=repr)
def test_a_monitor_without_a_name_is_unknown_and_says_so(caplog: pytest.LogCaptureFixture, agent_id: Any) -> None:
    with capture("x") as seen:
        monitor = AgentMonitor(agent_id)
        assert monitor.health().dropped == {"invalid_value": 1}
        monitor.increment("jobs")
    assert monitor.agent_id == "unknown"
    assert seen.value("claude.jobs", agent="unknown") == 1
    assert ["agent_id: not recorded" in line.message for line in caplog.records] == [True]


def test_what_was_refused_before_the_first_use_is_still_counted_after_it(seen: Captured) -> None:
    monitor = AgentMonitor("")
    monitor.increment("jobs")
    assert monitor.health().dropped == {"invalid_value": 1}


@pytest.mark.parametrize("agent_id", ["", None])
def test_strict_refuses_a_monitor_without_a_name(agent_id: Any) -> None:
    with pytest.raises(ValueError, match="agent_id is the agent's name"):
        AgentMonitor(agent_id, strict=True)


def test_a_bad_level_is_refused_and_the_monitor_works(seen: Captured) -> None:
    monitor = AgentMonitor("m", agent_level="two", agent_xp=math.nan)  # type: ignore[arg-type]
    monitor.increment("jobs")
    assert seen.series("claude.agent.level") == seen.series("claude.agent.xp") == {}
    assert seen.value("claude.jobs", agent="m") == 1
    assert seen.monitor.health().dropped == {"invalid_value": 2}


def enter_and_leave(scope: AbstractContextManager[object]) -> None:
    with scope:
        pass


USES: dict[str, Callable[[AgentMonitor], object]] = {
    "increment": lambda m: m.increment("jobs"),
    "gauge": lambda m: m.gauge("depth", 1),
    "histogram": lambda m: m.histogram("wait", 1),
    "record_metric": lambda m: m.record_metric("jobs", 1),
    "record_cost": lambda m: m.record_cost(1),
    "record_usage": lambda m: m.record_usage("m", 1, 1, cost_usd=1),
    "record_error": lambda m: m.record_error(ValueError("x")),
    "record_lines": lambda m: m.record_lines(1),
    "record_commit": lambda m: m.record_commit(),
    "record_pull_request": lambda m: m.record_pull_request(),
    "record_edit_decision": lambda m: m.record_edit_decision("accept"),
    "record_active_time": lambda m: m.record_active_time(1),
    "record_tool_call": lambda m: m.record_tool_call("Bash"),
    "event": lambda m: m.event("x"),
    "span": lambda m: enter_and_leave(m.span("x")),
    "session": lambda m: enter_and_leave(m.session("s")),
    "track_task": lambda m: enter_and_leave(m.track_task("x")),
    "counter": lambda m: m.counter("jobs").add(1),
    "child": lambda m: m.child("helper").increment("jobs"),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("used_before", [True, False], ids=["used before", "never used"])
def test_after_the_close_every_call_is_a_counted_no_op(
    seen: Captured, caplog: pytest.LogCaptureFixture, use: Callable[[AgentMonitor], object], used_before: bool
) -> None:
    monitor = AgentMonitor("m")
    if used_before:
        use(monitor)
    assert monitor.close()
    before = seen.monitor.health().series, len(seen.events), len(seen.spans)
    dropped = monitor.health().dropped.get("already_closed", 0)
    child = monitor.child("helper") if use is USES["child"] else monitor
    use(monitor) if child is monitor else child.increment("jobs")
    assert child.health().dropped["already_closed"] >= (dropped if child is monitor else 0) + 1
    assert (seen.monitor.health().series, len(seen.events), len(seen.spans)) == before
    assert not monitor.health().enabled
    assert all("is closed" in line.message for line in caplog.records)


SEALED = {name: use for name, use in USES.items() if name not in {"span", "child"}}


@pytest.mark.parametrize("use", SEALED.values(), ids=SEALED)
def test_a_bug_of_ours_is_sealed_off_counted_and_told_once(
    seen: Captured,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    internal_faults: list[BaseException],
    use: Callable[[AgentMonitor], object],
) -> None:
    def bug(*args: object, **kwargs: object) -> None:
        raise LookupError("a bug of ours")

    pipeline = seen.monitor._pipeline
    with monkeypatch.context() as patched:
        patched.setattr(seen.monitor._registry, "of", bug)
        patched.setattr(seen.monitor._registry, "resolve", bug)
        patched.setattr(pipeline, "add_event", bug)
        for _ in range(2):
            use(seen.monitor)
    assert {type(fault) for fault in internal_faults} == {LookupError}
    internal_faults.clear()
    assert "please report it; your program is not affected: LookupError: a bug of ours" in caplog.records[0].message
    assert len(caplog.records) == len({record.message for record in caplog.records})


def test_past_every_bound_sums_stay_exact_and_the_host_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings.load(environ={}, enabled=True)._replace(max_series=4)
    monitor = AgentMonitor("m", settings=settings)
    handle = monitor.counter("jobs", {"number_99": "x"})
    for number in range(10):  # each label has one value, so that no label is worth collapsing
        monitor.increment("jobs", number, {f"number_{number}": "x"})
    handle.add(5)
    handle.add(5)
    found = totals(monitor._pipeline.store)["claude.jobs"]  # type: ignore[union-attr]
    assert sum(found.values()) == sum(range(10)) + 10
    assert len(found) == 4
    assert found[frozenset({("otel.metric.overflow", True)})] == sum(range(3, 10)) + 10
    assert monitor.health().overflowed == 9
    assert caplog.text.count("has reached its bound of 4 series") == 1
    monitor.close()


def test_the_close_may_be_called_twice_and_inside_a_task(seen: Captured) -> None:
    monitor = AgentMonitor("m")
    with monitor, monitor.track_task("x"):
        assert monitor.close()
        assert monitor.close()
    assert monitor.close()
    assert seen.value("claude.session.duration", agent="m") == 1
    assert seen.value("claude.sessions.active", agent="m") == 0


def test_closing_in_many_threads_closes_once(seen: Captured) -> None:
    monitor = AgentMonitor("m")
    monitor.increment("jobs")
    threads = [threading.Thread(target=monitor.close) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen.value("claude.session.duration", agent="m") == 1


def test_a_flush_with_nothing_to_send_and_after_the_close_succeeds() -> None:
    monitor = AgentMonitor("m", enabled=True)
    assert monitor.flush()
    monitor.close()
    assert monitor.flush()


@pytest.fixture
def no_hooks_of_gc() -> Iterator[None]:
    """Without Hypothesis' hook: Python code in a collection lets signal handlers in, and where CPython collects in the
    middle of ``ContextVar.set``, what is set there can be lost (seen on 3.11)."""
    hooks = gc.callbacks[:]
    gc.callbacks.clear()
    yield
    gc.callbacks.extend(hooks)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")
@pytest.mark.usefixtures("no_hooks_of_gc")
def test_a_signal_handler_records_in_the_middle_of_recording_and_nothing_is_lost(seen: Captured) -> None:
    ticks = 0

    def on_tick(number: int, frame: object) -> None:
        nonlocal ticks
        ticks += 1
        seen.monitor.increment("ticks")
        seen.monitor.increment("work", labels={"tick": str(ticks)})
        seen.monitor.increment("work", "bad")  # type: ignore[arg-type]
        with seen.monitor.track_task("tick", task_type="tick"):
            seen.monitor.record_usage("m", 1, cost_usd=0)
            seen.monitor.event("tick")
        # Not by an interval: on a busy machine one handler would be interrupted by the next, without end.
        signal.setitimer(signal.ITIMER_REAL, 0.0005)

    before = signal.signal(signal.SIGALRM, on_tick)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    steps = 0
    try:
        while ticks < 200:
            steps += 1
            seen.monitor.increment("work")
            seen.monitor.increment("work", labels={"step": str(steps % 300)})
            with seen.monitor.track_task("work", task_type="work"):
                seen.monitor.event("step")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen.value("claude.ticks") == ticks
    assert seen.value("claude.work") == 2 * steps + ticks
    assert seen.value("claude.tokens.input") == ticks
    assert seen.value("claude.tasks", task_type="tick") == ticks
    assert seen.value("claude.tasks", task_type="work") == steps
    assert seen.value("claude.tasks.active") == 0
    assert seen.monitor.health().dropped["invalid_value"] == ticks
    assert current_frame() is None
    assert not get_current_span().get_span_context().is_valid


class Mourned:
    """Records when it is freed, wherever the garbage collector happens to run."""

    def __init__(self, monitor: AgentMonitor) -> None:
        self.monitor = monitor
        self.me = self  # only the collector of cycles can free it

    def __del__(self) -> None:
        self.monitor.increment("freed", labels={"kind": "cycle"})
        with self.monitor.track_task("freed"):
            self.monitor.event("freed")


def test_recording_from_del_while_the_collector_runs_anywhere_loses_nothing(seen: Captured) -> None:
    thresholds = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for number in range(500):
            Mourned(seen.monitor)
            seen.monitor.increment("made", labels={"number": str(number)})
    finally:
        gc.set_threshold(*thresholds)
        gc.collect()
    assert seen.value("claude.freed") == 500
    assert seen.value("claude.made") == 500
    assert seen.value("claude.tasks") == 500


SHUTDOWN = """
import atexit, sys, threading
from claude_monitoring import AgentMonitor
from claude_monitoring.exporters import CustomExporter

class Last(CustomExporter):
    totals = {}
    def export_metric(self, metric):
        self.totals[metric.name] = metric.value
    def close(self):
        sys.stdout.write(f"{self.totals['claude.before']} {self.totals['claude.hook']}\\n")
        sys.stdout.flush()

monitor = AgentMonitor("m", exporters=[Last()])
handle = monitor.counter("late")

class Late:
    def __del__(self):
        monitor.increment("late")
        monitor.increment("new_at_the_very_end", labels={"a": "b"})
        handle.add()
        monitor.record_usage("claude-sonnet-4-5", 1, 1)
        monitor.record_error(ValueError("x"))
        monitor.event("late")
        with monitor.track_task("late"), monitor.span("late"):
            pass
        monitor.flush(0.1)
        monitor.close(0.1)

def forever():
    while True:
        monitor.increment("background")
        with monitor.track_task("background"):
            pass

late = Late()
sys.late = Late()
monitor.increment("before", 41)
monitor.increment("before")
if BUSY:
    threading.Thread(target=forever, daemon=True).start()
atexit.register(monitor.increment, "hook", 7)
"""


@pytest.mark.parametrize("busy", [False, True], ids=["quiet", "with a busy thread"])
def test_recording_while_the_interpreter_goes_down_neither_raises_nor_hangs(busy: bool) -> None:
    command = [sys.executable, "-W", "error", "-c", f"BUSY = {busy}\n{SHUTDOWN}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY, timeout=50)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "42.0 7.0\n")


def test_a_monitor_first_used_while_the_interpreter_goes_down_harms_nobody() -> None:
    script = """
import sys
from claude_monitoring import AgentMonitor
monitor = AgentMonitor("m", enabled=True)

class Late:
    def __del__(self):
        monitor.increment("late")
        with monitor.track_task("late"):
            monitor.record_usage("claude-sonnet-4-5", 1, 1)
        monitor.close(0.1)
        AgentMonitor("another", enabled=True).increment("late")

sys.late = Late()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=REPOSITORY, timeout=50
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
