"""What the table, the text and the page of a run have in common: rows, their order, and the words for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Any

__all__ = [
    "GROUPS", "MARKS", "Row", "axis", "by", "counts", "faults", "filled", "first_fault", "printable", "seconds",
    "sentence",
]  # fmt: skip

Row = Mapping[str, Any]

MARKS = {"passed": "✓", "failed": "✗", "not run": "-", "running": "…", "waiting": "·"}
GROUPS = {
    "otlp": "OTLP",
    "plain": "Other exporters",
    "fault": "Faults in the settings",
    "fast": "Fast intervals",
    "extended": "Beyond the 54",
    "collector": "Through a Collector",
}
TENTHS_BELOW_S = 10
SHORT = 60
"""Up to so many characters a text is given whole."""

_BLANK: Row = {
    "id": "", "group": "", "title": "", "protocol": "", "endpoint": "", "interval_s": 0.0, "expects": "",
    "outcome": "waiting", "why": "", "seconds": 0.0, "environment": {}, "checks": (), "wire": (), "exports": (),
    "ended_s": None, "stderr": "", "cost": {},
}  # fmt: skip
# Control characters would act on a terminal and vanish in a browser; their pictures do neither.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421}


def filled(rows: Iterable[Row]) -> list[Row]:
    """The rows with every key; one that has not run yet has little."""
    return [{**_BLANK, **row} for row in rows]


def counts(rows: Iterable[Row]) -> dict[str, int]:
    """How many rows came out how; ``passed`` comes last, an outcome that did not occur not at all."""
    found = Counter(row["outcome"] for row in rows)
    order = dict.fromkeys(("failed", "not run", *sorted(found.keys() - MARKS.keys()), "running", "waiting", "passed"))
    return {outcome: found[outcome] for outcome in order if found[outcome]}


def faults(rows: Iterable[Row]) -> list[Row]:
    """The rows that ended otherwise than well, the failed ones first."""
    ended = [row for row in rows if row["outcome"] not in ("passed", "running", "waiting")]
    return sorted(ended, key=lambda row: row["outcome"] != "failed")


def axis(rows: Iterable[Row], key: str) -> list[Any]:
    """The values of one key in the order in which they come up."""
    return list(dict.fromkeys(row[key] for row in rows))


def by(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """The rows in groups of equal values."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def sentence(results: Mapping[str, Any]) -> str:
    """The outcome of a run in one sentence; what went wrong comes first."""
    found = counts(filled(results["rows"]))
    passed = found.pop("passed", 0)
    scale = results["time_scale"]
    time = "in real time" if scale == 1 else f"with intervals at {scale:g} of their length"
    wrong = [f"{count} {outcome}" for outcome, count in found.items()]
    return ", ".join([*wrong, f"{passed} of {len(results['rows'])} passed in {seconds(results['seconds'])} {time}"])


def first_fault(row: Row) -> tuple[str, str]:
    """Why a row did not pass: name of its first failed check, with what was expected and seen; else what is known."""
    for check in row["checks"]:
        if not check["ok"]:
            expected, seen = _differing(str(check["expected"]), str(check["seen"]))
            return _line(check["name"]), _line(f"expected {expected}, seen {seen}")
    return "", _line(row["why"] or "no reason given")


def _differing(one: str, other: str) -> tuple[str, str]:
    """Two texts; of long ones only what lies between their common begin and end, with a word on either side."""
    if max(len(one), len(other)) <= SHORT:
        return one, other
    words, others = one.split(" "), other.split(" ")
    head = _common(words, others)
    tail = _common(words[head:][::-1], others[head:][::-1])
    start = max(0, head - 1)

    def cut(text: list[str]) -> str:
        end = min(len(text), len(text) - tail + 1)
        return " ".join([*(["..."] if start else []), *text[start:end], *(["..."] if end < len(text) else [])])

    return cut(words), cut(others)


def _common(words: list[str], others: list[str]) -> int:
    """With how many equal words the two begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(words, others, strict=False)))


def seconds(value_s: float) -> str:
    """A time for people: ``9.5 s``, ``131 s``."""
    return f"{value_s:.1f} s" if value_s < TENTHS_BELOW_S else f"{value_s:.0f} s"


def _line(text: object) -> str:
    return printable(text).replace("\n", " ")


def printable(text: object) -> str:
    """The text with control characters made visible."""
    return str(text).translate(_PICTURES)
