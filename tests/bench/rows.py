"""The table of targets (design section 7) as data, a row a line of it."""

from __future__ import annotations

from bulk import known_labels, memory, new_labels, our_export, sdk_export
from calls import opentelemetry, ours, ours_off, prometheus, spans, statement, wrapped
from guards import explosion_memory, explosion_time, sessions
from harness import Row
from heartbeat import heartbeat
from processes import black_hole, dead, exits, forks, imports, mute, refusing

__all__ = ["ROWS"]

_INCREMENT = statement('monitor.increment("bench_calls", labels=labels)', ours)
_EXIT_LIMIT_S = 2.5
_EXIT_OTHER = "the stock OTLP exporters"

ROWS = (
    Row(
        id="increment-prometheus",
        what="increment(name, labels=4)",
        other="prometheus_client labels().inc()",
        ours=_INCREMENT,
        theirs=statement("counter.labels(**labels).inc()", prometheus),
        target=0.33,
    ),
    Row(
        id="increment-otel",
        what="increment(name, labels=4)",
        other="OpenTelemetry SDK counter.add()",
        ours=_INCREMENT,
        theirs=statement("counter.add(1, labels)", opentelemetry),
        target=0.08,
    ),
    Row(
        id="handle",
        what="bound handle .add(1)",
        other="prometheus_client child .inc()",
        ours=statement("handle.add(1)", ours),
        theirs=statement("child.inc()", prometheus),
        target=0.6,
    ),
    Row(
        id="histogram",
        what="histogram(name, v, labels=4)",
        other="prometheus_client labels().observe()",
        ours=statement('monitor.histogram("bench_duration", 1.7, labels=labels)', ours),
        theirs=statement("histogram.labels(**labels).observe(1.7)", prometheus),
        target=0.5,
    ),
    Row(
        id="task-sync",
        what="@track_task, no-op, 3 metrics",
        other="prometheus_client @Histogram.time()",
        ours=statement("task()", ours),
        theirs=statement("task()", prometheus),
        target=1.5,
    ),
    Row(
        id="task-async",
        what="@track_task, async no-op, 3 metrics",
        other="prometheus_client @Histogram.time()",
        ours=statement("await async_task()", ours, is_async=True),
        theirs=statement("await async_task()", prometheus, is_async=True),
        target=1.5,
    ),
    Row(
        id="task-peer",
        what="@track_task, no-op, 3 metrics",
        other="openlit.trace and other peers",
        target=0.1,
        unmeasured="by tox -e bench-peers",
    ),
    Row(
        id="task-spans",
        what="@track_task with a span",
        other="raw tracer.start_as_current_span()",
        ours=statement("task()", spans),
        theirs=statement('with tracer.start_as_current_span("nothing"): nothing()', spans),
        target=1.3,
    ),
    Row(
        id="task-off",
        what="@track_task, telemetry off",
        other="empty wrapt decorator",
        ours=statement("task()", ours_off),
        theirs=statement("task()", wrapped),
        target=1.5,
    ),
    Row(
        id="guard-explosion",
        what="increment, a new label value a call",
        other="the same with 100 known values",
        ours=statement('monitor.increment("bench_explosion", 1, item)', ours, new_labels),
        theirs=statement('monitor.increment("bench_known", 1, item)', ours, known_labels),
        target=3.0,
    ),
    Row(
        id="guard-millions",
        what="the same, millions of calls",
        other="as many calls with 100 known values",
        ours=explosion_time("new"),
        theirs=explosion_time("known"),
        target=3.0,
        repeats="once",
    ),
    Row(
        id="guard-memory",
        what="the same, resident memory from the bound on",
        other="flat",
        ours=explosion_memory,
        limit=10e6,
        unit="B",
        repeats="once",
    ),
    Row(
        id="guard-sessions",
        what="sessions of 10 series, memory a session",
        other="flat",
        ours=sessions,
        limit=1.0,
        unit="B",
        repeats="once",
    ),
    Row(
        id="encode",
        what="collect, encode, serialise 20,000 series",
        other="OpenTelemetry SDK and its encoder",
        ours=our_export,
        theirs=sdk_export,
        target=0.1,
    ),
    Row(
        id="heartbeat",
        what="1 ms heartbeat while 100,000 series go, p99",
        other="OpenTelemetry SDK and its encoder",
        ours=heartbeat("ours"),
        theirs=heartbeat("sdk"),
        limit=0.005,
        repeats="once",
    ),
    Row(
        id="heartbeat-scrape",
        what="the same while Prometheus' page is made",
        other="prometheus_client generate_latest()",
        ours=heartbeat("scrape"),
        theirs=heartbeat("prometheus_client"),
        limit=0.005,
        repeats="once",
    ),
    Row(
        id="memory",
        what="memory a counter series, 4 labels",
        other="OpenTelemetry SDK",
        ours=memory("ours"),
        theirs=memory("sdk"),
        target=0.5,
        unit="B",
        repeats="once",
    ),
    Row(
        id="memory-exported",
        what="the same after one export",
        other="OpenTelemetry SDK",
        ours=memory("ours", exported=True),
        theirs=memory("sdk", exported=True),
        target=0.5,
        unit="B",
        repeats="once",
    ),
    Row(
        id="import",
        what="import claude_monitoring",
        other="import opentelemetry.metrics",
        ours=imports("claude_monitoring"),
        theirs=imports("opentelemetry.metrics"),
        target=1.5,
        repeats="processes",
    ),
    *(
        Row(
            id=f"exit-{collector.__name__.replace('_', '-')}",
            what=f"exit, {collector.__name__.replace('_', '-')} collector",
            other=_EXIT_OTHER,
            ours=exits("ours", collector),
            theirs=exits("sdk", collector),
            limit=_EXIT_LIMIT_S,
            repeats="once",
        )
        for collector in (dead, mute, black_hole, refusing)
    ),
    Row(
        id="fork",
        what="fork with 4 recording threads",
        other="OpenTelemetry SDK",
        ours=forks("ours"),
        theirs=forks("sdk"),
        limit=0.0,
        unit="share",
        repeats="once",
    ),
    Row(
        id="fork-first-use",
        what="the same, during the very first use",
        other="no child hangs",
        ours=forks("ours", first_use=True),
        limit=0.0,
        unit="share",
        repeats="once",
    ),
)
