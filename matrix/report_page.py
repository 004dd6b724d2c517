"""The results of a run as one HTML page that needs nothing but itself: no network, no other file."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from matrix.report_rows import GROUPS, MARKS, Row, axis, by, faults, filled, first_fault, printable, seconds, sentence

__all__ = ["page"]

MEANINGS = {
    "delivered": "all that was recorded arrived, exact and on time",
    "refused": "nothing can arrive there: one line named the cause and the mend, and the program went on unharmed",
    "unanswered": "it arrived, but no answer came in time, and one line said so",
    "off": "nothing was tried, and one line said why",
    "silent": "nothing was tried: no socket, no thread, no line",
    "partly": "the signals that are well configured arrived, and one line named the other",
    "scraped": "a Prometheus server read the exact totals",
    "printed": "the exact totals stood on standard output",
    "both": "it arrived, and stood on standard output",
    "recovered": "all arrived after an outage, which one line began and one ended",
    "collected": "a real Collector has the exact totals, and exposes them under the right names",
}
SIGNALS = ("metrics", "logs", "traces")
COSTS = {"peak_mb": ("peak memory", "MB", 1), "cpu_s": ("CPU time", "s", 2), "threads": ("threads", "", 0)}
TICKS_AT_MOST = 100
LABELS_AT_MOST = 6
DENSE = 30
"""From so many exports of a signal on their marks are small."""

_TEMPLATES = Path(__file__).with_name("templates")
# What is said of an export that a far side took or a local exporter wrote; anything else is drawn as a failure.
_TAKEN = re.compile(r"(ok|2\d\d( ok)?|scraped|printed|logged)", re.IGNORECASE)
_COMPARED_AT_MOST = 2000
_ALIKE = 0.5


def page(results: Mapping[str, Any]) -> str:
    """The HTML page."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "apart": _apart, "costs": _costs, "fault": first_fault, "seconds": seconds, "shell": _assignments,
        "shown": printable, "taken": _is_taken, "whole": _whole,
    }  # fmt: skip
    rows = filled(results["rows"])
    otlp = [row for row in rows if row["group"] == "otlp"]
    longest_s = max((_span_s(row) for row in otlp), default=1.0)
    words = {row["expects"] for row in rows}
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    return environment.get_template("report.html").render(
        results=results,
        sentence=sentence(results),
        rows=rows,
        good=bool(rows) and all(row["outcome"] == "passed" for row in rows),
        faults=faults(rows),
        axes={key: axis(otlp, key) for key in ("endpoint", "interval_s", "protocol")},
        cells=by(otlp, "endpoint", "interval_s", "protocol"),
        others={name: group for (name,), group in by(rows, "group").items() if name != "otlp"},
        longest_s=longest_s,
        strips={row["id"]: _plot(row, longest_s) for row in otlp},
        plots={row["id"]: _plot(row, _span_s(row)) for row in rows if row["exports"]},
        median_cost=_median_cost(rows),
        marks=MARKS,
        groups=GROUPS,
        meanings={word: meaning for word, meaning in MEANINGS.items() if word in words},
        script=Markup(script),  # noqa: S704 - a file of ours
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _plot(row: Row, span_s: float) -> dict[str, Any]:
    """Where the marks of a row's exports stand, in percent of ``span_s`` seconds."""

    def x(moment_s: float) -> str:
        return f"{100 * moment_s / span_s:.2f}%"

    step_s = row["interval_s"] or span_s / LABELS_AT_MOST
    ticks = [step_s * count for count in range(1, int(span_s / step_s) + 1)]
    each = max(1, -(-len(ticks) // LABELS_AT_MOST))
    lanes = []
    for (signal,), group in sorted(by(row["exports"], "signal").items(), key=lambda item: _signal_order(item[0][0])):
        exports = sorted(group, key=lambda export: export["at_s"])
        gaps_s = [None, *(after["at_s"] - before["at_s"] for before, after in pairwise(exports))]
        marks = [{**export, "x": x(export["at_s"]), "gap_s": gap} for export, gap in zip(exports, gaps_s, strict=True)]
        lanes.append({"signal": signal, "marks": marks, "shape": "small" if len(marks) >= DENSE else "shape"})
    return {
        "step_s": step_s,
        "ticks": [x(tick_s) for tick_s in ticks] if len(ticks) <= TICKS_AT_MOST else [],
        "labels": [("0%", "0"), *((x(tick_s), f"{tick_s:g}") for tick_s in ticks[each - 1 :: each])],
        "lanes": lanes,
        "close": None if row["ended_s"] is None else x(row["ended_s"]),
        "close_is_late": row["ended_s"] is not None and row["ended_s"] > span_s / 2,
    }


def _signal_order(signal: str) -> tuple[int, str]:
    return (SIGNALS.index(signal) if signal in SIGNALS else len(SIGNALS), signal)


def _span_s(row: Row) -> float:
    moments_s = [row["ended_s"] or row["seconds"], *(export["at_s"] for export in row["exports"])]
    return 1.02 * max(moments_s) or 1.0


def _is_taken(status: str) -> bool:
    return _TAKEN.fullmatch(status) is not None


def _apart(check: Mapping[str, Any]) -> tuple[Markup, Markup]:
    """What was expected and seen; where the two are alike, what differs is marked."""
    texts = printable(check["expected"]), printable(check["seen"])
    one, other = (re.findall(r"\w+|\W", text) for text in texts)
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    if max(len(one), len(other)) > _COMPARED_AT_MOST or matcher.ratio() < _ALIKE:
        return escape(texts[0]), escape(texts[1])
    left = right = Markup()
    for what, i, j, k, m in matcher.get_opcodes():
        form = Markup("{}") if what == "equal" else Markup("<mark>{}</mark>")
        left += form.format("".join(one[i:j])) if i < j else ""
        right += form.format("".join(other[k:m])) if k < m else ""
    return left, right


def _whole(title: str) -> str:
    """A title in which a number keeps its unit on its line."""
    return re.sub(r"(?<=\d) (?=m?s\b)", "\N{NO-BREAK SPACE}", printable(title))


def _assignments(environment: Mapping[str, str]) -> str:
    """The environment as lines that a shell takes."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items()))


def _costs(cost: Mapping[str, Mapping[str, float]]) -> list[tuple[str, ...]]:
    """What was measured, with telemetry, without, and the difference."""
    lines = []
    for key, (name, unit, digits) in COSTS.items() if cost else ():
        on, off = cost["with"][key], cost["without"][key]
        figures = (f"{on:.{digits}f}", f"{off:.{digits}f}", f"{on - off:+.{digits}f}")
        lines.append((name, *(f"{figure} {unit}".rstrip() for figure in figures)))
    return lines


def _median_cost(rows: Iterable[Row]) -> dict[str, dict[str, float]]:
    costs = [row["cost"] for row in rows if row["cost"]]
    if not costs:
        return {}
    return {side: {key: median(cost[side][key] for cost in costs) for key in COSTS} for side in ("with", "without")}
