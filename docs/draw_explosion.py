"""Runs a program whose labels explode, three ways, and draws what a backend gets: ``python docs/draw_explosion.py``.

The program makes 20,000 model calls and gives each a label that is new every time. Everything but matplotlib is
imported with the module; ``measure`` and ``table`` do without it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import prometheus_client
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from claude_monitoring.testing import capture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CALLS", "PICTURE", "WAYS", "Measured", "Reading", "draw", "main", "measure", "table"]

CALLS = 20_000
PICTURE = Path(__file__).parent / "explanation" / "explosion.svg"

_CHECKPOINTS = frozenset((0, 250, 500, 1_000, 1_500, 2_000, 2_500, *range(3_000, CALLS + 1, 1_000)))
_SHARES = {"model-a": 40, "model-b": 30, "model-c": 15, "model-d": 10, "model-e": 5}
_ERRORS = 0.05
_OTHER = "__other__"

Labels = dict[str, str]
Series = list[tuple[Mapping[str, Any], float]]
"""The attributes of each exported series with its value."""


@dataclass(frozen=True)
class Reading:
    """What is exported of the one metric after some calls.

    Attributes:
        calls: Calls made so far.
        series: Exported series.
        model: Percent of the calls whose model can still be told; 100 before the first call.
        status: The same for their status.
        counted: The sum over all series.
    """

    calls: int
    series: int
    model: float
    status: float
    counted: int


Measured = dict[str, list[Reading]]
"""Each of ``WAYS`` with its readings, in the order of the calls."""


@dataclass(frozen=True)
class _Counter:
    count: Callable[[Labels], None]
    read: Callable[[], Series]


@contextmanager
def _prometheus() -> Iterator[_Counter]:
    registry = prometheus_client.CollectorRegistry()
    counter = prometheus_client.Counter("model_calls", "Calls", ["model", "status", "user"], registry=registry)

    def read() -> Series:
        samples = (sample for family in registry.collect() for sample in family.samples)
        return [(sample.labels, sample.value) for sample in samples if sample.name == "model_calls_total"]

    yield _Counter(lambda labels: counter.labels(**labels).inc(), read)


@contextmanager
def _opentelemetry() -> Iterator[_Counter]:
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    counter = provider.get_meter("shop").create_counter("model_calls")

    def read() -> Series:
        data = reader.get_metrics_data()
        scopes = (scope for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics)
        metrics = (metric for scope in scopes for metric in scope.metrics if metric.name == "model_calls")
        points = (point for metric in metrics for point in metric.data.data_points)
        return [(point.attributes or {}, point.value) for point in points if isinstance(point, NumberDataPoint)]

    try:
        yield _Counter(lambda labels: counter.add(1, labels), read)
    finally:
        provider.shutdown()


@contextmanager
def _ours() -> Iterator[_Counter]:
    with capture("shop") as seen:
        yield _Counter(
            lambda labels: seen.monitor.increment("model_calls", labels=labels),
            lambda: [(dict(pairs), value) for pairs, value in seen.series("claude.model_calls").items()],
        )


WAYS: dict[str, Callable[[], AbstractContextManager[_Counter]]] = {
    "no guard": _prometheus,
    "OpenTelemetry SDK": _opentelemetry,
    "claude_monitoring": _ours,
}
"""How to count, by the name in the picture. Each with its defaults; the one without a guard is prometheus_client."""

_STYLES: dict[str, dict[str, Any]] = {  # dashes lie over the solid line, so that equal values show both
    "no guard": {"color": "#bf4a00", "linestyle": (0, (1.5, 1.5)), "linewidth": 2.5, "zorder": 4},
    "OpenTelemetry SDK": {"color": "#4d4d4d", "linestyle": (0, (5, 3)), "linewidth": 2, "zorder": 3},
    "claude_monitoring": {"color": "#0066b8", "linestyle": "-", "linewidth": 4, "zorder": 2},
}


def _program() -> Iterator[Labels]:
    """The labels of each call, the same in every run."""
    chance = random.Random(CALLS)  # noqa: S311 - to be repeated, not to be secret
    models = chance.choices(list(_SHARES), weights=list(_SHARES.values()), k=CALLS)
    for number, model in enumerate(models):
        yield {
            "model": model,
            "status": "error" if chance.random() < _ERRORS else "ok",
            "user": f"user-{number}",
        }


def measure() -> Measured:
    """Run the program once for each of ``WAYS`` and read what is exported on the way; takes some seconds."""
    measured: Measured = {}
    for name, way in WAYS.items():
        with way() as counter:
            readings = measured[name] = [_reading(0, counter.read())]
            for calls, labels in enumerate(_program(), 1):
                counter.count(labels)
                if calls in _CHECKPOINTS:
                    readings.append(_reading(calls, counter.read()))
    return measured


def _reading(calls: int, series: Series) -> Reading:
    def known(label: str) -> float:
        told = sum(value for attributes, value in series if attributes.get(label, _OTHER) != _OTHER)
        return 100 * told / calls if calls else 100.0

    counted = sum(value for _, value in series)
    return Reading(calls, len(series), known("model"), known("status"), round(counted))


def table(measured: Measured) -> str:
    """The last readings as a Markdown table."""
    rows = [
        f"| | series after {CALLS:,} calls | model known (% of calls) | status known (% of calls) | calls counted |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, readings in measured.items():
        end = readings[-1]
        rows.append(f"| {name} | {end.series:,} | {end.model:.1f} | {end.status:.1f} | {end.counted:,} |")
    return "\n".join(rows) + "\n"


def draw(measured: Measured, path: Path) -> None:
    """Write the picture as SVG; equal measurements give an equal file with the same release of matplotlib."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: Any = {
        "axes.edgecolor": "#888888",
        "axes.spines.right": False,
        "axes.spines.top": False,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],  # the first comes with matplotlib
        "font.size": 11,
        "svg.fonttype": "none",
        "svg.hashsalt": "explosion",
        "text.color": "#222222",
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=(10.5, 4.1), facecolor="white")
        figure.suptitle(
            f"{CALLS:,} model calls, each with a new user as a label", x=0.012, y=0.97, ha="left", weight="bold"
        )
        left, right = figure.subplots(1, 2)
        figure.subplots_adjust(left=0.07, right=0.825, top=0.77, bottom=0.09, wspace=0.9)
        _panel(left, "Series to store: fewer is better", CALLS)
        _lines(left, measured, lambda reading: reading.series, "{:,} series")
        _panel(right, "Calls whose model is known: more is better", 100)
        _lines(right, measured, lambda reading: reading.model, "{:.0f} %")
        right.yaxis.set_major_formatter("{x:.0f} %")
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None, "Title": "A label that explodes"})


def _panel(axes: Axes, title: str, top: float) -> None:
    axes.set_title(title, loc="left", fontsize=11, pad=18)
    axes.set_xlim(0, CALLS)
    axes.set_ylim(0, top * 1.03)
    axes.set_xticks((0, CALLS), ("0", f"{CALLS:,} calls"))
    axes.get_xticklabels()[-1].set_horizontalalignment("right")  # leaves the room beside the axes to the lines' names
    axes.set_yticks([top * part / 4 for part in range(5)])
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.tick_params(length=0, labelcolor="#555555")
    axes.grid(axis="y", color="#e4e4e4")
    axes.set_axisbelow(True)


def _lines(axes: Axes, measured: Measured, value: Callable[[Reading], float], unit: str) -> None:
    """Draw a line for each way and name it at its end."""
    ends = {name: value(readings[-1]) for name, readings in measured.items()}
    heights = _apart(ends, axes.get_ylim()[1])
    for name, readings in measured.items():
        style = _STYLES[name]
        axes.plot([r.calls for r in readings], [value(r) for r in readings], clip_on=False, **style)
        axes.annotate(
            f"{name}\n{unit.format(ends[name])}",
            (CALLS, heights[name]),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
            color=style["color"],
            weight="bold" if name == "claude_monitoring" else "normal",
            annotation_clip=False,
        )


def _apart(ends: Mapping[str, float], top: float) -> dict[str, float]:
    """The heights of the names: those of the lines' ends, moved up where they would overlap, then down from the top."""
    gap = 0.155 * top
    heights: dict[str, float] = {}
    floor = 0.03 * top
    for name in sorted(ends, key=ends.__getitem__):
        heights[name] = max(ends[name], floor)
        floor = heights[name] + gap
    ceiling = 0.98 * top
    for name in reversed(heights):
        heights[name] = min(heights[name], ceiling)
        ceiling = heights[name] - gap
    return heights


def main() -> None:
    """Write the picture and print the table."""
    measured = measure()
    draw(measured, PICTURE)
    print(table(measured))


if __name__ == "__main__":
    main()
