"""Bound handles: a metric and its labels looked up once, for hot loops."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any

from claude_monitoring._series import GaugeSeries, HistogramSeries, SumSeries
from claude_monitoring._store import MAX_AMOUNT, NUMBERS
from claude_monitoring.types import Kind, Labels

if TYPE_CHECKING:
    from claude_monitoring._recorder import Recorder

__all__ = ["CounterHandle", "GaugeHandle", "Handle", "HistogramHandle"]


class Handle:
    """What the three kinds share. Made by ``AgentMonitor``; after ``close`` each use is a counted no-op."""

    __slots__ = ("__weakref__", "_kind", "_labels", "_name", "_recorder", "_series")

    def __init__(self, recorder: Recorder, kind: Kind, name: str, labels: Labels | None) -> None:
        self._recorder = recorder
        self._kind = kind
        self._name = name
        self._labels = labels
        with suppress(Exception):  # what is no mapping, or raises, is refused at use
            self._labels = dict(labels) if isinstance(labels, Mapping) else labels
        self._series: Any = _UNBOUND
        recorder._handles.add(self)

    def unbind(self) -> None:
        """Look the series up anew at the next use, as after a fork or a close."""
        self._series = _UNBOUND

    def _slow(self, value: float) -> None:
        """The long way, which checks everything; afterwards the series is bound if it could be."""
        series = self._recorder._measure(self._kind, self._name, value, self._labels)
        if series is not None:
            self._series = series


class CounterHandle(Handle):
    """A counter with its labels."""

    __slots__ = ()

    def add(self, amount: float = 1) -> None:
        """Add ``amount``; errors as for ``AgentMonitor.increment``."""
        series: SumSeries = self._series
        if type(amount) in NUMBERS and 0 <= amount <= MAX_AMOUNT:
            if series.owner == get_ident():
                series.value += amount
                if not series.owner:
                    series.settle()
                return
            if series.owner:
                series.add(amount)
                return
        self._slow(amount)


class GaugeHandle(Handle):
    """A gauge with its labels."""

    __slots__ = ()

    def set(self, value: float) -> None:
        """Set the gauge to ``value``; errors as for ``AgentMonitor.gauge``."""
        series: GaugeSeries = self._series
        if series.owner and type(value) in NUMBERS and -MAX_AMOUNT <= value <= MAX_AMOUNT:
            series.value = value
            if not series.owner:
                series.settle()
        else:
            self._slow(value)


class HistogramHandle(Handle):
    """A histogram with its labels."""

    __slots__ = ()

    def record(self, value: float) -> None:
        """Record ``value``; errors as for ``AgentMonitor.histogram``."""
        series: HistogramSeries = self._series
        if series.owner and type(value) in NUMBERS and 0 <= value <= MAX_AMOUNT:
            series.record(value)
        else:
            self._slow(value)


class _Unbound:
    """Stands in for a series; no thread owns it."""

    owner = 0


_UNBOUND: Any = _Unbound()
