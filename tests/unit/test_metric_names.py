"""Which metric a caller's name means; two metrics never meet under one exposed name."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_monitoring import AgentMonitor
from claude_monitoring._bounds import Bounds
from claude_monitoring._catalog import CATALOG, MetricSpec
from claude_monitoring._instruments import InvalidNameError, KindConflictError, Registry
from claude_monitoring._names import prometheus_name
from claude_monitoring._store import Store
from claude_monitoring.testing import Captured
from claude_monitoring.types import Kind


def exposed(spec: MetricSpec) -> str:
    return prometheus_name(spec.name, spec.unit, spec.kind)


def samples(spec: MetricSpec) -> set[str]:
    """The sample and family names that a scrape of this metric shows."""
    if spec.kind == "histogram":
        return {exposed(spec), *(exposed(spec) + part for part in ("_bucket", "_sum", "_count"))}
    return {exposed(spec), exposed(spec).removesuffix("_total")} if spec.kind == "counter" else {exposed(spec)}


@pytest.mark.parametrize(
    ("name", "kind", "wire"),
    [
        ("api_calls", "counter", "claude.api.calls"),
        ("api.calls", "counter", "claude.api.calls"),
        ("api_calls_total", "counter", "claude.api.calls"),
        ("claude_api_calls_total", "counter", "claude.api.calls"),
        ("claude.api.calls", "counter", "claude.api.calls"),
        ("context_usage_percent", "gauge", "claude.context.usage"),
        ("task_duration_seconds", "histogram", "claude.task.duration"),
        ("concurrent_requests", "counter", "claude.concurrent_requests"),
        ("claude_code.commit.count", "counter", "claude_code.commit.count"),
        ("claude_code_commit_count_total", "counter", "claude_code.commit.count"),
        ("claude_code_cost_usage_USD_total", "counter", "claude_code.cost.usage"),
        ("claude_code_token_usage_tokens_total", "counter", "claude_code.token.usage"),
        ("claude_code_active_time_seconds_total", "counter", "claude_code.active_time.total"),
    ],
)
def test_a_name_that_a_dashboard_knows_is_that_metric(name: str, kind: Kind, wire: str) -> None:
    registry = Registry(Store(Bounds(max_series=10)))
    assert registry.resolve(name, kind).spec.name == wire
    assert registry.resolve(name, None).spec.name == wire


@pytest.mark.parametrize(
    "spec", [spec for spec in CATALOG.values() if not spec.is_about_ourselves], ids=lambda spec: spec.name
)
def test_the_name_seen_in_prometheus_leads_back_to_the_metric(spec: MetricSpec) -> None:
    registry = Registry(Store(Bounds(max_series=10)))
    assert registry.resolve(exposed(spec), spec.kind).spec is spec
    assert registry.resolve(spec.name, spec.kind).spec is spec


def test_a_name_of_ones_own_gets_the_prefix_and_keeps_its_kind(seen: Captured) -> None:
    seen.monitor.increment("features_completed", 3)
    seen.monitor.gauge("queue_depth", 7)
    seen.monitor.histogram("wait_seconds", 2)
    seen.monitor.record_metric("tokens_used", 45230)
    assert seen.value("claude.features_completed", agent="backend") == 3
    assert seen.value("claude.queue_depth") == 7
    assert seen.value("claude.wait_seconds") == 1
    assert seen.value("claude.tokens_used") == 45230


def test_record_metric_follows_the_kind_that_the_name_has(seen: Captured) -> None:
    seen.monitor.gauge("depth", 5)
    for value in (9, 4):
        seen.monitor.record_metric("depth", value)
        seen.monitor.record_metric("context_usage_percent", value)
        seen.monitor.record_metric("task_duration_seconds", value)
        seen.monitor.record_metric("api_calls", value)
    assert seen.value("claude.depth") == 4
    assert seen.value("claude.context.usage") == 4
    assert seen.value("claude.task.duration") == 2
    assert seen.value("claude.api.calls") == 13


SPELLINGS = [("retries", "retries_total"), ("retries_total", "retries"), ("a.b", "a_b"), ("a-b", "a.b")]


@pytest.mark.parametrize("names", SPELLINGS)
def test_spellings_of_one_exposed_name_are_one_metric(seen: Captured, names: tuple[str, str]) -> None:
    for name in names:
        seen.monitor.increment(name)
    own = [metric for metric in seen.monitor._pipeline.store.instruments() if metric.spec.name not in CATALOG]  # type: ignore[union-attr]
    assert len(own) == 1
    assert seen.value(own[0].spec.name) == 2


@pytest.mark.parametrize("what", ["tasks", "errors", "sessions"])
def test_counting_what_was_created_does_not_count_tasks_or_errors(seen: Captured, what: str) -> None:
    before = seen.value(f"claude.{what}")
    seen.monitor.increment(f"{what}_created")
    assert seen.value(f"claude.{what}_created") == 1
    assert seen.value(f"claude.{what}") == before


def test_a_counter_named_total_first_and_a_gauge_of_that_name_are_not_mixed(seen: Captured) -> None:
    seen.monitor.increment("total_cost", 5)  # a Collector shows claude_cost_total
    seen.monitor.gauge("total_cost", 3)
    assert seen.value("claude.total_cost") == 5
    assert seen.monitor.health().dropped == {"kind_conflict": 1}


@pytest.mark.parametrize(("first", "second"), [("wait", "wait_sum"), ("wait_sum", "wait"), ("wait", "wait_bucket")])
def test_histograms_whose_samples_would_meet_are_never_mixed(seen: Captured, first: str, second: str) -> None:
    seen.monitor.histogram(first, 1)
    seen.monitor.histogram(second, 1)
    assert seen.value(f"claude.{first}") == 1
    assert seen.value(f"claude.{second}") == 0
    assert seen.monitor.health().dropped == {"kind_conflict": 1}


@pytest.mark.parametrize(
    ("call", "name", "owner"),
    [
        ("gauge", "api_calls", "claude.api.calls"),
        ("histogram", "api_calls", "claude.api.calls"),
        ("increment", "context_usage_percent", "claude.context.usage"),
        ("gauge", "tasks_active", "claude.tasks.active"),
        ("increment", "task_duration_seconds_count", "claude.task.duration"),
        ("record_metric", "task_duration_seconds_sum", "claude.task.duration"),
    ],
)
def test_a_name_of_another_kind_is_refused_with_the_metric_that_has_it(
    seen: Captured, caplog: pytest.LogCaptureFixture, call: str, name: str, owner: str
) -> None:
    for _ in range(3):
        getattr(seen.monitor, call)(name, 1)
    assert seen.monitor.health().dropped == {"kind_conflict": 3}
    assert [owner in record.message for record in caplog.records] == [True]


def test_the_first_kind_keeps_its_data_when_a_second_one_comes(seen: Captured) -> None:
    seen.monitor.increment("jobs", 2)
    seen.monitor.gauge("jobs", 99)
    seen.monitor.histogram("jobs", 99)
    seen.monitor.increment("jobs", 3)
    assert seen.value("claude.jobs") == 5
    assert seen.monitor.health().dropped == {"kind_conflict": 2}


def test_monitors_of_one_pipeline_share_the_names(seen: Captured) -> None:
    seen.monitor.gauge("depth", 1)
    AgentMonitor("other").increment("depth")
    assert seen.monitor.health().dropped == {"kind_conflict": 1}


BAD_NAMES = ["", " ", "1st", "_x", "é", "a b", "a{b}", "x" * 256, "a\n", ".x", 'a"', None, 7, b"calls", ["x"]]


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
@pytest.mark.parametrize("call", ["increment", "gauge", "histogram", "record_metric"])
def test_a_bad_name_is_refused_counted_and_told_once(
    seen: Captured, caplog: pytest.LogCaptureFixture, call: str, name: Any
) -> None:
    for _ in range(3):
        getattr(seen.monitor, call)(name, 1)
    assert seen.monitor.health().dropped == {"invalid_name": 3}
    assert len(caplog.records) == 1
    assert "not recorded" in caplog.text


@pytest.mark.parametrize(
    ("name", "would_do"), [("1st", "'st'"), ("a b", "'a_b'"), ("€", "'my_metric'"), ("ab c!", "'ab_c_'")]
)
def test_a_bad_name_is_answered_with_one_that_would_do(name: str, would_do: str) -> None:
    with pytest.raises(InvalidNameError, match=re.escape(f"{would_do} would do")):
        Registry(Store(Bounds(max_series=10))).resolve(name, "counter")


@given(st.text(max_size=300))
def test_whatever_the_name_it_is_taken_or_a_name_that_is_taken_is_offered(name: str) -> None:
    registry = Registry(Store(Bounds(max_series=10)))
    try:
        registry.resolve(name, "counter")
    except InvalidNameError as exc:
        offered = re.search(r"; '(.*)' would do$", str(exc))
        assert offered is not None
        assert registry.resolve(offered[1], None).spec.kind
    except KindConflictError:
        pass  # a name of the catalogue


WORDS = st.sampled_from(
    ["a", "b", "total", "sum", "count", "bucket", "created", "tasks", "task", "duration", "seconds"]
)
NAMES = st.lists(WORDS, min_size=1, max_size=3).flatmap(
    lambda words: st.sampled_from(["_", "."]).map(lambda joint: joint.join(words))
)


@given(st.lists(st.tuples(NAMES, st.sampled_from([*get_args(Kind), None])), max_size=12))
def test_whatever_is_mixed_no_two_metrics_show_the_same_name(calls: list[tuple[str, Kind | None]]) -> None:
    registry = Registry(Store(Bounds(max_series=10)))
    used: dict[str, MetricSpec] = {}
    for name, kind in calls:
        try:
            spec = registry.resolve(name, kind).spec
        except KindConflictError:
            continue
        wanted = kind if kind is not None else spec.kind
        assert spec.kind == wanted or (spec.kind, wanted) == ("up_down_counter", "counter")
        used[spec.name] = spec
    everything = list({**CATALOG, **used}.values())
    shown = [name for spec in everything for name in samples(spec)]
    assert len(set(shown)) == len(shown)


@given(NAMES, st.sampled_from(get_args(Kind)))
def test_a_name_of_ones_own_means_the_same_metric_each_time(name: str, kind: Kind) -> None:
    registry = Registry(Store(Bounds(max_series=10)))
    try:
        first = registry.resolve(name, kind)
    except KindConflictError:
        return
    assert registry.resolve(name, kind) is first
    assert registry.resolve(first.spec.name, kind) is first
    assert registry.resolve(exposed(first.spec), first.spec.kind) is first


def test_names_made_in_a_loop_stop_at_a_bound_and_say_what_to_do_instead() -> None:
    registry = Registry(Store(Bounds(max_series=10)))
    for index in range(1_000):
        registry.resolve(f"user_{index}", "counter")
    with pytest.raises(InvalidNameError, match="into a label instead of the name"):
        registry.resolve("user_1000", "counter")
    assert registry.resolve("user_7", "counter").spec.name == "claude.user_7"
    assert registry.resolve("api_calls", "counter").spec.name == "claude.api.calls"
