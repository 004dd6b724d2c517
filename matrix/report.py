"""The results of a run for people and machines: a live table, plain text, ``results.json`` and one HTML page.

``results`` is what ``results.json`` holds. A row's ``interval_s`` is the interval that its probe was run with; a key
that a row lacks counts as empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from matrix.report_page import page
from matrix.report_rows import GROUPS, MARKS, Row, axis, by, counts, faults, filled, first_fault, printable, sentence

__all__ = ["summary", "table", "write_reports"]

STYLES = {"passed": "green", "failed": "bold red", "not run": "yellow", "running": "cyan", "waiting": "dim"}
FAULTS_SHOWN = 9


def write_reports(results: Mapping[str, Any], folder: Path) -> None:
    """Write ``results.json`` and ``report.html`` to ``folder``, which is made if it isn't there.

    Raises:
        OSError: ``folder`` can't be written.
        TypeError: ``results`` holds something that JSON has no form for.
        ValueError: ``results`` holds NaN or infinity, which JSON has no form for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    # What a probe wrote may hold bytes that are no text; JSON escapes them by itself.
    (folder / "report.html").write_bytes(page(results).encode("utf-8", "backslashreplace"))


def summary(results: Mapping[str, Any]) -> str:
    """The outcome as plain text for a log: the sentence, then a paragraph for each row that did not pass."""
    lines = [sentence(results)]
    for row in faults(filled(results["rows"])):
        lines += ["", f"{row['outcome'].upper()} {printable(row['id'])}: {printable(row['title'])}"]
        lines += [f"  {': '.join(filter(None, first_fault(row)))}", f'  pytest matrix -k "{printable(row["id"])}"']
    return "\n".join(lines) + "\n"


def table(results_rows: Iterable[Row]) -> RenderableType:
    """What ``rich`` shows while the run goes on: the 54 with their faults fit 80 columns and 50 lines."""
    rows = filled(results_rows)
    head = Text("   ").join(_marked(outcome, f"{count} {outcome}") for outcome, count in counts(rows).items())
    parts: list[RenderableType] = [head, Text(), _otlp([row for row in rows if row["group"] == "otlp"]), Text()]
    parts += [_others([row for row in rows if row["group"] != "otlp"]), Text()]
    wrong = faults(rows)
    for row in wrong[:FAULTS_SHOWN]:
        check, detail = first_fault(row)
        parts.append(_marked(row["outcome"], f"{row['id']}  {check}"))
        parts.append(Text(f"  {detail}", no_wrap=True, overflow="ellipsis"))
    if len(wrong) > FAULTS_SHOWN:
        parts.append(Text(f"and {len(wrong) - FAULTS_SHOWN} more"))
    return Group(*parts)


def _otlp(rows: list[Row]) -> Table:
    """Protocol, endpoint and interval as a grid of marks."""
    protocols = axis(rows, "protocol")
    columns = sorted(by(rows, "protocol", "interval_s"), key=lambda key: (protocols.index(key[0]), key[1]))
    grid = Table("OTLP", box=None, header_style="bold")
    grid.columns[0].vertical, grid.columns[0].no_wrap = "bottom", True
    for protocol, interval_s in columns:
        title = Text(f"{protocol.replace('/', chr(10))}\n{interval_s:g} s", justify="center")
        grid.add_column(title, justify="center", vertical="bottom")
    cells = by(rows, "endpoint", "protocol", "interval_s")
    for endpoint in axis(rows, "endpoint"):
        marks = [Text(" ").join(_marked(row["outcome"]) for row in cells.get((endpoint, *key), [])) for key in columns]
        grid.add_row(Text(printable(endpoint)), *marks)
    return grid


def _others(rows: list[Row]) -> Table:
    """The other groups as lists side by side."""
    groups = by(rows, "group")
    lists = Table(box=None, padding=(0, 3, 0, 1), header_style="bold")
    for (name,) in groups:
        lists.add_column(Text(GROUPS.get(name, name)), no_wrap=True, overflow="ellipsis")
    lists.add_row(*(Text("\n").join(_marked(row["outcome"], row["id"]) for row in group) for group in groups.values()))
    return lists


def _marked(outcome: str, text: str = "") -> Text:
    shown = f"{MARKS.get(outcome, '?')} {printable(text)}".rstrip()
    return Text(shown, STYLES.get(outcome, ""), no_wrap=True, overflow="ellipsis")
