"""Laws of the store: nothing is lost and nothing is counted twice, whatever happens in between."""

from __future__ import annotations

import math
import threading
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_monitoring._bounds import Bounds
from claude_monitoring._catalog import CATALOG, DURATION_BOUNDS_S, MetricSpec
from claude_monitoring._series import HistogramSeries, SumSeries
from claude_monitoring._snapshot import make_batch, take
from claude_monitoring._store import Places, Store

COUNTER = MetricSpec("claude.test", "counter", "", "")
HISTOGRAM = MetricSpec("claude.test_h", "histogram", "s", "")
AMOUNTS = st.lists(st.integers(0, 2**40), max_size=60)


def counter(store: Store, *pairs: tuple[str, str]) -> SumSeries:
    series = store.instrument(COUNTER).series((), tuple(sorted(pairs)))
    assert isinstance(series, SumSeries)
    return series


@given(st.lists(AMOUNTS, min_size=1, max_size=5))
@settings(deadline=None, max_examples=40)
def test_a_sum_is_exact_for_any_share_of_threads(shares: list[list[int]]) -> None:
    series = counter(Store(Bounds(max_series=10)))
    start = threading.Barrier(len(shares))

    def work(share: list[int]) -> None:
        start.wait()
        for amount in share:
            series.add(amount)

    threads = [threading.Thread(target=work, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert series.read() == sum(map(sum, shares))


@given(st.lists(st.one_of(st.integers(1, 1000), st.sampled_from(["export", "lost export"])), max_size=80))
def test_deltas_of_any_split_add_up_to_the_total_although_exports_fail(steps: list[int | str]) -> None:
    store = Store(Bounds(max_series=10))
    series = counter(store)
    acknowledged = None
    received: list[tuple[int, int, float]] = []
    truth = 0
    for step in [*steps, "export"]:
        if isinstance(step, int):
            series.add(step)
            truth += step
            continue
        snapshot = take(store)
        data = make_batch(snapshot, {}, "delta", acknowledged).data
        if step == "lost export":
            continue
        acknowledged = snapshot
        if data is not None:
            (point,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
            received.append((point.start_time_unix_nano, point.time_unix_nano, point.value))
    assert sum(value for _, _, value in received) == truth
    # Intervals follow one another without overlap, as a receiver needs it to add them up.
    assert all(before[1] <= after[0] for before, after in pairwise(received))
    assert all(start <= end for start, end, _ in received)


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=200))
def test_a_histogram_holds_every_value_in_the_bucket_that_it_belongs_to(values: list[float]) -> None:
    store = Store(Bounds(max_series=10))
    series = store.instrument(HISTOGRAM).series((), ())
    assert isinstance(series, HistogramSeries)
    for value in values:
        series.record(value)
    cell = series.read()
    edges = (-math.inf, *DURATION_BOUNDS_S, math.inf)
    expected = [sum(low < v <= high for v in values) for low, high in pairwise(edges)]
    assert cell.buckets == expected  # upper bounds are inclusive (specification: metrics/data-model.md)
    assert cell.sum == pytest.approx(math.fsum(values))
    assert (cell.min, cell.max) == (min(values), max(values))


@given(st.permutations([1, True, 1.0, "1", "True", 0, False]))
def test_values_of_different_types_never_share_a_series(values: list[object]) -> None:
    store = Store(Bounds(max_series=100))
    for value in values:
        counter(store, ("k", value)).add(1)  # type: ignore[arg-type]
    assert [series.read() for series in store.instrument(COUNTER).all_series()] == [1] * len(values)  # type: ignore[attr-defined]


@given(
    st.lists(st.tuples(st.sampled_from(["comes", "goes", "look"]), st.integers(0, 30)), max_size=60), st.integers(1, 5)
)
def test_chunks_are_all_series_whatever_came_and_went(steps: list[tuple[str, int]], bound: int) -> None:
    instrument = Store(Bounds(max_series=bound)).instrument(COUNTER)
    for step, number in [*steps, ("look", 0)]:
        if step == "comes":
            instrument.series((), (("k", f"v{number}"),))
        elif step == "goes" and instrument.by_identity:
            instrument.let_go(list(instrument.by_identity.values())[number % len(instrument.by_identity)])
        elif step == "look":
            series = instrument.all_series()
            assert [one for chunk in instrument.chunks() for one in chunk] == series
            assert instrument.count() == len(series)


def test_one_that_came_for_one_that_went_is_in_the_chunks() -> None:
    instrument = Store(Bounds(max_series=5)).instrument(COUNTER)
    first = instrument.series((), (("k", "a"),))
    assert list(instrument.chunks()) == [[first]]
    instrument.let_go(first)
    second = instrument.series((), (("k", "b"),))
    assert list(instrument.chunks()) == [[second]]


def test_series_share_the_text_of_equal_labels() -> None:
    store = Store(Bounds(max_series=10))
    one = counter(store, (str(b"model", "ascii"), str(b"opus", "ascii")), ("tool", "a"))
    other = counter(store, ("model", "opus"), ("tool", "b"))
    assert one.own[0] is other.own[0]


def test_up_down_counters_stay_cumulative_when_delta_is_preferred() -> None:
    store = Store(Bounds(max_series=10))
    series = store.instrument(CATALOG["claude.tasks.active"]).series((), ())
    assert isinstance(series, SumSeries)
    series.add(3)
    first = take(store)
    series.add(-1)
    data = make_batch(take(store), {}, "delta", first).data
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert metric.data.aggregation_temporality.name == "CUMULATIVE"  # type: ignore[union-attr]
    assert metric.data.data_points[0].value == 2  # type: ignore[union-attr]


def test_a_delta_histogram_has_only_what_came_since() -> None:
    store = Store(Bounds(max_series=10))
    series = store.instrument(HISTOGRAM).series((), ())
    assert isinstance(series, HistogramSeries)
    series.record(1)
    first = take(store)
    series.record(100)
    data = make_batch(take(store), {}, "delta", first).data
    assert data is not None
    (point,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert (point.count, point.sum) == (1, 100)  # type: ignore[union-attr]
    assert make_batch(take(store), {}, "delta", take(store)).data is None


def test_reading_while_others_write_never_sees_more_than_was_written() -> None:
    series = counter(Store(Bounds(max_series=10)))
    written = threading.Event()

    def work() -> None:
        for _ in range(20_000):
            series.add(1)
        written.set()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    seen = [series.read()]
    while any(thread.is_alive() for thread in threads):
        seen.append(series.read())
    seen.append(series.read())
    assert seen == sorted(seen)
    assert seen[-1] == 60_000


def test_a_new_series_does_not_ask_every_store_of_the_process_and_the_common_bound_holds() -> None:
    stores: list[Store] = []
    asked: list[int] = []

    def all_stores() -> list[Store]:
        asked.append(sum(store.count for store in stores))
        return stores

    places = Places(all_stores)
    bound = 1_000
    stores += [Store(Bounds(max_total_series=bound), None, places) for _ in range(50)]
    kept = bound - bound // 10
    for number in range(kept):
        counter(stores[number % 50], ("user", f"u{number}"))
    assert sum(store.count for store in stores) == kept
    assert not asked
    for number in range(kept, kept + 100):
        counter(stores[number % 50], ("user", f"u{number}"))
    assert sum(store.count for store in stores) == kept
    for series in stores[0].all_series():  # places that are given back are found
        stores[0].lives.ask(series.attributes)
    stores[0].lives.sweep()
    assert stores[0].count == 0
    stores.append(Store(Bounds(max_total_series=bound), None, places))
    for number in range(100):
        counter(stores[-1], ("user", f"v{number}"))
    assert sum(store.count for store in stores) == kept
