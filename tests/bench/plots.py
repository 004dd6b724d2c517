"""Results as a picture: ratios to the targets, or ours beside each peer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from harness import Result
from report import NOT_AWAITED, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["OURS", "WITH_SPAN", "bars_of", "draw", "shares_of"]

OURS = "claude_monitoring, metrics"
WITH_SPAN = "claude_monitoring, with a span"

_BLUE, _LIGHT_BLUE, _GREY, _RED = "#0066b8", "#5aa5dc", "#9a9a9a", "#bf4a00"
_PANELS = {
    "sync": "One call of a decorated function",
    "async": "The same, async",
    "scope": "A scope around nothing",
    "start": "Import, set up, first task",
}
_SETTINGS: Any = {
    "axes.spines.bottom": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.edgecolor": "#888888",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],  # the first comes with matplotlib
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "benchmark",
    "text.color": "#222222",
    "ytick.labelcolor": "#222222",
}


def bars_of(results: Sequence[Result], operation: str) -> dict[str, tuple[float, str]]:
    """What each costs as a multiple of ours, and that as text; the least first.

    Ratios, not times, since each peer's turns were at another moment of a machine that may have two speeds.
    """
    bars: dict[str, float] = {}
    ratios: dict[str, dict[str, float]] = {"": {}, "-span": {}}
    mine: list[float] = []
    for result in results:
        kind, _, peer = result.row.id.partition("/")
        if result.ours is None or result.ratio is None or kind.removesuffix("-span") != operation:
            continue
        ratios[kind[len(operation) :]][peer] = result.ratio
        if kind == operation:
            mine.append(result.ours.median)
            bars[f"{peer}, await not timed" if NOT_AWAITED in result.note else peer] = 1 / result.ratio
    texts = {name: f"{value:.3g}x" for name, value in bars.items()}
    if mine:
        bars[OURS] = 1.0
        texts[OURS] = f"1x = {show(median(mine), 's')}"
    with_span = [ratio / ratios[""][peer] for peer, ratio in ratios["-span"].items() if peer in ratios[""]]
    if with_span:
        bars[WITH_SPAN] = median(with_span)
        texts[WITH_SPAN] = f"{bars[WITH_SPAN]:.3g}x"
    return {name: (bars[name], texts[name]) for name in sorted(bars, key=bars.__getitem__)}


def shares_of(results: Sequence[Result]) -> dict[str, float]:
    """For each row with a target how much of it is used: 1 is just kept."""
    shares: dict[str, float] = {}
    for result in results:
        row = result.row
        if row.target and result.ratio is not None:
            shares[row.id] = result.ratio / row.target
        elif row.limit and result.ours is not None:
            shares[row.id] = max(0.0, *result.ours.samples) / row.limit
    return shares


def draw(results: Sequence[Result], path: Path) -> None:
    """Write the picture as SVG, on white, so that it can be read on a dark page as well.

    Equal results give an equal file with the same release of matplotlib.
    """
    import matplotlib as mpl

    beside_peers = any("/" in result.row.id for result in results)
    with mpl.rc_context(_SETTINGS):
        figure, title = _peers(results) if beside_peers else _targets(results)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None, "Title": title})


def _peers(results: Sequence[Result]) -> tuple[Figure, str]:
    from matplotlib.figure import Figure

    title = "What each costs beside ours, measured in turns: less is better"
    panels = {text: bars for kind, text in _PANELS.items() if (bars := bars_of(results, kind))}
    figure = Figure(figsize=(10.5, 0.6 + 2.7 * ((len(panels) + 1) // 2)), facecolor="white", layout="constrained")
    figure.suptitle(title, x=0.012, ha="left", weight="bold")
    for place, (text, bars) in enumerate(panels.items()):
        axes = figure.add_subplot((len(panels) + 1) // 2, 2, place + 1)
        axes.set_title(text, loc="left", fontsize=10)
        colors = [{OURS: _BLUE, WITH_SPAN: _LIGHT_BLUE}.get(name, _GREY) for name in bars]
        _bars(axes, bars, colors)
    return figure, title


def _targets(results: Sequence[Result]) -> tuple[Figure, str]:
    from matplotlib.figure import Figure

    title = "How much of each target is used: up to 100 % is kept"
    shares = shares_of(results)
    figure = Figure(figsize=(10.5, 0.9 + 0.24 * len(shares)), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11, weight="bold")
    _bars(
        axes,
        # What is far beyond would hide the others.
        {name: (min(share, 2.0), f"{share:.0%}") for name, share in shares.items()},
        [_BLUE if share <= 1 else _RED for share in shares.values()],
    )
    axes.axvline(1, color="#222222", linewidth=1, linestyle=(0, (4, 3)))
    return figure, title


def _bars(axes: Axes, bars: Mapping[str, tuple[float, str]], colors: Sequence[str]) -> None:
    places = list(range(len(bars)))
    drawn = axes.barh(places, [value for value, _ in bars.values()], color=colors, height=0.68)
    axes.bar_label(drawn, [text for _, text in bars.values()], padding=4)
    axes.set_yticks(places, list(bars))
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.tick_params(length=0)
    axes.set_xticks([])
