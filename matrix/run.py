"""Runs one scenario: opens its far side, starts the probe with nothing but an environment, watches, collects."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matrix import expected
from matrix.collector.place import CollectorPlace
from matrix.credentials import Credentials
from matrix.far_side import FarSide, Seen
from matrix.network import Place
from matrix.process import Crowd, NotRunError, Watched, watch
from matrix.proxy import Proxy
from matrix.scenarios import BLACK_HOLE, TOKEN, Scenario
from matrix.scrape import Scrape, Scraped

__all__ = ["Evidence", "Stage", "run"]

PROBE = str(Path(__file__).with_name("probe.py"))
_PATHS = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "VIRTUAL_ENV")


@dataclass
class Evidence:
    """What was seen of one run of a probe.

    Attributes:
        scenario: What was run.
        environment: What the probe was started with.
        watched: The process, from outside.
        result: What it wrote about itself: ``answer``, ``began_s``, ``closing_s``, ``closed_s``, ``cpu_s``,
            ``delivered``, ``health``. Empty if it did not come so far.
        endpoint: Where it was told to send.
        seen: What came to its far side; ``None`` without one.
        scraped: What a Prometheus server had read of it.
        proxied: What a proxy was asked for.
    """

    scenario: Scenario
    environment: Mapping[str, str]
    watched: Watched
    result: dict[str, Any]
    endpoint: str = ""
    seen: Seen | None = None
    scraped: Scraped | None = None
    proxied: Sequence[str] = ()


@dataclass(frozen=True)
class Stage:
    """What all scenarios of a run share: the places of far sides, credentials, a folder, and turns at starting."""

    folder: Path
    here: Place | CollectorPlace
    away: Place
    credentials: Credentials
    crowd: Crowd


def far_side_of(scenario: Scenario, stage: Stage, place: Place | CollectorPlace) -> FarSide:
    """What has to stand at the other end."""
    wanted = FarSide("::1" if scenario.feature == "ipv6" else place.host, path=place.path)
    if scenario.feature == "restart":
        return replace(wanted, outage_s=(0.5 * scenario.interval_s, scenario.interval_s))
    if scenario.endpoint == "unreachable":
        return replace(wanted, kind="black hole" if scenario.diagnosis is BLACK_HOLE else "nobody")
    if scenario.endpoint == "saas":
        return replace(
            wanted,
            kind="saas",
            certificate=stage.credentials.server,
            required_headers={"authorization": TOKEN},
            client_authority=stage.credentials.authority if scenario.feature == "mtls" else "",
        )
    if scenario.expects == "unanswered":
        return replace(wanted, answer={"delay_s": 1.0, "accepted": True})
    return wanted


def endpoint_of(scenario: Scenario, host: str, ports: Mapping[str, int]) -> str:
    """The URL for ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
    if scenario.endpoint == "invalid":
        return f"http://collector.invalid:{4317 if scenario.protocol == 'grpc' else 4318}"
    if scenario.endpoint == "saas":
        return f"https://localhost:{ports['http']}"
    port = ports["http" if scenario.endpoint.endswith("http") else "grpc"]
    return f"http://{'[::1]' if scenario.feature == 'ipv6' else host}:{port}"


def probe_environment(scenario: Scenario, folder: Path) -> dict[str, str]:
    """The environment of a probe with no telemetry asked for; nothing of ours but the way to programs."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    (home / ".claude.json").write_text(json.dumps({"userID": expected.USER}), encoding="utf-8")
    return {name: os.environ[name] for name in _PATHS if name in os.environ} | {
        "HOME": str(home),
        "TERM_PROGRAM": "matrix",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "error",
        "PROBE_STEPS": str(scenario.steps),
        "PROBE_STEP_S": repr(scenario.step_s),
        "PROBE_RESULT": str(folder / "result.json"),
        # Where something is refused the program has an exit code of its own, which must stay what it is.
        "PROBE_EXIT_CODE": "0" if scenario.diagnosis is None else "3",
    }


def telemetry_environment(scenario: Scenario, endpoint: str, stage: Stage) -> dict[str, str]:
    """What turns telemetry on, as the scenario wants it."""
    interval_ms = str(round(scenario.interval_s * 1000))
    environ = {
        "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
        "OTEL_SERVICE_NAME": expected.SERVICE,
        "OTEL_RESOURCE_ATTRIBUTES": f"matrix.scenario={scenario.id}",
        **{f"OTEL_{signal}_EXPORTER": scenario.exporter for signal in ("METRICS", "LOGS", "TRACES")},
        **{f"OTEL_{signal}_EXPORT_INTERVAL": interval_ms for signal in ("METRIC", "LOGS", "TRACES")},
    }
    if scenario.exporter == "prometheus":
        environ |= {"OTEL_LOGS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none", "PROBE_HOLD": "1"}
        environ |= {"OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1"}
    if scenario.exporter == "logging":
        environ["PROBE_LOGS_TELEMETRY"] = "1"
    if endpoint:
        environ |= {"OTEL_EXPORTER_OTLP_PROTOCOL": scenario.protocol, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    if scenario.compression:
        environ["OTEL_EXPORTER_OTLP_COMPRESSION"] = scenario.compression
    if scenario.endpoint == "saas":
        environ["OTEL_EXPORTER_OTLP_CERTIFICATE"] = stage.credentials.authority
        environ["OTEL_EXPORTER_OTLP_HEADERS"] = f"authorization={TOKEN.replace(' ', '%20')}"
    if scenario.feature == "mtls":
        environ["OTEL_EXPORTER_OTLP_CLIENT_KEY"] = stage.credentials.client_key
        environ["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"] = stage.credentials.client_certificate
    return environ | dict(scenario.environment)


def run(scenario: Scenario, stage: Stage, *, telemetry: bool = True, package: Path | None = None) -> Evidence:
    """Run it to its end.

    Args:
        scenario: What to run.
        stage: Where.
        telemetry: Without, the same program runs with none, to compare with.
        package: Folder whose ``claude_monitoring`` the probe uses, in place of the installed one.

    Raises:
        NotRunError: If it can't be run here.
    """
    name = scenario.id if telemetry else f"{scenario.id}-without"
    folder = stage.folder / name
    environ = probe_environment(scenario, folder)
    if package is not None:
        environ["PYTHONPATH"] = str(package)
    endpoint, seen, scrape, proxy = "", None, None, None
    with ExitStack() as stack:
        place = stage.away if scenario.endpoint.startswith("remote") else stage.here
        if telemetry and scenario.endpoint:
            try:
                ports = place.open(name, far_side_of(scenario, stage, place))
            except (OSError, RuntimeError) as exc:
                raise NotRunError(f"its far side can't be opened: {exc}") from exc
            stack.callback(place.close, name)
            endpoint = endpoint_of(scenario, place.host, ports)
        if telemetry:
            environ |= telemetry_environment(scenario, endpoint, stage)
            if scenario.expects == "scraped":
                scrape = stack.enter_context(Scrape(folder))
                environ["OTEL_EXPORTER_PROMETHEUS_PORT"] = str(scrape.port)
            if scenario.feature == "proxy":
                proxy = stack.enter_context(Proxy(folder))
                environ["http_proxy"] = proxy.url
        work_s = scenario.steps * scenario.step_s
        # Where none is expected a thread or a socket must not slip through; elsewhere looking is only for the report.
        look_s = 0.05 if scenario.expects in ("silent", "off") else 0.5
        on_worked = scrape.read if scrape else None
        watched = watch([PROBE], environ, stage.crowd, work_s=work_s, look_s=look_s, on_worked=on_worked)
        if endpoint:
            seen = place.seen(name, complete=scenario.expects == "collected")
        proxied = proxy.requests() if proxy else []
    result: dict[str, Any] = {}
    with suppress(FileNotFoundError):
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return Evidence(scenario, environ, watched, result, endpoint, seen, scrape.scraped if scrape else None, proxied)
