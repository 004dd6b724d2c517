"""The 54 scenarios as data: what the environment of a program says, and what has to come of it.

Nothing here knows how a scenario is run (``run.py``) or how its outcome is judged (``checks.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Protocol = Literal["grpc", "http/protobuf", "http/json"]
Endpoint = Literal["local_grpc", "local_http", "remote_grpc", "remote_http", "saas", "invalid", "unreachable"]
Outcome = Literal[
    "delivered",  # all arrives
    "refused",  # nothing does, with a diagnosis
    "recovered",  # all arrives after an outage, with a line when it began and one when it was over
    "unanswered",  # it arrives, and nobody says so
    "off",  # nothing is tried, with a diagnosis
    "silent",  # nothing is tried
    "partly",  # the signals that are well configured arrive
    "scraped",  # Prometheus reads it
    "printed",  # it stands on standard output
    "both",  # it arrives, and stands on standard output
    "collected",  # a Collector has all of it
]
Feature = Literal["ipv6", "mtls", "restart", "proxy"]

PROTOCOLS: tuple[Protocol, ...] = ("grpc", "http/protobuf", "http/json")
ENDPOINTS: Mapping[Endpoint, str] = {
    "local_grpc": "local gRPC port",
    "local_http": "local HTTP port",
    "remote_grpc": "remote gRPC port",
    "remote_http": "remote HTTP port",
    "saas": "SaaS",
    "invalid": "invalid name",
    "unreachable": "unreachable",
}
INTERVALS_S = (10.0, 30.0)
SIGNALS = ("metrics", "logs", "traces")
STEPS_AN_INTERVAL = 4
TOKEN = "Bearer matrix-5f0c"  # noqa: S105 - what the SaaS far side asks for; worth nothing
_SIGNAL_NAMES = ("METRICS", "LOGS", "TRACES")


@dataclass(frozen=True)
class Diagnosis:
    """What the one line on standard error has to say: patterns, each of which must be found."""

    cause: str
    mend: str


@dataclass(frozen=True)
class Scenario:
    """One row.

    Attributes:
        id: Short and readable; ``pytest matrix -k`` finds it.
        group: ``otlp``, ``plain``, ``fault``, ``fast``, or ``extended`` for rows beyond the 54.
        title: What it is, in words.
        exporter: Value of the three ``OTEL_*_EXPORTER`` variables.
        protocol: Value of ``OTEL_EXPORTER_OTLP_PROTOCOL``; empty without OTLP.
        endpoint: Which far side; empty without one.
        interval_s: What is configured, before it is scaled.
        periods: For how many whole intervals the probe works; half a one comes on top.
        expects: What has to happen.
        diagnosis: What the line on standard error says, if one is due.
        environment: More variables, or other values of those above.
        compression: Of the requests, as it must be on the wire.
        temporality: Of sums and histograms, as it must be on the wire.
        feature: What is special about the far side or the way there.
        also: A second program, which is part of the same row.
    """

    id: str
    group: str
    title: str
    exporter: str = "otlp"
    protocol: str = ""
    endpoint: Endpoint | Literal[""] = ""
    interval_s: float = 10.0
    periods: int = 3
    expects: Outcome = "delivered"
    diagnosis: Diagnosis | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    compression: str = ""
    temporality: str = "cumulative"
    feature: Feature | Literal[""] = ""
    also: Scenario | None = None

    @property
    def steps(self) -> int:
        """How many steps of work the probe does: some of them after the last periodic export."""
        return self.periods * STEPS_AN_INTERVAL + 2

    @property
    def step_s(self) -> float:
        """How long a step is."""
        return self.interval_s / STEPS_AN_INTERVAL

    def scaled(self, factor: float) -> Scenario:
        """The same with shorter intervals, for development; what is fast stays as it is."""
        if self.group == "fast":
            return self
        also = self.also.scaled(factor) if self.also is not None else None
        return replace(self, interval_s=self.interval_s * factor, also=also)


AT_HTTP_PORT = Diagnosis(r"HTTP port", r"gRPC port \(4317\).*OTEL_EXPORTER_OTLP_PROTOCOL")
AT_GRPC_PORT = Diagnosis(r"gRPC port|gRPC|HTTP/2", r"4318|PROTOCOL")
NO_SUCH_NAME = Diagnosis(r"unknown host", r"OTEL_EXPORTER_OTLP_ENDPOINT")
NOBODY = Diagnosis(r"refused|listen", r"collector|endpoint|running")
BLACK_HOLE = Diagnosis(r"no answer from \S+ in time", r"reachable")


def _diagnosis(protocol: Protocol, endpoint: Endpoint, interval_s: float) -> Diagnosis | None:
    """The line that is due, or ``None`` where this protocol is at home."""
    if endpoint == "invalid":
        return NO_SUCH_NAME
    if endpoint == "unreachable":
        return BLACK_HOLE if interval_s == INTERVALS_S[-1] else NOBODY
    if protocol == "grpc" and endpoint.endswith("_http"):
        return AT_HTTP_PORT
    if protocol != "grpc" and endpoint.endswith("_grpc"):
        return AT_GRPC_PORT
    return None


def _otlp(protocol: Protocol, endpoint: Endpoint, interval_s: float) -> Scenario:
    diagnosis = _diagnosis(protocol, endpoint, interval_s)
    return Scenario(
        id=f"{protocol.replace('/', '_')}-{endpoint}-{interval_s:g}s",
        group="otlp",
        title=f"{protocol} to: {ENDPOINTS[endpoint]}, every {interval_s:g} s",
        protocol=protocol,
        endpoint=endpoint,
        interval_s=interval_s,
        expects="delivered" if diagnosis is None else "refused",
        diagnosis=diagnosis,
        compression="gzip" if endpoint == "saas" else "",
        # Several attempts fall within the run. In a scaled one this is what it is scaled to.
        environment={"OTEL_EXPORTER_OTLP_TIMEOUT": "2000"} if diagnosis is BLACK_HOLE else {},
    )


_OTLP = tuple(
    _otlp(protocol, endpoint, interval_s)
    for protocol in PROTOCOLS
    for endpoint in ENDPOINTS
    for interval_s in INTERVALS_S
)
_PLAIN = (
    Scenario("prometheus", "plain", "a Prometheus server scrapes", "prometheus", interval_s=30.0, expects="scraped"),
    Scenario("console", "plain", "JSON on standard output, every 10 s", "console", expects="printed"),
    Scenario("logging", "plain", "records of Python's logging, every 10 s", "logging", expects="printed"),
    Scenario("none", "plain", "telemetry on, every exporter none", "none", expects="silent"),
)
_BAD_TOKEN = Scenario(
    "bad_credentials", "fault", "a token that is rejected", protocol="http/protobuf", endpoint="saas",
    expects="refused", compression="gzip",
    diagnosis=Diagnosis(r"401|credentials|unauthenticated", r"OTEL_EXPORTER_OTLP_HEADERS"),
    environment={"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20wrong"},
)  # fmt: skip
_FAULTS = (
    Scenario(
        "disabled", "fault", "CLAUDE_CODE_ENABLE_TELEMETRY=0, all else set",
        protocol="http/protobuf", endpoint="local_http", expects="silent",
        environment={"CLAUDE_CODE_ENABLE_TELEMETRY": "0"},
    ),
    Scenario(
        "unknown_exporter", "fault", "OTEL_METRICS_EXPORTER=oltp: that signal is off, the others arrive",
        protocol="http/protobuf", endpoint="local_http", expects="partly",
        diagnosis=Diagnosis(r"OTEL_METRICS_EXPORTER.*oltp", r"otlp, prometheus|otlp"),
        environment={"OTEL_METRICS_EXPORTER": "oltp"},
    ),
    Scenario(
        "unknown_protocol", "fault", "OTEL_EXPORTER_OTLP_PROTOCOL=http/xml",
        protocol="http/xml", endpoint="local_http", expects="off",
        diagnosis=Diagnosis(r"OTEL_EXPORTER_OTLP_PROTOCOL.*http/xml", r"grpc.*http/protobuf.*http/json"),
    ),
    Scenario(
        "timeout", "fault", "OTEL_EXPORTER_OTLP_TIMEOUT=100, the far side answers after a second",
        protocol="http/protobuf", endpoint="local_http", expects="unanswered",
        diagnosis=Diagnosis(r"0\.1 s|100 ms|time", r"OTEL_EXPORTER_OTLP_TIMEOUT"),
        environment={"OTEL_EXPORTER_OTLP_TIMEOUT": "100"},
    ),
    replace(
        _BAD_TOKEN,
        title="a token that is rejected, also in the colon form",
        also=replace(
            _BAD_TOKEN,
            id="bad_credentials-colon",
            title="in the colon form",
            environment={"OTEL_EXPORTER_OTLP_HEADERS": "Authorization: Bearer wrong"},
        ),
    ),
)  # fmt: skip
_FAST = tuple(
    Scenario(
        f"console-{round(interval_s * 1000)}ms", "fast", f"JSON on standard output, every {interval_s:g} s",
        "console", interval_s=interval_s, periods=periods, expects="printed",
    )
    for interval_s, periods in ((0.1, 40), (0.5, 10), (1.0, 6))
)  # fmt: skip

SCENARIOS: tuple[Scenario, ...] = (*_OTLP, *_PLAIN, *_FAULTS, *_FAST)
"""The 54."""


def _extended(protocol: Protocol) -> tuple[Scenario, ...]:
    """What is beyond the 54, over one protocol."""
    name, home = protocol.replace("/", "_"), "local_grpc" if protocol == "grpc" else "local_http"
    local = Scenario(f"{name}-", "extended", protocol, protocol=protocol, endpoint=home)  # type: ignore[arg-type]
    saas = replace(local, endpoint="saas", compression="gzip")
    headers, wrong = "OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20wrong"
    per_signal = {f"OTEL_EXPORTER_OTLP_{signal}_HEADERS": f"authorization={TOKEN}" for signal in _SIGNAL_NAMES}
    delta = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}

    def row(what: str, base: Scenario, **changes: Any) -> Scenario:
        title = f"{protocol}: {what.replace('_', ' ')}"
        return replace(base, id=f"{base.id}{what}", title=title, **changes)

    return (
        row("delta", local, temporality="delta", environment=delta),
        row("delta_gzip", local, temporality="delta", environment=delta, compression="gzip"),
        row("gzip", local, compression="gzip"),
        row("mtls", saas, feature="mtls"),
        row("header_with_colon", saas, environment={headers: f"Authorization: {TOKEN}"}),
        row("header_with_blank", saas, environment={headers: f"authorization={TOKEN}"}),
        row("headers_per_signal", saas, environment={headers: wrong, **per_signal}),
        row("two_exporters", local, exporter="otlp,console", expects="both"),
        row("restart", local, feature="restart", expects="recovered", diagnosis=NOBODY, periods=4),
        row("ipv6", local, feature="ipv6"),
        row("proxy", local, feature="proxy"),
    )


EXTENDED = tuple(scenario for protocol in PROTOCOLS for scenario in _extended(protocol))
"""Beyond the 54; plain ``tox`` leaves them out."""
