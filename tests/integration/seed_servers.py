"""From OTLP to the answers of a real Prometheus, in made-up time: what a turn sent is scraped from its minute on.

A real Collector makes of each turn's requests what its ``/metrics`` shows; that stands, minute by minute, until the
next turn, and is laid into the storage of a real Prometheus. So ranges of an hour are full of samples after seconds,
and the same story always gives the same numbers.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path

import urllib3

from matrix.collector.server import Collector
from matrix.prometheus_server import Prometheus

from .seed_story import LAST_MINUTE, Exported

__all__ = ["Recorded", "Samples", "check_alerts", "scraped", "store"]

BEGIN_UNIX_S = 1_767_225_600  # the year 2026; a block of Prometheus begins there
MARK = "seed_mark"

Samples = dict[str, dict[int, float]]
"""Values by minute, by series: ``name{label="value"}``."""


def scraped(otelcol: Path, folder: Path, sent: Iterable[Exported], namespaces: Sequence[str]) -> Samples:
    """What a Prometheus that scrapes a Collector every minute would have; one Collector for each namespace."""
    samples: Samples = {}
    story = list(sent)
    ends = [turn.minute for turn in story[1:]] + [LAST_MINUTE + 1]
    with ExitStack() as stack:
        collectors = [
            stack.enter_context(Collector(otelcol, folder / f"collector{number}", namespace=namespace))
            for number, namespace in enumerate(namespaces)
        ]
        for turn, end in zip(story, ends, strict=True):
            for collector in collectors:
                _feed(collector, turn)
                for name, values in collector.read_metrics().items():
                    for labels, value in values:
                        series = samples.setdefault(_notation(name, labels), {})
                        series.update(dict.fromkeys(range(turn.minute, end), value))
    return samples


def _feed(collector: Collector, turn: Exported) -> None:
    """Send what a turn sent, and return when its exporter has it: it has a mark that came last."""
    for body in turn.requests:
        _post(collector, "application/x-protobuf", body)
    point = {"asDouble": turn.minute, "timeUnixNano": str(time.time_ns())}
    metric = {"name": MARK, "gauge": {"dataPoints": [point]}}
    request = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}
    _post(collector, "application/json", json.dumps(request).encode())
    collector.wait_until(lambda one: turn.minute in _marks(one.read_metrics()))


def _post(collector: Collector, content_type: str, body: bytes) -> None:
    url = f"{collector.http_endpoint}/v1/metrics"
    answer = urllib3.request("POST", url, body=body, headers={"Content-Type": content_type}, timeout=10)
    assert answer.status == HTTPStatus.OK


def _marks(exposed: Mapping[str, list[tuple[dict[str, str], float]]]) -> list[float]:
    return [value for name, values in exposed.items() if name.endswith(MARK) for _, value in values]


def _notation(name: str, labels: dict[str, str]) -> str:
    return f"{name}{{{','.join(f'{key}={json.dumps(labels[key], ensure_ascii=False)}' for key in sorted(labels))}}}"


def store(samples: Samples, folder: Path) -> None:
    """Lay the samples into the storage of a Prometheus that has its files in ``folder``."""
    text = folder / "samples.txt"
    with text.open("w", encoding="utf-8") as file:
        for minute in range(LAST_MINUTE + 1):
            for series, values in samples.items():
                if minute in values:
                    file.write(f"{series} {values[minute]!r} {BEGIN_UNIX_S + 60 * minute}\n")
        file.write("# EOF\n")
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(folder / "data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def check_alerts(
    rules: Sequence[dict[str, str]], samples: Samples, folder: Path, states: Mapping[int, set[str]]
) -> str:
    """What Prometheus' own test runner says against these ``states`` (``HighCost firing``) by minute; empty if nothing.

    It evaluates the rules every minute, against the samples.
    """
    (folder / "rules.yml").write_text(json.dumps({"groups": [{"name": "seeds", "rules": list(rules)}]}))
    minutes = range(LAST_MINUTE + 1)
    series = [
        {"series": name, "values": " ".join(_plain(values[m]) if m in values else "_" for m in minutes)}
        for name, values in samples.items()
    ]
    expectations = [
        {"expr": "count by (alertname, alertstate) (ALERTS)", "eval_time": f"{minute}m", "exp_samples": [
            {"labels": f'{{alertname="{name}", alertstate="{state}"}}', "value": 1}
            for name, state in map(str.split, sorted(wanted))
        ]}
        for minute, wanted in states.items()
    ]  # fmt: skip
    tests = [{"interval": "1m", "input_series": series, "promql_expr_test": expectations}]
    test = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    (folder / "test.yml").write_text(json.dumps(test))
    command = ["promtool", "test", "rules", str(folder / "test.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _plain(value: float) -> str:
    """Without an exponent, which the notation of series hasn't."""
    return format(Decimal(repr(value)), "f")


class Recorded(Prometheus):
    """A server that scrapes nobody, and answers from what ``store`` has laid into ``folder``."""

    def __init__(self, folder: Path) -> None:
        super().__init__([], folder)

    def command(self, ports: Sequence[int]) -> Sequence[str | Path]:
        return [*super().command(ports), "--storage.tsdb.retention.time=100y"]

    def at(self, minute: int, expression: str) -> dict[frozenset[tuple[str, str]], float]:
        """The values of an instant query by their labels.

        Raises:
            ValueError: Prometheus can't read it; with what it says.
        """
        data = self._get("/api/v1/query", query=expression, time=str(BEGIN_UNIX_S + 60 * minute))
        return {frozenset(series["metric"].items()): float(series["value"][1]) for series in data["result"]}
