"""Results as a line on the terminal, a Markdown table, and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import Figure, Result, Row

__all__ = ["as_json", "heading", "line", "markdown", "show"]

_COLUMNS = ("row", "what", "ours", "the other side", "ratio", "target", "verdict")
_WIDTHS = (20, 40, 14, 50, 12, 8, 9)
_SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def show(value: float, unit: str) -> str:
    """A value with three digits and its unit."""
    if unit == "share":
        return f"{value:.0%}"
    if unit == "B":
        return f"{value:,.1f} B" if value < 100 else f"{value:,.0f} B"
    scale, name = next((pair for pair in _SCALES if abs(value) >= pair[0]), _SCALES[-1])
    return f"{value / scale:.3g} {name}" if value / scale < 100 else f"{value / scale:.0f} {name}"


def _figure(figure: Figure | None, row: Row) -> str:
    if figure is None:
        return "-"
    spread = f" ±{figure.mad / figure.median:.0%}" if figure.median and len(figure.samples) > 1 else ""
    return show(figure.median, row.unit) + spread


def _cells(result: Result) -> tuple[str, ...]:
    row = result.row
    target = show(row.limit, row.unit) if row.limit is not None else f"{row.target:g}x"
    theirs = f"{_figure(result.theirs, row)}  {row.other}" if result.theirs is not None else row.other
    ratio = f"{result.ratio:.3f}x" if result.ratio is not None else "-"
    return row.id, row.what, _figure(result.ours, row), theirs, ratio, f"<={target}", result.verdict


def _join(cells: Sequence[str]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


def heading() -> str:
    """The first line of the table on the terminal."""
    return _join(_COLUMNS)


def line(result: Result) -> str:
    """One row for the terminal, with its note below."""
    text = _join(_cells(result))
    return f"{text}\n{'':22}{result.note}" if result.note else text


def markdown(results: Sequence[Result], machine: Mapping[str, object]) -> str:
    """The table as a Markdown page."""
    lines = [f"| {' | '.join(_COLUMNS)} | note |", "|---" * (len(_COLUMNS) + 1) + "|"]
    lines += [f"| {' | '.join((*_cells(result), result.note.replace('|', '/')))} |" for result in results]
    about = ", ".join(f"{key} {value}" for key, value in machine.items())
    return "\n".join([*lines, "", f"Medians, ± median absolute deviation. Machine: {about}.", ""])


def as_json(results: Sequence[Result], machine: Mapping[str, object]) -> dict[str, Any]:
    """Everything, with all samples, for other programs."""
    return {"machine": dict(machine), "rows": [_row_json(result) for result in results]}


def _row_json(result: Result) -> dict[str, Any]:
    row = result.row
    return {
        "id": row.id,
        "what": row.what,
        "other": row.other,
        "unit": row.unit,
        "target_ratio": row.target,
        "limit": row.limit,
        "ours": _figure_json(result.ours),
        "theirs": _figure_json(result.theirs),
        "ratio": result.ratio,
        "verdict": result.verdict,
        "note": result.note,
        "trace": result.trace,
    }


def _figure_json(figure: Figure | None) -> dict[str, Any] | None:
    if figure is None:
        return None
    return {"median": figure.median, "mad": figure.mad, "samples": list(figure.samples)}
