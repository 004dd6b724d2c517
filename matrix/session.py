"""Runs many scenarios side by side, with what they share, and makes a row of the report of each."""

from __future__ import annotations

import datetime as dt
import os
import platform
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from claude_monitoring.receiver import OtlpReceiver
from matrix.check import Check
from matrix.check_wire import grpc_calls
from matrix.checks import judge
from matrix.collector.place import CollectorPlace
from matrix.credentials import Credentials
from matrix.network import Place
from matrix.process import Crowd, NotRunError
from matrix.run import Evidence, Stage, run
from matrix.scenarios import ENDPOINTS, SIGNALS, Scenario

__all__ = ["run_all"]

DEFAULT_PORTS = {"grpc": 4317, "http": 4318}
_PACKAGES = ("claude-monitoring", "opentelemetry-sdk", "opentelemetry-exporter-otlp", "grpcio", "protobuf")

Row = dict[str, Any]


def run_all(
    scenarios: Sequence[Scenario],
    on_change: Callable[[Row], None],
    *,
    time_scale: float = 1.0,
    packages: Mapping[str, Path] | None = None,
    through_collector: bool = False,
) -> dict[str, Any]:
    """Run ``scenarios`` side by side; the results, in the shape that ``report.py`` describes.

    Args:
        scenarios: What to run, unscaled.
        on_change: Told each row when it changes its state.
        time_scale: What intervals are multiplied with.
        packages: For the mutations: what a scenario's probe uses in place of the installed package, by its id.
        through_collector: The real Collector stands in the place of local far sides.

    Raises:
        NotRunError: There is no Collector, and none can be built.
    """
    began_s = time.monotonic()
    scaled = [scenario.scaled(time_scale) for scenario in scenarios]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="matrix-")))
        crowd = Crowd()
        here: Place | CollectorPlace = CollectorPlace(folder) if through_collector else Place()
        stack.enter_context(here)
        away = stack.enter_context(Place(remote=True))
        stage = Stage(folder, here, away, Credentials(folder), crowd)
        decoys = _Decoys(stack)
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=2 * len(scaled) + 1))
        stack.callback(crowd.stop)  # before the pool is waited for: at Ctrl-C nobody waits for probes
        without = _Without(pool, stage)
        work = [
            pool.submit(_one, scenario, stage, without, decoys, on_change, (packages or {}).get(scenario.id))
            for scenario in sorted(scaled, key=lambda one: -one.interval_s * one.periods)
        ]
        rows = {row["id"]: row for row in (future.result() for future in work)}
        network = f"{here.description if through_collector else away.description}{decoys.description}"
    return {
        "made": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        "time_scale": time_scale,
        "seconds": round(time.monotonic() - began_s, 1),
        "machine": {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
        },
        "versions": _versions(),
        "network": network,
        "rows": [rows[scenario.id] for scenario in scenarios],
    }


class _Without:
    """The same probe with no telemetry, once for all scenarios with the same work."""

    def __init__(self, pool: ThreadPoolExecutor, stage: Stage) -> None:
        self._pool = pool
        self._stage = stage
        self._lock = threading.Lock()
        self._runs: dict[Any, Future[Evidence]] = {}

    def begin(self, scenario: Scenario) -> Future[Evidence]:
        key = (scenario.interval_s, scenario.periods)
        with self._lock:
            if key not in self._runs:
                self._runs[key] = self._pool.submit(run, scenario, self._stage, telemetry=False)
            return self._runs[key]


class _Decoys:
    """Receivers at the default ports, where nothing of a probe must come; a port that is taken is not watched."""

    def __init__(self, stack: ExitStack) -> None:
        self._receivers: list[OtlpReceiver] = []
        taken = []
        for name, port in DEFAULT_PORTS.items():
            receiver = OtlpReceiver(grpc_port=port, http_port=port, grpc=name == "grpc", http=name == "http")
            try:
                self._receivers.append(stack.enter_context(receiver))
            except OSError:
                taken.append(str(port))
        self.description = f"; port {' and '.join(taken)} of this machine taken by another program" if taken else ""

    def check(self, scenario: Scenario) -> Check:
        """That nothing of ``scenario`` came here."""
        items: list[Any] = [
            item for receiver in self._receivers for item in (*receiver.metrics, *receiver.logs, *receiver.spans)
        ]
        count = sum(item.resource.get("matrix.scenario") == scenario.id for item in items)
        return Check("items at the default ports", "0", str(count), count == 0)


def _one(
    scenario: Scenario,
    stage: Stage,
    without: _Without,
    decoys: _Decoys,
    on_change: Callable[[Row], None],
    package: Path | None,
) -> Row:
    row = new_row(scenario)
    began_s = time.monotonic()
    try:
        baseline = without.begin(scenario)
        on_change(row | {"outcome": "running"})
        evidence = run(scenario, stage, package=package)
        row |= _facts(evidence, baseline.result())
        checks = [*judge(evidence, baseline.result()), decoys.check(scenario)]
        if scenario.also is not None:
            second = run(scenario.also, stage, package=package)
            checks += [
                Check(f"{scenario.also.title}: {one.name}", one.expected, one.seen, one.ok)
                for one in judge(second, baseline.result())
            ]
        failed = [one for one in checks if not one.ok]
        row["checks"] = [asdict(one) for one in checks]
        row["outcome"] = "failed" if failed else "passed"
        row["why"] = f"{failed[0].name}: expected {failed[0].expected}, seen {failed[0].seen}" if failed else ""
    except NotRunError as exc:
        row |= {"outcome": "not run", "why": str(exc)}
    row["seconds"] = round(time.monotonic() - began_s, 1)
    on_change(row)
    return row


def new_row(scenario: Scenario) -> Row:
    """A row before it was run."""
    return {
        "id": scenario.id,
        "group": scenario.group,
        "title": scenario.title,
        "protocol": scenario.protocol,
        "endpoint": ENDPOINTS[scenario.endpoint] if scenario.endpoint else "",
        "interval_s": scenario.interval_s,
        "expects": scenario.expects,
        "outcome": "waiting",
        "why": "",
        "seconds": 0.0,
        "environment": {},
        "checks": [],
        "wire": [],
        "exports": [],
        "ended_s": None,
        "stderr": "",
        "cost": {},
    }


def _facts(evidence: Evidence, without: Evidence) -> Row:
    result = evidence.result
    began_s = result.get("began_s", 0.0)
    return {
        "environment": {
            name: "authorization=Bearer ***" if name.endswith("HEADERS") else value
            for name, value in evidence.environment.items()
            if name.startswith(("OTEL_", "CLAUDE_", "PROBE_STEP"))
        },
        "wire": _wire_facts(evidence),
        "exports": _exports(evidence, began_s),
        "ended_s": round(result["closing_s"] - began_s, 3) if result else None,
        "stderr": evidence.watched.stderr,
        "cost": {"with": _cost(evidence), "without": _cost(without)},
    }


def _cost(evidence: Evidence) -> dict[str, Any]:
    return {
        "peak_mb": round(evidence.watched.peak_bytes / 1e6, 1),
        "cpu_s": round(evidence.result.get("cpu_s", 0.0), 2),
        "threads": evidence.watched.threads,
    }


def _exports(evidence: Evidence, began_s: float) -> list[dict[str, Any]]:
    seen = evidence.seen
    if seen is None:
        return []
    items: dict[tuple[str, int], int] = {}
    for signal, kind in zip(SIGNALS, (seen.points, seen.logs, seen.spans), strict=True):
        for item in kind:
            items[signal, item.request] = items.get((signal, item.request), 0) + 1
    return [
        {
            "signal": one.signal,
            "at_s": round(one.received_s - began_s, 3),
            "status": str(one.status),
            "items": items.get((one.signal or "", one.index), 0),
            "body_bytes": one.body_bytes,
        }
        for one in seen.requests
        if one.signal
    ]


def _wire_facts(evidence: Evidence) -> list[dict[str, str]]:
    seen = evidence.seen
    if seen is None:
        return []
    connections = [one for port in seen.connections.values() for one in port]
    headers: Iterable[Mapping[str, str]] = [call.headers for call in grpc_calls(evidence)]
    headers = [*headers, *(one.headers for one in seen.requests if one.protocol != "grpc")]
    facts = {
        "endpoint": [evidence.endpoint],
        "connections": [str(len(connections))],
        "bytes sent": [str(sum(len(one.sent) for one in connections))],
        "TLS": [f"{one.tls}, ALPN {one.alpn or 'nothing'}" for one in connections if one.tls],
        "status": [str(one.status) for one in seen.requests],
    }
    for name in (":path", "content-type", "content-encoding", "grpc-encoding", "grpc-timeout", "te", "user-agent"):
        facts[name.lstrip(":")] = [one[name] for one in headers if name in one]
    facts.setdefault("path", []).extend(one.path for one in seen.requests if one.protocol != "grpc")
    return [{"name": name, "value": ", ".join(sorted(set(found)))} for name, found in facts.items() if found]


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if shutil.which("prometheus"):
        told = subprocess.run(["prometheus", "--version"], capture_output=True, text=True, check=False)
        found["prometheus"] = (told.stdout or told.stderr).split()[2]
    return found
