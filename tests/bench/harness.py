"""Measures rows: ours beside the other side, sample by sample in turns, so that both meet the same machine."""

from __future__ import annotations

import statistics
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

__all__ = [
    "FAST",
    "FULL",
    "Effort",
    "Figure",
    "Reading",
    "Result",
    "Row",
    "Sample",
    "Side",
    "measure",
    "ratio_of",
    "verdict_of",
]

Unit = Literal["s", "B", "share"]
Verdict = Literal["met", "missed", "failed", "unmeasured", "no target"]


class Reading(NamedTuple):
    """One measurement in the row's unit, and what is to be said about it."""

    value: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    samples: int = 21
    """Samples a side of rows that call something in a loop."""
    sample_s: float = 0.02
    """Length of such a sample."""
    processes: int = 41
    """Fresh processes a side."""
    rounds: int = 5
    """The same for rows beside a peer, whose processes take longer."""
    series: int = 20_000
    explosion: int = 2_000_000
    """Calls with a new label value."""
    sessions: int = 50_000
    """Sessions one after another."""
    children: int = 100
    """Forked children."""
    protocols: tuple[str, ...] = ("grpc", "http/protobuf", "http/json")
    in_flight: tuple[bool, ...] = (False, True)
    """Whether a process ends while an export is under way."""

    def repeats(self, kind: str) -> int:
        """How many samples a side of a row of this kind gets."""
        return {"calls": self.samples, "processes": self.processes, "rounds": self.rounds, "once": 1}[kind]


FULL = Effort()
FAST = Effort(
    samples=3,
    sample_s=0.002,
    processes=3,
    rounds=1,
    series=2_000,
    explosion=100_000,
    sessions=15_000,
    children=4,
    protocols=("http/protobuf",),
    in_flight=(False,),
)
"""Shows that everything runs; its figures are noisy."""

Sample = Callable[[], Reading]
Side = Callable[[Effort], AbstractContextManager[Sample]]
"""Sets a side up, gives what measures it once, and cleans up."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table of targets."""

    id: str
    what: str
    other: str
    """The other side's name."""
    ours: Side | None = None
    theirs: Side | None = None
    target: float | None = None
    """The ratio of ours to theirs, at most."""
    limit: float | None = None
    """Ours, at most, in ``unit``; every single sample counts."""
    unit: Unit = "s"
    repeats: Literal["calls", "processes", "rounds", "once"] = "calls"
    unmeasured: str = ""
    """Why it is not measured here."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One side's samples."""

    samples: tuple[float, ...]
    note: str = ""

    @property
    def median(self) -> float:
        """The middle sample."""
        return statistics.median(self.samples)

    @property
    def mad(self) -> float:
        """The median distance from the median."""
        middle = self.median
        return statistics.median(abs(sample - middle) for sample in self.samples)


@dataclass(frozen=True, slots=True)
class Result:
    """What a row came to."""

    row: Row
    verdict: Verdict
    ours: Figure | None = None
    theirs: Figure | None = None
    note: str = ""
    trace: str = field(default="", repr=False)

    @property
    def ratio(self) -> float | None:
        """See ``ratio_of``; ``None`` if there is none."""
        return None if self.ours is None or self.theirs is None else ratio_of(self.ours, self.theirs)


def ratio_of(ours: Figure, theirs: Figure) -> float | None:
    """The median of the turns' ratios of ours to theirs; ``None`` beside a side that took nothing.

    The two samples of a turn meet the same machine, which may be faster or slower in the next turn.
    """
    if not all(theirs.samples):
        return None
    return statistics.median(a / b for a, b in zip(ours.samples, theirs.samples, strict=True))


def verdict_of(row: Row, ours: Figure, theirs: Figure | None) -> Verdict:
    """Whether the row's target and limit are kept, if it has any."""
    if row.target is None and row.limit is None:
        return "no target"
    kept = row.limit is None or max(ours.samples) <= row.limit
    if row.target is not None:
        ratio = None if theirs is None else ratio_of(ours, theirs)
        kept = kept and ratio is not None and ratio <= row.target
    return "met" if kept else "missed"


def measure(row: Row, effort: Effort) -> Result:
    """Measure one row. What goes wrong in it becomes its result, so that the other rows are measured all the same."""
    if row.ours is None:
        return Result(row, "unmeasured", note=row.unmeasured)
    try:
        ours, theirs = _take_turns(row.ours, row.theirs, row.repeats, effort)
    except Exception as exc:  # noqa: BLE001 - a row may fail in any way
        return Result(row, "failed", note=f"{type(exc).__name__}: {exc}"[:200], trace=traceback.format_exc())
    note = "; ".join(filter(None, (ours.note, theirs.note if theirs is not None else "")))
    return Result(row, verdict_of(row, ours, theirs), ours, theirs, note)


def _take_turns(ours: Side, theirs: Side | None, kind: str, effort: Effort) -> tuple[Figure, Figure | None]:
    with ExitStack() as stack:
        sides = [stack.enter_context(side(effort)) for side in (ours, theirs) if side is not None]
        readings: list[list[Reading]] = [[] for _ in sides]
        for turn in range(effort.repeats(kind)):
            order = list(zip(sides, readings, strict=True))
            # Who goes first changes, so that neither side always runs in the other's wake.
            for sample, taken in order if turn % 2 else reversed(order):
                taken.append(sample())
    figures = [_figure(taken) for taken in readings]
    return figures[0], figures[1] if theirs is not None else None


def _figure(taken: Sequence[Reading]) -> Figure:
    notes = dict.fromkeys(reading.note for reading in taken if reading.note)
    return Figure(tuple(reading.value for reading in taken), ", ".join(notes))
