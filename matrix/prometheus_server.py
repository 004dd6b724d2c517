"""Runs a real Prometheus server against targets of a run, on loopback alone."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import urllib3

from matrix.server_process import ServerProcess

__all__ = ["Prometheus"]

JOB = "agents"

# "Append failed", of a body that can't be read, is a debug line: it stays in the log when the next scrape succeeds.
_FAULT = re.compile(r'level=(?:warn|error)\b.*component="scrape manager"|msg="Append failed"', re.IGNORECASE)
_TIMESTAMP = re.compile(r"^(?:ts|time)=\S+ ")


class Prometheus(ServerProcess):
    """A server that scrapes ``targets`` ("127.0.0.1:9464") until the ``with`` block ends; its files are in ``folder``.

    It answers queries from the begin of the block, but the first scrape comes 5 s after the start: Prometheus throttles
    what it learns of its targets, and has no option against that. So tests that can share a server should.
    """

    title = "Prometheus"

    def __init__(self, targets: Sequence[str], folder: Path, scrape_interval_s: float = 0.2) -> None:
        super().__init__(folder, "prometheus.log")
        self.targets = tuple(targets)
        self._interval_ms = round(scrape_interval_s * 1000)
        # No other server answers under this path, so a port that was lost to another Prometheus isn't taken for ours.
        self._prefix = f"/{secrets.token_hex(8)}"
        self._begin_s = time.monotonic()

    def command(self, ports: Sequence[int]) -> Sequence[str | Path]:
        """How to start it; the configuration is written."""
        listed = ", ".join(f'"{target}"' for target in self.targets)
        config = self._folder / "prometheus.yml"
        config.write_text(
            f"global: {{scrape_interval: {self._interval_ms}ms, scrape_timeout: {self._interval_ms}ms}}\n"
            f"scrape_configs: [{{job_name: {JOB}, static_configs: [{{targets: [{listed}]}}]}}]\n"
        )
        (port,) = ports
        self.url = f"http://127.0.0.1:{port}{self._prefix}"
        self._pool = urllib3.HTTPConnectionPool("127.0.0.1", port, timeout=10)
        self._begin_s = time.monotonic()
        return [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--web.route-prefix={self._prefix}",
            "--scrape.discovery-reload-interval=50ms",  # else 5 s more before the first scrape
            "--log.level=debug",
        ]

    def is_ready(self) -> bool:
        """Whether it answers under its own path."""
        try:
            answer = self._pool.request("GET", f"{self._prefix}/-/ready", retries=False, timeout=1)
        except urllib3.exceptions.HTTPError:
            return False
        return answer.status == HTTPStatus.OK

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
        lines = [_TIMESTAMP.sub("", line) for line in self.log_lines() if _FAULT.search(line)]
        return [*self.complaints(), *dict.fromkeys(lines), *self._losses()]

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

    def complaints(self) -> list[str]:
        """The error of each target's last scrape."""
        active = self._get("/api/v1/targets", state="active")["activeTargets"]
        return [f"{target['labels']['instance']}: {target['lastError']}" for target in active if target["lastError"]]

    def _get(self, path: str, **parameters: str) -> Any:
        self.check_alive()
        answer = self._pool.request("GET", self._prefix + path, fields=parameters, retries=False).json()
        if answer["status"] != "success":
            raise ValueError(f"{answer['error']} (in {parameters})")
        return answer["data"]
