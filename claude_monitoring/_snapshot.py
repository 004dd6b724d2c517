"""A store's state at one moment, and the same as OpenTelemetry's ``MetricsData``."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from claude_monitoring._catalog import MetricSpec
from claude_monitoring._sealed import report_internal_error
from claude_monitoring._series import Cell, HistogramSeries, Reading, Series, SumSeries
from claude_monitoring._store import Instrument, Store
from claude_monitoring._version import __version__
from claude_monitoring.types import AttributeValue, Temporality

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint, Metric, MetricsData, NumberDataPoint

__all__ = ["Batch", "Snapshot", "make_batch", "preload", "take", "take_for_export"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What every series held at ``time_unix_nano``, or earlier for those in ``earlier``: totals since it began."""

    time_unix_nano: int
    rows: tuple[tuple[MetricSpec, tuple[tuple[Series, Reading], ...]], ...]
    values: Mapping[Series, Reading] = field(default_factory=dict)
    earlier: Mapping[Series, int] = field(default_factory=dict)

    def time_of(self, series: Series) -> int:
        """When it held its value, in nanoseconds since the epoch."""
        return self.earlier.get(series, self.time_unix_nano)


@dataclass(frozen=True, slots=True)
class Batch:
    """A snapshot on its way to a far side: as data, with the series of each data point in their order.

    ``data`` is ``None`` if there is nothing to send; what we tell about ourselves alone is nothing.
    """

    snapshot: Snapshot
    data: MetricsData | None
    series: tuple[Series, ...]
    base: Snapshot | None

    def delivered(self, refused: Iterable[range] = ()) -> Snapshot:
        """What the far side has, once it acknowledged all but the points at ``refused``: of those, what it had."""
        left_out = {self.series[place] for places in refused for place in places}
        if self.base is None:
            values = {series: value for series, value in self.snapshot.values.items() if series not in left_out}
            return replace(self.snapshot, values=values) if left_out else self.snapshot
        # The next interval of a series begins where the last one that was sent of it ended, whatever lies between:
        # a Collector's Prometheus exporter takes a gap for a restart, and forgets the sum.
        values, earlier = dict(self.snapshot.values), {}
        sent = set(self.series) - left_out
        for series in self.snapshot.values:
            if series in sent:
                continue
            before = self.base.values.get(series)
            if before is not None:
                values[series], earlier[series] = before, self.base.time_of(series)
            elif series in left_out:
                del values[series]
        return Snapshot(self.snapshot.time_unix_nano, self.snapshot.rows, values, earlier)


def preload() -> None:
    """Import what ``make_batch`` needs."""
    from opentelemetry.sdk import resources  # noqa: F401
    from opentelemetry.sdk.metrics import export  # noqa: F401
    from opentelemetry.sdk.util import instrumentation  # noqa: F401


def take_for_export(store: Store) -> Snapshot:
    """Read the store after what ended was found, with the metrics about the guard up to date."""
    store.lives.sweep()
    store.report_itself()
    return take(store)


def take(store: Store) -> Snapshot:
    """Read the store; writers are not stopped."""
    now = time.time_ns()
    rows = []
    values: dict[Series, Reading] = {}
    for instrument in store.instruments():
        read = tuple(_readings(instrument))
        values.update(read)
        rows.append((instrument.spec, read))
    return Snapshot(now, tuple(rows), values)


def _readings(instrument: Instrument) -> Iterator[tuple[Series, Reading]]:
    for series in instrument.all_series():
        try:
            yield series, _read(series)
        except Exception as exc:  # noqa: BLE001 - one that can't be read does not keep the others back
            report_internal_error(exc)


def _read(series: Series) -> Reading:
    value = series.read()
    return value if isinstance(value, Cell) else float(value)


def make_batch(
    snapshot: Snapshot,
    resource: Mapping[str, AttributeValue],
    temporality: Temporality = "cumulative",
    acknowledged: Snapshot | None = None,
) -> Batch:
    """``snapshot`` as OpenTelemetry's metrics data, one scope for each family.

    With ``delta`` the values are what came after ``acknowledged``, the last snapshot that the far side confirmed:
    series without change are left out, and each start is the end of the confirmed interval
    (specification: metrics/data-model.md, "Temporality"). Up-down counters stay cumulative, as the
    specification's delta preference says.
    """
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    base = acknowledged if temporality == "delta" else None
    by_scope: dict[str, list[tuple[Metric, list[Series]]]] = {}
    of_the_host = 0
    for spec, points in snapshot.rows:
        metric, series = _metric(spec, points, snapshot.time_unix_nano, temporality, base)
        if metric is not None:
            by_scope.setdefault(spec.scope, []).append((metric, series))
            of_the_host += not spec.is_about_ourselves
    if not of_the_host:
        return Batch(snapshot, None, (), base)
    scopes = [
        ScopeMetrics(InstrumentationScope(name, __version__), [metric for metric, _ in metrics], schema_url="")
        for name, metrics in by_scope.items()
    ]
    whole = ResourceMetrics(resource=Resource(dict(resource)), scope_metrics=scopes, schema_url="")
    order = tuple(one for metrics in by_scope.values() for _, series in metrics for one in series)
    return Batch(snapshot, MetricsData(resource_metrics=[whole]), order, base)


def _metric(
    spec: MetricSpec,
    points: tuple[tuple[Series, Reading], ...],
    now: int,
    temporality: Temporality,
    base: Snapshot | None,
) -> tuple[Metric | None, list[Series]]:
    from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, Histogram, Metric, Sum

    is_delta = temporality == "delta" and spec.kind in {"counter", "histogram"}
    rows = _since(points, base) if is_delta else [(s, v, s.start_unix_nano) for s, v in points]
    if not rows:
        return None, []
    how = AggregationTemporality.DELTA if is_delta else AggregationTemporality.CUMULATIVE
    data: Gauge | Histogram | Sum
    if spec.kind == "histogram":
        data = Histogram(data_points=[_histogram_point(*row, now) for row in rows], aggregation_temporality=how)
    else:
        numbers = [_number_point(*row, now) for row in rows]
        if spec.kind == "gauge":
            data = Gauge(data_points=numbers)
        else:
            data = Sum(data_points=numbers, aggregation_temporality=how, is_monotonic=spec.kind == "counter")
    metric = Metric(name=spec.name, description=spec.description, unit=spec.unit, data=data)
    return metric, [series for series, _, _ in rows]


def _since(points: tuple[tuple[Series, Reading], ...], base: Snapshot | None) -> list[tuple[Series, Reading, int]]:
    """The increase of each series that changed since ``base``, with the start of that interval."""
    rows: list[tuple[Series, Reading, int]] = []
    for series, value in points:
        before = base.values.get(series) if base is not None else None
        if before is None or base is None:
            if isinstance(value, Cell) or value != 0:
                rows.append((series, value, series.start_unix_nano))
        elif isinstance(value, Cell) and isinstance(before, Cell):
            if value.buckets != before.buckets:
                rows.append((series, value.since(before), base.time_of(series)))
        elif not isinstance(value, Cell) and not isinstance(before, Cell) and value != before:
            rows.append((series, value - before, base.time_of(series)))
    return rows


def _number_point(series: Series, value: Reading, start: int, now: int) -> NumberDataPoint:
    from opentelemetry.sdk.metrics.export import NumberDataPoint

    return NumberDataPoint(
        attributes=series.attributes,
        start_time_unix_nano=start if isinstance(series, SumSeries) else 0,
        time_unix_nano=now,
        value=value,  # type: ignore[arg-type]  # histograms never come here
    )


def _histogram_point(series: Series, value: Reading, start: int, now: int) -> HistogramDataPoint:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint

    if not isinstance(value, Cell) or not isinstance(series, HistogramSeries):  # pragma: no cover - by construction
        raise TypeError(type(value).__name__)
    return HistogramDataPoint(
        attributes=series.attributes,
        start_time_unix_nano=start,
        time_unix_nano=now,
        count=sum(value.buckets),
        sum=value.sum,
        bucket_counts=value.buckets,
        explicit_bounds=list(series.bounds),
        min=_known(value.min),
        max=_known(value.max),
    )


def _known(extreme: float) -> float:
    """``None`` where it is not known, so that the field stays unset; OpenTelemetry's encoder takes it."""
    return extreme if math.isfinite(extreme) else None  # type: ignore[return-value]
