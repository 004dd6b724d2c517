"""How costs grow as one picture of small panels: a row for each thing that grows, a column a kind of cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import plots
from growth import Curve, by_dimension

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw", "legend_of"]

_TITLE = "How costs grow, on logarithmic scales; in numbers the slope: 0 stays the same, 1 doubles with the size"
_COLUMNS = {"call": "seconds", "collection": "seconds", "memory": "bytes"}
_COLORS = (plots._BLUE, plots._RED, plots._GREY)
_SETTINGS = plots._SETTINGS | {
    "axes.spines.bottom": True,
    "axes.titlesize": 9,
    "font.size": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.markersize": 3.5,
}


def legend_of(curve: Curve) -> str:
    """A curve's line in the legend."""
    return f"{curve.cost.what}: {curve.slope + 0.0:.2f}"


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Write the picture as SVG, on white; equal curves give an equal file with the same release of matplotlib."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = list(by_dimension(curves))
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(10.5, 2.5 * len(rows)), facecolor="white", layout="constrained")
        figure.suptitle(_TITLE, x=0.012, ha="left", weight="bold", fontsize=10)
        grid = figure.subplots(len(rows), len(_COLUMNS), squeeze=False)
        for axes_of_row, (dimension, of_row) in zip(grid, rows, strict=True):
            for axes, (column, unit) in zip(axes_of_row, _COLUMNS.items(), strict=True):
                _panel(axes, [curve for curve in of_row if curve.cost.column == column])
                axes.set_xlabel(dimension)
                axes.set_ylabel(unit)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None, "Title": _TITLE})


def _panel(axes: Axes, curves: Sequence[Curve]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for curve, color in zip(curves, _COLORS, strict=False):
        points = [(size, value) for size, value in curve.points if size > 0]
        sizes, values = zip(*points, strict=True)
        axes.plot(sizes, values, marker="o", color=color, label=legend_of(curve))
    values = [value for curve in curves for _, value in curve.points]
    # Room for the legend above; and two decades at least, so that a little noise does not look like a mountain.
    low, high = min(values), max(values)
    axes.set_ylim(low / 2, max(high, 10 * low) * 8 ** len(curves) ** 0.5)
    axes.legend(loc="upper left", handlelength=1.2, borderaxespad=0.1)
    axes.tick_params(length=2)
