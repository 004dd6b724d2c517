"""How costs grow: ``python tests/bench/growth.py``, or ``tox -e bench-growth``, prints a table for each dimension.

The slope is that of a line through the points on logarithmic scales, by least squares: 0 is a cost that stays the same,
1 one that doubles with the size.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import bulk
import report
import run

__all__ = ["COSTS", "Cost", "Curve", "as_json", "main", "measure", "read", "slope_of", "table"]

Column = Literal["call", "collection", "memory"]

_TOLERANCE = 0.1
_END_TOLERANCE = 0.25
_CACHES = 0.15
"""What is looked for in turn is in the caches of the processor as long as there is little of it."""
_MONITORS_IN_CACHES = 0.2
"""Likewise; a monitor has more to look through than a series."""
_END = 3
"""So many of the largest sizes are looked at by themselves: a small beginning may hide what comes at the end."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One cost of one thing that grows."""

    dimension: str
    key: str
    what: str
    column: Column
    limit: float
    """The slope that it may have: 0 for what is to stay the same, 1 for a total."""

    @property
    def unit(self) -> Literal["s", "B"]:
        """Seconds, or bytes."""
        return "B" if self.column == "memory" else "s"


COSTS = (
    Cost("series", "call", "a call, one series", "call", 0),
    Cost("series", "in turn", "a call, each series in turn", "call", _CACHES),
    Cost("series", "new", "a new series", "call", 0),
    Cost("series", "collection", "a collection", "collection", 1),
    Cost("series", "memory", "memory", "memory", 1),
    Cost("threads", "call", "a call, one series", "call", 0),
    Cost("threads", "collection", "a collection of 1,000 series", "collection", 1),
    Cost("threads", "memory", "memory of 1,000 series", "memory", 1),
    Cost("monitors", "call", "a call, each monitor in turn", "call", _MONITORS_IN_CACHES),
    Cost("monitors", "new", "a new monitor's first call", "call", 0),
    Cost("monitors", "new, settings of its own", "the same, settings of its own", "call", 0),
    Cost("monitors", "collection", "a collection", "collection", 1),
    Cost("monitors", "memory", "memory", "memory", 1),
    Cost("nested tasks", "call", "a call inside", "call", 0),
    Cost("nested tasks", "task", "a task", "call", 0),
    Cost("nested tasks", "usage", "tokens recorded inside", "call", 1),
    Cost("nested tasks", "collection", "a collection inside", "collection", 0),
    Cost("nested tasks", "memory", "memory while open", "memory", 1),
    Cost("labels", "call", "a call", "call", 1),
    Cost("labels", "new", "a new series", "call", 1),
    Cost("labels", "collection", "a collection of 1,000 series", "collection", 1),
    Cost("labels", "memory", "memory of 1,000 series", "memory", 1),
)


@dataclass(frozen=True, slots=True)
class Curve:
    """What a cost came to at each size."""

    cost: Cost
    points: tuple[tuple[int, float], ...]

    @property
    def slope(self) -> float:
        """Over all sizes."""
        return slope_of(self.points)

    @property
    def end_slope(self) -> float:
        """Over the largest sizes."""
        return slope_of(self.points[-_END:])

    @property
    def verdict(self) -> Literal["met", "missed"]:
        """Whether it grows no faster than it may, over all and at the end."""
        limit = self.cost.limit
        kept = self.slope <= limit + _TOLERANCE and self.end_slope <= limit + _END_TOLERANCE
        return "met" if kept else "missed"


def slope_of(points: Sequence[tuple[int, float]]) -> float:
    """The slope on logarithmic scales; sizes of nothing have no place there."""
    import numpy as np

    sizes, values = np.array([point for point in points if point[0] > 0 and point[1] > 0]).T
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def measure(dimension: str, sizes: Sequence[int]) -> list[Curve]:
    """The curves of one thing that grows."""
    given = ",".join(map(str, sizes))
    times, memory = (bulk.run_child("growth", dimension, given, traced, timeout_s=900) for traced in (0, 1))
    found = [{**one, **other} for one, other in zip(times, memory, strict=True)]
    return [
        Curve(cost, tuple((size, one[cost.key]) for size, one in zip(sizes, found, strict=True) if cost.key in one))
        for cost in COSTS
        if cost.dimension == dimension
    ]


def table(curves: Sequence[Curve]) -> str:
    """The curves of one thing that grows as a Markdown table, a line a size."""
    lines = [f"| {curves[0].cost.dimension} | {' | '.join(curve.cost.what for curve in curves)} |"]
    lines.append(f"|---:{'|---:' * len(curves)}|")
    for size, _ in curves[0].points:
        values = [dict(curve.points).get(size) for curve in curves]
        shown = [
            report.show(value, curve.cost.unit) if value is not None else "-"
            for value, curve in zip(values, curves, strict=True)
        ]
        lines.append(f"| {size:,} | {' | '.join(shown)} |")
    slopes = (f"{_shown(curve.slope)}, at the end {_shown(curve.end_slope)}" for curve in curves)
    lines.append(f"| slope | {' | '.join(slopes)} |")
    lines.append(f"| may be | {' | '.join(f'{curve.cost.limit:g}: {curve.verdict}' for curve in curves)} |")
    return "\n".join(lines)


def _shown(slope: float) -> str:
    return f"{slope + 0.0:.2f}".replace("-0.00", "0.00")


def as_json(curves: Sequence[Curve], machine: Mapping[str, object]) -> dict[str, Any]:
    """Everything, for other programs."""
    return {
        "machine": dict(machine),
        "curves": [
            {
                "dimension": curve.cost.dimension,
                "cost": curve.cost.key,
                "what": curve.cost.what,
                "unit": curve.cost.unit,
                "limit": curve.cost.limit,
                "points": [list(point) for point in curve.points],
                "slope": curve.slope,
                "end_slope": curve.end_slope,
                "verdict": curve.verdict,
            }
            for curve in curves
        ],
    }


def read(document: Mapping[str, Any]) -> tuple[list[Curve], dict[str, object]]:
    """The curves and the machine of a document that ``as_json`` made."""
    known = {(cost.dimension, cost.key): cost for cost in COSTS}
    curves = [
        Curve(known[found["dimension"], found["cost"]], tuple((size, value) for size, value in found["points"]))
        for found in document["curves"]
    ]
    return curves, dict(document["machine"])


def by_dimension(curves: Sequence[Curve]) -> Iterator[tuple[str, list[Curve]]]:
    """The curves of each thing that grows."""
    for dimension in dict.fromkeys(curve.cost.dimension for curve in curves):
        yield dimension, [curve for curve in curves if curve.cost.dimension == dimension]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for.

    Returns:
        0; with ``--check`` 1 if something grows faster than it may.
    """
    from growth_sides import DIMENSIONS

    parser = argparse.ArgumentParser(description="How costs grow with series, threads, monitors, nested tasks, labels.")
    parser.add_argument("--only", metavar="NAME", choices=DIMENSIONS, help=f"one of: {', '.join(DIMENSIONS)}")
    parser.add_argument("--fast", action="store_true", help="a few seconds; shows that it runs, with noisy figures")
    parser.add_argument("--json", metavar="FILE", type=run._writable, help="write everything as JSON")
    parser.add_argument("--svg", metavar="FILE", type=run._writable, help="draw the curves")
    parser.add_argument("--check", action="store_true", help="exit with 1 if something grows faster than it may")
    options = parser.parse_args(arguments)
    run._forget_surroundings()
    machine = run._machine()
    print(", ".join(f"{key} {value}" for key, value in machine.items()), flush=True)
    curves: list[Curve] = []
    for name, dimension in DIMENSIONS.items():
        if options.only in {None, name}:
            start = time.monotonic()
            curves += (found := measure(name, dimension.fast if options.fast else dimension.sizes))
            print(f"\n{table(found)}\n{name}: {time.monotonic() - start:.0f} s", flush=True)
    bad = [f"{curve.cost.dimension}: {curve.cost.what}" for curve in curves if curve.verdict == "missed"]
    print(f"{len(curves)} curves, {len(bad)} grow faster than they may: {'; '.join(bad) or 'none'}")
    if options.json:
        options.json.write_text(json.dumps(as_json(curves, machine), indent=1) + "\n", encoding="utf-8")
    if options.svg:
        import growth_plots  # matplotlib, which nothing else here needs

        growth_plots.draw(curves, options.svg)
    return 1 if bad and options.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
