"""Laws of requests that are put together from bytes: they equal what OpenTelemetry's own encoder makes of the data."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import MetricsData

from claude_monitoring._bounds import Bounds
from claude_monitoring._catalog import MetricSpec
from claude_monitoring._pauses import CHUNK
from claude_monitoring._series import GaugeSeries, HistogramSeries, SumSeries
from claude_monitoring._snapshot import make_batch, take
from claude_monitoring._store import Store
from claude_monitoring.exporters.collected import Collected
from claude_monitoring.exporters.encoding import Part, cut, parts, to_json
from claude_monitoring.exporters.metric_requests import MetricsRequest
from claude_monitoring.types import Temporality

RESOURCE = {"service.name": "claude-code", "pid": 7, "ratio": 0.5, "flag": True}
SPECS = {
    "counter": MetricSpec("claude.test", "counter", "", ""),
    "up_down_counter": MetricSpec("claude.active", "up_down_counter", "{task}", "How many"),
    "gauge": MetricSpec("claude.level", "gauge", "1", "Höhe"),
    "histogram": MetricSpec("claude.duration", "histogram", "s", "How long"),
    "native": MetricSpec("claude_code.cost.usage", "counter", "USD", "", base="native"),
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LABELS = st.dictionaries(
    st.one_of(st.sampled_from(["model", "tool", "agent"]), TEXTS),
    st.one_of(TEXTS, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)),
    max_size=4,
)
AMOUNTS = st.one_of(st.integers(0, 2**70), st.floats(0, 1e300))
ANY_NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False))
RECORDED = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["counter", "native"]), LABELS, LABELS, AMOUNTS),
        st.tuples(st.sampled_from(["up_down_counter"]), LABELS, LABELS, st.integers(-(2**70), 2**70)),
        st.tuples(st.sampled_from(["gauge"]), LABELS, LABELS, ANY_NUMBERS),
        st.tuples(st.sampled_from(["histogram"]), LABELS, LABELS, st.floats(-1e300, 1e300)),
    ),
    min_size=1,
    max_size=12,
)
TEMPORALITIES: st.SearchStrategy[Temporality] = st.sampled_from(["cumulative", "delta"])


def record(store: Store, recorded: Any) -> None:
    for kind, base, own, value in recorded:
        series = store.instrument(SPECS[kind]).series(tuple(sorted(base.items())), tuple(sorted(own.items())))
        if isinstance(series, SumSeries):
            series.add(value)
        elif isinstance(series, GaugeSeries):
            series.set(value)
        elif isinstance(series, HistogramSeries):
            series.record(value)


def whole(data: Collected) -> Part:
    (part,) = parts("metrics", data, RESOURCE, 2**30)
    assert isinstance(part.request, MetricsRequest)
    return part


def assert_same(request: MetricsRequest, message: Any) -> None:
    body = request.SerializeToString()
    read = type(message).FromString(body)
    assert read == message
    # The bytes too, since 0.0 and -0.0 are equal.
    assert read.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)
    assert request.ByteSize() == len(body) == message.ByteSize()
    assert repr(json.loads(to_json(request))) == repr(json.loads(to_json(message)))
    assert json_format.Parse(to_json(request), type(message)()) == message


@given(st.lists(RECORDED, min_size=1, max_size=3), TEMPORALITIES)
@settings(deadline=None)
def test_a_request_is_what_the_official_encoder_makes_of_the_same_data(rounds: list[Any], how: Temporality) -> None:
    store = Store(Bounds())
    acknowledged = None
    for recorded in rounds:  # from the second on, attributes come from where they are kept
        record(store, recorded)
        snapshot = take(store)
        data = make_batch(snapshot, RESOURCE, how, acknowledged).data
        acknowledged = snapshot
        if data is not None:  # with delta: only zeros were added
            assert isinstance(data, MetricsData)
            assert_same(whole(data).request, encode_metrics(data))


@pytest.mark.parametrize("how", ["cumulative", "delta"])
def test_every_kind_of_metric_over_several_intervals(how: Temporality) -> None:
    store = Store(Bounds())
    acknowledged = None
    for value in (7, 5, 0, 6.5):  # with delta, the later ones set no new minimum or maximum of the histogram
        record(store, [(kind, {"agent": "a"}, {"model": "opus"}, value) for kind in SPECS])
        snapshot = take(store)
        data = make_batch(snapshot, RESOURCE, how, acknowledged).data
        acknowledged = snapshot
        assert data is not None
        assert_same(whole(data).request, encode_metrics(data))


def test_labels_that_python_takes_for_equal_stay_apart() -> None:
    store = Store(Bounds())
    record(store, [("counter", {}, {"k": value}, 1) for value in (0.0, -0.0, 0, False, 1, True, 1.0, "1")])
    data = make_batch(take(store), RESOURCE).data
    assert data is not None
    assert len(whole(data).places) == 8
    assert_same(whole(data).request, encode_metrics(data))


@given(RECORDED, st.integers(1, 4_000))
@settings(deadline=None)
def test_pieces_of_a_request_are_those_of_the_message(recorded: Any, max_bytes: int) -> None:
    store = Store(Bounds())
    record(store, recorded)
    data = make_batch(take(store), RESOURCE).data
    assert data is not None
    ours = whole(data)
    theirs = cut("metrics", Part(ours.places, encode_metrics(data)), max_bytes)
    found = cut("metrics", ours, max_bytes)
    assert [piece.places for piece in found] == [piece.places for piece in theirs]
    for ours_piece, their_piece in zip(found, theirs, strict=True):
        assert_same(ours_piece.request, their_piece.request)


def many(count: int) -> Collected:
    store = Store(Bounds(max_series=count + 1, max_label_values=count + 1))
    for number in range(count):
        series = store.instrument(SPECS["counter"]).series((("agent", "a"),), (("k", f"v{number}"),))
        assert isinstance(series, SumSeries)
        series.add(number)
    data = make_batch(take(store), RESOURCE).data
    assert data is not None
    return data


def test_more_series_than_are_worked_on_in_one_go_are_one_metric_and_can_be_cut_anywhere() -> None:
    data = many(3 * CHUNK + 1)
    message = encode_metrics(data)
    part = whole(data)
    assert_same(part.request, message)
    assert len(message.resource_metrics[0].scope_metrics[0].metrics) == 1
    pieces = cut("metrics", part, part.request.ByteSize() // 5)
    points = [
        point
        for piece in pieces
        for metrics in type(message).FromString(piece.request.SerializeToString()).resource_metrics
        for point in metrics.scope_metrics[0].metrics[0].sum.data_points
    ]
    assert points == list(message.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points)
    assert len(pieces) > 4


def test_attributes_are_serialised_once_and_kept_with_their_series() -> None:
    data = many(3)
    first = whole(data).request.SerializeToString()
    kept = [one.encoded for one in data.metrics[0].blocks[0].series]
    assert all(kept)
    assert whole(data).request.SerializeToString() == first
    assert all(one.encoded is before for one, before in zip(data.metrics[0].blocks[0].series, kept, strict=True))


def test_a_metric_that_can_not_be_encoded_does_not_hold_back_the_others() -> None:
    store = Store(Bounds())
    record(store, [("counter", {}, {"k": "v"}, 1), ("gauge", {}, {}, 2)])
    bad = store.instrument(MetricSpec("claude.\ud800", "counter", "", "")).series((), ())
    assert isinstance(bad, SumSeries)
    bad.add(1)
    data = make_batch(take(store), RESOURCE).data
    assert data is not None
    found = parts("metrics", data, RESOURCE, 2**30)
    assert [part.places for part in found] == [range(1), range(1, 2), range(2, 3)]
    assert [part.request is None for part in found] == [False, False, True]
    assert r"\ud800" in found[2].why  # the rest of the text is that of the build of protobuf
    assert "utf-8" in found[2].why.lower()
