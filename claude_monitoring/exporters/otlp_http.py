"""OTLP over HTTP, as protobuf or as JSON, on a connection of urllib3's that is kept between exports.

The official exporter takes redirects, login pages and refused items for success, and its retries outlive every
timeout (``otel.md`` 1j), so only its encoders are used.
"""

from __future__ import annotations

import gzip
import http.client
import json
import math
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from claude_monitoring._settings import OtlpSettings
from claude_monitoring.exporters import encoding
from claude_monitoring.exporters._otlp import OtlpExporter, TooLarge, user_agent
from claude_monitoring.types import ExportResult, Signal, Temporality

__all__ = ["OtlpHttpExporter"]

_MAX_ANSWER_BYTES = 64 * 1024
_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
_RETRYABLE = frozenset({429, 502, 503, 504})
_OF_A_GATEWAY = frozenset({502, 504})  # who sends these does not know what became of the request
_OTHER_PROTOCOL = "set OTEL_EXPORTER_OTLP_PROTOCOL=grpc or use the HTTP port (4318)"

_CERTIFICATE_FILES = (
    "a certificate file can't be read; look at OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE "
    "and OTEL_EXPORTER_OTLP_CLIENT_KEY"
)
_CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
_BEFORE_SENDING = (
    urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.ProxyError,
    ssl.SSLCertVerificationError, socket.gaierror, FileNotFoundError, PermissionError,
)  # fmt: skip
_EXPIRED, _OF_ANOTHER_HOST = 10, frozenset({62, 64})  # OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED, ..._HOSTNAME_, ..._IP_
_TIMEOUTS = (urllib3.exceptions.TimeoutError, TimeoutError)


class OtlpHttpExporter(OtlpExporter):
    """``http/protobuf`` and ``http/json``."""

    # The Collector takes 20 MiB (config/confighttp); to join and copy that much would hold up the host's threads.
    max_request_bytes = 4 * 2**20

    def __init__(self, signal: Signal, settings: OtlpSettings, temporality: Temporality = "cumulative") -> None:
        super().__init__(signal, settings, temporality)
        self._json = settings.protocol == "http/json"
        if self._json:
            self.max_request_bytes //= 4  # it is measured as protobuf; JSON is about two and a half times as long
        self._headers = {
            "user-agent": user_agent(),
            **_credentials(settings.endpoint),
            **dict(settings.headers),
            "content-type": _JSON if self._json else _PROTOBUF,
        }
        if settings.compression == "gzip":
            self._headers["content-encoding"] = "gzip"
        self._pool = _make_pool(settings)

    def close(self) -> None:
        """Close the connection."""
        # Not clear() alone: it leaves that to a finalizer, which has run already when the interpreter goes down.
        self._pool.connection_from_url(self._where).close()
        self._pool.clear()

    def _send(self, request: Message, timeout_s: float) -> ExportResult:
        body = encoding.to_json(request) if self._json else request.SerializeToString()
        if self._settings.compression == "gzip":
            body = gzip.compress(body, compresslevel=6)
        deadline = time.monotonic() + timeout_s
        left = urllib3.Timeout(total=None if math.isinf(timeout_s) else timeout_s)
        try:
            response = self._pool.request(
                "POST", self._where, body=body, headers=self._headers, timeout=left, retries=False, redirect=False,
                preload_content=False, decode_content=True,
            )  # fmt: skip
            try:
                answer = _read(response, deadline)
            except BaseException:
                response.close()
                raise
            response.release_conn()
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as exc:
            uncertain = not any(isinstance(cause, _BEFORE_SENDING) for cause in _causes(exc))
            error = self._explain(exc)
            return ExportResult(ok=False, retryable=True, uncertain=uncertain, error=error, unreached=True)
        except ValueError:  # its text would show the header
            return ExportResult(ok=False, error=self._bad_header)
        return self._judge(response, answer)

    def _judge(self, response: Any, answer: bytes) -> ExportResult:
        status = int(response.status)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if 200 <= status < 300:  # noqa: PLR2004 - HTTP's own numbers
            if not answer and not _is_whole(response):
                error = f"{self._host_port} broke off in the middle of its answer; the data are sent again"
                return ExportResult(ok=False, retryable=True, uncertain=True, error=error)
            message = self._response(kind, answer)
            return self._acknowledged(message) if message is not None else self._not_otlp(kind)
        after = _retry_after(response.headers.get("retry-after")) if status in _RETRYABLE else None
        error = self._explain_status(status, response.headers.get("location", ""), self._clean(_words(kind, answer)))
        if status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return TooLarge(ok=False, error=error)
        return ExportResult(
            ok=False,
            retryable=status in _RETRYABLE,
            retry_after_s=after,
            uncertain=status in _OF_A_GATEWAY,
            error=error,
        )

    def _response(self, kind: str, answer: bytes) -> Message | None:
        """The answer as OTLP's message; ``None`` if it is something else."""
        message = encoding.RESPONSES[self._signal]()
        if not answer:
            return message
        try:
            if kind == _JSON:
                tree = json.loads(answer)
                return (
                    json_format.ParseDict(tree, message, ignore_unknown_fields=True) if isinstance(tree, dict) else None
                )
            if kind == _PROTOBUF:
                return type(message).FromString(answer)
        except (DecodeError, json_format.ParseError, ValueError):
            pass
        return None

    def _not_otlp(self, kind: str) -> ExportResult:
        if kind in {_JSON, _PROTOBUF}:
            return ExportResult(ok=False, error=f"{self._shown} answered with success and something that is not OTLP")
        error = (
            f"{self._shown} answered with a page, not OTLP ({self._clean(kind) or 'no content type'}); is that a login "
            "page or another service? Set OTEL_EXPORTER_OTLP_ENDPOINT to the collector"
        )
        return ExportResult(ok=False, error=error)

    def _explain_status(self, status: int, location: str, words: str) -> str:
        said = f" ({words})" if words else ""
        if 300 <= status < 400:  # noqa: PLR2004 - HTTP's own numbers
            host = urlsplit(location).netloc.rpartition("@")[2] or "another path"
            mend = f"it redirects to {host}: set OTEL_EXPORTER_OTLP_ENDPOINT to the final address"
        elif status in {401, 403}:
            mend = "not allowed: set the key in OTEL_EXPORTER_OTLP_HEADERS"
        elif status == http.HTTPStatus.NOT_FOUND:
            mend = f"no such path: OTLP is received under /v1/{self._signal}; look at OTEL_EXPORTER_OTLP_ENDPOINT"
        elif status == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            mend = "the request is larger than it takes: raise its limit"
        elif status == http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
            other = "http/protobuf" if self._json else "http/json"
            mend = f"it does not take {self._settings.protocol}: set OTEL_EXPORTER_OTLP_PROTOCOL={other}"
        elif status in _RETRYABLE:
            mend = "it is overloaded or not ready; the data are sent again later"
        elif "HTTPS server" in words:  # what Go's servers say
            mend = "it wants TLS: write https:// in OTEL_EXPORTER_OTLP_ENDPOINT"
        else:
            mend = "the collector's log says why"
        return f"{self._shown} answered {status}{said}; {mend}"

    def _explain(self, exc: BaseException) -> str:
        where = self._host_port
        closed = (
            f"{where} closed the connection without an answer; if it speaks gRPC, {_OTHER_PROTOCOL}; if TLS, https://"
        )
        late = f"no answer from {where} in time; is it reachable? If it is slow, raise OTEL_EXPORTER_OTLP_TIMEOUT"
        absent = f"nothing listens on {where}; start the collector or set OTEL_EXPORTER_OTLP_ENDPOINT"
        causes = list(_causes(exc))
        for kinds, text in (
            (urllib3.exceptions.ProxyError, f"the proxy for {where} can't be used; look at HTTPS_PROXY and NO_PROXY"),
            (socket.gaierror, f"unknown host in {self._shown}; look at OTEL_EXPORTER_OTLP_ENDPOINT"),
            (ConnectionRefusedError, absent),
            ((FileNotFoundError, PermissionError), _CERTIFICATE_FILES),
            (ssl.SSLError, self._explain_tls),
            (http.client.IncompleteRead, f"{where} broke off in the middle of its answer; the data are sent again"),
            (_CLOSED, closed),
            (http.client.BadStatusLine, self._explain_bad_line),
            (http.client.UnknownProtocol, f"{where} does not speak HTTP/1.1; {_OTHER_PROTOCOL}"),
            (_TIMEOUTS, late),
        ):
            for cause in causes:
                if isinstance(cause, kinds):
                    return text if isinstance(text, str) else text(cause)
        return f"no answer from {self._shown}: {self._clean(f'{type(exc).__name__}: {exc}')}"

    def _explain_bad_line(self, cause: Any) -> str:
        if "\x15\x03" in cause.line or "\\x15\\x03" in cause.line:  # a TLS alert
            return f"{self._host_port} wants TLS: write https:// in OTEL_EXPORTER_OTLP_ENDPOINT"
        return f"{self._host_port} does not speak HTTP/1.1; it looks like a gRPC port: {_OTHER_PROTOCOL}"

    def _explain_tls(self, cause: Any) -> str:
        if isinstance(cause, ssl.SSLCertVerificationError):
            if cause.verify_code == _EXPIRED:
                return f"the certificate of {self._host_port} has expired; renew it there"
            if cause.verify_code in _OF_ANOTHER_HOST:
                return (
                    f"the certificate of {self._host_port} is for another host; use its name in "
                    "OTEL_EXPORTER_OTLP_ENDPOINT"
                )
            return (
                f"the certificate of {self._host_port} is not trusted ({cause.verify_message}); "
                "set OTEL_EXPORTER_OTLP_CERTIFICATE to the file of its authority"
            )
        reason = (cause.reason or str(cause).partition(" (_ssl.c")[0]).replace("_", " ").lower()
        if "wrong version number" in reason or "record layer" in reason:
            return f"{self._host_port} answers without TLS; write http:// in OTEL_EXPORTER_OTLP_ENDPOINT"
        return (
            f"TLS with {self._host_port} failed ({self._clean(reason)}); if it asks for a client certificate, set "
            f"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and _KEY; if it speaks gRPC, {_OTHER_PROTOCOL}"
        )


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """``exc`` and what is behind it: urllib3 keeps the cause in ``__cause__``, ``__context__`` or the arguments."""
    seen: list[BaseException] = []
    waiting = [exc]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            yield one
            waiting += [*(arg for arg in one.args if isinstance(arg, BaseException)), one.__cause__, one.__context__]


def _make_pool(settings: OtlpSettings) -> urllib3.PoolManager:
    url = urlsplit(settings.endpoint)
    options: dict[str, Any] = {"num_pools": 1, "maxsize": 1, "retries": False}
    if url.scheme == "https":
        options.update(
            cert_reqs="CERT_REQUIRED", ca_certs=settings.certificate,
            cert_file=settings.client_certificate, key_file=settings.client_key,
        )  # fmt: skip
    proxy = getproxies().get(url.scheme, "")
    if not proxy or proxy_bypass(url.hostname or ""):
        return urllib3.PoolManager(**options)
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    user = urlsplit(proxy).netloc.rpartition("@")[0]
    login = urllib3.util.make_headers(proxy_basic_auth=unquote(user)) if user else None
    return urllib3.ProxyManager(proxy, proxy_headers=login, **options)


def _credentials(endpoint: str) -> dict[str, str]:
    user = urlsplit(endpoint).netloc.rpartition("@")[0]
    return urllib3.util.make_headers(basic_auth=unquote(user)) if user else {}


def _read(response: Any, deadline: float) -> bytes:
    """The body, within ``deadline``; one that goes on for ever is cut off and counts as no answer."""
    # A body that drips in must not stretch the deadline: read1 returns with what has come. urllib3 2.0 lacks it.
    has_read1 = hasattr(response, "read1")
    answer = bytearray()
    while chunk := response.read1(4096) if has_read1 else response.read(1):
        answer += chunk
        if len(answer) > _MAX_ANSWER_BYTES:
            if response.status < http.HTTPStatus.MULTIPLE_CHOICES:
                raise urllib3.exceptions.ProtocolError(f"the answer is longer than {_MAX_ANSWER_BYTES} bytes")
            response.close()
            break
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(answer[:_MAX_ANSWER_BYTES])


def _is_whole(response: Any) -> bool:
    """Whether an empty body is one that was sent: without a length, all after the first line may be missing."""
    known = {"content-length", "transfer-encoding"} & {name.lower() for name in response.headers}
    return bool(known) or response.status == http.HTTPStatus.NO_CONTENT


def _words(kind: str, answer: bytes) -> str:
    """What an error's body says: OTLP sends a ``google.rpc.Status`` in the encoding of the request."""
    try:
        if kind == _PROTOBUF:
            return str(Status.FromString(answer).message)
        if kind == _JSON:
            tree = json.loads(answer)
            return str(tree.get("message") or tree.get("error") or "") if isinstance(tree, dict) else ""
    except (DecodeError, ValueError):
        return ""
    return answer[:400].decode("utf-8", "replace") if kind == "text/plain" else ""


def _retry_after(text: str | None) -> float | None:
    """Seconds from a ``Retry-After`` header, which has seconds or a date (RFC 9110, 10.2.3)."""
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max(0.0, (when.astimezone(timezone.utc) - datetime.now(timezone.utc)).total_seconds())
