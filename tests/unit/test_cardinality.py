"""The guard as a user meets it: what is kept, what is said, what is refused, what the report shows."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from claude_monitoring import AgentMonitor, CardinalityError
from claude_monitoring._bounds import Bounds
from claude_monitoring._catalog import CATALOG, MetricSpec
from claude_monitoring._guard import Guard
from claude_monitoring._store import Store
from claude_monitoring.cardinality import CardinalityReport
from claude_monitoring.testing import Captured, totals
from claude_monitoring.types import AttributeValue

UUID = "9497b31e-0cda-4356-a988-af6134cb0865"

Series = dict[frozenset[tuple[str, AttributeValue]], float]


@contextmanager
def monitor_with(**options: Any) -> Iterator[AgentMonitor]:
    """A monitor of its own, with bounds of its own, that sends nothing and lets nothing go."""
    monitor = AgentMonitor("shop", enabled=True, **options)
    monitor.increment("started")
    assert monitor._pipeline is not None
    monitor._pipeline.store.lives.add_far_side()
    yield monitor
    monitor.close()


def recorded(monitor: AgentMonitor, metric: str) -> Series:
    assert monitor._pipeline is not None
    return totals(monitor._pipeline.store)[metric]


def by(series: Series, key: str) -> dict[AttributeValue | None, float]:
    found: dict[AttributeValue | None, float] = {}
    for attributes, value in series.items():
        name = dict(attributes).get(key)
        found[name] = found.get(name, 0) + value
    return found


def about(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [record.message for record in caplog.records if words in record.message]


def explode(monitor: AgentMonitor, calls: int = 1_000) -> None:
    for number in range(calls):
        monitor.increment("calls", 1, {"user": f"user-{number}", "model": ("opus", "haiku")[number % 2]})


# -- what is kept -------------------------------------------------------------------------------


def test_only_the_label_that_explodes_is_given_up() -> None:
    with monitor_with() as monitor:
        explode(monitor)
        series = recorded(monitor, "claude.calls")
    users = by(series, "user")
    assert len(series) == 202
    assert users["user-0"] == users["user-199"] == 1
    assert users["__other__"] == 800
    assert by(series, "model") == {"opus": 500, "haiku": 500}


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram"])
def test_every_kind_of_metric_is_bounded(kind: str) -> None:
    with monitor_with(max_label_values=5) as monitor:
        record: Any = {"counter": monitor.increment, "gauge": monitor.gauge, "histogram": monitor.histogram}[kind]
        for number in range(50):
            record("load", 2, {"user": f"u{number}"})
        handles = [monitor.counter("load", {"user": f"h{number}"}) for number in range(20) if kind == "counter"]
        for handle in handles:
            handle.add(2)
        series = recorded(monitor, "claude.load")
    assert len(series) == 6
    expected = {"counter": 2 * 65, "gauge": 2, "histogram": 45}[kind]
    assert by(series, "user")["__other__"] == expected


def test_values_of_other_types_fold_as_well_and_stay_apart_while_kept() -> None:
    with monitor_with(max_label_values=4) as monitor:
        for value in (1, True, 1.0, "1", 2, 3, "4", False):
            monitor.increment("calls", 1, {"flag": value})
        series = recorded(monitor, "claude.calls")
    assert by(series, "flag")["__other__"] == 4
    assert sum(series.values()) == 8


def test_a_label_that_was_seen_first_is_kept_by_every_monitor_of_the_process() -> None:
    with monitor_with(max_label_values=2) as monitor, monitor_with(max_label_values=2) as other:
        assert monitor._pipeline is other._pipeline
        monitor.increment("calls", 1, {"user": "first"})
        other.increment("calls", 1, {"user": "second"})
        other.increment("calls", 1, {"user": "third"})
        monitor.increment("calls", 1, {"user": "second"})
        assert by(recorded(monitor, "claude.calls"), "user") == {"first": 1, "second": 2, "__other__": 1}


def test_a_hundred_agents_and_sessions_are_bounded_as_labels_are() -> None:
    with monitor_with(max_label_values=10) as monitor:
        for number in range(100):
            agent = AgentMonitor(f"agent-{number}", enabled=True, max_label_values=10)
            with agent.session():
                agent.record_commit()
            agent.increment("calls")
        assert len(by(recorded(monitor, "claude.calls"), "agent")) == 11
        commits = recorded(monitor, "claude_code.commit.count")
        assert len(by(commits, "session.id")) <= 11
        assert sum(commits.values()) == 100


def test_all_metrics_together_have_a_bound_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    with monitor_with(max_total_series=200) as monitor:
        for metric in range(8):
            for number in range(100):
                monitor.increment(f"calls_{metric}", 1, {"user": f"user-{number}"})
        assert monitor.health().series <= 200
        assert all(sum(recorded(monitor, f"claude.calls_{metric}").values()) == 100 for metric in range(8))
    assert about(caplog, "all metrics together")


def test_monitors_with_other_settings_share_the_bound_of_the_process() -> None:
    with monitor_with(max_total_series=200) as one, monitor_with(max_total_series=200, max_series=1_000) as other:
        assert one._pipeline is not other._pipeline
        for monitor in (one, other):
            for number in range(150):
                monitor.increment("calls", 1, {"user": f"user-{number}"})
        assert one.health().series + other.health().series <= 200
        assert sum(recorded(other, "claude.calls").values()) == 150


def test_threads_that_make_new_series_at_the_same_time_keep_the_bounds_and_the_sums() -> None:
    threads, calls = 8, 2_000
    start = threading.Barrier(threads)
    with monitor_with(max_series=300, max_label_values=50) as monitor:

        def work(thread: int) -> None:
            start.wait()
            for number in range(calls):
                labels = {"user": f"{thread}-{number % 500}", "model": f"m{number % 7}", "tool": f"t{number % 11}"}
                monitor.increment("calls", 1, labels)

        workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        series = recorded(monitor, "claude.calls")
    assert len(series) <= 300
    assert sum(series.values()) == threads * calls
    assert by(series, "model") == {f"m{n}": threads * len(range(n, calls, 7)) for n in range(7)}


@pytest.mark.parametrize(
    ("options", "environ", "kept"),
    [
        ({}, {}, 200),
        ({"max_label_values": 7}, {"CLAUDE_MONITORING_MAX_LABEL_VALUES": "9"}, 7),
        ({}, {"CLAUDE_MONITORING_MAX_LABEL_VALUES": "9"}, 9),
    ],
)
def test_a_bound_is_set_by_argument_or_variable(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, int], environ: dict[str, str], kept: int
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with monitor_with(**options) as monitor:
        for number in range(300):
            monitor.increment("calls", 1, {"user": f"user-{number}"})
        assert len(recorded(monitor, "claude.calls")) == kept + 1


def test_a_row_of_the_catalogue_may_have_bounds_of_its_own() -> None:
    guard = Guard(MetricSpec("claude.x", "counter", "", "", max_series=7, max_label_values=3), Bounds())
    assert (guard.max_series, guard.max_label_values) == (7, 3)
    assert Guard(CATALOG["claude.monitoring.series.kept"], Bounds()).max_label_values == 2_000


# -- what is said -------------------------------------------------------------------------------


def test_one_warning_a_label_names_metric_label_sample_estimate_outcome_and_mend(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monitor_with() as monitor:
        explode(monitor, 5_000)
    (line,) = about(caplog, "claude.calls")
    for words in (
        "'user'",
        "'user-200'",
        "about 201 different values",
        "200 are kept",
        "'__other__'",
        "tier or a team",
    ):
        assert words in line


@pytest.mark.parametrize(
    ("value", "looks_like", "instead"),
    [
        (UUID, "a uuid", "task_type"),
        ("/home/bob/books/limits.py", "a path", "file_type"),
        ("https://books.example/api?id=3", "a URL", "route"),
        (1764104000, "a point in time", "no label at all"),
        ("2026-11-25T10:00:00Z", "a point in time", "no label at all"),
        ("10.0.0.17", "an IP address", "region"),
        ("Add rate limiting to the public API", "free text", "task_type"),
        ("2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", "a hash", "event"),
    ],
)
def test_a_value_that_looks_unbounded_is_named_at_once_and_once(
    caplog: pytest.LogCaptureFixture, value: object, looks_like: str, instead: str
) -> None:
    with monitor_with() as monitor:
        for _ in range(2):
            monitor.increment("calls", 1, {"thing": value, "model": "opus"})
            monitor.increment("calls", 1, {"thing": f"{value}0", "model": "opus"})
        assert sum(recorded(monitor, "claude.calls").values()) == 4
        (label,) = [label for label in monitor.cardinality_report().metrics[0].labels if label.name == "thing"]
    (line,) = about(caplog, "looks like")
    assert f"the label 'thing' (now {str(value)!r}) looks like {looks_like}" in line
    assert instead in line
    assert (label.looks_like, label.sample, label.kept) == (looks_like, str(value), 2)
    assert instead in label.instead


def test_the_monitors_own_attributes_are_never_called_unbounded(caplog: pytest.LogCaptureFixture) -> None:
    with monitor_with() as monitor, monitor.session(UUID):
        monitor.record_usage("claude-sonnet-4-5-20250929", 10, 5)
        with monitor.track_task("Add rate limiting to the public API", task_type="feature"):
            pass
    assert about(caplog, "looks like") == []


# -- what is refused -----------------------------------------------------------------------------


def test_strict_raises_at_the_first_value_that_looks_unbounded() -> None:
    with monitor_with(strict=True) as monitor:
        monitor.increment("calls", 1, {"user": "user-1"})
        with pytest.raises(
            CardinalityError, match=r"claude\.calls: the value '9497.*' of the label 'request' looks like"
        ):
            monitor.increment("calls", 1, {"request": UUID})
        with pytest.raises(CardinalityError, match="looks like a uuid"):
            monitor.record_tool_call(UUID)
        with pytest.raises(CardinalityError, match="an e-mail address") as caught:
            monitor.increment("calls", 1, {"user": "bob@books.example"})
        assert "bob" not in str(caught.value)
        assert sum(recorded(monitor, "claude.calls").values()) == 1


def test_an_agent_or_a_task_type_that_looks_unbounded_is_refused_by_strict_and_else_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(CardinalityError, match=r"agent_id '9497.*' looks like a uuid"):
        AgentMonitor(UUID, enabled=True, strict=True)
    with (
        monitor_with(strict=True) as monitor,
        pytest.raises(CardinalityError, match=r"task_type '/srv/x\.py' looks like"),
    ):
        monitor.track_task("x", task_type="/srv/x.py")
    AgentMonitor(UUID, enabled=True).close()
    (line,) = about(caplog, "agent_id")
    assert "it is on every series" in line
    AgentMonitor(UUID, enabled=False, strict=True)
    with pytest.raises(CardinalityError) as caught:
        AgentMonitor("https://bob:hunter22@shop.example/x", enabled=True, strict=True)
    assert "(a secret) looks like a URL" in str(caught.value)
    assert "hunter" not in str(caught.value)


def test_strict_says_nothing_about_the_monitors_own_attributes() -> None:
    with monitor_with(strict=True) as monitor, monitor.session(UUID):
        monitor.record_usage("claude-sonnet-4-5", 10, 5)
        assert sum(recorded(monitor, "claude_code.token.usage").values()) == 15


def test_the_policy_drop_refuses_counts_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    with monitor_with(max_label_values=3, cardinality_policy="drop") as monitor:
        for _ in range(2):
            for number in range(10):
                monitor.increment("calls", 1, {"user": f"u{number}"})
        assert by(recorded(monitor, "claude.calls"), "user") == {"u0": 2, "u1": 2, "u2": 2}
        assert monitor.health().dropped == {"series_limit": 14}
        assert monitor.cardinality_report().metrics[0].refused == 14
    assert len(about(caplog, "by the policy 'drop'")) == 1


def test_the_policy_raise_raises_where_something_new_passes_a_bound() -> None:
    with monitor_with(max_label_values=2, cardinality_policy="raise") as monitor:
        for user in ("a", "b", "a"):
            monitor.increment("calls", 1, {"user": user})
        with pytest.raises(CardinalityError, match=r"claude\.calls: \{'user': 'c'\} would need a new series"):
            monitor.increment("calls", 1, {"user": "c"})
        for tool in ("Bash", "Edit"):
            monitor.record_tool_call(tool)
        with pytest.raises(CardinalityError, match=r"claude\.tool\.calls"):
            monitor.record_tool_call("Grep")
        assert by(recorded(monitor, "claude.calls"), "user") == {"a": 2, "b": 1}


@pytest.mark.parametrize("policy", ["drop", "raise"])
def test_tasks_and_sessions_go_on_whatever_the_policy(policy: str) -> None:
    with monitor_with(max_label_values=2, cardinality_policy=policy) as monitor:
        for number in range(10):
            with monitor.session(), monitor.track_task("x", task_type=f"type-{number}") as task:
                task.items = 3
        assert sum(recorded(monitor, "claude.tasks").values()) == 2
        assert sum(recorded(monitor, "claude.sessions").values()) == 11
        before = monitor.health().dropped["series_limit"]
        for _ in range(5):
            with monitor.track_task("x", task_type="type-9"):
                pass
        assert monitor.health().dropped["series_limit"] == before + 5 * 3  # under way, count, duration


def test_an_allow_list_leaves_other_labels_out(caplog: pytest.LogCaptureFixture) -> None:
    with monitor_with(labels={"api_calls": ["model"], "claude.jobs": []}) as monitor:
        for number in range(10):
            monitor.increment("api_calls", 1, {"model": "opus", "user": f"u{number}"})
            monitor.increment("jobs", 1, {"queue": f"q{number}"})
            monitor.increment("others", 1, {"queue": f"q{number}"})
        assert recorded(monitor, "claude.api.calls") == {frozenset({("agent", "shop"), ("model", "opus")}): 10}
        assert recorded(monitor, "claude.jobs") == {frozenset({("agent", "shop")}): 10}
        assert len(recorded(monitor, "claude.others")) == 10
        report = str(monitor.cardinality_report())
    assert len(about(caplog, "is not among those allowed")) == 2
    assert "user: left out, it is not among those allowed by labels=" in report


@pytest.mark.parametrize("labels", ["model", {"calls": "model"}, {"calls": [1]}, {3: ["model"]}, 5])
def test_a_bad_allow_list_is_named(labels: Any) -> None:
    with pytest.raises(ValueError, match=r"argument labels=.* can't be used: .*accepted is"):
        AgentMonitor("shop", enabled=True, strict=True, labels=labels)


# -- the report and the metrics about ourselves ---------------------------------------------------


def test_the_report_reads_well_and_is_data() -> None:
    with monitor_with() as monitor:
        explode(monitor, 3_000)
        monitor.increment("calls", 1, {"request": UUID})
        report = monitor.cardinality_report()
    assert isinstance(report, CardinalityReport)
    calls = report.metrics[0]
    user = calls.labels[0]
    assert (calls.name, calls.series, calls.bound, user.name, user.kept) == ("claude.calls", 203, 2_000, "user", 200)
    assert user.is_collapsed
    assert not user.is_closed
    assert user.distinct == pytest.approx(3_000, rel=0.15)
    lines = str(report).splitlines()
    assert lines[0] == f"{report.series} of 50,000 series in {len(report.metrics)} metrics"
    assert lines[1].startswith("claude.calls: 203 of 2,000 series  (user ")
    assert lines[2].startswith("  user: about ")
    assert "200 kept, the others are __other__; use a label with few values" in lines[2]
    assert f"{UUID!r} looks like a uuid; use what it is one of" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["metrics"][0]["labels"][0]["name"] == "user"


def test_a_report_before_the_first_use_is_empty() -> None:
    monitor = AgentMonitor("shop", enabled=True)
    assert monitor.cardinality_report() == CardinalityReport(0, 0, ())
    assert str(monitor.cardinality_report()) == "0 of 0 series in 0 metrics"


def test_the_guard_tells_about_itself_in_metrics(seen: Captured) -> None:
    store = Store(Bounds(max_label_values=2))
    instrument = store.instrument(MetricSpec("claude.calls", "counter", "", ""))
    for number in range(50):
        instrument.series((), (("user", f"u{number}"),))
    store.lives.ask({"user": "u0"})
    store.lives.sweep()
    store.report_itself()
    said = {
        (one.spec.name.rpartition(".")[2], *dict(series.own).values()): series.read()
        for one in store.instruments()
        if one.spec.is_about_ourselves
        for series in one.all_series()
    }
    folded = said.pop(("collapsed", "user", "claude.calls"))
    assert folded == pytest.approx(48, abs=8)
    assert said == {("kept", "claude.calls"): 2, ("retired", "claude.calls"): 1}


def test_a_host_whose_log_handler_records_metrics_is_not_locked_up(caplog: pytest.LogCaptureFixture) -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Recording(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name == "host":
                inside.set()
                go_on.wait()
            monitor.increment("log_lines", 1, {"logger": record.name})

    handler, log = Recording(), logging.getLogger("host")
    try:
        with monitor_with(max_label_values=2) as monitor:
            logging.getLogger().addHandler(handler)
            for user in ("a", "b"):
                monitor.increment("calls", 1, {"user": user})
            holds_the_handler = threading.Thread(target=log.warning, args=("hello",))
            holds_the_handler.start()
            inside.wait()
            warns = threading.Thread(target=monitor.increment, args=("calls", 1, {"user": "c"}))
            warns.start()  # its warning has to wait for the handler, which is about to make a series
            wait_until(lambda: len(recorded(monitor, "claude.calls")) == 3)
            go_on.set()
            for thread in (holds_the_handler, warns):
                thread.join(10)
                assert not thread.is_alive()
            assert by(recorded(monitor, "claude.log_lines"), "logger")["host"] == 1
    finally:
        go_on.set()
        logging.getLogger().removeHandler(handler)


def wait_until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("name", ["claude.monitoring.series.kept", "claude_monitoring_series_retired"])
def test_the_names_of_our_own_metrics_are_refused_to_others(name: str) -> None:
    with monitor_with() as monitor:
        monitor.gauge(name, 5)
        monitor.record_metric(name, 5)
        assert monitor.health().dropped == {"invalid_name": 2}
