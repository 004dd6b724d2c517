"""Judges the evidence of a scenario: what had to be, beside what was seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from matrix import check_content, check_time, check_wire, expected
from matrix.check import ITEMS, Check, same
from matrix.run import Evidence
from matrix.scenarios import SIGNALS, Outcome

__all__ = ["judge"]

SHUTDOWN_BOUND_S = 2.0
SLACK_S = 0.5


def judge(evidence: Evidence, without: Evidence) -> list[Check]:
    """All checks of one scenario; ``without`` is the same program's run with no telemetry."""
    checks = list(_program(evidence, without))
    if evidence.result:
        for part in _PARTS[evidence.scenario.expects]:
            checks += part(evidence)
    return checks


def _program(evidence: Evidence, without: Evidence) -> Iterator[Check]:
    watched, result, scenario = evidence.watched, evidence.result, evidence.scenario
    yield same("exit code", evidence.environment["PROBE_EXIT_CODE"], watched.exit_code)
    yield same("the program's own result", expected.answer(scenario), result.get("answer", "none"))
    yield from _standard_error(evidence)
    if scenario.expects not in ("printed", "both"):
        yield same("lines on standard output", 0, len(watched.printed))
    bound_s = SHUTDOWN_BOUND_S + SLACK_S
    if result:
        took_s = result["closed_s"] - result["closing_s"]
        yield Check("time to close", f"at most {bound_s:g} s", f"{took_s:.2f} s", took_s <= bound_s)
    if result and without.result and scenario.expects != "scraped":
        ours_s = watched.ended_s - result["began_s"]
        theirs_s = without.watched.ended_s - without.result["began_s"]
        yield Check(
            "run time, beside that without telemetry",
            f"at most {bound_s + SLACK_S:g} s more than {theirs_s:.2f} s",
            f"{ours_s:.2f} s",
            ours_s <= theirs_s + bound_s + SLACK_S,
        )


def _standard_error(evidence: Evidence) -> Iterator[Check]:
    lines = evidence.watched.stderr.splitlines()
    diagnosis = evidence.scenario.diagnosis
    if diagnosis is None:
        yield same("standard error", "empty", "\n".join(lines) or "empty")
        return
    if evidence.scenario.expects == "recovered" and lines:
        last = lines.pop()
        yield Check("the last line tells of the end", "works again", last, "works again" in last)
    yield Check("other lines on standard error", "1", "\n".join([str(len(lines)), *lines[1:]]), len(lines) == 1)
    for what, pattern in (("cause", diagnosis.cause), ("mend", diagnosis.mend)):
        line = lines[0] if lines else "nothing"
        yield Check(f"the line names the {what}", f"/{pattern}/", line, bool(re.search(pattern, line, re.IGNORECASE)))


def _nothing_came(evidence: Evidence) -> Iterator[Check]:
    if evidence.seen is not None:
        for kind in ITEMS.values():
            yield same(f"{kind} at the far side", 0, len(getattr(evidence.seen, kind)))


def _no_points(evidence: Evidence) -> Iterator[Check]:
    yield same("points at the far side", 0, len(evidence.seen.points) if evidence.seen else 0)


def _proxied(evidence: Evidence) -> Iterator[Check]:
    if evidence.scenario.feature == "proxy":
        through = [one for one in evidence.proxied if evidence.endpoint.partition("//")[2] in one]
        yield Check("requests through the proxy", "1 or more", str(len(through)), bool(through))


def _at_rest(evidence: Evidence) -> Iterator[Check]:
    """Nothing was tried: no socket and no thread beside the program's own."""
    yield same("sockets, looked for 20 times a second", 0, len(evidence.watched.sockets))
    yield same("threads", 1, evidence.watched.threads)


def _told(evidence: Evidence) -> str:
    return "all delivered" if evidence.result["delivered"] else "not all delivered"


def _nothing_lost(evidence: Evidence) -> Iterator[Check]:
    dropped = evidence.result["health"]["dropped"]
    yield same("the close said", "all delivered; dropped {}", f"{_told(evidence)}; dropped {dropped}")


def _failing(evidence: Evidence) -> Iterator[Check]:
    health, diagnosis = evidence.result["health"], evidence.scenario.diagnosis
    assert diagnosis is not None
    by_signal = {one["signal"]: one for one in health["exporters"]}
    for signal in SIGNALS:
        one = by_signal.get(signal, {})
        seen = (
            f"sent {one.get('sent')}, failures {one.get('consecutive_failures')}, {one.get('last_error', 'nothing')!r}"
        )
        ok = one.get("sent") == 0 and one.get("consecutive_failures", 0) > 0
        ok = ok and bool(re.search(diagnosis.cause, one["last_error"], re.IGNORECASE))
        yield Check(f"health of {signal}", f"sent 0, failures 1 or more, /{diagnosis.cause}/", seen, ok)
    yield same("the close said", "not all delivered", _told(evidence))


def _losses(evidence: Evidence) -> Iterator[Check]:
    steps = evidence.scenario.steps
    dropped = {one["signal"]: sum(one["dropped"].values()) for one in evidence.result["health"]["exporters"]}
    lost = {signal: dropped.get(signal, 0) for signal in SIGNALS[1:]}
    yield same("losses counted", {"logs": steps, "traces": 2 * steps}, lost)


_CONTENT = (check_wire.wire, check_content.metrics, check_content.origin, check_content.events, check_content.spans)
_PARTS: Mapping[Outcome, Sequence[Callable[[Evidence], Iterable[Check]]]] = {
    "delivered": (*_CONTENT, check_time.cadence, _nothing_lost, _proxied),
    "both": (*_CONTENT, check_time.cadence, _nothing_lost, check_content.printed),
    "recovered": (*_CONTENT, _nothing_lost),
    "collected": (*_CONTENT[1:], _nothing_lost, check_content.exposed),
    "refused": (_failing, _losses, _nothing_came),
    "unanswered": (*_CONTENT, _failing),
    "off": (_at_rest, _nothing_came),
    "silent": (_at_rest, _nothing_came),
    "partly": (check_content.events, check_content.spans, check_time.cadence, _no_points),
    "scraped": (check_content.scraped,),
    "printed": (check_content.printed, check_time.printed),
}
"""What is checked beside the program itself."""
