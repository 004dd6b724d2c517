"""Reads a probe's ``/metrics`` with a real Prometheus server, and with ``promtool``."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import urllib3

from matrix.process import NotRunError
from matrix.prometheus_server import Prometheus
from matrix.server_process import free_port

__all__ = ["Scrape", "Scraped"]

_LABELS_OF_PROMETHEUS = frozenset({"instance", "job"})


@dataclass(frozen=True)
class Scraped:
    """What was read.

    Attributes:
        values: What the HTTP API of Prometheus answered: name and labels to value, as of the last scrape.
        errors: What Prometheus had to say against it.
        scrapes: How many there were.
        content_type: Of the answer to a plain request.
        text_bytes: Size of that answer.
        promtool: What ``promtool check metrics`` said; empty if it passed.
    """

    values: Mapping[str, Mapping[frozenset[tuple[str, str]], float]]
    errors: list[str]
    scrapes: int
    content_type: str
    text_bytes: int
    promtool: str


class Scrape:
    """A Prometheus server that scrapes ``port`` from ``__enter__`` to ``__exit__``; its files are in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.scraped: Scraped | None = None
        self._target = f"127.0.0.1:{self.port}"
        self._server = Prometheus([self._target], folder / "prometheus", scrape_interval_s=1.0)
        self._stack = ExitStack()

    def __enter__(self) -> Scrape:  # noqa: PYI034 - Self needs Python 3.11
        missing = [tool for tool in ("prometheus", "promtool") if shutil.which(tool) is None]
        if missing:
            raise NotRunError(f"needs {' and '.join(missing)}: apt-get install prometheus")
        self._stack.enter_context(self._server)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def read(self) -> None:
        """Read the values that are there now; none if nobody answers there."""
        with suppress(TimeoutError):  # the errors of Prometheus tell why
            self._server.wait_scrapes()
        values: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
        for labels, value in self._server.query('{job="agents"}').items():
            named = dict(labels)
            name = named.pop("__name__")
            key = frozenset(item for item in named.items() if item[0] not in _LABELS_OF_PROMETHEUS)
            values.setdefault(name, {})[key] = value
        content_type, text, fault = "", b"", "there is no page"
        with suppress(urllib3.exceptions.HTTPError):
            answer = urllib3.request("GET", f"http://{self._target}/metrics", retries=False, timeout=10)
            content_type, text, fault = answer.headers["content-type"], answer.data, _promtool(answer.data)
        errors, scrapes = self._server.scrape_errors(), self._server.scrapes(self._target)
        self.scraped = Scraped(values, errors, scrapes, content_type, len(text), fault)


def _promtool(page: bytes) -> str:
    checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
    return (checked.stdout + checked.stderr).decode(errors="replace").strip() if checked.returncode else ""
