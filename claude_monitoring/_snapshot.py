"""A store's state at one moment, and the same on its way to a far side."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, cast

from claude_monitoring._catalog import MetricSpec
from claude_monitoring._kept import kept_property
from claude_monitoring._pauses import pause
from claude_monitoring._sealed import report_internal_error
from claude_monitoring._series import Cell, Reading, Series
from claude_monitoring._store import Store
from claude_monitoring.types import AttributeValue, Temporality

if TYPE_CHECKING:
    from claude_monitoring.exporters.collected import Block, Collected, MetricBlocks

__all__ = ["Batch", "Row", "Snapshot", "make_batch", "preload", "take", "take_for_export"]


class Row(NamedTuple):
    """What some series of one metric held, one value each; no more series than a chunk.

    Arrays hold no objects, which keeps the garbage collector's passes short.
    """

    spec: MetricSpec
    series: Sequence[Series]
    values: Sequence[Reading]


@dataclass(frozen=True)
class Snapshot:
    """What every series held at ``time_unix_nano``, or earlier for those in ``earlier``: totals since it began.

    ``given`` are the values where they are not those of the rows.
    """

    time_unix_nano: int
    rows: Sequence[Row]
    given: Mapping[Series, Reading] | None = None
    earlier: Mapping[Series, int] = field(default_factory=dict)

    @kept_property
    def values(self) -> Mapping[Series, Reading]:
        """What each series held."""
        if self.given is not None:
            return self.given
        values: dict[Series, Reading] = {}
        for row in self.rows:
            values.update(zip(row.series, row.values, strict=True))
            pause()
        return values

    def time_of(self, series: Series) -> int:
        """When it held its value, in nanoseconds since the epoch."""
        return self.earlier.get(series, self.time_unix_nano)


@dataclass(frozen=True)
class Batch:
    """A snapshot on its way to a far side, as data.

    ``data`` is ``None`` if there is nothing to send; what we tell about ourselves alone is nothing.
    """

    snapshot: Snapshot
    data: Collected | None
    base: Snapshot | None

    @kept_property
    def size(self) -> int:
        """How many data points there are."""
        return sum(map(len, self.data.metrics)) if self.data is not None else 0

    @kept_property
    def series(self) -> Sequence[Series]:
        """The series of each data point, in their order."""
        metrics = self.data.metrics if self.data is not None else ()
        return [one for metric in metrics for block in metric.blocks for one in block.series]

    def delivered(self, refused: Iterable[range] = ()) -> Snapshot:
        """What the far side has, once it acknowledged all but the points at ``refused``: of those, what it had."""
        left_out = {self.series[place] for places in refused for place in places}
        if self.base is None:
            if not left_out:
                return self.snapshot
            held = {series: value for series, value in self.snapshot.values.items() if series not in left_out}
            return Snapshot(self.snapshot.time_unix_nano, self.snapshot.rows, held)
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
    from claude_monitoring.exporters import collected  # noqa: F401


def take_for_export(store: Store) -> Snapshot:
    """Read the store after what ended was found, with the metrics about the guard up to date."""
    store.lives.sweep()
    store.report_itself()
    return take(store)


def take(store: Store) -> Snapshot:
    """Read the store; writers are not stopped, and other threads run in between."""
    now = time.time_ns()
    rows = []
    for instrument in store.instruments():
        for chunk in instrument.chunks():
            rows.append(_row(instrument.spec, chunk))
            pause()
    return Snapshot(now, rows)


def _row(spec: MetricSpec, series: Sequence[Series]) -> Row:
    try:
        if spec.kind == "histogram":
            return Row(spec, series, [one.read() for one in series])
        return Row(spec, series, array("d", cast("list[float]", [one.read() for one in series])))
    except Exception:  # noqa: BLE001, S110 - which of them it is turns out below
        pass
    found = []
    for one in series:
        try:
            found.append((one, _read(one)))
        except Exception as exc:  # noqa: BLE001 - one that can't be read does not keep the others back
            report_internal_error(exc)
    return Row(spec, [one for one, _ in found], [value for _, value in found])


def _read(series: Series) -> Reading:
    value = series.read()
    return value if isinstance(value, Cell) else float(value)


def make_batch(
    snapshot: Snapshot,
    resource: Mapping[str, AttributeValue],
    temporality: Temporality = "cumulative",
    acknowledged: Snapshot | None = None,
) -> Batch:
    """``snapshot`` as data for an exporter, the metrics of one family one after the other.

    With ``delta`` the values are what came after ``acknowledged``, the last snapshot that the far side confirmed:
    series without change are left out, and each start is the end of the confirmed interval
    (specification: metrics/data-model.md, "Temporality"). Up-down counters stay cumulative, as the
    specification's delta preference says.
    """
    from claude_monitoring.exporters.collected import Collected, MetricBlocks

    base = acknowledged if temporality == "delta" else None
    by_scope: dict[str, dict[str, MetricBlocks]] = {}
    for row in snapshot.rows:
        spec = row.spec
        is_delta = temporality == "delta" and spec.kind in {"counter", "histogram"}
        block = _since(row, base) if is_delta else _totals(row)
        if block.series:
            found = by_scope.setdefault(spec.scope, {}).setdefault(spec.name, MetricBlocks(spec, is_delta, []))
            found.blocks.append(block)
        pause()
    metrics = [metric for of_scope in by_scope.values() for metric in of_scope.values()]
    if all(metric.spec.is_about_ourselves for metric in metrics):
        return Batch(snapshot, None, base)
    return Batch(snapshot, Collected(resource, snapshot.time_unix_nano, metrics), base)


def _totals(row: Row) -> Block:
    from claude_monitoring.exporters.collected import Block

    if row.spec.kind == "gauge":
        return Block(row.series, array("q", [0] * len(row.series)), row.values)
    return Block(row.series, array("q", [one.start_unix_nano for one in row.series]), row.values)


def _since(row: Row, base: Snapshot | None) -> Block:
    """The increase of each series that changed since ``base``, with the start of that interval."""
    from claude_monitoring.exporters.collected import Block

    series: list[Series] = []
    starts: list[int] = []
    values: list[Reading] = []
    for one, value in zip(row.series, row.values, strict=True):
        before = base.values.get(one) if base is not None else None
        if before is None or base is None:
            if not isinstance(value, Cell) and value == 0:
                continue
            change, start = value, one.start_unix_nano
        elif isinstance(value, Cell) and isinstance(before, Cell):
            if value.buckets == before.buckets:
                continue
            change, start = value.since(before), base.time_of(one)
        elif isinstance(value, Cell) or isinstance(before, Cell) or value == before:
            continue
        else:
            change, start = value - before, base.time_of(one)
        series.append(one)
        starts.append(start)
        values.append(change)
    return Block(series, starts, values)
