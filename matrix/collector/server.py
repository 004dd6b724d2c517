"""Runs an OpenTelemetry Collector on loopback and reads back what its exporters have."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psutil
import urllib3
from prometheus_client.parser import text_string_to_metric_families

from matrix.server_process import ServerProcess

__all__ = ["Collector"]


class Collector(ServerProcess):
    """A Collector that takes OTLP on free ports of 127.0.0.1 until the ``with`` block ends; ``folder`` has its files.

    All three signals go to its file exporter, metrics to its Prometheus exporter too, whose names get no prefix unless
    there is a ``namespace``. The file can still be read after the block.

    Attributes:
        grpc_endpoint, http_endpoint: For ``OTEL_EXPORTER_OTLP_ENDPOINT``.
        metrics_url: Where Prometheus would scrape it.
    """

    title = "the Collector"
    port_count = 3

    def __init__(self, binary: Path, folder: Path, *, namespace: str = "") -> None:
        super().__init__(folder, "collector.log")
        self.grpc_endpoint = self.http_endpoint = self.metrics_url = ""
        self._ports: set[int] = set()
        self._binary = binary
        self._namespace = namespace
        self._file = folder / "received.jsonl"
        self._http = urllib3.PoolManager(timeout=10, retries=False)

    def command(self, ports: Sequence[int]) -> Sequence[str | Path]:
        """How to start it; the configuration is written."""
        grpc, http, metrics = ports
        self._ports = set(ports)
        self.grpc_endpoint, self.http_endpoint = f"http://127.0.0.1:{grpc}", f"http://127.0.0.1:{http}"
        self.metrics_url = f"http://127.0.0.1:{metrics}/metrics"
        config = self._folder / "collector.yaml"
        config.write_text(json.dumps(self._config(grpc, http, metrics), indent=2))  # JSON is YAML
        return [self._binary, f"--config=file:{config}"]

    def is_ready(self) -> bool:
        """Whether it listens on all of its ports; a connection could be answered by somebody else."""
        try:
            sockets = psutil.Process(self.pid).net_connections("tcp")
        except psutil.Error:  # it is ending
            return False
        return self._ports <= {one.laddr.port for one in sockets if one.status == psutil.CONN_LISTEN}

    def metrics_text(self) -> str:
        """What a scrape gets.

        Raises:
            RuntimeError: The Collector ended, or answers an error; with the end of its log.
        """
        try:
            answer = self._http.request("GET", self.metrics_url)
        except urllib3.exceptions.HTTPError:
            self.check_alive(ending=True)
            raise
        if answer.status != HTTPStatus.OK:
            raise RuntimeError(f"{self.metrics_url} answers {answer.status}: {answer.data[:500]!r}; {self.log_tail()}")
        return answer.data.decode()

    def read_metrics(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Labels and values of what a scrape gets, by the name of the samples, letter by letter."""
        # With its # TYPE, the parser gives a counter the end _total that it may lack.
        plain = "\n".join(line for line in self.metrics_text().splitlines() if not line.startswith("#"))
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(plain + "\n"):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found

    def read_types(self) -> dict[str, str]:
        """The metrics that a scrape gets, with the type of each: ``counter``, ``gauge`` or ``histogram``."""
        return dict(re.findall(r"^# TYPE (\S+) (\S+)$", self.metrics_text(), re.MULTILINE))

    def read_file(self) -> list[dict[str, Any]]:
        """The OTLP requests that the file exporter has written so far, decoded from JSON."""
        if not self._file.exists():
            return []
        *whole, _ = self._file.read_bytes().split(b"\n")  # what is after the last line's end is still being written
        return [json.loads(line) for line in whole]

    def _config(self, grpc: int, http: int, metrics: int) -> dict[str, Any]:
        through = {"receivers": ["otlp"], "processors": ["memory_limiter", "batch"]}
        protocols = {"grpc": {"endpoint": f"127.0.0.1:{grpc}"}, "http": {"endpoint": f"127.0.0.1:{http}"}}
        return {
            "receivers": {"otlp": {"protocols": protocols}},
            "processors": {
                "memory_limiter": {"check_interval": "1s", "limit_mib": 512},
                "batch": {"timeout": "50ms"},  # what is received can be read soon
            },
            "exporters": {
                "prometheus": {
                    "endpoint": f"127.0.0.1:{metrics}",
                    "namespace": self._namespace,
                    # By default a series vanishes five minutes after its last export, and a program may have ended.
                    "metric_expiration": "24h",
                },
                "file": {"path": str(self._file), "flush_interval": "50ms"},
                "debug": {"verbosity": "basic"},
            },
            "service": {
                "telemetry": {"metrics": {"level": "none"}},  # else it listens on port 8888
                "pipelines": {
                    "metrics": {**through, "exporters": ["prometheus", "file", "debug"]},
                    "logs": {**through, "exporters": ["file", "debug"]},
                    "traces": {**through, "exporters": ["file", "debug"]},
                },
            },
        }
