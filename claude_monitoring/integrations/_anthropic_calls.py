"""One call of the Anthropic SDK: from ``client.request`` over its attempts to the end of the answer's body."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Mapping
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from claude_monitoring._labels import MAX_CONTENT_CHARS, as_text
from claude_monitoring._sealed import Sealed, warn_once
from claude_monitoring.integrations._anthropic_bodies import (
    Batch,
    Body,
    EventStream,
    Whole,
    as_mapping,
    for_price,
    texts_of,
    tokens_of,
)

if TYPE_CHECKING:
    from claude_monitoring._llm_requests import LlmRequest
    from claude_monitoring._monitor import AgentMonitor

__all__ = ["BatchCall", "Call", "MessageCall", "call_of", "current_call", "observed"]

current_call: ContextVar[Call | None] = ContextVar("claude_monitoring_anthropic_call", default=None)
"""The call whose attempts are made here."""

observed: weakref.WeakKeyDictionary[Any, Call] = weakref.WeakKeyDictionary()
"""Responses whose bodies are still to come."""

_BATCH_PRICE = 0.5  # of the list price; https://docs.anthropic.com/en/docs/build-with-claude/batch-processing
_MOST_BATCH_MESSAGES = 100_000  # as many as the largest batch has


def call_of(monitor: AgentMonitor, options: Any) -> Call | None:
    """The call that a request is, or ``None`` for one that uses no tokens, or while telemetry is off."""
    path = urlsplit(as_text(getattr(options, "url", ""), MAX_CONTENT_CHARS)).path.rstrip("/")
    method = as_text(getattr(options, "method", "")).lower()
    if method == "post" and path.endswith("/v1/messages"):
        return MessageCall(monitor, getattr(options, "json_data", None)) if monitor._live() else None
    if method == "get" and "/messages/batches/" in path and path.endswith("/results"):
        return BatchCall(monitor) if monitor._live() else None
    return None


class Call:
    """A call under way. No method raises; what is said after its end changes nothing."""

    body: Body

    def __init__(self, monitor: AgentMonitor) -> None:
        self.monitor = monitor
        self.is_being_read = False
        """Whether somebody waits for the next bytes: who closes the response then is its own end."""
        self._response: Any = None
        self._context = copy_context()
        self._has_returned = False
        self._was_read = False
        self._open = [True]  # emptied once; a lock could be held by the code that a finalizer interrupts

    def begin(self) -> None:
        """The call's code is about to run."""

    def leave(self) -> None:
        """It has run; a stream's body is still to come."""

    def sending(self) -> None:
        """An attempt is about to be sent."""
        self._response = None
        self._was_read = False

    def received(self, response: Any) -> None:
        """The head of its answer came. The SDK may begin with the body before the call returns."""
        self._response = response
        with Sealed():
            self.body = self._body_of(_header(response, "content-type") or "")
            if _content_of(response) is None and getattr(response, "is_success", True):
                observed[response] = self

    def returned(self, result: Any) -> None:
        """The call gave ``result`` to its caller: read the answer, or wait until the caller does."""
        if self._response is None:  # a transport of the host's own sent it; streams and raw responses have theirs
            found = getattr(result, "http_response", None) or getattr(result, "response", None)
            if found is not None:
                self.received(found)
        response, self._response = self._response, None
        self._has_returned = True
        with Sealed():
            if response is not None and response in observed:
                weakref.finalize(response, self.end)
                if self._was_read:
                    self.end()
                return
            content = _content_of(response)
            if response is None:
                self.body = self._body_of("")
                content = result.to_json().encode() if hasattr(result, "to_json") else None
            self.feed(content or b"")
            self.end()

    def raised(self, error: BaseException) -> None:
        """The call raised."""

    def feed(self, chunk: bytes) -> None:
        """The caller has read these bytes."""
        with Sealed():
            if self._open:
                self.body.feed(chunk)
                if self.body.is_complete or self.body.error is not None:
                    self.end()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more will be read. Told once, where the call was made, whoever reads it and wherever."""
        if not self._has_returned:  # the SDK reads by itself, and may still try again
            self._was_read = True
            return
        try:
            self._open.pop()
        except IndexError:
            return
        with Sealed():
            self._context.copy().run(self._tell, error)

    def _body_of(self, content_type: str) -> Body:
        raise NotImplementedError

    def _tell(self, error: BaseException | None) -> None:
        raise NotImplementedError


class MessageCall(Call):
    """A message was asked for."""

    _request: LlmRequest

    def __init__(self, monitor: AgentMonitor, asked: object) -> None:
        super().__init__(monitor)
        said = as_mapping(asked)
        self._model = as_text(said.get("model"))
        effort = as_mapping(said.get("output_config")).get("effort")
        self._effort = effort if isinstance(effort, str) else None
        self._speed: Literal["normal", "fast"] = "fast" if said.get("speed") == "fast" else "normal"
        self._request = monitor.llm_request(self._model, speed=self._speed, effort=self._effort)
        self._request_id: str | None = None

    def begin(self) -> None:
        """As above; the span is current, so that those of the SDK and of the transport are its children."""
        self._request.start()
        self._request.resume()

    def leave(self) -> None:
        """As above; the span is not current while the caller reads."""
        self._request.suspend()

    def sending(self) -> None:
        """As above; attempts are counted."""
        super().sending()
        with Sealed():
            self._request.attempt()

    def received(self, response: Any) -> None:
        """As above; the latest request id is that of the answer."""
        super().received(response)
        self._request_id = _header(response, "request-id")

    def raised(self, error: BaseException) -> None:
        """The last attempt failed, or the caller was interrupted."""
        self._response = None
        self._open.clear()
        with Sealed():
            if isinstance(error, Exception):
                self._failed(error, getattr(error, "status_code", None), getattr(error, "request_id", None))
        self._request.finish(error)

    def _failed(self, error: BaseException | str, status: object = None, request_id: object = None) -> None:
        self._request.failed(
            as_text(error, MAX_CONTENT_CHARS),  # kept itself, the exception would keep us by its traceback
            status_code=status if isinstance(status, int) else None,
            request_id=as_text(request_id) or self._request_id,
        )

    def _body_of(self, content_type: str) -> Body:
        if content_type.startswith("application/vnd.amazon.eventstream"):
            warn_once(
                "anthropic bedrock stream",
                "claude_monitoring: streams in the form of Amazon Bedrock are not read: their tokens are not recorded",
            )
        return EventStream(self._request.first_token) if content_type.startswith("text/event-stream") else Whole()

    def _tell(self, error: BaseException | None) -> None:
        body = self.body
        body.end()
        message = body.message
        tokens = tokens_of(message.get("usage"))
        model = as_text(message.get("model")) or self._model
        if body.error is not None or isinstance(error, Exception):
            self._failed(*(body.error or (error or "",)))
            if any(tokens.values()):  # used up, though the answer is lost
                used = for_price(tokens)
                self.monitor.record_usage(
                    model, *used[:4], cache_creation_1h_tokens=used[4], speed=self._speed, effort=self._effort
                )
        elif message:
            text = body.text if isinstance(body, EventStream) else texts_of(message.get("content"))
            reason = message.get("stop_reason")
            self._request.answered(model=model, text=text, stop_reason=reason, request_id=self._request_id, **tokens)
        self._request.finish(None)


class BatchCall(Call):
    """The results of a batch were asked for. They cost half, and count when they are read, once in a process."""

    _seen: OrderedDict[str, None] = OrderedDict()  # noqa: RUF012 - of the process

    def _body_of(self, content_type: str) -> Body:  # noqa: ARG002 - one kind only
        return Batch(self._succeeded)

    def _tell(self, error: BaseException | None) -> None:
        if error is None:
            self.body.end()

    def _succeeded(self, message: Mapping[str, Any]) -> None:
        identity = as_text(message.get("id"))
        if identity and identity in self._seen:
            return
        self._seen[identity] = None
        while len(self._seen) > _MOST_BATCH_MESSAGES:
            self._seen.popitem(last=False)
        model, tokens = as_text(message.get("model")), tokens_of(message.get("usage"))
        price = self.monitor._price(model, for_price(tokens))
        half = None if price is None else price * _BATCH_PRICE
        here = self._context.copy()
        here.run(lambda: self.monitor.record_api_request(model, cost_usd=half, **tokens))  # type: ignore[arg-type]


def _header(response: Any, name: str) -> str | None:
    headers = getattr(response, "headers", None)
    return as_text(headers.get(name)) or None if headers is not None else None


def _content_of(response: Any) -> bytes | None:
    """The body, if it has been read already."""
    try:
        content = response.content
    except Exception:  # noqa: BLE001 - it says so by an exception
        return None
    return content if isinstance(content, bytes) else None
