"""Checks of what arrived: metrics, events and spans with all that belongs to them, against the oracle."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from matrix import content, expected
from matrix.check import Check, each, same
from matrix.run import Evidence
from matrix.scenarios import Scenario

__all__ = ["events", "exposed", "metrics", "origin", "printed", "printed_rows", "scraped", "spans"]


def origin(evidence: Evidence) -> Iterator[Check]:
    """The resource and the session, which everything that came has in common."""
    seen, scenario = evidence.seen, evidence.scenario
    assert seen is not None
    items: list[Any] = [*seen.points, *seen.logs, *seen.spans]
    instances = {str(one.resource.get("service.instance.id", "none")) for one in items}
    yield Check("service.instance.id", "one UUID", ", ".join(sorted(instances)), _is_one_uuid(instances))
    resources = {
        content.attributes_text({k: v for k, v in one.resource.items() if k != "service.instance.id"}) for one in items
    }
    yield each("resource", content.attributes_text(expected.resource(scenario)), resources)
    native: list[Any] = [one for one in seen.points if one.scope_name == expected.NATIVE]
    sessions = {str(one.attributes.get(content.SESSION, "none")) for one in (*native, *seen.logs, *seen.spans)}
    yield Check("session.id", "one UUID", ", ".join(sorted(sessions)), _is_one_uuid(sessions))
    yield each("version of the scopes", expected.package_version(), {one.scope_version for one in items})


def _is_one_uuid(found: set[str]) -> bool:
    try:
        return len(found) == 1 and bool(uuid.UUID(next(iter(found))))
    except ValueError:
        return False


def _sums(scenario: Scenario) -> set[str]:
    """The histograms whose sum is not a matter of the clock."""
    return {
        metric.name
        for metric in expected.metrics(scenario)
        if any(isinstance(value, tuple) and value[1] is not None for value in metric.series.values())
    }


def metrics(evidence: Evidence) -> Iterator[Check]:
    """Every metric, with its exact totals, unit, kind, temporality and scope."""
    scenario = evidence.scenario
    assert evidence.seen is not None
    got = content.from_points(evidence.seen.points, _sums(scenario))
    yield from _compared(scenario, got, bare=False)


def _compared(scenario: Scenario, got: dict[str, content.Got], *, bare: bool) -> Iterator[Check]:
    """``bare`` where neither temporality nor scope is shown."""
    wanted = {metric.name: metric for metric in expected.metrics(scenario)}
    for name, metric in wanted.items():
        temporality = "" if bare or metric.kind == "gauge" else scenario.temporality
        if temporality and metric.kind == "sum" and not metric.monotonic:
            temporality = "cumulative"  # whatever is preferred: OpenTelemetry, metrics/sdk_exporters/otlp.md
        shape = {"monotonic": metric.monotonic, "temporality": temporality, "scope": "" if bare else metric.scope}
        text = content.metric_text(metric.unit, metric.kind, metric.series, **shape)  # type: ignore[arg-type]
        one = got.get(name)
        seen = (
            "nothing"
            if one is None
            else content.metric_text(
                one.unit, one.kind, one.series, monotonic=one.monotonic, temporality=one.temporality, scope=one.scope
            )
        )
        yield same(name, text, seen)
    others = sorted(name for name in got if name not in wanted and not name.startswith(expected.SELF_REPORT))
    yield same("other metrics", "none", ", ".join(others) or "none")


def _attributes_text(attributes: Mapping[str, Any]) -> str:
    clock = (content.SESSION, "event.timestamp")
    return content.attributes_text({key: value for key, value in attributes.items() if key not in clock})


def _unequal(wanted: Sequence[str], seen: Sequence[str]) -> str:
    """What differs, in a few words."""
    missing, extra = [one for one in wanted if one not in seen], [one for one in seen if one not in wanted]
    if sorted(wanted) == sorted(seen):
        return f"all {len(seen)}"
    parts = [f"{len(seen)} of {len(wanted)}"]
    parts += [f"missing: {missing[0]}"] if missing else []
    parts += [f"not expected: {extra[0]}"] if extra else []
    return "; ".join(parts)


def events(evidence: Evidence) -> Iterator[Check]:
    """Every event, once, in the span of its step."""
    assert evidence.seen is not None
    logs = evidence.seen.logs
    bodies = [f"{one.body} @{one.scope_name} {_attributes_text(one.attributes)}" for one in logs]
    yield _all_of("events", _wanted_events(evidence.scenario), bodies, _counted_lost(evidence, "logs"))
    spans = {one.span_id: one.name for one in evidence.seen.spans}
    stray = [one.body for one in logs if spans.get(one.span_id) != f"step {one.attributes.get('step')}"]
    if evidence.scenario.expects != "unanswered":
        yield same("events outside the span of their step", 0, len(stray))


def _wanted_events(scenario: Scenario) -> list[str]:
    return [
        f"claude.probe_step @{expected.OURS} {content.attributes_text(event)}" for event in expected.events(scenario)
    ]


def _counted_lost(evidence: Evidence, signal: str) -> int | None:
    """Where nobody answers: how many items the program counted as lost. Elsewhere ``None``: each comes, once."""
    if evidence.scenario.expects != "unanswered":
        return None
    return sum(
        sum(one["dropped"].values()) for one in evidence.result["health"]["exporters"] if one["signal"] == signal
    )


def _all_of(name: str, wanted: list[str], seen: list[str], lost: int | None) -> Check:
    if lost is None:
        return Check(name, f"all {len(wanted)}", _unequal(wanted, seen), sorted(wanted) == sorted(seen))
    came = set(seen)
    ok = came <= set(wanted) and len(came) + lost >= len(wanted)
    return Check(
        name, f"each of {len(wanted)} came or was counted as lost", f"{len(came)} came, {lost} were counted", ok
    )


def spans(evidence: Evidence) -> Iterator[Check]:
    """Every span, once, below the one that it belongs to."""
    assert evidence.seen is not None
    spans = evidence.seen.spans
    names = {one.span_id: one.name for one in spans}
    texts = [
        f"{f'{names.get(one.parent_span_id)}/' if one.parent_span_id else ''}{one.name} @{one.scope_name} "
        f"{one.kind} {one.status} {_attributes_text(one.attributes)}"
        for one in spans
    ]
    wanted = [
        f"{name} @{expected.OURS} internal unset {content.attributes_text(attributes)}"
        for name, attributes in expected.spans(evidence.scenario).items()
    ]
    yield _all_of("spans", wanted, texts, _counted_lost(evidence, "traces"))


def printed(evidence: Evidence) -> Iterator[Check]:
    """What stood on standard output, line by line."""
    scenario = evidence.scenario
    rows = [row for _, row in printed_rows(evidence)]
    unread = len(evidence.watched.printed) - len(rows)
    yield same("lines that are no JSON", 0, unread)
    yield from _compared(scenario, content.from_printed(rows, _sums(scenario)), bare=True)
    found = [row for row in rows if row["signal"] == "event"]
    texts = [f"{one['name']} @{one['scope']} {_attributes_text(one['attributes'])}" for one in found]
    yield _all_of("events", _wanted_events(scenario), texts, None)
    names = [row["name"] for row in rows if row["signal"] == "span"]
    wanted = [name.rpartition("/")[2] for name in expected.spans(scenario)]
    yield _all_of("spans", wanted, names, None)


def printed_rows(evidence: Evidence) -> list[tuple[float, dict[str, Any]]]:
    """The lines that are JSON, each with the moment when it came."""
    rows = []
    for moment_s, line in evidence.watched.printed:
        with suppress(ValueError):
            rows.append((moment_s, json.loads(line)))
    return rows


def scraped(evidence: Evidence) -> Iterator[Check]:
    """What a Prometheus server, and promtool, had to say."""
    scraped = evidence.scraped
    assert scraped is not None
    wanted = expected.exposed(evidence.scenario)
    for name, series in wanted.items():
        got = scraped.values.get(name, {})
        seen = {
            frozenset(item for item in key if item[0] not in ("session_id", "otel_scope_version")): value
            for key, value in got.items()
        }
        yield same(name, content.metric_text("", "", series), content.metric_text("", "", seen) if seen else "nothing")
    yield same("errors of Prometheus", "none", "; ".join(scraped.errors) or "none")
    least = round(evidence.scenario.steps * evidence.scenario.step_s / 2)  # of one a second
    yield Check("scrapes", f"{least} or more", str(scraped.scrapes), scraped.scrapes >= least)
    yield same("promtool check metrics", "passes", scraped.promtool or "passes")


_OF_A_COLLECTOR = frozenset({"instance", "job", "otel_scope_schema_url", "otel_scope_version", "session_id"})


def exposed(evidence: Evidence) -> Iterator[Check]:
    """What the real Collector's Prometheus exporter has, letter by letter."""
    assert evidence.seen is not None  # for mypy: a Collector is a far side
    for name, series in expected.collected(evidence.scenario).items():
        seen = {
            frozenset(item for item in labels.items() if item[0] not in _OF_A_COLLECTOR): value
            for labels, value in evidence.seen.exposed.get(name, [])
        }
        yield same(name, content.metric_text("", "", series), content.metric_text("", "", seen) if seen else "nothing")
