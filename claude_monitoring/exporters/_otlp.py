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

from claude_monitoring._settings import OtlpSettings
from claude_monitoring._version import __version__
from claude_monitoring.exporters import encoding
from claude_monitoring.types import AttributeValue, ExportResult, Signal, Temporality

__all__ = ["OtlpExporter", "user_agent"]

_MAX_WORDS = 200
_MIN_SECRET_CHARS = 4


def user_agent() -> str:
    """Our product before the exporter's (OTLP exporter specification, "User Agent")."""
    try:
        version = metadata.version("opentelemetry-proto")
    except metadata.PackageNotFoundError:  # vendored or frozen
        version = "unknown"
    return f"claude-monitoring/{__version__} OTel-OTLP-Exporter-Python/{version}"


class OtlpExporter(ABC):
    """One signal to one OTLP endpoint; the protocol is the subclass's.

    A batch of events or spans that needs several requests and of which some were acknowledged is taken up where it
    stopped when its beginning comes again, so that a retry sends nothing twice.
    """

    max_request_bytes: int

    def __init__(self, signal: Signal, settings: OtlpSettings, temporality: Temporality = "cumulative") -> None:
        self._signal = signal
        self._settings = settings
        self._temporality = temporality
        url = urlsplit(settings.endpoint)
        self._where = url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()
        self._host_port = url.netloc.rpartition("@")[2]
        self._bad_header = f"a header can't be sent to {self._host_port}; look at OTEL_EXPORTER_OTLP_HEADERS"
        self._sent_of: Any = None
        self._sent = 0

    @property
    def name(self) -> str:
        """Protocol and endpoint, without user and password."""
        return f"otlp {self._settings.protocol} {self._where}"

    @property
    def temporality(self) -> Temporality:
        """As the settings prefer."""
        return self._temporality

    def export(self, batch: Any, resource: Mapping[str, AttributeValue], timeout_s: float) -> ExportResult:
        """Send ``batch`` within ``timeout_s`` and the timeout of the settings, whichever is less."""
        own_s = self._settings.timeout_s
        deadline = time.monotonic() + min(timeout_s, own_s if own_s > 0 else math.inf)
        items = self._remaining(batch)
        refused, words = 0, ""
        for part in encoding.parts(self._signal, items, resource, self.max_request_bytes):
            if part.lost:
                refused, words = refused + part.lost, f"{part.lost} could not be encoded: {part.why}"
            result = self._send_part(part, deadline)
            if not result.ok:
                return result
            self._sent += part.items
            refused, words = refused + result.rejected, result.error or words
        self._sent_of, self._sent = None, 0
        return ExportResult(ok=True, rejected=refused, error=words)

    def _remaining(self, batch: Any) -> Any:
        if self._signal == "metrics":
            return batch
        batch = list(batch)
        if not batch or batch[0] is not self._sent_of:
            self._sent_of, self._sent = (batch[0] if batch else None), 0
        return batch[self._sent :]

    def _send_part(self, part: encoding.Part, deadline: float) -> ExportResult:
        if part.lost and part.items == part.lost:
            return ExportResult(ok=True)  # nothing is left in it
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return ExportResult(ok=False, retryable=True, error="the time for this export ran out")
        return self._send(part.request, left_s)

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
        """A far side's words as one short line, in which no header value of ours is repeated."""
        for _, value in self._settings.headers:
            for secret in (value, *value.split()):
                if len(secret) >= _MIN_SECRET_CHARS:
                    words = words.replace(secret, "***")
        line = " ".join(words.split())
        return line if len(line) <= _MAX_WORDS else f"{line[:_MAX_WORDS]}..."
