"""What a check is: one thing that had to be, beside what was seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from matrix.run import Evidence

__all__ = ["ITEMS", "Check", "each", "requests", "same"]

ITEMS = {"metrics": "points", "logs": "logs", "traces": "spans"}


@dataclass(frozen=True)
class Check:
    """One thing that had to be, and what was."""

    name: str
    expected: str
    seen: str
    ok: bool


def same(name: str, expected_text: object, seen_text: object) -> Check:
    """That two things read the same."""
    return Check(name, str(expected_text), str(seen_text), str(expected_text) == str(seen_text))


def each(name: str, wanted: str, seen: Iterable[object]) -> Check:
    """That each of ``seen``, one at least, reads as ``wanted``."""
    different = sorted({str(one) for one in seen})
    return Check(name, wanted, ", ".join(different) or "nothing", different == [wanted])


def requests(evidence: Evidence, signal: str) -> list[Any]:
    """The requests of one signal, in the order in which they came."""
    if evidence.seen is None:
        return []
    return sorted((one for one in evidence.seen.requests if one.signal == signal), key=lambda one: one.received_s)
