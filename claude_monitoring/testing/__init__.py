"""For test suites: see what a program records, without a network and without pytest.

::

    with claude_monitoring.testing.capture() as seen:
        run_agent("hello")
    assert seen.value("claude.tokens.output", model="claude-sonnet-5") == 42
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from claude_monitoring import _monitor
from claude_monitoring._monitor import AgentMonitor
from claude_monitoring._redirection import redirected
from claude_monitoring._series import Cell
from claude_monitoring._settings import Settings
from claude_monitoring._snapshot import take
from claude_monitoring._store import Store
from claude_monitoring.exporters.custom import CustomExporter
from claude_monitoring.types import AttributeValue, EventRecord

__all__ = ["Captured", "capture", "totals"]

Series = dict[frozenset[tuple[str, AttributeValue]], float]


def totals(store: Store) -> dict[str, Series]:
    """Wire name to the value of each series; for a histogram the number of values recorded."""
    found: dict[str, Series] = {}
    for spec, held, values in take(store).rows:
        if spec.is_about_ourselves:
            continue
        by_attributes = found.setdefault(spec.name, {})
        for series, value in zip(held, values, strict=True):
            key = frozenset(series.attributes.items())  # one key for 1 and True, but two series
            amount = sum(value.buckets) if isinstance(value, Cell) else value
            by_attributes[key] = amount if spec.kind == "gauge" else by_attributes.get(key, 0) + amount
    return found


class Captured(CustomExporter):
    """What was recorded inside ``capture``; values are read live."""

    monitor: AgentMonitor

    def __init__(self) -> None:
        self._frozen: dict[str, Series] | None = None
        self._events: list[EventRecord] = []
        self._spans: list[Any] = []

    def export_metric(self, metric: Any) -> None:
        """Metrics are read from the store instead."""

    def export_event(self, event: EventRecord) -> None:
        """Keep an event."""
        self._events.append(event)

    def export_span(self, span: Any) -> None:
        """Keep a span."""
        self._spans.append(span)

    def freeze(self) -> None:
        """Keep the totals as they are now."""
        self._frozen = self._totals()

    def _totals(self) -> dict[str, Series]:
        pipeline = self.monitor._pipeline
        if self._frozen is not None or pipeline is None:
            return self._frozen or {}
        return totals(pipeline.store)

    def series(self, metric: str) -> Series:
        """The series of ``metric`` by their attributes."""
        return self._totals().get(metric, {})

    def value(self, metric: str, where: Mapping[str, AttributeValue] | None = None, **labels: AttributeValue) -> float:
        """The sum over the series of ``metric`` that have these attributes; 0 if there are none.

        Args:
            metric: The wire name, such as ``claude.tokens.input``.
            where: Attributes whose keys have a dot.
            labels: Attributes; of a histogram the number of values is given.
        """
        wanted = {**(where or {}), **labels}.items()
        return sum(value for attributes, value in self.series(metric).items() if wanted <= dict(attributes).items())

    @property
    def events(self) -> list[EventRecord]:
        """The events so far."""
        self.monitor.flush(5)
        return list(self._events)

    @property
    def spans(self) -> list[Any]:
        """The ended spans so far, as OpenTelemetry's ``ReadableSpan``."""
        self.monitor.flush(5)
        return list(self._spans)


@contextmanager
def capture(agent_id: str = "main") -> Iterator[Captured]:
    """Record everything that the program's monitors are given, whatever the environment says, and send nothing.

    Every monitor that exists, the default one, and those made inside are captured; afterwards they are as before.
    """
    seen = Captured()
    default = _monitor._default
    with redirected(Settings.load(environ={}, enabled=True), (seen,)):
        seen.monitor = AgentMonitor(agent_id)
        seen.monitor._live()
        if seen.monitor._pipeline is not None:
            seen.monitor._pipeline.store.lives.add_far_side()  # which confirms nothing, so that nothing is let go
        try:
            yield seen
        finally:
            seen.monitor.flush(5)
            seen.freeze()
            seen.monitor.close(5)
            if _monitor._default is not default:  # made inside: the next one is made from the environment again
                made, _monitor._default = _monitor._default, default
                if made is not None:
                    made.close(5)
