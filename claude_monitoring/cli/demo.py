"""``claude-monitoring demo``: a team of agents works, its telemetry arrives, and the totals are compared."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any
from urllib.request import urlopen

from claude_monitoring._extras import require
from claude_monitoring._instruments import registry_of
from claude_monitoring._settings import Settings
from claude_monitoring.cli.team import AGENTS, Tally, run_team, source_files
from claude_monitoring.receiver import OtlpReceiver
from claude_monitoring.testing import totals

__all__ = ["Row", "add_parser", "compare_otlp", "compare_prometheus"]

Sent = tuple[int, float]

PROTOCOLS = ("grpc", "http/protobuf", "http/json", "prometheus")


@dataclass(frozen=True)
class Row:
    """One line of the table: a metric, its series, and what was sent and received.

    ``sent`` is the agents' own count where they keep one, else what the library recorded.
    """

    metric: str
    series: int
    sent: float
    received: float

    @property
    def equal(self) -> bool:
        """Whether both are the same, but for the last digits of a sum of fractions."""
        return abs(self.sent - self.received) <= 1e-9 * max(1.0, abs(self.sent))


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = commands.add_parser("demo", help="run a team of agents and see its telemetry arrive")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="http/protobuf", help="default: %(default)s")
    parser.add_argument("--all", action="store_true", help="every OTLP protocol and Prometheus, one after another")
    parser.add_argument("--files", type=int, default=60, help="files that each agent works on (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 if every row is equal, else 1."""
    show = None if arguments.json else require("rich.console", extra="cli", needed_by="claude-monitoring demo")
    console = show.Console() if show is not None else None
    results: dict[str, list[Row]] = {}
    for protocol in PROTOCOLS if arguments.all else (arguments.protocol,):
        results[protocol] = _round(protocol, arguments.files, console)
        if console is not None:
            _print_table(console, protocol, results[protocol])
    equal = all(rows and all(row.equal for row in rows) for rows in results.values())
    if arguments.json:
        whole = {name: [{**asdict(row), "equal": row.equal} for row in rows] for name, rows in results.items()}
        json.dump({"equal": equal, "results": whole}, sys.stdout, indent=2)
        print()
    elif console is not None:
        console.print("[green]Everything sent was received.[/]" if equal else "[red]Not everything was received.[/]")
    return 0 if equal else 1


def _round(protocol: str, limit: int, console: Any) -> list[Row]:
    files = source_files(limit)
    with OtlpReceiver() as receiver:
        settings = _settings(protocol, receiver)
        started = time.perf_counter()
        monitors, tally = _with_progress(console, protocol, settings, files)
        pipeline = monitors[0]._pipeline
        if pipeline is None:
            return []
        delivered = pipeline.flush(10)
        sent = _sent(totals(pipeline.store), tally)
        if protocol == "prometheus":
            rows = compare_prometheus(sent, pipeline)
        else:
            rows = compare_otlp(sent, receiver)
            rows.append(Row("spans", 1, len(monitors) * (len(files) + 1), len(receiver.spans)))
            rows.append(Row("events", 1, len(monitors), len(receiver.logs)))
        seconds = time.perf_counter() - started
        for monitor in monitors:
            monitor.close()
    if console is not None:
        console.print(
            f"{len(monitors)} agents, {len(files)} files each, {seconds:.1f} s, "
            f"{'everything acknowledged' if delivered else 'NOT everything acknowledged'}"
        )
    return rows


def _sent(recorded: dict[str, Any], tally: Tally) -> dict[str, Sent]:
    """Series and value of each metric by name; the agents' own count wins over what was recorded."""
    return {
        name: (len(series), tally.by_metric.get(name, sum(series.values())))
        for name, series in sorted(recorded.items())
    }


def _settings(protocol: str, receiver: OtlpReceiver) -> Settings:
    environ = {"CLAUDE_CODE_ENABLE_TELEMETRY": "1", "OTEL_SERVICE_NAME": "claude-monitoring-demo"}
    if protocol == "prometheus":
        environ |= {"OTEL_METRICS_EXPORTER": "prometheus"}
        environ |= {"OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1", "OTEL_EXPORTER_PROMETHEUS_PORT": "0"}
    else:
        environ |= {f"OTEL_{signal}_EXPORTER": "otlp" for signal in ("METRICS", "LOGS", "TRACES")}
        environ |= {
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint(protocol),
        }
    return Settings.load(environ=environ)


def _with_progress(console: Any, protocol: str, settings: Settings, files: list[Any]) -> Any:
    if console is None:
        return run_team(settings, files, lambda: None)
    progress = require("rich.progress", extra="cli", needed_by="claude-monitoring demo")
    with progress.Progress(console=console, transient=True) as bar:
        work = bar.add_task(f"{', '.join(AGENTS)} over {protocol}", total=len(AGENTS) * len(files))
        advance: Callable[[], None] = lambda: bar.advance(work)  # noqa: E731
        return run_team(settings, files, advance)


def compare_otlp(sent: dict[str, Sent], receiver: OtlpReceiver) -> list[Row]:
    """One row a metric: what was sent beside the receiver's totals."""
    return [Row(name, series, value, sum(receiver.series(name).values())) for name, (series, value) in sent.items()]


def compare_prometheus(sent: dict[str, Sent], pipeline: Any) -> list[Row]:
    """The same for a scrape of ``/metrics``, under the exposed names."""
    from prometheus_client.parser import text_string_to_metric_families

    from claude_monitoring._names import prometheus_name

    host, port = pipeline.prometheus_address
    with urlopen(f"http://{host}:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    received: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            received[sample.name] = received.get(sample.name, 0.0) + sample.value
    registry = registry_of(pipeline.store)
    rows = []
    for name, (series, value) in sent.items():
        spec = registry.resolve(name, None).spec
        exposed = prometheus_name(spec.name, spec.unit, spec.kind)
        counted = f"{exposed}_count" if spec.kind == "histogram" else exposed
        rows.append(Row(exposed, series, value, received.get(counted, 0.0)))
    return rows


def _print_table(console: Any, protocol: str, rows: list[Row]) -> None:
    table = require("rich.table", extra="cli", needed_by="claude-monitoring demo").Table(title=f"over {protocol}")
    table.add_column("metric", overflow="fold")
    for column in ("series", "sent", "received"):
        table.add_column(column, justify="right")
    table.add_column("")
    for row in rows:
        mark = "[green]=[/]" if row.equal else "[red]differs[/]"
        table.add_row(row.metric, str(row.series), _show(row.sent), _show(row.received), mark)
    console.print(table)


def _show(value: float) -> str:
    """Whole numbers in full, others with six digits."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.6g}"
