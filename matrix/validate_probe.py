"""The probe of ``validate``: a marked counter, event and span, through the very exporters that are configured."""

from __future__ import annotations

import io
import json
import logging
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, redirect_stdout
from types import TracebackType
from typing import Any

from claude_monitoring import AgentMonitor, ExporterHealth, Settings
from matrix import round_trip
from matrix.server_process import free_port
from matrix.validate_report import Check, shown_url

__all__ = ["Probe"]

NAME = "validate_probe"
ITEMS: Mapping[str, str] = {"metrics": "data points", "logs": "events", "traces": "spans"}
_ROWS = {"metrics": "metric", "logs": "event", "traces": "span"}
"""What ``console`` and ``logging`` call an item of a signal."""
_ENOUGH_FAILURES = 3
_POLL_S = 0.05
_LATE = ("in time", "too slow")


class _Rows(logging.Handler):
    """Keeps what the exporter ``logging`` logs."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.rows: list[Mapping[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.rows.append(record.__dict__["telemetry"])


class Probe:
    """A monitor whose agent is the mark, from ``__enter__`` to ``__exit__``.

    Meanwhile nothing of what it or its exporters print reaches standard output or standard error.

    Attributes:
        mark: Label ``agent`` of the counter, and attribute ``mark`` of the event and the span.
        value: Of the counter.
        metrics: The states of the metrics, one for each exporter from which they can be read back; see ``send``.
    """

    def __init__(self, settings: Settings) -> None:
        self.mark = f"validate-{secrets.token_hex(4)}"
        self.value = 1000 + secrets.randbelow(9000)
        self.metrics: list[str] = []
        # What earlier processes left on disk is not ours to send, nor are later ones to send the probe.
        self._settings = settings._replace(spool=None, prometheus_port=settings.prometheus_port or free_port())
        self._printed = io.StringIO()
        self._logged = _Rows()
        self._stack = ExitStack()

    def __enter__(self) -> Probe:  # noqa: PYI034 - Self needs Python 3.11
        export = logging.getLogger("claude_monitoring.export")
        logging.getLogger("claude_monitoring").addHandler(logging.NullHandler())  # what it would log is in the report
        export.addHandler(self._logged)
        export.setLevel(logging.INFO)
        self._stack.enter_context(redirect_stdout(self._printed))
        self._monitor = AgentMonitor(self.mark, settings=self._settings)
        self._stack.callback(lambda: self._monitor.close(2.0 if self._acknowledged else 0.0))
        self._acknowledged = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def send(self, timeout_s: float) -> Iterator[Check]:
        """Record, deliver within ``timeout_s``, and judge: one check for each signal and exporter.

        Its state is ``delivered`` (acknowledged, nothing refused), ``refused``, ``unknown`` (nobody knows) or ``off``.
        """
        monitor = self._monitor
        monitor.increment(NAME, self.value)
        monitor.event(NAME, {"mark": self.mark})
        with monitor.span(NAME, {"mark": self.mark}):
            pass
        self._acknowledged = self._deliver(timeout_s)
        health = {(one.signal, one.name.partition(" ")[0]): one for one in monitor.health().exporters}
        for signal, items in ITEMS.items():
            kinds: tuple[str, ...] = getattr(self._settings, f"{signal}_exporters")
            if not kinds:
                seen = "no exporter that can be used" if self._settings.problems else "no exporter: not asked for"
                yield Check("signal", signal, "", "off", "nothing", seen)
            for kind in kinds:
                one = health[signal, kind]  # type: ignore[index]
                check = self._scraped(one) if kind == "prometheus" else self._pushed(kind, one, timeout_s)
                if kind in ("console", "logging") and check.state == "delivered":
                    check = self._written(kind, signal, items)
                if signal == "metrics" and kind in ("otlp", "prometheus"):
                    self.metrics.append(check.state)
                yield check

    def _deliver(self, timeout_s: float) -> bool:
        """Flush, but no longer than it takes to know that it is of no use."""
        outcome: list[bool] = []
        flushing = threading.Thread(target=lambda: outcome.append(self._monitor.flush(timeout_s)), daemon=True)
        flushing.start()
        deadline = time.monotonic() + timeout_s + 1  # flush keeps to its time; this is for a flush that does not
        while flushing.is_alive() and time.monotonic() < deadline:
            flushing.join(_POLL_S)
            pushed = [one for one in self._monitor.health().exporters if one.name != "prometheus"]
            failing = any(one.consecutive_failures >= _ENOUGH_FAILURES for one in pushed)
            if failing and all(
                one.sent or one.refused or one.consecutive_failures >= _ENOUGH_FAILURES for one in pushed
            ):
                return False
        return outcome == [True]

    def _pushed(self, kind: str, one: ExporterHealth, timeout_s: float) -> Check:
        items, through, expected = ITEMS[one.signal], kind, "taken"
        error = one.last_error
        if kind == "otlp":
            otlp = getattr(self._settings, f"{one.signal}_otlp")
            through = f"{otlp.protocol} {shown_url(otlp.endpoint)}"
            expected = f"{items} acknowledged by {through.partition('/v1/')[0]}, none refused"
        if one.refused:
            seen = f"{one.refused} of {one.sent + one.refused} {items} refused"
            return Check("signal", one.signal, through, "refused", expected, seen, error)
        if one.sent and not one.consecutive_failures:
            return Check(
                "signal", one.signal, through, "delivered", expected, f"{_count(one.sent, items)} acknowledged"
            )
        attempts = one.consecutive_failures
        seen = f"{items} not acknowledged, {_count(attempts, 'attempts')} failed"
        is_open = one.uncertain and "does not speak" not in error  # what speaks another protocol has not taken it
        if error and not (is_open or any(sign in error for sign in _LATE)):
            return Check("signal", one.signal, through, "refused", expected, seen, error)
        if not error or any(sign in error for sign in _LATE):
            error = error or f"no answer within {timeout_s:g} s; is it reachable?"
            error = f"{error.removesuffix('.')}; --timeout-s gives the probe more time"
        return Check("signal", one.signal, through, "unknown", expected, seen, error)

    def _written(self, kind: str, signal: str, items: str) -> Check:
        rows = self._logged.rows if kind == "logging" else map(json.loads, self._printed.getvalue().splitlines())
        count = sum(row["signal"] == _ROWS[signal] and self.mark in json.dumps(row, default=str) for row in rows)
        where = "printed to standard output" if kind == "console" else "logged to claude_monitoring.export at INFO"
        if count:
            return Check("signal", signal, kind, "delivered", where, f"{_count(count, items)} {where}")
        return Check("signal", signal, kind, "unknown", where, f"no {items} with the mark", "please report it")

    def _scraped(self, one: ExporterHealth) -> Check:
        host, port = self._settings.prometheus_host, self._settings.prometheus_port
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where all listen, loopback does
        url = f"http://[{host}]:{port}/metrics" if ":" in host else f"http://{host}:{port}/metrics"
        through, expected = f"prometheus {url}", f"{round_trip.series(self.mark)} = {self.value} on {url}"
        if one.last_error:
            return Check("signal", "metrics", through, "refused", expected, "nothing served", one.last_error)
        try:
            verdict = round_trip.judge(round_trip.read_page(url), self.mark, self.value)
        except round_trip.ReadError as exc:
            return Check("signal", "metrics", through, "refused", expected, exc.seen, exc.way_out)
        if verdict is None or not verdict.exact:
            seen = verdict.seen if verdict is not None else "nothing with the mark"
            return Check("signal", "metrics", through, "unknown", expected, seen, "is another program on this port?")
        return Check("signal", "metrics", through, "delivered", expected, f"{verdict.seen} served")


def _count(number: int, items: str) -> str:
    return f"{number} {items.removesuffix('s') if number == 1 else items}"
