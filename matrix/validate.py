"""``python -m matrix validate``: sends a marked probe as a program with this environment would, and judges the outcome.

Exit code 0 only if all that was asked for is proven; 1 if not; 2 for a call that asks for nothing, or can't be used.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import urllib3

from claude_monitoring import Settings
from matrix import round_trip
from matrix.validate_probe import Probe
from matrix.validate_report import Check, Report, shown_url

__all__ = ["add_parser", "run"]

SIGNALS = ("metrics", "logs", "traces")
_LONGEST_MS = 2_147_483_647
_NOTHING = (
    "there is nothing to validate: no exporter is set. Pass --endpoint URL, such as --endpoint http://localhost:4318, "
    "or set CLAUDE_CODE_ENABLE_TELEMETRY=1, OTEL_EXPORTER_OTLP_ENDPOINT, and OTEL_METRICS_EXPORTER, OTEL_LOGS_EXPORTER "
    "or OTEL_TRACES_EXPORTER to otlp, console or logging (metrics also to prometheus)"
)
_ALL_NONE = (
    "there is nothing to validate: every exporter variable that is set says none. Unset OTEL_METRICS_EXPORTER, "
    "OTEL_LOGS_EXPORTER and OTEL_TRACES_EXPORTER, or set what you want to otlp"
)
_DESCRIPTION = """\
Sends a marked counter, event and span the way a program with this environment would, and says for each signal
whether it was delivered, refused (and why, and what to do), or unknown. Options win over the environment.
"""
_EPILOG = """\
Exit code: 0 if all that was asked for is proven, 1 if not, 2 for arguments that can't be used.
Better than --headers, which other users of this machine can see, is the variable OTEL_EXPORTER_OTLP_HEADERS.
"""


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "validate",
        help="prove one's own configuration",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--endpoint", metavar="URL", help="of the collector; also turns telemetry on, and OTLP")
    parser.add_argument("--protocol", choices=("grpc", "http/protobuf", "http/json"))
    parser.add_argument("--headers", metavar="NAME=VALUE,...", help="of each request")
    parser.add_argument("--interval", metavar="MS", type=_milliseconds, help="between two exports")
    parser.add_argument("--timeout", metavar="MS", type=_milliseconds, help="limit for one request")
    wait = parser.add_argument_group("what is waited for")
    wait.add_argument(
        "--timeout-s", metavar="S", type=_seconds, default=10.0, help="limit for the delivery (default: %(default)g)"
    )
    wait.add_argument("--prometheus-url", metavar="URL", type=_url, help="read the value back from this Prometheus")
    wait.add_argument("--metrics-url", metavar="URL", type=_url, help="read it back from this Collector's /metrics")
    wait.add_argument(
        "--round-trip-timeout-s", metavar="S", type=_seconds, default=60.0, help="limit for that (default: %(default)g)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run, error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Validate; the exit code."""
    settings = _load(arguments)
    if not settings.problems and not any(_exporters(settings).values()):
        arguments.error(_NOTHING if arguments.endpoint is None else _ALL_NONE)
    report = Report(as_json=arguments.json)
    report.settings(list(_in_force(settings)))
    for problem in settings.problems:
        label, _, reason = problem.partition(" can't be used: ")
        report.add(Check("setting", label.partition("=")[0], "", "unusable", "a usable value", label, reason))
    if settings.enabled:
        with Probe(settings) as probe:
            report.mark = probe.mark
            say(f"sending the probe {probe.mark} (at most {arguments.timeout_s:g} s)")
            for check in probe.send(arguments.timeout_s):
                report.add(check)
            for check in _round_trips(arguments, probe):
                report.add(check)
    else:
        report.add(_off())
    return report.end()


def say(text: str) -> None:
    """Tell whoever waits; standard output is for the result."""
    print(text, file=sys.stderr, flush=True)


def _off() -> Check:
    value = os.environ.get("CLAUDE_CODE_ENABLE_TELEMETRY", "").strip()
    seen = f"CLAUDE_CODE_ENABLE_TELEMETRY={value}" if value else "CLAUDE_CODE_ENABLE_TELEMETRY is not set"
    mend = "set CLAUDE_CODE_ENABLE_TELEMETRY=1 or pass --endpoint: a program with this environment sends nothing"
    return Check("setting", "CLAUDE_CODE_ENABLE_TELEMETRY", "", "off", "telemetry is on", seen, mend)


def _round_trips(arguments: argparse.Namespace, probe: Probe) -> Iterator[Check]:
    for url, read in (
        (arguments.prometheus_url, round_trip.read_prometheus),
        (arguments.metrics_url, round_trip.read_page),
    ):
        if not url:
            continue
        through = shown_url(url)
        if "unknown" not in probe.metrics and "delivered" not in probe.metrics:
            mend = "see to the metrics first" if probe.metrics else "set OTEL_METRICS_EXPORTER=otlp or prometheus"
            expected = f"metrics that can be read back from {through}"
            yield Check("round trip", "metrics", through, "not tried", expected, "no metrics were delivered", mend)
        else:
            yield round_trip.wait_for(probe, read, url, arguments.round_trip_timeout_s, say)


# -- settings ---------------------------------------------------------------------------------------


def _load(arguments: argparse.Namespace) -> Settings:
    given: dict[str, Any] = {
        "endpoint": arguments.endpoint,
        "protocol": arguments.protocol,
        "headers": arguments.headers,
        "interval_s": arguments.interval and arguments.interval / 1000,
        "timeout_s": arguments.timeout and arguments.timeout / 1000,
    }
    for problem in Settings.load(environ={}, **given).problems:
        arguments.error(problem.replace("argument ", "--", 1).removesuffix("; nothing uses it now"))
    if arguments.endpoint is not None:
        chosen = any(os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip() for signal in SIGNALS)
        given |= {"enabled": True, "export_to_grafana": not chosen}
    return Settings.load(strict=False, **given)  # so that all problems are shown, not raised


def _exporters(settings: Settings) -> Mapping[str, tuple[str, ...]]:
    return {signal: getattr(settings, f"{signal}_exporters") for signal in SIGNALS}


def _in_force(settings: Settings) -> Iterator[dict[str, Any]]:
    for signal, kinds in _exporters(settings).items():
        for kind in kinds or ("none",):
            row: dict[str, Any] = {
                "signal": signal,
                "exporter": kind,
                "protocol": "",
                "endpoint": "",
                "interval_s": None,
            }
            row |= {"compression": "", "headers": []}
            if kind == "prometheus":
                row["endpoint"] = f"http://{settings.prometheus_host}:{settings.prometheus_port}/metrics"
            elif kind != "none":
                row["interval_s"] = getattr(settings, f"{signal}_interval_s")
            if kind == "otlp":
                otlp = getattr(settings, f"{signal}_otlp")
                row |= {"protocol": otlp.protocol, "endpoint": shown_url(otlp.endpoint)}
                row |= {"compression": otlp.compression, "headers": [name for name, _ in otlp.headers]}
            yield row


# -- kinds of arguments -----------------------------------------------------------------------------


def _milliseconds(text: str) -> float:
    return _number(text, "milliseconds", _LONGEST_MS)


def _seconds(text: str) -> float:
    return _number(text, "seconds", 3600)


def _number(text: str, unit: str, most: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    least = 1 if unit == "milliseconds" else 0.1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(
            f"{text!r} can't be used: accepted is a number of {unit} from {least} to {most}"
        )
    return value


def _url(text: str) -> str:
    try:
        url = urllib3.util.parse_url(text)
    except urllib3.exceptions.LocationParseError:
        url = urllib3.util.Url()
    if url.scheme not in ("http", "https") or not url.host:
        raise argparse.ArgumentTypeError("it can't be used: accepted is a URL such as http://localhost:9090")
    return text.rstrip("/")
