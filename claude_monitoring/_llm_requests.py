"""A request to a model, as Claude Code traces and reports it (reference sections 5 and 6)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from claude_monitoring._labels import as_text, content
from claude_monitoring._sealed import Sealed
from claude_monitoring._told import told_unix_nano
from claude_monitoring._turns import NativeScope, current_turn, milliseconds

if TYPE_CHECKING:
    from claude_monitoring._native_recorder import NativeRecorder

__all__ = ["LlmRequest"]


class LlmRequest(NativeScope):
    """A request to a model, retries included. Made with ``monitor.llm_request``.

    Say ``answered`` or ``failed`` before it ends; an exception that leaves the block has failed it. Without a word the
    span ends without an outcome, and nothing else is recorded.
    """

    __slots__ = ("_answer", "_attempt", "_effort", "_failure", "_first_s", "_model", "_source", "_speed")

    monitor: NativeRecorder
    span_type = "llm_request"

    def __init__(
        self, monitor: NativeRecorder, model: str, *, query_source: str | None, speed: Literal["normal", "fast"],
        effort: str | None,
    ) -> None:  # fmt: skip
        super().__init__(monitor)
        self._model = as_text(model)
        self._source = monitor._finer_source(query_source)
        self._speed: Literal["normal", "fast"] = speed
        self._effort = effort
        self._attempt = 0
        self._first_s: float | None = None
        self._answer: dict[str, Any] | None = None
        self._failure: tuple[str, int | None, str | None] | None = None

    def _at_begin(self) -> Mapping[str, object]:
        inside = current_turn()
        context = "tool" if self._source.startswith("agent:") else "interaction" if inside else "standalone"
        return {
            "model": self._model,
            "gen_ai__system": "anthropic",
            "gen_ai__request__model": self._model,
            "gen_ai__operation__name": "chat",
            "llm_request__context": context,
            "speed": self._speed,
            "query_source_safe": self._source.replace(":", "."),
            "effort": self._effort,
        }

    def attempt(self) -> None:
        """Another attempt begins; the first one needs no word."""
        self._attempt += 1
        if self.span is not None:
            with Sealed():
                self.span.add_event("gen_ai.request.attempt", {"attempt": self._attempt}, told_unix_nano() or None)

    def first_token(self) -> None:
        """The first token of the answer came; said again it changes nothing."""
        if self._first_s is None:
            self._first_s = self.duration_s

    def answered(
        self,
        *,
        model: str | None = None,
        text: str = "",
        stop_reason: str | None = None,
        request_id: str | None = None,
        **usage: float,
    ) -> None:
        """The model answered.

        Args:
            model: The model that answered, if it is another one than was asked.
            text: The text of the answer; it leaves the process only where that is switched on.
            stop_reason: Why it stopped, such as ``end_turn``, ``tool_use`` or ``refusal``.
            request_id: The API's id of the request.
            usage: The token counts of ``record_api_request``, and ``cost_usd`` if you know it.
        """
        said = {"text": text, "stop_reason": as_text(stop_reason) or None, "request_id": request_id}
        self._answer = {"model": as_text(model) or self._model, **said, "usage": usage}

    def failed(
        self, error: BaseException | str, *, status_code: int | None = None, request_id: str | None = None
    ) -> None:
        """The last attempt failed, and there will be no other."""
        # As text: the exception itself would hold us by its traceback, and we it.
        self._failure = (content(error), status_code, request_id)

    def _end(self, exc: BaseException | None, result: object) -> None:  # noqa: ARG002 - every scope takes both
        if not self._attempt:
            self.attempt()
        seconds = self.duration_s
        self._set(duration_ms=milliseconds(seconds), attempt=self._attempt)
        if self._answer is not None:
            self._tell_answer(seconds, self._answer)
        elif self._failure is not None or isinstance(exc, Exception):
            error, status_code, request_id = self._failure or (exc, getattr(exc, "status_code", None), None)
            self._tell_failure(seconds, error or "", status_code, request_id)
        self._end_span()

    def _tell_answer(self, seconds: float, answer: dict[str, Any]) -> None:
        usage = answer["usage"]
        names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
        counts = {name: _count(usage.get(name, 0)) for name in names}
        first_ms = milliseconds(self._first_s) if self._first_s is not None else None
        stop = answer["stop_reason"]
        self._set(
            success=True,
            **counts,
            **_as_open_telemetry(counts),
            gen_ai__response__model=answer["model"],
            request_id=answer["request_id"],
            gen_ai__response__id=answer["request_id"],
            ttft_ms=first_ms,
            first_content_ms=first_ms,
            stop_reason=stop,
            gen_ai__response__finish_reasons=(stop,) if stop else None,
        )
        common: dict[str, Any] = {"request_id": answer["request_id"], "query_source": self._source}
        self.monitor.record_api_request(
            answer["model"], **usage, duration_s=seconds, ttft_s=self._first_s, speed=self._speed, effort=self._effort,
            **common,
        )  # fmt: skip
        if content(answer["text"]):
            self.monitor.record_assistant_response(answer["text"], model=answer["model"], **common)
        if stop == "refusal":
            self.monitor.record_api_refusal(answer["model"], attempt=self._attempt, speed=self._speed, **common)

    def _tell_failure(
        self, seconds: float, error: BaseException | str, status_code: int | None, request_id: str | None
    ) -> None:
        text = content(error)
        self._set(success=False, status_code=status_code, error=text, error_class=_class_of(status_code))
        self._set(request_id=request_id)
        self._error(text)
        self.monitor.record_api_error(
            self._model, text, status_code=status_code, duration_s=seconds, attempt=self._attempt,
            total_retry_duration_s=seconds, request_id=request_id, speed=self._speed, effort=self._effort,
            query_source=self._source,
        )  # fmt: skip


def _count(given: object) -> int | None:
    """A count of tokens for the span; what is none is refused where the request is recorded."""
    is_count = isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given < math.inf
    return int(given) if is_count else None  # type: ignore[call-overload]


def _as_open_telemetry(counts: Mapping[str, int | None]) -> dict[str, int]:
    """The counts as OpenTelemetry names them, beside Claude Code's own; there the cache's tokens are in the input."""
    if None in counts.values():
        return {}
    fresh, output, read, written = (count or 0 for count in counts.values())
    return {
        "gen_ai__usage__input_tokens": fresh + read + written,
        "gen_ai__usage__output_tokens": output,
        "gen_ai__usage__cache_read__input_tokens": read,
        "gen_ai__usage__cache_write__input_tokens": written,
    }


def _class_of(status_code: int | None) -> str:
    """``error_class`` of a request that failed (reference section 6)."""
    if status_code is None:
        return "connection_error"
    known = {529: "server_overload", 429: "rate_limit", 401: "auth_error", 403: "auth_error"}
    return known.get(status_code) or ("server_error" if status_code >= 500 else "client_error")  # noqa: PLR2004
