"""Results as a line on the terminal, Markdown tables, and JSON; and read back from JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import Figure, Result, Row

__all__ = ["NOT_AWAITED", "as_json", "heading", "line", "markdown", "peers_table", "read", "show", "table"]

NOT_AWAITED = "await not timed"
"""In the note of a row whose other side lasts until the coroutine is made, not until it is done."""

_PEER_COLUMNS = {
    "sync": "decorated call",
    "async": "async call",
    "scope": "scope",
    "import": "import",
    "start": "first task",
    "exit-dead": "exit, dead collector",
    "exit-mute": "exit, mute collector",
}

_COLUMNS = ("row", "what", "ours", "the other side", "ratio", "target", "verdict")
_WIDTHS = (28, 40, 14, 54, 8, 8, 10)
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
    target = "-" if row.target is None else f"<={row.target:g}x"
    if row.limit is not None:
        target = f"<={show(row.limit, row.unit)}"
    theirs = f"{_figure(result.theirs, row)}  {row.other}" if result.theirs is not None else row.other
    ratio = f"{result.ratio:.3f}x" if result.ratio is not None else "-"
    return row.id, row.what, _figure(result.ours, row), theirs, ratio, target, result.verdict


def _join(cells: Sequence[str]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


def heading() -> str:
    """The first line of the table on the terminal."""
    return _join(_COLUMNS)


def line(result: Result) -> str:
    """One row for the terminal, with its note below."""
    text = _join(_cells(result))
    return f"{text}\n{'':30}{result.note}" if result.note else text


def table(results: Sequence[Result]) -> str:
    """The rows as a Markdown table for a page: without ids, notes and what was not measured."""
    lines = ["| what | ours | the other side | ratio | target | |", "|---|---:|---|---:|---:|---|"]
    lines += [f"| {' | '.join(_cells(result)[1:])} |" for result in results if result.ours is not None]
    return "\n".join(lines)


def peers_table(results: Sequence[Result]) -> str:
    """A line a peer as a Markdown table for a page: its own figure and, in brackets, the ratio of ours to it."""
    found = {tuple(result.row.id.split("/")): result for result in results}
    kinds = {kind: text for kind, text in _PEER_COLUMNS.items() if any(key[0] == kind for key in found)}
    lines = [f"| | {' | '.join(kinds.values())} |", f"|---{'|---:' * len(kinds)}|"]
    for peer in dict.fromkeys(key[-1] for key in found):
        absent = found.get(("all", peer))
        cells = [_beside(found.get((kind, peer))) for kind in kinds]
        lines.append(f"| {peer} | {absent.note if absent else ' | '.join(cells)} |")
    return "\n".join(lines)


def _beside(result: Result | None) -> str:
    if result is None or result.theirs is None or result.ratio is None:
        return result.verdict if result is not None else "-"
    star = "*" if NOT_AWAITED in result.note else ""
    return f"{show(result.theirs.median, result.row.unit)}{star} ({result.ratio:.2g}x)"


def markdown(results: Sequence[Result], machine: Mapping[str, object]) -> str:
    """The table as a Markdown page."""
    lines = [f"| {' | '.join(_COLUMNS)} | note |", "|---" * (len(_COLUMNS) + 1) + "|"]
    lines += [f"| {' | '.join((*_cells(result), result.note.replace('|', '/')))} |" for result in results]
    about = ", ".join(f"{key} {value}" for key, value in machine.items())
    return "\n".join([*lines, "", f"Medians, ± median absolute deviation. Machine: {about}.", ""])


def as_json(results: Sequence[Result], machine: Mapping[str, object]) -> dict[str, Any]:
    """Everything, with all samples, for other programs."""
    return {"machine": dict(machine), "rows": [_row_json(result) for result in results]}


def read(document: Mapping[str, Any]) -> tuple[list[Result], dict[str, object]]:
    """The results and the machine of a document that ``as_json`` made."""
    return [_read_row(found) for found in document["rows"]], dict(document["machine"])


def _read_row(found: Mapping[str, Any]) -> Result:
    row = Row(
        id=found["id"],
        what=found["what"],
        other=found["other"],
        target=found["target_ratio"],
        limit=found["limit"],
        unit=found["unit"],
    )
    sides = [Figure(tuple(found[side]["samples"])) if found[side] else None for side in ("ours", "theirs")]
    return Result(row, found["verdict"], *sides, found["note"], found["trace"])


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
