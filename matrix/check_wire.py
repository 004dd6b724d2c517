"""Checks of what was said on the wire: protocol, path, content type, compression, credentials, user agent."""

from __future__ import annotations

from collections.abc import Iterator

from matrix import expected
from matrix.check import Check, each, requests, same
from matrix.http2 import GrpcRequest, grpc_requests, is_http2
from matrix.run import Evidence
from matrix.scenarios import SIGNALS

__all__ = ["grpc_calls", "wire"]

_GRPC_METHODS = {
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
}


def grpc_calls(evidence: Evidence) -> list[GrpcRequest]:
    """What was said in HTTP/2, over all connections."""
    if evidence.seen is None:
        return []
    connections = [one for port in evidence.seen.connections.values() for one in port]
    return [call for one in connections if is_http2(bytes(one.sent)) for call in grpc_requests(bytes(one.sent))]


def wire(evidence: Evidence) -> Iterator[Check]:
    """What each request had to look like."""
    scenario = evidence.scenario
    calls = grpc_calls(evidence)
    agent = f"claude-monitoring/{expected.package_version()} OTel-OTLP-Exporter-Python/"
    for signal in SIGNALS:
        came = requests(evidence, signal)
        yield each(f"protocol of {signal}", scenario.protocol, (one.protocol for one in came))
        path = _GRPC_METHODS[signal] if scenario.protocol == "grpc" else f"/v1/{signal}"
        yield each(f"path of {signal}", path, (one.path for one in came))
        if scenario.protocol == "grpc":
            headers = [call.headers for call in calls if call.headers.get(":path") == path]
            squeezed = [str(call.compressed) for call in calls if call.headers.get(":path") == path]
            yield each(f"compressed flag of {signal}", str(scenario.compression == "gzip"), squeezed)
        else:
            headers = [dict(one.headers) for one in came]
        kind = {"grpc": "application/grpc", "http/protobuf": "application/x-protobuf"}.get(
            scenario.protocol, "application/json"
        )
        yield each(f"content type of {signal}", kind, (one.get("content-type", "none") for one in headers))
        key = "grpc-encoding" if scenario.protocol == "grpc" else "content-encoding"
        yield each(
            f"compression of {signal}",
            scenario.compression or "none",
            (one.get(key, "none").replace("identity", "none") for one in headers),
        )
        agents = sorted({one.get("user-agent", "none") for one in headers})
        fits = bool(agents) and all(one.startswith(agent) for one in agents)
        yield Check(f"user agent of {signal}", f"{agent}...", ", ".join(agents), fits)
        if scenario.endpoint == "saas":
            yield each(f"credentials of {signal}", "Bearer ***", (_masked(one) for one in headers))
    assert evidence.seen is not None
    if scenario.endpoint == "saas":
        agreed = [one.alpn or "none" for port in evidence.seen.connections.values() for one in port]
        yield each("agreed by ALPN", "h2" if scenario.protocol == "grpc" else "http/1.1", agreed)
    yield same("faults of the receiver", "none", ", ".join(evidence.seen.faults) or "none")


def _masked(headers: dict[str, str]) -> str:
    """The scheme of the credentials: what goes into a report is no secret."""
    scheme, _, secret = headers.get("authorization", "none").partition(" ")
    return f"{scheme} ***" if secret else scheme
