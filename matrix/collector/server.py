"""Runs an OpenTelemetry Collector on loopback and reads back what its exporters have."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import urllib3
from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Collector"]

POLL_S = 0.05  # a Collector offers nothing to wait on
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
ENDING_S = 1.0  # from the last that its sockets did to its end
PORT_ATTEMPTS = 5
TAIL_LINES = 20


class Collector:
    """A Collector that takes OTLP on free ports of 127.0.0.1 until the ``with`` block ends; ``folder`` has its files.

    All three signals go to its file exporter, metrics to its Prometheus exporter too, whose names get no prefix unless
    there is a ``namespace``. The file can still be read after the block.

    Attributes:
        grpc_endpoint, http_endpoint: For ``OTEL_EXPORTER_OTLP_ENDPOINT``.
        metrics_url: Where Prometheus would scrape it.

    Raises:
        RuntimeError: On entry, if it doesn't start; with the end of its log.
    """

    def __init__(self, binary: Path, folder: Path, *, namespace: str = "") -> None:
        self.grpc_endpoint = self.http_endpoint = self.metrics_url = ""
        self._binary = binary
        self._folder = folder
        self._namespace = namespace
        self._file = folder / "received.jsonl"
        self._log = folder / "collector.log"

    def __enter__(self) -> Collector:  # noqa: PYI034 - Self needs Python 3.11
        self._folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            self._http = stack.enter_context(urllib3.PoolManager(timeout=10, retries=False))
            for _ in range(PORT_ATTEMPTS):
                ports = grpc, http, metrics = _free_ports(3)
                self.grpc_endpoint, self.http_endpoint = f"http://127.0.0.1:{grpc}", f"http://127.0.0.1:{http}"
                self.metrics_url = f"http://127.0.0.1:{metrics}/metrics"
                self._process = self._start(*ports)
                stack.callback(_stop, self._process)
                if self._becomes_ready(set(ports)):
                    self._stack = stack.pop_all()
                    return self
            raise RuntimeError(f"somebody took free ports in each of {PORT_ATTEMPTS} attempts; {self.log_tail()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    def metrics_text(self) -> str:
        """What a scrape gets.

        Raises:
            RuntimeError: The Collector ended, or answers an error; with the end of its log.
        """
        try:
            answer = self._http.request("GET", self.metrics_url)
        except urllib3.exceptions.HTTPError:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(ENDING_S)
                raise self._ended() from None
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

    def wait_until(self, condition: Callable[[Collector], bool], timeout_s: float = 20.0) -> None:
        """Return as soon as ``condition`` holds, such as ``lambda collector: len(collector.read_file()) >= 3``.

        Raises:
            TimeoutError: It never did; with the end of the log.
            RuntimeError: The Collector ended; with the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        while not condition(self):
            if self._process.poll() is not None:
                raise self._ended()
            if time.monotonic() >= deadline:
                raise TimeoutError(f"not within {timeout_s:g} s; {self.log_tail()}")
            time.sleep(POLL_S)

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        """The end of its log, for messages."""
        return "\n".join([f"{self._log} ends with:", *self._log.read_text(errors="replace").splitlines()[-lines:]])

    def _start(self, grpc: int, http: int, metrics: int) -> subprocess.Popen[bytes]:
        config = self._folder / "collector.yaml"
        config.write_text(json.dumps(self._config(grpc, http, metrics), indent=2))  # JSON is YAML
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [self._binary, f"--config=file:{config}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

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

    def _becomes_ready(self, ports: set[int]) -> bool:
        """Whether it listens on all of ``ports``; not if somebody took one of them.

        Raises:
            RuntimeError: It ended for another reason, or isn't ready in time; with the end of the log.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                if "address already in use" in self._log.read_text(errors="replace"):
                    return False
                raise self._ended()
            if ports <= self._listening():
                return True
            time.sleep(POLL_S)
        raise RuntimeError(f"the Collector isn't ready after {READY_TIMEOUT_S:g} s; {self.log_tail()}")

    def _listening(self) -> set[int]:
        """The ports that are its own; a connection could be answered by somebody else."""
        try:
            sockets = psutil.Process(self._process.pid).net_connections("tcp")
        except psutil.Error:  # it is ending
            return set()
        return {one.laddr.port for one in sockets if one.status == psutil.CONN_LISTEN}

    def _ended(self) -> RuntimeError:
        return RuntimeError(f"the Collector ended with {self._process.returncode}; {self.log_tail()}")


def _free_ports(count: int) -> tuple[int, ...]:
    with ExitStack() as stack:
        holders = [stack.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(count)]
        return tuple(holder.getsockname()[1] for holder in holders)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
