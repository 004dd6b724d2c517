"""What was collected, on its way to an exporter: OpenTelemetry's ``MetricsData``, made when somebody looks at it.

Loaded with the first export.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from claude_monitoring._catalog import MetricSpec
from claude_monitoring._kept import kept_property
from claude_monitoring._pauses import pause
from claude_monitoring._version import __version__
from claude_monitoring.types import AttributeValue

__all__ = ["Block", "Collected", "MetricBlocks", "is_known"]


@dataclass(frozen=True, slots=True)
class Block:
    """Some data points of one metric: of which series, since when (nanoseconds since the epoch, 0 for gauges), what.

    The three are equally long. A series has its ``attributes``, which never change, and a place for them as they are
    ``encoded``. A histogram's values have ``buckets``, ``sum``, ``min`` and ``max``; all others are floats.
    """

    series: Sequence[Any]
    starts: Sequence[int]
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class MetricBlocks:
    """One metric with all its data points, in blocks that are small enough to be worked on without a pause."""

    spec: MetricSpec
    is_delta: bool
    blocks: list[Block]

    def __len__(self) -> int:
        """How many data points there are."""
        return sum(len(block.series) for block in self.blocks)


class Collected(MetricsData):
    """All metrics at one moment, as ``MetricsData`` for whoever takes that, and as they are for the OTLP exporters.

    Args:
        resource: What they are about.
        time_unix_nano: The moment.
        metrics: With those of one scope one after the other.
    """

    def __init__(
        self, resource: Mapping[str, AttributeValue], time_unix_nano: int, metrics: Sequence[MetricBlocks]
    ) -> None:
        vars(self).update(resource=resource, time_unix_nano=time_unix_nano, metrics=metrics)

    resource: Mapping[str, AttributeValue]
    time_unix_nano: int
    metrics: Sequence[MetricBlocks]

    @kept_property
    def resource_metrics(self) -> Sequence[ResourceMetrics]:
        """As OpenTelemetry has it, one scope for each family."""
        by_scope: dict[str, list[Metric]] = {}
        for metric in self.metrics:
            by_scope.setdefault(metric.spec.scope, []).append(_metric(metric, self.time_unix_nano))
        scopes = [
            ScopeMetrics(InstrumentationScope(name, __version__), metrics, schema_url="")
            for name, metrics in by_scope.items()
        ]
        return [ResourceMetrics(resource=Resource(dict(self.resource)), scope_metrics=scopes, schema_url="")]


def _metric(metric: MetricBlocks, now: int) -> Metric:
    spec = metric.spec
    how = AggregationTemporality.DELTA if metric.is_delta else AggregationTemporality.CUMULATIVE
    is_histogram = spec.kind == "histogram"
    points: list[Any] = []
    for block in metric.blocks:
        points += _histogram_points(block, now, spec.bounds) if is_histogram else _number_points(block, now)
        pause()
    data: Gauge | Histogram | Sum
    if is_histogram:
        data = Histogram(data_points=points, aggregation_temporality=how)
    elif spec.kind == "gauge":
        data = Gauge(data_points=points)
    else:
        data = Sum(data_points=points, aggregation_temporality=how, is_monotonic=spec.kind == "counter")
    return Metric(name=spec.name, description=spec.description, unit=spec.unit, data=data)


def _number_points(block: Block, now: int) -> list[NumberDataPoint]:
    return [
        NumberDataPoint(one.attributes, start_time_unix_nano=start, time_unix_nano=now, value=value)
        for one, start, value in zip(block.series, block.starts, block.values, strict=True)
    ]


def _histogram_points(block: Block, now: int, bounds: Sequence[float]) -> list[HistogramDataPoint]:
    return [
        HistogramDataPoint(
            attributes=one.attributes,
            start_time_unix_nano=start,
            time_unix_nano=now,
            count=sum(value.buckets),
            sum=value.sum,
            bucket_counts=value.buckets,
            explicit_bounds=list(bounds),
            min=value.min if is_known(value.min) else None,  # type: ignore[arg-type]  # OpenTelemetry's encoder takes it
            max=value.max if is_known(value.max) else None,  # type: ignore[arg-type]
        )
        for one, start, value in zip(block.series, block.starts, block.values, strict=True)
    ]


def is_known(extreme: float) -> bool:
    """Whether a histogram's minimum or maximum is one; if not, its field stays unset."""
    return math.isfinite(extreme)
