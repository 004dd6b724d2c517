"""Requests with metrics as OTLP/JSON (OTLP specification, "JSON Protobuf Encoding"), put together from texts.

What stands around the data points is made from the official messages, attributes once for each pair; keys and their
order are those that the official classes give.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from claude_monitoring._version import __version__
from claude_monitoring.exporters.attributes import as_json, key_values
from claude_monitoring.exporters.collected import Block, is_known
from claude_monitoring.types import AttributeValue

__all__ = ["texts"]


def texts(resource: Mapping[str, AttributeValue], time_unix_nano: int, points: Iterable[Any]) -> Iterator[str]:
    """The text of a request, in pieces; the arguments are those of ``MetricsRequest``."""
    yield f'{{"resourceMetrics":[{{"resource":{_whole(Resource(attributes=key_values(resource)))},"scopeMetrics":['
    between_scopes = ""
    for name, of_scope in groupby(points, attrgetter("around.scope")):
        scope = _whole(InstrumentationScope(name=name, version=__version__))
        yield f'{between_scopes}{{"scope":{scope},"metrics":['
        between_metrics = ""
        for around, blocks in groupby(of_scope, attrgetter("around")):
            kind = around.data.DESCRIPTOR.name.lower()
            yield f'{between_metrics}{_whole(around.metric)[:-1]},"{kind}":{{"dataPoints":['
            describe = _histograms if around.kind == "histogram" else _numbers
            between_blocks = ""
            for one in blocks:
                yield between_blocks + ",".join(describe(one.block, time_unix_nano, around.bounds))
                between_blocks = ","
            rest = _whole(around.data)[1:-1]
            yield f"],{rest}}}}}" if rest else "]}}"
            between_metrics = ","
        yield "]}"
        between_scopes = ","
    yield "]}]}"


def _whole(message: Message) -> str:
    return json.dumps(json_format.MessageToDict(message, use_integers_for_enums=True), separators=(",", ":"))


def _numbers(block: Block, now: int, bounds: Sequence[float]) -> Iterator[str]:  # noqa: ARG001 - as for histograms
    for one, start, value in zip(block.series, block.starts, block.values, strict=True):
        yield f'{{{_times(start, now)}"asDouble":{_number(value)}{_attributes(one)}}}'


def _histograms(block: Block, now: int, bounds: Sequence[float]) -> Iterator[str]:
    explicit = f',"explicitBounds":[{",".join(map(_number, bounds))}]' if bounds else ""
    for one, start, value in zip(block.series, block.starts, block.values, strict=True):
        count = sum(value.buckets)
        counted = f'"count":"{count}",' if count else ""
        buckets = '","'.join(map(str, value.buckets))
        extremes = "".join(
            f',"{name}":{_number(extreme)}'
            for name, extreme in (("min", value.min), ("max", value.max))
            if is_known(extreme)
        )
        yield (
            f'{{{_times(start, now)}{counted}"sum":{_number(value.sum)},"bucketCounts":["{buckets}"]{explicit}'
            f"{_attributes(one)}{extremes}}}"
        )


def _times(start: int, now: int) -> str:
    return f'"startTimeUnixNano":"{start}","timeUnixNano":"{now}",' if start else f'"timeUnixNano":"{now}",'


def _attributes(series: Any) -> str:
    found = as_json(series.attributes)
    return f',"attributes":[{found}]' if found else ""


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(float(value))
    return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
