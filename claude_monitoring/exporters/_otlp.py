"""What the OTLP exporters share: cutting a batch into requests, adding up the answers, keeping secrets out of texts."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import metadata
from typing import Any
from urllib.parse import urlsplit

from google.protobuf.message import Message

from claude_monitoring._health import ITEMS
from claude_monitoring._settings import OtlpSettings
from claude_monitoring._settings_url import redact_url
from claude_monitoring._version import __version__
from claude_monitoring.exporters import encoding
from claude_monitoring.types import AttributeValue, ExportResult, Signal, Temporality

__all__ = ["OtlpExporter", "TooLarge", "user_agent"]

_MAX_WORDS = 200
_MIN_SECRET_CHARS = 4


def user_agent() -> str:
    """Our product before the exporter's (OTLP exporter specification, "User Agent")."""
    try:
        version = metadata.version("opentelemetry-proto")
    except metadata.PackageNotFoundError:  # vendored or frozen
        version = "unknown"
    return f"claude-monitoring/{__version__} OTel-OTLP-Exporter-Python/{version}"


class TooLarge(ExportResult):
    """A request was refused for its size alone."""


class OtlpExporter(ABC):
    """One signal to one OTLP endpoint; the protocol is the subclass's.

    A batch may take several requests. While the same batch comes again, only those go out that the far side has not
    settled yet, and they are the same ones, byte for byte.
    """

    max_request_bytes: int

    def __init__(self, signal: Signal, settings: OtlpSettings, temporality: Temporality = "cumulative") -> None:
        self._signal = signal
        self._settings = settings
        self._temporality = temporality
        url = urlsplit(settings.endpoint)
        self._where = url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()
        self._shown = redact_url(self._where)
        self._query = url.query
        self._host_port = url.netloc.rpartition("@")[2]
        self._bad_header = f"a header can't be sent to {self._host_port}; look at OTEL_EXPORTER_OTLP_HEADERS"
        self._request_s = settings.timeout_s if settings.timeout_s > 0 else math.inf
        self._begin(None, {})

    def _begin(self, batch: Any, resource: Mapping[str, AttributeValue]) -> None:
        self._batch = batch
        self._parts = encoding.parts(self._signal, batch, resource, self.max_request_bytes) if batch is not None else []
        self._refused: list[range] = []
        self._rejected, self._words = 0, ""
        self._may_have_some = False

    @property
    def name(self) -> str:
        """Protocol and endpoint, without user, password and query."""
        return f"otlp {self._settings.protocol} {self._shown}"

    @property
    def temporality(self) -> Temporality:
        """As the settings prefer."""
        return self._temporality

    def export(self, batch: Any, resource: Mapping[str, AttributeValue], timeout_s: float) -> ExportResult:
        """Send ``batch`` within ``timeout_s``, each request within the timeout of the settings."""
        deadline = time.monotonic() + timeout_s
        if batch is not self._batch:
            self._begin(batch, resource)
        while self._parts:
            left_s = min(self._request_s, deadline - time.monotonic())
            if left_s <= 0:
                error = f"{self._host_port} is too slow: the time for this export ran out"
                return ExportResult(ok=False, retryable=True, uncertain=self._may_have_some, error=error)
            result = self._send_first(left_s)
            if not result.ok and result.retryable:
                self._may_have_some = self._may_have_some or result.uncertain
                return result._replace(uncertain=self._may_have_some)
        refused, rejected, words = tuple(self._refused), self._rejected, self._words
        self._begin(None, {})
        return ExportResult(ok=not refused, refused=refused, rejected=rejected, error=words)

    def _send_first(self, timeout_s: float) -> ExportResult:
        """Send the first request that is left, and take it off unless it has to be sent again."""
        part = self._parts[0]
        if part.request is None:
            error = f"{len(part.places)} {ITEMS[self._signal]} can't be encoded: {part.why}"
            result = ExportResult(ok=False, error=error)
        else:
            result = self._send(part.request, timeout_s)
        if isinstance(result, TooLarge):
            limit = part.request.ByteSize() // 2
            pieces = encoding.cut(self._signal, part, limit)
            if len(pieces) > 1:
                self.max_request_bytes = limit
                self._parts[:1] = pieces
                return ExportResult(ok=True)
        if result.ok:
            self._may_have_some = True
            self._rejected += result.rejected
            self._words = result.error or self._words
        elif result.retryable:
            return result
        else:
            self._refused.append(part.places)
            self._words = result.error
        del self._parts[0]
        return result

    def left_of(self, batch: Any, resource: Mapping[str, AttributeValue]) -> list[encoding.Part]:
        """The requests that carry what the far side has not settled of ``batch``."""
        if batch is self._batch:
            return list(self._parts)
        return encoding.parts(self._signal, batch, resource, self.max_request_bytes)

    def send(self, request: Message, timeout_s: float) -> ExportResult:
        """Send a request that was made before, such as one that was kept on disk."""
        return self._send(request, min(self._request_s, timeout_s))

    @abstractmethod
    def _send(self, request: Message, timeout_s: float) -> ExportResult:
        """Send one request and wait for its answer, ``timeout_s`` (may be infinite) in all."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    def _acknowledged(self, response: Message) -> ExportResult:
        count, words = encoding.rejected(self._signal, response)
        words = self._clean(words)
        if count:
            return ExportResult(ok=True, rejected=count, error=f"{count} refused by {self._host_port}: {words}")
        return ExportResult(ok=True, error=words)

    def _clean(self, words: str) -> str:
        """A far side's words as one short line, in which neither a header's value nor the query of ours is repeated."""
        for value in (self._query, *(value for _, value in self._settings.headers)):
            for secret in (value, *value.split()):
                if len(secret) >= _MIN_SECRET_CHARS:
                    words = words.replace(secret, "***")
        line = " ".join(words.split())
        return line if len(line) <= _MAX_WORDS else f"{line[:_MAX_WORDS]}..."
