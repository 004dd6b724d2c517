"""What ``validate`` shows: a table on a terminal, plain text in a log, or JSON; the answer is in the last line."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any
from urllib.parse import urlsplit

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["Check", "Report", "shown_url"]

_STYLES = {"delivered": "green", "proven": "green", "off": "dim", "unknown": "yellow"}
_LOG_WIDTH = 160


@dataclass(frozen=True)
class Check:
    """One thing that was asked for.

    Attributes:
        kind: ``setting``, ``signal`` or ``round trip``.
        name: The variable, or the signal.
        through: The exporter and its endpoint, or where the value was read back.
        state: ``unusable``; ``delivered``, ``refused``, ``unknown``, ``off``; ``proven``, ``not proven``,
            ``not tried``.
        expected: What had to happen.
        seen: What did.
        way_out: Cause and mend; empty if there is nothing to mend.
    """

    kind: str
    name: str
    through: str
    state: str
    expected: str
    seen: str
    way_out: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is left to be mended."""
        return not self.way_out and self.state in ("delivered", "proven", "off")


class Report:
    """Collects checks; text is shown as it becomes known, JSON at the end.

    Attributes:
        mark: Of the probe; empty if none was sent.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.mark = ""
        self._checks: list[Check] = []
        self._settings: Sequence[Mapping[str, Any]] = ()
        self._as_json = as_json
        self._out = sys.stdout
        terminal = self._out.isatty()
        self._box = box.SIMPLE_HEAD if terminal else None
        self._console = Console(file=self._out, width=None if terminal else _LOG_WIDTH, highlight=False)

    def settings(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show what is in force."""
        self._settings = rows
        if not self._as_json:
            columns = ["signal", "exporter", "interval", "endpoint", "compression", "headers"]
            self._table("Settings in force", columns, [_cells(row) for row in rows])

    def add(self, check: Check) -> None:
        """Keep a check, without what would drive a terminal: a far side's words are in it."""
        self._checks.append(Check(*(_printable(text) for text in astuple(check))))

    def end(self) -> int:
        """Show the outcome; the exit code."""
        proven = all(check.ok for check in self._checks) and any(check.state == "delivered" for check in self._checks)
        if self._as_json:
            rows = [{**asdict(check), "ok": check.ok} for check in self._checks]
            whole = {"proven": proven, "answer": self._answer(proven=proven), "mark": self.mark}
            json.dump({**whole, "settings": self._settings, "checks": rows}, self._out, indent=2)
            print(file=self._out)
            return 0 if proven else 1
        cells = [[_named([check]), check.through, check.state, check.seen] for check in self._checks]
        self._table(f"Outcome of {self.mark}" if self.mark else "Outcome", ["what", "through", "state", "seen"], cells)
        for names, check in self._failures():
            self._line(f"{names}: {check.state}", "bold")
            for word, text in (("expected", check.expected), ("seen", check.seen), ("way out", check.way_out)):
                self._line(f"  {word:9} {text}")
            self._line("")
        self._line(self._answer(proven=proven), "bold green" if proven else "bold red")
        return 0 if proven else 1

    def _failures(self) -> list[tuple[str, Check]]:
        """Those with the same way out together, under the names of all."""
        groups: dict[tuple[str, ...], list[Check]] = {}
        for check in self._checks:
            if not check.ok:
                groups.setdefault((check.kind, check.state, check.way_out), []).append(check)
        return [(_named(group), group[0]) for group in groups.values()]

    def _answer(self, *, proven: bool) -> str:
        failures = self._failures()
        if not failures:
            if not proven:
                return "NOT PROVEN: nothing was sent"
            back = [check.through for check in self._checks if check.kind == "round trip"]
            trip = f"; the exact value was read back from {' and '.join(back)}" if back else ""
            delivered = _named([check for check in self._checks if check.state == "delivered"])
            return f"PROVEN: {delivered} delivered as {self.mark}{trip}"
        names, check = failures[0]
        more = f" (and {len(failures) - 1} more above)" if len(failures) > 1 and not self._as_json else ""
        return f"NOT PROVEN: {names} {check.state}: {check.way_out}{more}"

    def _table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._line(title, "bold")
        table = Table(box=self._box, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
        self._console.print(table)
        self._line("")

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style), soft_wrap=True)


def shown_url(url: str) -> str:
    """Without user, password and query."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=netloc, query="***" if parts.query else "", fragment="").geturl()


def _named(checks: Sequence[Check]) -> str:
    names = list(dict.fromkeys(f"round trip of {one.name}" if one.kind == "round trip" else one.name for one in checks))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _cells(row: Mapping[str, Any]) -> list[str]:
    interval = f"{row['interval_s']:g} s" if row["interval_s"] else ""
    cells = [row["signal"], f"{row['exporter']} {row['protocol']}".strip(), interval, row["endpoint"]]
    return [cell or "-" for cell in (*cells, row["compression"], ", ".join(row["headers"]))]
