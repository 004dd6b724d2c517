"""Reads the probe's counter back, from Prometheus or from a page of metrics, and says whether it is exact."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode
from urllib.request import getproxies, proxy_bypass

import urllib3
from prometheus_client.parser import text_string_to_metric_families

from matrix.validate_report import Check, shown_url

__all__ = ["NAME", "ReadError", "Sample", "Verdict", "judge", "read_page", "read_prometheus", "series", "wait_for"]

NAME = "claude_validate_probe_total"
"""What the counter ``validate_probe`` is called in Prometheus, as docs/reference/metrics.md promises."""
_ANY_NAME = ".*claude.validate.probe(_total)?"
"""With any prefix, with dots where a Prometheus keeps them, and without the suffix."""
_OURS = re.compile(_ANY_NAME)
_REQUEST_S = 10.0
_POLL_S = 1.0
_SAY_S = 10.0
_GRACE_S = 5.0
"""How long something that is not as expected may still become so."""


@dataclass(frozen=True)
class Sample:
    """One series and its value."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Verdict:
    """What was found of the probe; ``way_out`` is empty if it is ``exact``."""

    exact: bool
    seen: str
    way_out: str = ""


class ReadError(Exception):
    """A page or an API could not be read."""

    def __init__(self, seen: str, way_out: str) -> None:
        super().__init__(seen)
        self.seen, self.way_out = seen, way_out


class Marked(Protocol):
    """What the probe sent."""

    mark: str
    value: int


def series(mark: str) -> str:
    """The series that must be there."""
    return f'{NAME}{{agent="{mark}"}}'


def judge(samples: Sequence[Sample], mark: str, value: float) -> Verdict | None:
    """What became of the probe; ``None`` if there is nothing of it."""
    ours = [one for one in samples if mark in one.labels.values() and _OURS.fullmatch(one.name)]
    named = [one for one in ours if one.name == NAME]
    exact = [one for one in named if one.labels.get("agent") == mark]
    if not ours:
        return None
    if not named:
        return Verdict(exact=False, seen=_shown(ours, mark), way_out=_rename(ours[0].name))
    if not exact:
        way_out = (
            "a label `agent` of the scrape target stands before ours: set honor_labels: true for that job in the "
            "configuration of Prometheus, or rename the target's label"
        )
        return Verdict(exact=False, seen=_shown(named, mark), way_out=way_out)
    if len(exact) > 1:
        differ = sorted(name for name in set().union(*(one.labels for one in exact)) if _differs(exact, name))
        way_out = f"every sum counts it twice; these labels differ: {', '.join(differ)}. Let it go one way only"
        return Verdict(exact=False, seen=_shown(exact, mark), way_out=way_out)
    if exact[0].value != value:
        way_out = "is the same data added up from two exporters, or sampled, between here and there?"
        return Verdict(exact=False, seen=_shown(exact, mark), way_out=way_out)
    return Verdict(exact=True, seen=_shown(exact, mark))


def wait_for(
    probe: Marked, read: Callable[[str], list[Sample]], url: str, timeout_s: float, say: Callable[[str], None]
) -> Check:
    """Read ``url`` until the exact value is there, something else stays there, or ``timeout_s`` passed."""
    through, wanted = shown_url(url), f"{series(probe.mark)} = {probe.value}"
    say(f"waiting for {wanted} at {through} (at most {timeout_s:g} s)")
    began_s = said_s = time.monotonic()
    deadline_s = began_s + timeout_s
    verdict: Verdict | None = None
    while True:
        try:
            found = judge(read(url), probe.mark, probe.value)
        except ReadError as exc:
            return Check("round trip", "metrics", through, "not proven", wanted, exc.seen, exc.way_out)
        now_s = time.monotonic()
        if found is not None and found.exact:
            seen = f"{found.seen}, after {now_s - began_s:.1f} s"
            return Check("round trip", "metrics", through, "proven", wanted, seen)
        if found is not None and verdict is None:
            deadline_s = min(deadline_s, now_s + _GRACE_S)
        verdict = found or verdict
        if now_s >= deadline_s:
            break
        if now_s - said_s >= _SAY_S:
            said_s = now_s
            say(f"still waiting for it, {deadline_s - now_s:.0f} s left")
        time.sleep(min(_POLL_S, deadline_s - now_s))
    if verdict is None:
        verdict = Verdict(exact=False, seen=f"nothing of the probe within {timeout_s:g} s", way_out=_nothing(url, read))
    return Check("round trip", "metrics", through, "not proven", wanted, verdict.seen, verdict.way_out)


# -- reading ----------------------------------------------------------------------------------------


def read_page(url: str) -> list[Sample]:
    """All series of a page in Prometheus' text format, such as ``http://host:8889/metrics``.

    Raises:
        ReadError: It can't be read, or is something else.
    """
    whole = _get(url, "--metrics-url").decode("utf-8", "replace")
    # Of a counter without `_total` the parser would give it back with one.
    text = "".join(f"{line}\n" for line in whole.split("\n") if not line.startswith("#"))
    try:
        families = list(text_string_to_metric_families(text))
    except ValueError:
        families = []
    found = [Sample(one.name, one.labels, one.value) for family in families for one in family.samples]
    if not found and text.strip():
        raise ReadError(
            "it is no page of metrics", "--metrics-url takes the whole URL, such as http://host:8889/metrics"
        )
    return found


def read_prometheus(url: str) -> list[Sample]:
    """The series of every probe under whatever name, from the HTTP API of Prometheus.

    Raises:
        ReadError: It can't be read, or is something else.
    """
    return _query(url, f'{{__name__=~"{_ANY_NAME}"}}')


def _query(url: str, expression: str) -> list[Sample]:
    answer = _get(f"{url}/api/v1/query?{urlencode({'query': expression})}", "--prometheus-url")
    try:
        result = json.loads(answer)["data"]["result"]
        return [Sample(one["metric"].pop("__name__", ""), one["metric"], float(one["value"][1])) for one in result]
    except (ValueError, KeyError, TypeError, IndexError):
        way_out = "--prometheus-url takes the base URL of a Prometheus, such as http://host:9090"
        raise ReadError("it does not answer as the HTTP API of Prometheus does", way_out) from None


def _get(url: str, option: str) -> bytes:
    parts = urllib3.util.parse_url(url)
    where = parts.netloc.rpartition("@")[2] if parts.netloc else url
    headers = urllib3.util.make_headers(basic_auth=parts.auth) if parts.auth else {}
    proxy = getproxies().get(parts.scheme or "", "")
    pool: Any = urllib3.PoolManager()
    if proxy and not proxy_bypass(parts.host or ""):
        pool = urllib3.ProxyManager(proxy if "://" in proxy else f"http://{proxy}")
    try:
        with pool:
            answer = pool.request(
                "GET", parts._replace(auth=None).url, headers=headers, timeout=_REQUEST_S, retries=False
            )
    except urllib3.exceptions.NewConnectionError:
        raise ReadError(f"nothing listens on {where}, or there is no such host", f"look at {option}") from None
    except urllib3.exceptions.HTTPError as exc:
        raise ReadError(f"no answer from {where} ({type(exc).__name__})", f"look at {option}") from None
    if answer.status in (401, 403):
        raise ReadError(f"{where} answered {answer.status}", f"write {option} as http://user:password@host:port")
    if answer.status != 200:
        raise ReadError(f"{where} answered {answer.status} for {parts.path}", f"look at {option}")
    return bytes(answer.data)


# -- words ------------------------------------------------------------------------------------------


def _shown(samples: Sequence[Sample], mark: str) -> str:
    shown = []
    for one in samples:
        labels = ",".join(f'{key}="{mark}"' for key, value in one.labels.items() if value == mark)
        shown.append(f"{one.name}{{{labels}}} = {one.value:.15g}")
    return " and ".join(shown)


def _differs(samples: Sequence[Sample], label: str) -> bool:
    return len({one.labels.get(label) for one in samples}) > 1


def _rename(name: str) -> str:
    prefix = name.removesuffix(NAME)
    if prefix != name:
        return (
            f"a Collector puts `namespace: {prefix.rstrip('_')}` before every name: take it out of its prometheus "
            "exporter, else the dashboards and alerts that docs/reference/metrics.md serves find nothing"
        )
    if name == NAME.removesuffix("_total"):
        return (
            "suffixes are turned off: set add_metric_suffixes: true in the Collector's prometheus exporter, or "
            "translation_strategy: UnderscoreEscapingWithSuffixes in Prometheus"
        )
    if "." in name:
        return "dots are kept: set otlp: {translation_strategy: UnderscoreEscapingWithSuffixes} in Prometheus"
    return "something on the way renames it: look at the Collector's processors and at relabelling in Prometheus"


def _nothing(url: str, read: Callable[[str], list[Sample]]) -> str:
    way_out = "raise --round-trip-timeout-s above the scrape interval"
    if read is not read_prometheus:
        return f"is this the Collector that received it? Else {way_out}"
    try:
        down = sorted({one.labels.get("instance", "") for one in _query(url, "up == 0")})
    except ReadError:
        down = []
    failing = f" (targets that it can't scrape now: {', '.join(down[:5])})" if down else ""
    return f"does this Prometheus scrape what received it{failing}? {shown_url(url)}/targets says so; else {way_out}"
