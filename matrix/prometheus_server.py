"""Runs a real Prometheus server against targets of a run, on loopback alone."""

from __future__ import annotations

import re
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any

import urllib3

__all__ = ["Prometheus", "free_port"]

JOB = "agents"
POLL_S = 0.05  # Prometheus offers nothing to wait on
READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
PORT_ATTEMPTS = 5
TAIL_LINES = 20

# "Append failed", of a body that can't be read, is a debug line: it stays in the log when the next scrape succeeds.
_FAULT = re.compile(r'level=(?:warn|error)\b.*component="scrape manager"|msg="Append failed"', re.IGNORECASE)
_TIMESTAMP = re.compile(r"^(?:ts|time)=\S+ ")


class Prometheus:
    """A server that scrapes ``targets`` ("127.0.0.1:9464") until the ``with`` block ends; its files are in ``folder``.

    It answers queries from the begin of the block, but the first scrape comes 5 s after the start: Prometheus throttles
    what it learns of its targets, and has no option against that. So tests that can share a server should.
    """

    def __init__(self, targets: Sequence[str], folder: Path, scrape_interval_s: float = 0.2) -> None:
        self.targets = tuple(targets)
        self._folder = folder
        self._interval_ms = round(scrape_interval_s * 1000)
        self._log = folder / "prometheus.log"
        # No other server answers under this path, so a port that was lost to another Prometheus isn't taken for ours.
        self._prefix = f"/{secrets.token_hex(8)}"

    def __enter__(self) -> Prometheus:  # noqa: PYI034 - Self needs Python 3.11
        self._folder.mkdir(parents=True, exist_ok=True)
        self._write_config()
        with ExitStack() as stack:
            for _ in range(PORT_ATTEMPTS):
                port = free_port()
                self._begin_s = time.monotonic()
                self._process = self._start(port)
                stack.callback(_stop, self._process)
                self._pool = stack.enter_context(urllib3.HTTPConnectionPool("127.0.0.1", port, timeout=10))
                if self._becomes_ready():
                    self._stack = stack.pop_all()
                    return self
            raise RuntimeError(f"somebody took each of {PORT_ATTEMPTS} free ports:\n{self._tail()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """Where its HTTP API is."""
        return f"http://127.0.0.1:{self._pool.port}{self._prefix}"

    def query(self, expression: str) -> dict[frozenset[tuple[str, str]], float]:
        """The values of an instant query by their labels; those of a number or scalar have none."""
        data = self._get("/api/v1/query", query=expression)
        if data["resultType"] == "scalar":
            return {frozenset(): float(data["result"][1])}
        if data["resultType"] != "vector":
            raise ValueError(f"{expression!r} gives a {data['resultType']}, expected one value a series")
        return {frozenset(series["metric"].items()): float(series["value"][1]) for series in data["result"]}

    def scalar(self, expression: str) -> float:
        """The value of a query with one result; 0 without a result."""
        values = self.query(expression)
        assert len(values) <= 1, f"{expression!r} gives {len(values)} series: {values}"
        return next(iter(values.values()), 0.0)

    def scrapes(self, target: str) -> int:
        """How many scrapes of ``target`` succeeded and can be queried."""
        return int(self.scalar(f'sum_over_time(up{{job="{JOB}", instance="{target}"}}[1h])'))

    def wait_until(self, condition: Callable[[Prometheus], bool], timeout_s: float = 20.0) -> None:
        """Return as soon as ``condition`` holds.

        Raises:
            TimeoutError: with what the targets last failed of, and the end of the server's log.
            RuntimeError: with the end of the log, if the server ended.
        """
        deadline = time.monotonic() + timeout_s
        while not condition(self):
            if time.monotonic() >= deadline:
                errors = "\n".join(self._last_errors()) or "no target failed"
                raise TimeoutError(f"not within {timeout_s:g} s; {errors}\n{self._tail()}")
            time.sleep(POLL_S)

    def wait_scrapes(self, count: int = 1, timeout_s: float = 20.0) -> None:
        """Return when each target answered ``count`` scrapes that began after this call."""
        # A target has one scrape under way at most. It may have read its values before this call: one more than asked.
        wanted = {target: self.scrapes(target) + count + 1 for target in self.targets}
        self.wait_until(lambda server: all(server.scrapes(name) >= least for name, least in wanted.items()), timeout_s)

    def scrape_errors(self) -> list[str]:
        """What went wrong with the targets; empty if nothing did.

        That is the error of a target's last scrape; since the start of the server, each message of its log about
        samples that it refused, once; and how many were lost in silence. Not: an earlier scrape without an answer,
        since a target may begin after the server. ``up`` tells of that.
        """
        lines = [_TIMESTAMP.sub("", line) for line in self._log_lines() if _FAULT.search(line)]
        return [*self._last_errors(), *dict.fromkeys(lines), *self._losses()]

    def _losses(self) -> list[str]:
        """Of two samples of one series in a scrape, Prometheus before 2.52 keeps one and says nothing anywhere.

        But it stores how many samples the target sent, in one commit with those that it keeps.
        """
        sent = f'scrape_samples_post_metric_relabeling{{job="{JOB}"}}'
        kept = f'{{job="{JOB}", __name__!~"up|scrape_(duration_seconds|samples_.+|series_added)"}}'
        # Each scrape since the start is the last one at some step, since there are two steps an interval.
        age_s, step_ms = int(time.monotonic() - self._begin_s) + 1, max(1, self._interval_ms // 2)
        lost = self.query(
            f"max_over_time(({sent} - on (instance) count by (instance) ({kept}))[{age_s}s:{step_ms}ms]) > 0"
        )
        return [f"{dict(key)['instance']}: up to {n:g} duplicate samples a scrape were lost" for key, n in lost.items()]

    def _last_errors(self) -> list[str]:
        active = self._get("/api/v1/targets", state="active")["activeTargets"]
        return [f"{target['labels']['instance']}: {target['lastError']}" for target in active if target["lastError"]]

    def _write_config(self) -> None:
        listed = ", ".join(f'"{target}"' for target in self.targets)
        (self._folder / "prometheus.yml").write_text(
            f"global: {{scrape_interval: {self._interval_ms}ms, scrape_timeout: {self._interval_ms}ms}}\n"
            f"scrape_configs: [{{job_name: {JOB}, static_configs: [{{targets: [{listed}]}}]}}]\n"
        )

    def _start(self, port: int) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                    f"--web.route-prefix={self._prefix}",
                    "--scrape.discovery-reload-interval=50ms",  # else 5 s more before the first scrape
                    "--log.level=debug",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _becomes_ready(self) -> bool:
        """Whether the server is ready; not if somebody took its port.

        Raises:
            RuntimeError: with the end of the log, if it ends for another reason or isn't ready in time.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                if "address already in use" in self._log.read_text():
                    return False
                raise self._ended()
            if self._answers():
                return True
            time.sleep(POLL_S)
        raise RuntimeError(f"Prometheus isn't ready after {READY_TIMEOUT_S:g} s:\n{self._tail()}")

    def _answers(self) -> bool:
        try:
            return self._pool.request("GET", f"{self._prefix}/-/ready", retries=False, timeout=1).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def _ended(self) -> RuntimeError:
        return RuntimeError(f"Prometheus ended with {self._process.returncode}:\n{self._tail()}")

    def _get(self, path: str, **parameters: str) -> Any:
        if self._process.poll() is not None:
            raise self._ended()
        answer = self._pool.request("GET", self._prefix + path, fields=parameters, retries=False).json()
        if answer["status"] != "success":
            raise ValueError(f"{answer['error']} (in {parameters})")
        return answer["data"]

    def _log_lines(self) -> list[str]:
        return self._log.read_text(errors="replace").splitlines()

    def _tail(self) -> str:
        return "\n".join([f"{self._log} ends with:", *self._log_lines()[-TAIL_LINES:]])


def free_port() -> int:
    """A port of loopback that nobody has at this moment."""
    with closing(socket.create_server(("127.0.0.1", 0))) as holder:
        port: int = holder.getsockname()[1]
        return port


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
