"""Checks along time: the first export, the gaps between exports, the final flush."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from matrix.check import Check, requests, same
from matrix.check_content import printed_rows
from matrix.run import Evidence
from matrix.scenarios import SIGNALS

__all__ = ["cadence", "printed"]

LOST_PACKET_S = 1.2
"""How much later a request may come over the long way: one lost packet, at worst the first of a connection."""
IMPORTS_S = 1.0
"""How much later the first export may come where the interval is shorter than the imports that come before it."""


def tolerance_s(interval_s: float) -> float:
    """How far a gap between two exports may be from the interval."""
    return max(0.05 * interval_s, 0.25)


def cadence(evidence: Evidence) -> Iterator[Check]:
    """When requests came, and when metrics were collected, by the time that points carry."""
    signals = SIGNALS if evidence.scenario.expects != "partly" else SIGNALS[1:]
    away = evidence.scenario.endpoint.startswith("remote")
    for signal in signals:
        moments = [one.received_s for one in requests(evidence, signal)]
        yield from _rhythm(evidence, signal, moments, late_s=LOST_PACKET_S if away else 0.0)
    if "metrics" in signals and evidence.seen is not None:
        collected = {one.time_unix_nano / 1e9 for one in evidence.seen.points}
        yield from _gaps(evidence, "between collections", sorted(collected)[: evidence.scenario.periods], late_s=0.0)


def _gaps(evidence: Evidence, name: str, moments: Sequence[float], late_s: float) -> Iterator[Check]:
    interval_s = evidence.scenario.interval_s
    allowed_s = tolerance_s(interval_s) + late_s
    gaps_s = [later - earlier for earlier, later in pairwise(moments)]
    yield Check(
        f"gaps {name}",
        f"{interval_s:g} s, each within {allowed_s:g} s",
        ", ".join(f"{gap_s:.2f}" for gap_s in gaps_s) + " s",
        bool(gaps_s) and all(abs(gap_s - interval_s) <= allowed_s for gap_s in gaps_s),
    )


def _first(evidence: Evidence, name: str, first_s: float, late_s: float) -> Check:
    """The interval begins somewhere in the making of the monitor, which takes a while on a busy machine."""
    interval_s, result = evidence.scenario.interval_s, evidence.result
    allowed_s = tolerance_s(interval_s)
    longest_s, shortest_s = first_s - result["making_s"], first_s - result["began_s"]
    return Check(
        f"first export{name}",
        f"{interval_s:g} s after the monitor was made, within {allowed_s + late_s:g} s",
        f"{longest_s:.2f} s after its making began, {shortest_s:.2f} s after it was done",
        longest_s >= interval_s - allowed_s and shortest_s <= interval_s + allowed_s + late_s,
    )


def _rhythm(evidence: Evidence, signal: str, moments: Sequence[float], late_s: float) -> Iterator[Check]:
    """The first export, the gaps between periodic ones, and the final flush."""
    scenario, result = evidence.scenario, evidence.result
    yield same(f"exports of {signal}", scenario.periods + 1, len(moments))
    if not moments:
        return
    *periodic, last = moments
    yield _first(evidence, f" of {signal}", moments[0], late_s)
    yield from _gaps(evidence, f"between exports of {signal}", periodic, late_s)
    late = last - result["closing_s"]
    bound_s = result["closed_s"] - result["closing_s"] + 0.05
    yield Check(
        f"final flush of {signal}",
        f"within the {bound_s:.2f} s of the close",
        f"after {late:.2f} s",
        0 <= late <= bound_s,
    )


def printed(evidence: Evidence) -> Iterator[Check]:
    """When lines came on standard output: an export is told by the moment that its points carry."""
    exports: dict[float, float] = {}
    for moment_s, row in printed_rows(evidence):
        if row["signal"] == "metric":
            exports.setdefault(row["time"], moment_s)
    moments, periods = list(exports.values()), evidence.scenario.periods
    if evidence.scenario.group != "fast" or not moments:
        yield from _rhythm(evidence, "metrics", moments, late_s=0.0)
        return
    yield _first(evidence, "", moments[0], late_s=IMPORTS_S)
    yield from _gaps(evidence, "between exports", moments[:-1], late_s=0.0)
    # Where the interval is shorter than what a gap may be off, their number is to be right too.
    least = round(0.8 * periods)
    yield Check("exports", f"{least} to {periods + 2}", str(len(moments)), least <= len(moments) <= periods + 2)
