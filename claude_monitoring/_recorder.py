"""Recording a measurement: the fast path for what is known, the long way for everything else."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from numbers import Complex, Integral, Number, Real
from threading import get_ident
from typing import TYPE_CHECKING, Any, cast

from claude_monitoring._catalog import IDENTIFIERS
from claude_monitoring._guard import OTHER, Known
from claude_monitoring._health import DropReason, HealthCounters
from claude_monitoring._instruments import InvalidNameError, KindConflictError, Registry
from claude_monitoring._labels import Pairs, plain
from claude_monitoring._sealed import report_internal_error, warn_once
from claude_monitoring._series import GaugeSeries, HistogramSeries, Series, SumSeries
from claude_monitoring._store import MAX_AMOUNT, NUMBERS, Instrument
from claude_monitoring.errors import CardinalityError
from claude_monitoring.types import Kind, Labels

if TYPE_CHECKING:
    from claude_monitoring._catalog import MetricSpec
    from claude_monitoring._handles import Handle

__all__ = ["Recorder", "as_dict", "number", "write"]

_MAX_CACHED = 8_000
"""Labels as callers give them, beside two ways for each series that is kept."""


def number(value: object) -> int | float:
    """``value`` as a plain finite ``int`` or ``float``.

    Raises:
        TypeError: It is no number; ``bool`` and text count as none, nor does what its own methods fail to give.
        ValueError: It is not finite, or more than a ``float`` can hold.
    """
    if type(value) in NUMBERS and -MAX_AMOUNT <= value <= MAX_AMOUNT:  # type: ignore[operator]
        return value  # type: ignore[return-value]
    is_complex = isinstance(value, Complex) and not isinstance(value, Real)  # a Decimal is neither
    if isinstance(value, bool) or not isinstance(value, Number) or is_complex:
        raise TypeError(f"expected a number, got {str(plain(value))[:80]!r} ({type(value).__name__})")
    try:
        amount = _converted(value)
    except OverflowError as exc:
        raise ValueError("expected a number below 1.8e308") from exc
    except ValueError:  # of a Decimal("sNaN")
        raise
    except Exception as exc:
        raise TypeError(f"expected a number, got a {type(value).__name__} that raises {type(exc).__name__}") from exc
    if not math.isfinite(amount):
        raise ValueError(f"expected a finite number, got {amount}")
    return amount


def _converted(value: Any) -> int | float:
    if isinstance(value, Integral):
        amount = int(value)
        return amount if abs(amount) <= MAX_AMOUNT else float(amount)
    return float(value)  # Decimal, fractions and numpy scalars have __float__


class Recorder:
    """What a monitor needs to turn a name, a number and labels into an addition to a cell."""

    _registry: Registry
    _health: HealthCounters
    _strict: bool
    _handles: weakref.WeakSet[Handle]

    def __init__(self) -> None:
        self._counters: dict[str, Known] = {}
        self._gauges: dict[str, Known] = {}
        self._histograms: dict[str, Known] = {}
        self._cached = 0
        self._resolved: dict[tuple[Kind | None, str], Instrument] = {}

    def _live(self) -> bool:
        """Whether recording is wanted now; starts what has to be started. Counts what comes after ``close``."""
        raise NotImplementedError

    def _base(self, spec: MetricSpec) -> Pairs:
        """The attributes that the monitor adds to a metric."""
        raise NotImplementedError

    def increment(self, name: str, amount: float = 1, labels: Labels | None = None) -> None:
        """Add ``amount`` to the counter ``name``.

        Args:
            name: A metric of the catalogue by any of its names (``api_calls``), or one of your own.
            amount: What to add; finite, not negative unless the catalogue has an up-down counter of that name.
            labels: Attribute keys and values. Keep the number of different values small.

        Raises:
            ValueError, TypeError: With ``strict=True`` alone, for a name or an amount that can't be used.
            CardinalityError: With ``strict=True`` for a label's value that looks like one of a number without bound, or
                is private; with the policy ``raise`` for one that would need a series past a bound.
        """
        try:
            series: SumSeries = self._counters[name][tuple(labels.items()) if labels else ()]
            if type(amount) in NUMBERS and 0 <= amount <= MAX_AMOUNT:
                if series.owner == get_ident():
                    series.value += amount
                    if not series.owner:
                        series.settle()
                    return
                if series.owner:
                    series.add(amount)
                    return
        except Exception:  # noqa: BLE001, S110 - whatever is odd about the call is told by the long way
            pass
        self._measure("counter", name, amount, labels)

    def gauge(self, name: str, value: float, labels: Labels | None = None) -> None:
        """Set the gauge ``name`` to ``value``; arguments and errors as for ``increment``, negative values allowed."""
        try:
            series: GaugeSeries = self._gauges[name][tuple(labels.items()) if labels else ()]
            if series.owner and type(value) in NUMBERS and -MAX_AMOUNT <= value <= MAX_AMOUNT:
                series.value = value
                if not series.owner:
                    series.settle()
                return
        except Exception:  # noqa: BLE001, S110
            pass
        self._measure("gauge", name, value, labels)

    def histogram(self, name: str, value: float, labels: Labels | None = None) -> None:
        """Record ``value`` in the histogram ``name``; arguments and errors as for ``increment``."""
        try:
            series: HistogramSeries = self._histograms[name][tuple(labels.items()) if labels else ()]
            if series.owner and type(value) in NUMBERS and 0 <= value <= MAX_AMOUNT:
                series.record(value)
                return
        except Exception:  # noqa: BLE001, S110
            pass
        self._measure("histogram", name, value, labels)

    def record_metric(self, name: str, value: float, labels: Labels | None = None) -> None:
        """Record ``value`` under ``name``, as the kind that the name already has, else as a counter."""
        self._measure(None, name, value, labels)

    def _measure(self, kind: Kind | None, name: str, value: object, labels: Labels | None) -> Series | None:
        """The long way: check everything, make the series, remember it for the fast path, record."""
        try:
            if not self._live():
                return None
            amount = number(value)
            if name.__class__ is not str:
                name = _name_text(name)
            known = self._resolved.get((kind, name)) if name.__class__ is str else None
            instrument = known or self._resolve(kind, name)
            if amount < 0 and instrument.spec.kind in {"counter", "histogram"}:
                raise ValueError(f"a {instrument.spec.kind} takes no negative amount, got {amount}")
            series = self._find(instrument, name, labels)
            write(series, amount)
        except CardinalityError:
            raise  # asked for
        except (TypeError, ValueError) as exc:
            self._refuse(name, exc)
        except Exception as exc:  # noqa: BLE001 - our own fault is never the host's
            self._internal(exc)
        else:
            return None if instrument.is_overflow(series) or instrument.spec.base == "native" else series
        return None

    def _resolve(self, kind: Kind | None, name: str) -> Instrument:
        instrument = self._registry.resolve(name, kind)
        if len(self._resolved) < _MAX_CACHED:
            self._resolved[kind, name] = instrument
        return instrument

    def _find(self, instrument: Instrument, name: str, labels: Labels | None) -> Series:
        if labels is not None and labels.__class__ is not dict:
            labels = as_dict(labels, "labels")
        own = instrument.labels(labels, strict=self._strict)
        series = self._series_of(instrument, own)
        # A native series depends on the session, so its name is not enough; one that takes in anything is no answer.
        if instrument.spec.base != "native" and not instrument.takes_anything(series):
            self._remember(instrument, name, labels or {}, own, series)
        return series

    def _series_of(self, instrument: Instrument, own: Pairs) -> Series:
        series = self._counted_series(instrument, self._base(instrument.spec), own, strict=self._strict)
        if instrument.store.bounds.policy == "raise" and instrument.is_refused(series):
            raise CardinalityError(
                f"{instrument.spec.name}: {dict(own)} would need a new series, and a bound is reached; "
                "monitor.cardinality_report() says which label fills it"
            )
        return series

    def _counted_series(self, instrument: Instrument, base: Pairs, own: Pairs, *, strict: bool = False) -> Series:
        """The series for a measurement; counted if that loses its labels there, or is refused."""
        series = instrument.series(base, own, strict=strict)
        if instrument.is_overflow(series):
            with instrument.store.lock:
                instrument.overflowed += 1
                self._health.overflowed += 1
        elif instrument.is_refused(series):
            self._health.drop(DropReason.SERIES_LIMIT)
        return series

    def _remember(self, instrument: Instrument, name: str, labels: Labels, own: Pairs, series: Series) -> None:
        # Only text values: 1, 1.0 and True are equal as keys of a dictionary, and must not share a series.
        if any(value.__class__ is not str for value in labels.values()):
            return
        folded = _folded(instrument, labels, series) if series.own != own else []
        if any(key in IDENTIFIERS for _, key in folded):  # their capitals are not looked at
            return
        if self._cached >= _MAX_CACHED + 2 * instrument.store.count:
            self._forget()
        table = (
            self._counters
            if isinstance(series, SumSeries)
            else self._gauges
            if isinstance(series, GaugeSeries)
            else self._histograms
        ).setdefault(name, Known())
        try:
            if folded:
                places = {index: instrument.guard.labels[key] for index, key in folded}
                self._cached += table.fold(tuple(labels.items()), places, series)
            else:
                table[_key(labels, series.own) if labels else ()] = series
                self._cached += 1
        except Exception:  # noqa: BLE001, S110 - a key's own __eq__ raises: such labels go the long way each time
            pass

    def _forget(self) -> None:
        """Send every name back to the long way."""
        self._counters.clear()
        self._gauges.clear()
        self._histograms.clear()
        self._resolved.clear()
        self._cached = 0

    def _refuse(self, name: object, exc: TypeError | ValueError) -> None:
        """Count and tell one refused call; with ``strict`` raise it."""
        if self._strict:
            raise exc
        reason = (
            DropReason.INVALID_NAME
            if isinstance(exc, InvalidNameError)
            else DropReason.KIND_CONFLICT
            if isinstance(exc, KindConflictError)
            else DropReason.INVALID_VALUE
        )
        self._health.drop(reason)
        shown = str(plain(name))[:80] if isinstance(name, str) else type(name).__name__
        warn_once((reason, shown), f"claude_monitoring: {shown}: not recorded: {exc}")

    def _internal(self, exc: Exception) -> None:
        self._health.drop(DropReason.INTERNAL_ERROR)
        report_internal_error(exc)


def _name_text(name: object) -> str:
    """A name that is not exactly text: an enum's member may be, and whatever its methods do, it can be looked up."""
    if not isinstance(name, str):
        raise InvalidNameError(f"a metric name is text, got {str(plain(name))[:80]!r} ({type(name).__name__})")
    return str.__str__(name)


def as_dict(given: object, what: str) -> dict[str, object]:
    """Labels or attributes, read once.

    Raises:
        TypeError: They are no mapping, or the host's own mapping raises.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} are a mapping of keys to values, got {type(given).__name__}")
    try:
        return dict(given.items())
    except Exception as exc:
        raise TypeError(f"{what} can't be read: {type(given).__name__} raises {type(exc).__name__}") from exc


def _folded(instrument: Instrument, labels: Labels, series: Series) -> list[tuple[int, str]]:
    """Place and key of each label whose value was too much, and is therefore not kept anywhere."""
    placed = series.attributes
    return [
        (index, raw)
        for index, raw in enumerate(labels)
        for key, value in instrument.labels({raw: labels[raw]})
        if placed.get(key) == OTHER != value and not instrument.guard.keeps(key, value)
    ]


def _key(labels: Mapping[str, object], own: Pairs) -> Pairs:
    """The labels as the fast path's key, made of the pairs that the series holds already where they are the same."""
    held: dict[object, object] = {pair: pair for pair in own}
    key = tuple(held.get(pair, pair) for pair in labels.items())
    return own if key == own else cast("Pairs", key)


def write(series: Series, value: float) -> None:
    """Record an amount that was checked already."""
    if isinstance(series, SumSeries):
        series.add(value)
    elif isinstance(series, HistogramSeries):
        series.record(value)
    elif isinstance(series, GaugeSeries):
        series.set(value)
