"""What fills a metrics backend: every metric with its series, and the labels that make them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from claude_monitoring._guard import Guard, Label

if TYPE_CHECKING:
    from claude_monitoring._store import Instrument, Store

__all__ = ["CardinalityReport", "LabelReport", "MetricReport"]

_SHOWN_LABELS = 3


@dataclass(frozen=True, slots=True)
class LabelReport:
    """One label of one metric.

    Attributes:
        name: The label's key.
        kept: How many different values its series have now.
        distinct: How many there were: exact while all are kept, then an estimate (standard error 3 %).
        is_collapsed: Whether values became ``__other__``, now or earlier.
        is_closed: Whether that was for the number of combinations with other labels.
        looks_like: What its values look like, such as ``a uuid``; empty if nothing is odd about them.
        sample: One of its values.
        instead: A label of few values to use instead; empty if nothing is odd about this one.
    """

    name: str
    kept: int
    distinct: int
    is_collapsed: bool
    is_closed: bool
    looks_like: str
    sample: str
    instead: str


@dataclass(frozen=True, slots=True)
class MetricReport:
    """One metric.

    Attributes:
        name: Its wire name.
        series: How many series it has now, ``bound`` how many it may have.
        labels: Its labels, those with the most values first.
        overflowed: Measurements that lost their labels, since every bound was passed; their amounts are kept.
        refused: Measurements that the policies ``drop`` and ``raise`` kept out.
        retired: Series that were let go after what they stood for had ended.
        left_out: Label keys that were left out, and why.
    """

    name: str
    series: int
    bound: int
    labels: tuple[LabelReport, ...]
    overflowed: int
    refused: int
    retired: int
    left_out: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CardinalityReport:
    """What ``AgentMonitor.cardinality_report`` gives: for all monitors with the same settings, at one moment.

    Attributes:
        series: How many series there are, ``bound`` how many there may be.
        metrics: Every metric that was used, the one with the most series first.
    """

    series: int
    bound: int
    metrics: tuple[MetricReport, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as dictionaries and lists that JSON has."""
        return {**asdict(self), "metrics": [_metric_dict(metric) for metric in self.metrics]}

    def __str__(self) -> str:
        lines = [f"{self.series:,} of {self.bound:,} series in {len(self.metrics)} metrics"]
        for metric in self.metrics:
            widest = ", ".join(f"{label.name} {label.distinct:,}" for label in metric.labels[:_SHOWN_LABELS])
            shown = f"  ({widest})" if widest else ""
            lines.append(f"{metric.name}: {metric.series:,} of {metric.bound:,} series{_troubles(metric)}{shown}")
            odd = [label for label in metric.labels if label.is_collapsed or label.looks_like]
            lines += [f"  {_label_line(label)}" for label in odd]
            lines += [f"  {key}: left out, it {why}" for key, why in metric.left_out.items()]
        return "\n".join(lines)


def _metric_dict(metric: MetricReport) -> dict[str, Any]:
    return {**asdict(metric), "labels": [asdict(label) for label in metric.labels], "left_out": dict(metric.left_out)}


def _troubles(metric: MetricReport) -> str:
    counts = {
        "measurements without labels": metric.overflowed,
        "measurements refused": metric.refused,
        "series retired": metric.retired,
    }
    return "".join(f", {count:,} {what}" for what, count in counts.items() if count)


def _label_line(label: LabelReport) -> str:
    about = "about " if label.distinct != label.kept else ""
    line = f"{label.name}: {about}{label.distinct:,} {'value' if label.distinct == 1 else 'values'}"
    if label.is_collapsed:
        line += f", {label.kept:,} kept, the others are __other__"
    if label.is_closed:
        line += ", and so is every new combination"
    if label.looks_like:
        line += f"; {label.sample!r} looks like {label.looks_like}"
    return f"{line}; use {label.instead}" if label.instead else line


def make_report(store: Store | None) -> CardinalityReport:
    """The report on ``store``; an empty one without it."""
    if store is None:
        return CardinalityReport(0, 0, ())
    with store.lock:
        metrics = [_metric(one) for one in store.instruments() if not one.spec.is_about_ourselves]
    metrics.sort(key=lambda metric: (-metric.series, metric.name))
    return CardinalityReport(store.series_count(), store.bounds.max_total_series, tuple(metrics))


def _metric(instrument: Instrument) -> MetricReport:
    guard = instrument.guard
    labels = [_label(guard, name, label) for name, label in list(guard.labels.items())]  # a signal handler may add one
    labels.sort(key=lambda label: (-label.distinct, label.name))
    return MetricReport(
        instrument.spec.name,
        len(instrument.all_series()),
        guard.max_series,
        tuple(labels),
        instrument.overflowed,
        instrument.refused,
        instrument.retired,
        dict(instrument.dropped_labels),
    )


def _label(guard: Guard, name: str, label: Label) -> LabelReport:
    is_closed = name in guard.closed
    is_collapsed = is_closed or label.collapsed
    return LabelReport(
        name,
        len(label.kept),
        label.estimate(),
        is_collapsed,
        is_closed,
        label.look,
        str(label.sample) if label.sample is not None else "",
        label.advice() if label.look or is_collapsed else "",
    )
