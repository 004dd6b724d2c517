"""Events and spans: where they go, what they carry, what is whose parent."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from claude_monitoring import AgentMonitor
from claude_monitoring.testing import Captured

REPOSITORY = Path(__file__).parents[2]


def by_name(seen: Captured) -> dict[str, ReadableSpan]:
    return {span.name: span for span in seen.spans}


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent is not None else None


def id_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def test_spans_inside_spans_are_their_children(seen: Captured) -> None:
    with seen.monitor.track_task("api_integration"):
        with seen.monitor.span("fetch_data"):
            pass
        with seen.monitor.span("transform_data"), seen.monitor.track_task("inner"):
            pass
    spans = by_name(seen)
    root = spans["api_integration"]
    assert parent_of(root) is None
    assert parent_of(spans["fetch_data"]) == parent_of(spans["transform_data"]) == id_of(root)
    assert parent_of(spans["inner"]) == id_of(spans["transform_data"])
    assert len({span.get_span_context().trace_id for span in spans.values()}) == 1  # type: ignore[union-attr]


def test_spans_of_concurrent_coroutines_are_not_each_others_children(seen: Captured) -> None:
    async def agent(name: str) -> None:
        async with seen.monitor.track_task(f"{name} outer"):
            await asyncio.sleep(0)
            async with seen.monitor.span(f"{name} inner"):
                await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(agent(str(number)) for number in range(5)))

    asyncio.run(main())
    spans = by_name(seen)
    for number in range(5):
        assert parent_of(spans[f"{number} inner"]) == id_of(spans[f"{number} outer"])
        assert parent_of(spans[f"{number} outer"]) is None


def test_a_span_of_the_host_is_the_parent_and_ours_is_the_hosts_parent(seen: Captured) -> None:
    host = TracerProvider().get_tracer("host")
    with host.start_as_current_span("request") as outer, seen.monitor.track_task("task"):
        ours = trace.get_current_span()
        with host.start_as_current_span("query") as inner:
            assert inner.parent.span_id == ours.get_span_context().span_id  # type: ignore[attr-defined]
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert parent_of(by_name(seen)["task"]) == outer.get_span_context().span_id


def test_a_tasks_span_says_what_the_task_was(seen: Captured) -> None:
    with seen.monitor.track_task("Add API", task_type="feature", complexity=5) as task:
        task.set_attribute("ticket", "ABC-1")
        seen.monitor.record_usage("m", input_tokens=100, output_tokens=20, cost_usd=0.5)
        seen.monitor.record_tool_call("Bash")
    [span] = seen.spans
    attributes = dict(span.attributes)
    expected = {
        "task.type": "feature",
        "task.complexity": 5,
        "task.input_tokens": 100,
        "task.output_tokens": 20,
        "task.tool_calls": 1,
        "task.cost_usd": 0.5,
        "ticket": "ABC-1",
        "agent.name": "backend",
        "session.id": seen.monitor.session_id,
    }
    assert expected.items() <= attributes.items()
    assert span.name == "Add API"
    assert span.status.status_code is StatusCode.UNSET
    assert span.events == ()
    assert span.instrumentation_scope.name == "claude_monitoring"


def test_an_exception_is_one_event_on_each_span_that_it_passes(seen: Captured) -> None:
    with pytest.raises(ValueError, match="boom"), seen.monitor.track_task("outer"), seen.monitor.span("inner"):
        raise ValueError("boom")
    for span in seen.spans:
        assert span.status.status_code is StatusCode.ERROR
        assert "ValueError" in span.status.description
        [event] = span.events
        assert event.name == "exception"
        assert event.attributes["exception.type"] == "ValueError"
        assert event.attributes["exception.message"] == "boom"
        assert "test_events_and_spans.py" in event.attributes["exception.stacktrace"]
    assert by_name(seen)["outer"].attributes["task.status"] == "error"  # type: ignore[index]


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit()], ids=repr)
def test_leaving_early_without_a_fault_is_no_error_on_the_span(seen: Captured, error: BaseException) -> None:
    with pytest.raises(type(error)), seen.monitor.span("x"):
        raise error
    [span] = seen.spans
    assert span.status.status_code is StatusCode.UNSET
    assert span.events == ()


def test_a_cancelled_task_says_so_on_its_span(seen: Captured) -> None:
    with pytest.raises(asyncio.CancelledError), seen.monitor.track_task("x"):
        raise asyncio.CancelledError
    [span] = seen.spans
    assert span.attributes["task.status"] == "cancelled"
    assert "cancelled" in span.status.description


def test_a_fault_that_the_caller_declared_fine_leaves_the_span_unmarked(seen: Captured) -> None:
    with pytest.raises(ValueError, match="known"), seen.monitor.track_task("x") as task:  # noqa: PT012 - as a caller would
        task.set_outcome("ok")
        raise ValueError("known")
    [span] = seen.spans
    assert span.status.status_code is StatusCode.UNSET
    assert span.events == ()


def test_a_task_that_the_caller_declared_failed_has_an_error_on_its_span(seen: Captured) -> None:
    with seen.monitor.track_task("x") as task:
        task.set_outcome("error")
    [span] = seen.spans
    assert span.attributes["task.status"] == "error"
    assert span.status.status_code is StatusCode.ERROR


def test_a_span_carries_the_callers_attributes(seen: Captured) -> None:
    given = {"http.method": "GET", "tries": 3, "cached": False, "nothing": None, "obj": [1]}
    with seen.monitor.span("x", given) as span:
        span.set_attribute("late", 1.5)
    attributes = by_name(seen)["x"].attributes
    assert attributes is not None
    expected = {"http.method": "GET", "tries": 3, "cached": False, "obj": "[1]", "late": 1.5}
    assert expected.items() <= dict(attributes).items()
    assert "nothing" not in attributes


def test_a_refused_complexity_does_not_leave_the_span_open(seen: Captured) -> None:
    with seen.monitor.track_task("x", complexity="five") as task:  # type: ignore[call-overload]
        task.items = "many"
    assert [span.name for span in seen.spans] == ["x"]


def test_attributes_that_are_no_mapping_do_not_stop_the_host(seen: Captured) -> None:
    with seen.monitor.span("x", ["a"]):  # type: ignore[arg-type]
        pass
    seen.monitor.event("x", ["a"])  # type: ignore[arg-type]
    assert seen.monitor.health().dropped == {"invalid_value": 2}


def test_a_given_tracer_provider_gets_the_spans() -> None:
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monitor = AgentMonitor("backend", tracer_provider=provider)
    with monitor.track_task("task"), monitor.span("span"):
        pass
    monitor.close()
    assert [span.name for span in kept.get_finished_spans()] == ["span", "task"]
    assert trace.get_tracer_provider() is not provider


PROLOGUE = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import claude_monitoring
from claude_monitoring import AgentMonitor
from claude_monitoring.exporters import CustomExporter

class Ours(CustomExporter):
    spans = []
    def export_metric(self, metric): ...
    def export_span(self, span): self.spans.append(span.name)

def host_sets_provider():
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace.set_tracer_provider(provider)
    return kept
"""


def run(script: str) -> str:
    """The output of a program of its own: a global tracer provider can be set once a process."""
    command = [sys.executable, "-W", "error", "-c", PROLOGUE + script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_the_hosts_tracer_provider_gets_the_spans_when_it_has_set_one() -> None:
    output = run("""
kept = host_sets_provider()
monitor = AgentMonitor("backend", exporters=[Ours()])
with monitor.track_task("task"), trace.get_tracer("host").start_as_current_span("query"):
    pass
monitor.close()
print([span.name for span in kept.get_finished_spans()], Ours.spans)
""")
    assert output == "['query', 'task'] []"


def test_without_one_ours_is_used_and_no_global_is_set() -> None:
    output = run("""
monitor = AgentMonitor("backend", exporters=[Ours()])
with monitor.track_task("task"):
    pass
monitor.close()
print(Ours.spans, type(trace.get_tracer_provider()).__name__)
""")
    assert output == "['task'] ProxyTracerProvider"


def test_a_capture_takes_the_spans_also_from_a_host_with_a_provider() -> None:
    output = run("""
from claude_monitoring.testing import capture
kept = host_sets_provider()
with capture() as seen, seen.monitor.track_task("task"):
    pass
print([span.name for span in kept.get_finished_spans()], [span.name for span in seen.spans])
""")
    assert output == "[] ['task']"


def test_an_event_is_a_record_with_claude_codes_name_and_standard_attributes(seen: Captured) -> None:
    seen.monitor.event("tool_result", {"tool_name": "Bash", "success": "true", "duration_ms": 12, "none": None})
    [event] = seen.events
    assert event.body == "claude_code.tool_result"
    assert event.scope == "com.anthropic.claude_code.events"
    attributes = dict(event.attributes)
    assert attributes["event.name"] == "tool_result"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(attributes["event.timestamp"]))
    assert attributes["session.id"] == seen.monitor.session_id
    assert attributes["agent.name"] == "backend"
    assert {"tool_name": "Bash", "success": "true", "duration_ms": 12}.items() <= attributes.items()
    assert "none" not in attributes
    assert (event.trace_id, event.span_id) == (0, 0)


@pytest.mark.parametrize("name", ["book_catalogued", "claude.book_catalogued"])
def test_an_event_of_ones_own_is_kept_apart_from_claude_codes(seen: Captured, name: str) -> None:
    seen.monitor.event(name)
    [event] = seen.events
    assert event.body == "claude.book_catalogued"
    assert event.attributes["event.name"] == "book_catalogued"
    assert event.scope == "claude_monitoring"


@pytest.mark.parametrize("name", ["user_prompt", "claude_code.user_prompt"])
def test_the_prefix_of_a_native_event_may_be_given_or_left_out(seen: Captured, name: str) -> None:
    seen.monitor.event(name)
    assert [event.body for event in seen.events] == ["claude_code.user_prompt"]


def test_events_are_numbered_in_order(seen: Captured) -> None:
    for _ in range(4):
        seen.monitor.event("x")
    assert [event.attributes["event.sequence"] for event in seen.events] == [0, 1, 2, 3]
    times = [event.time_unix_nano for event in seen.events]
    assert times == sorted(times)


def test_an_event_inside_a_span_carries_its_ids(seen: Captured) -> None:
    with seen.monitor.track_task("x"):
        seen.monitor.event("y")
    [span], [event] = seen.spans, seen.events
    context = span.get_span_context()
    assert (event.trace_id, event.span_id) == (context.trace_id, context.span_id)
    assert event.trace_flags & 1  # sampled


def test_an_event_belongs_to_the_session_it_happened_in(seen: Captured) -> None:
    with seen.monitor.session("s-1"):
        seen.monitor.event("x")
    assert [event.attributes["session.id"] for event in seen.events] == ["s-1"]


def test_a_prompt_or_an_error_text_is_not_cut_like_a_label(seen: Captured) -> None:
    text = "word " * 200
    seen.monitor.event("user_prompt", {"prompt": text})
    with seen.monitor.span("x", {"error": text}):
        pass
    assert [event.attributes["prompt"] for event in seen.events] == [text]
    assert [span.attributes["error"] for span in seen.spans] == [text]


def test_a_childs_events_are_numbered_with_its_parents(seen: Captured) -> None:
    seen.monitor.event("x")
    seen.monitor.child("helper").event("x")
    assert [event.attributes["event.sequence"] for event in seen.events] == [0, 1]


@pytest.mark.parametrize("call", ["event", "span"])
def test_a_name_that_is_no_text_becomes_one(seen: Captured, call: str) -> None:
    made: Any = getattr(seen.monitor, call)(7)
    if made is not None:
        with made:
            pass
    assert [event.body for event in seen.events] + [span.name for span in seen.spans] == (
        ["claude.7"] if call == "event" else ["7"]
    )
