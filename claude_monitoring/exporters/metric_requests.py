"""Requests with metrics, put together from bytes. Loaded with the first OTLP exporter.

A series' attributes are serialised once, with the official classes, and kept with the series; those classes also make
what stands around the data points. Only the numbers of a data point are new on each export. In protobuf's format
a message is its fields, one after the other in any order, and a field that is a message is its number, its length in
bytes and its content, so all of it can be joined (protobuf.dev/programming-guides/encoding). Shapes and numbers of
fields are OTLP's (``opentelemetry/proto/metrics/v1/metrics.proto``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import groupby, repeat
from operator import attrgetter
from struct import Struct
from typing import Any

from google.protobuf.message import Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    AGGREGATION_TEMPORALITY_DELTA,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from claude_monitoring._pauses import pause
from claude_monitoring._version import __version__
from claude_monitoring.exporters import metric_json
from claude_monitoring.exporters.attributes import as_bytes, head, key_values
from claude_monitoring.exporters.collected import Block, Collected, MetricBlocks, is_known
from claude_monitoring.types import AttributeValue

__all__ = ["MetricsRequest"]

_FIXED64 = 1  # the wire type
_START = (
    NumberDataPoint.START_TIME_UNIX_NANO_FIELD_NUMBER << 3 | _FIXED64
)  # as a HistogramDataPoint's, and so is the next
_TIME = NumberDataPoint.TIME_UNIX_NANO_FIELD_NUMBER << 3 | _FIXED64
_VALUE = NumberDataPoint.AS_DOUBLE_FIELD_NUMBER << 3 | _FIXED64
_COUNT = HistogramDataPoint.COUNT_FIELD_NUMBER << 3 | _FIXED64
_SUM = HistogramDataPoint.SUM_FIELD_NUMBER << 3 | _FIXED64
_MIN = HistogramDataPoint.MIN_FIELD_NUMBER << 3 | _FIXED64
_MAX = HistogramDataPoint.MAX_FIELD_NUMBER << 3 | _FIXED64
_OF_EXTREME = Struct("<Bd")
_OF_GAUGE = Struct("<BQBd")
_OF_SUM = Struct("<BQBQBd")
_POINTS = Sum.DATA_POINTS_FIELD_NUMBER  # the same in the others


class _Around:
    """A metric without its data points."""

    def __init__(self, metric: MetricBlocks) -> None:
        spec = metric.spec
        how = AGGREGATION_TEMPORALITY_DELTA if metric.is_delta else AGGREGATION_TEMPORALITY_CUMULATIVE
        self.kind = spec.kind
        self.scope = spec.scope
        self.bounds = spec.bounds
        self.metric = Metric(name=spec.name, description=spec.description, unit=spec.unit)
        self.data: Message
        if spec.kind == "histogram":
            self.number, self.data = Metric.HISTOGRAM_FIELD_NUMBER, Histogram(aggregation_temporality=how)
        elif spec.kind == "gauge":
            self.number, self.data = Metric.GAUGE_FIELD_NUMBER, Gauge()
        else:
            self.number = Metric.SUM_FIELD_NUMBER
            self.data = Sum(aggregation_temporality=how, is_monotonic=spec.kind == "counter")


class _Points:
    """Some data points of one metric, serialised."""

    __slots__ = ("around", "block", "data")

    def __init__(self, around: _Around, block: Block, now: int) -> None:
        self.around = around
        self.block = block
        self.data = b"".join((_histograms if around.kind == "histogram" else _numbers)(around, block, now))


class MetricsRequest:
    """Metrics as a message is: with those of its methods that exporters use.

    Args:
        resource: What they are about.
        time_unix_nano: When they were read.
        points: In order, with those of one metric and of one scope one after the other.
    """

    def __init__(self, resource: Mapping[str, AttributeValue], time_unix_nano: int, points: Sequence[_Points]) -> None:
        self._resource = resource
        self._now = time_unix_nano
        self._points = points

    @classmethod
    def of(cls, data: Collected, metrics: Sequence[MetricBlocks]) -> MetricsRequest:
        """A request with these metrics of ``data``."""
        points = []
        for metric in metrics:
            around = _Around(metric)
            for block in metric.blocks:
                points.append(_Points(around, block, data.time_unix_nano))
                pause()
        return cls(data.resource, data.time_unix_nano, points)

    def part(self, first: int, last: int) -> MetricsRequest:
        """A request with the data points ``first`` to ``last`` of this one."""
        kept, seen = [], 0
        for points in self._points:
            count = len(points.block.series)
            begin, end = max(0, first - seen), min(count, last - seen)
            if begin < end:
                kept.append(points if end - begin == count else self._some(points, begin, end))
            seen += count
        pause()
        return MetricsRequest(self._resource, self._now, kept)

    def _some(self, points: _Points, first: int, last: int) -> _Points:
        block = points.block
        some = Block(block.series[first:last], block.starts[first:last], block.values[first:last])
        return _Points(points.around, some, self._now)

    def ByteSize(self) -> int:  # noqa: N802 - protobuf's name
        """Its size as protobuf."""
        return sum(map(len, self._message()))

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """The request in protobuf's format."""
        return b"".join(self._message())

    def _message(self) -> Sequence[bytes]:
        resource = Resource(attributes=key_values(self._resource)).SerializeToString()
        content: list[bytes] = [head(ResourceMetrics.RESOURCE_FIELD_NUMBER, len(resource)), resource]
        for name, of_scope in groupby(self._points, _scope_of):
            scope = InstrumentationScope(name=name, version=__version__).SerializeToString()
            metrics: list[bytes] = [head(ScopeMetrics.SCOPE_FIELD_NUMBER, len(scope)), scope]
            for around, points in groupby(of_scope, _around_of):
                data = _within(around.number, [around.data.SerializeToString(), *map(_data_of, points)])
                metrics += _within(ScopeMetrics.METRICS_FIELD_NUMBER, [around.metric.SerializeToString(), *data])
            content += _within(ResourceMetrics.SCOPE_METRICS_FIELD_NUMBER, metrics)
        return _within(ExportMetricsServiceRequest.RESOURCE_METRICS_FIELD_NUMBER, content)

    def to_json(self) -> bytes:
        """The request as OTLP/JSON."""
        out = BytesIO()
        for text in metric_json.texts(self._resource, self._now, self._points):
            out.write(text.encode("ascii"))
            pause()
        return out.getvalue()


_scope_of = attrgetter("around.scope")
_around_of = attrgetter("around")
_data_of = attrgetter("data")


def _within(number: int, content: Sequence[bytes]) -> list[bytes]:
    return [head(number, sum(map(len, content))), *content]


def _numbers(around: _Around, block: Block, now: int) -> list[bytes]:
    rests: Iterator[bytes]
    if around.kind == "gauge":
        size = _OF_GAUGE.size
        rests = map(_OF_GAUGE.pack, repeat(_TIME), repeat(now), repeat(_VALUE), block.values)
    else:
        size = _OF_SUM.size
        rests = map(
            _OF_SUM.pack, repeat(_START), block.starts, repeat(_TIME), repeat(now), repeat(_VALUE), block.values
        )
    pieces = [b""] * (2 * len(block.series))
    pieces[::2] = [one.encoded or _number_head(one, size) for one in block.series]
    pieces[1::2] = rests
    return pieces


def _number_head(series: Any, rest: int) -> bytes:
    """What a number's data point begins with, to be followed by ``rest`` bytes; kept with the series."""
    attributes = as_bytes(NumberDataPoint.ATTRIBUTES_FIELD_NUMBER, series.attributes)
    series.encoded = found = head(_POINTS, len(attributes) + rest) + attributes
    return found


def _histograms(around: _Around, block: Block, now: int) -> list[bytes]:
    size = len(around.bounds) + 1
    before_buckets = head(HistogramDataPoint.BUCKET_COUNTS_FIELD_NUMBER, 8 * size)
    pack = Struct(f"<BQBQBQBd{len(before_buckets)}s{size}Q").pack
    bounds = HistogramDataPoint(explicit_bounds=around.bounds).SerializeToString()
    pieces: list[bytes] = []
    for one, start, value in zip(block.series, block.starts, block.values, strict=True):
        attributes = one.encoded
        if attributes is None:
            attributes = one.encoded = as_bytes(HistogramDataPoint.ATTRIBUTES_FIELD_NUMBER, one.attributes)
        buckets = value.buckets
        numbers = pack(_START, start, _TIME, now, _COUNT, sum(buckets), _SUM, value.sum, before_buckets, *buckets)
        least = _OF_EXTREME.pack(_MIN, value.min) if is_known(value.min) else b""
        most = _OF_EXTREME.pack(_MAX, value.max) if is_known(value.max) else b""
        length = len(attributes) + len(numbers) + len(bounds) + len(least) + len(most)
        pieces += (head(_POINTS, length), attributes, numbers, bounds, least, most)
    return pieces
