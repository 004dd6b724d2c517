"""The real Collector as the place of far sides: what came is read back from its file and Prometheus exporters."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import urllib3

from claude_monitoring.receiver import OtlpReceiver
from matrix.collector.build import CollectorError, find_or_build
from matrix.collector.server import Collector
from matrix.far_side import FarSide, Seen
from matrix.process import NotRunError
from matrix.relay import DIRECT

__all__ = ["CollectorPlace"]

_PATHS = {"resourceMetrics": "/v1/metrics", "resourceLogs": "/v1/logs", "resourceSpans": "/v1/traces"}
_LAST = "claude.session.duration"
"""A metric that is only in the last export of a probe."""
_SETTLE_TIMEOUT_S = 10.0


class CollectorPlace:
    """One Collector for all scenarios, which tell themselves apart by their resource; its files are in ``folder``."""

    host = "127.0.0.1"
    path = DIRECT
    description = "the real OpenTelemetry Collector"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> CollectorPlace:  # noqa: PYI034 - Self needs Python 3.11
        try:
            binary = find_or_build()
        except CollectorError as exc:
            raise NotRunError(str(exc)) from exc
        self._collector = self._stack.enter_context(Collector(binary, self._folder / "collector"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def open(self, name: str, wanted: FarSide) -> dict[str, int]:  # noqa: ARG002 - it has one kind of far side
        """The ports by ``grpc`` and ``http``."""
        endpoints = {"grpc": self._collector.grpc_endpoint, "http": self._collector.http_endpoint}
        return {protocol: int(endpoint.rpartition(":")[2]) for protocol, endpoint in endpoints.items()}

    def close(self, name: str) -> None:
        """It stays for the others."""

    def seen(self, name: str, *, complete: bool) -> Seen:
        """What the Collector has of ``name``; if it is to be ``complete`` the last export is waited for."""
        if complete:
            self._collector.wait_until(lambda one: _LAST in json.dumps(self._requests(one, name)), _SETTLE_TIMEOUT_S)
        with OtlpReceiver(grpc=False) as receiver:  # it reads OTLP's JSON, whoever wrote it
            for request in self._requests(self._collector, name):
                path = next(path for key, path in _PATHS.items() if key in request)
                urllib3.request("POST", f"{receiver.http_endpoint}{path}", json=request, retries=False, timeout=10)
            exposed = self._exposed({str(one.resource.get("service.instance.id")) for one in receiver.metrics})
            return Seen((), receiver.metrics, receiver.logs, receiver.spans, {}, receiver.faults, exposed)

    def _requests(self, collector: Collector, name: str) -> list[dict[str, Any]]:
        """The requests in the file, with the resources of one scenario alone."""
        found = []
        for request in collector.read_file():
            for key, resources in request.items():
                ours = [one for one in resources if name in json.dumps(one["resource"])]
                if ours:
                    found.append({key: ours})
        return found

    def _exposed(self, instances: set[str]) -> dict[str, list[tuple[dict[str, str], float]]]:
        """The samples of these processes."""
        return {
            sample: [(labels, value) for labels, value in values if labels.get("instance") in instances]
            for sample, values in self._collector.read_metrics().items()
        }
