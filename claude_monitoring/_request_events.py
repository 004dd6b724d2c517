"""What Claude Code reports of requests to a model: its events, fed together with the metrics (reference section 5)."""

from __future__ import annotations

from typing import Literal

from claude_monitoring._event_recorder import EventRecorder
from claude_monitoring._labels import as_text, content, content_length
from claude_monitoring._turns import REDACTED, milliseconds

__all__ = ["RequestRecorder"]

_FINER = {"main": "sdk", "subagent": "agent:custom"}
_MAIN = frozenset({"main", "sdk", "repl_main_thread"})


class RequestRecorder(EventRecorder):
    """The events about requests. Seconds in, milliseconds out."""

    def _finer_source(self, query_source: str | None) -> str:
        """The source of a request as events name it; metrics have three words for it."""
        source = as_text(query_source) or self._query_source
        return _FINER.get(source, source)

    def record_api_request(  # noqa: PLR0913 - all but the first by keyword, each described below
        self,
        model: str,
        *,
        input_tokens: float = 0,
        output_tokens: float = 0,
        cache_read_tokens: float = 0,
        cache_creation_tokens: float = 0,
        cache_creation_5m_tokens: float = 0,
        cache_creation_1h_tokens: float = 0,
        cost_usd: float | None = None,
        duration_s: float = 0.0,
        ttft_s: float | None = None,
        request_id: str | None = None,
        speed: Literal["normal", "fast"] = "normal",
        effort: str | None = None,
        query_source: str | None = None,
    ) -> None:
        """Record a successful answer of a model: what ``record_usage`` does, and the event ``api_request``.

        Args:
            model: The model's id, as the API's answer gives it.
            input_tokens: Tokens sent, those of the cache left out.
            output_tokens: Tokens received.
            cache_read_tokens: Tokens read from the prompt cache.
            cache_creation_tokens: Tokens written to it, in all.
            cache_creation_5m_tokens: Those of them that live for five minutes.
            cache_creation_1h_tokens: Those of them that live for an hour, which cost more.
            cost_usd: As for ``record_usage``.
            duration_s: Seconds that the answer took.
            ttft_s: Seconds to its first token.
            request_id: The API's id of the request.
            speed: ``fast`` where the API's fast mode was used.
            effort: ``low`` to ``max``, where the model has such levels.
            query_source: ``main``, ``subagent``, ``auxiliary``, or finer as on Claude Code's events: ``sdk``,
                ``agent:builtin:<name>``, ``agent:custom``, ``compact``, ``hook_prompt``.
        """
        finer = self._finer_source(query_source)
        counts = self._checked(
            "record_api_request",
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cache_read_tokens=cache_read_tokens,
            cache_creation_tokens=cache_creation_tokens,
            cache_creation_5m_tokens=cache_creation_5m_tokens,
            cache_creation_1h_tokens=cache_creation_1h_tokens,
            duration_s=duration_s,
            ttft_s=ttft_s or 0,
        )
        if counts is None:
            return
        usd = self.record_usage(
            model,
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_creation_tokens,
            cache_creation_1h_tokens=cache_creation_1h_tokens,
            cost_usd=cost_usd,
            duration_s=duration_s or None,
            query_source=_coarser(finer),
            speed=speed,
            effort=effort,
        )
        times = {"duration_s", "ttft_s"}
        self._native_event(
            "api_request",
            {
                "model": as_text(model),
                **{name: int(count) for name, count in counts.items() if name not in times},
                "cost_usd": usd,
                "cost_usd_micros": round(usd * 1e6) if usd is not None else None,
                "duration_ms": milliseconds(counts["duration_s"]),
                "ttft_ms": milliseconds(counts["ttft_s"]) if ttft_s is not None else None,
                "request_id": request_id,
                "speed": speed,
                "query_source": finer,
                "effort": effort,
            },
        )

    def record_assistant_response(
        self, response: str, *, model: str, request_id: str | None = None, message_id: str | None = None,
        query_source: str | None = None,
    ) -> None:  # fmt: skip
        """Record the text of an answer.

        Only its length leaves the process unless ``OTEL_LOG_ASSISTANT_RESPONSES`` is set, or, where that is unset,
        ``OTEL_LOG_USER_PROMPTS``.
        """
        self._native_event(
            "assistant_response",
            {
                "response_length": content_length(response),
                "response": content(response) if self._settings.log_assistant_responses else REDACTED,
                "request_id": request_id,
                "message.uuid": message_id,
                "model": as_text(model),
                "query_source": self._finer_source(query_source),
            },
        )

    def record_api_error(  # noqa: PLR0913 - as above
        self,
        model: str,
        error: BaseException | str,
        *,
        status_code: int | None = None,
        duration_s: float = 0.0,
        attempt: int = 1,
        total_retry_duration_s: float = 0.0,
        request_id: str | None = None,
        speed: Literal["normal", "fast"] = "normal",
        effort: str | None = None,
        query_source: str | None = None,
    ) -> None:
        """Record that a request failed for good; after more than one attempt, that the retries are used up too.

        Args:
            model: The model that was asked.
            error: What went wrong; its text is sent.
            status_code: The HTTP status; ``None`` for a connection that failed.
            duration_s: Seconds of the last attempt.
            attempt: How many attempts there were.
            total_retry_duration_s: Seconds from the first attempt's begin to the last one's end.
            request_id: The API's id of the last attempt.
            speed: As for ``record_api_request``.
            effort: As for ``record_api_request``.
            query_source: As for ``record_api_request``.
        """
        amounts = self._checked(
            "record_api_error", duration_s=duration_s, attempt=attempt, total_retry_duration_s=total_retry_duration_s
        )
        if amounts is None:
            return
        common = {"model": as_text(model), "error": content(error), "status_code": status_code}
        source = {"speed": speed, "query_source": self._finer_source(query_source)}
        self._native_event(
            "api_error",
            {
                **common,
                "duration_ms": milliseconds(amounts["duration_s"]),
                "attempt": int(attempt),
                "request_id": request_id,
                **source,
                "effort": effort,
            },
        )
        if attempt > 1:
            total_ms = milliseconds(amounts["total_retry_duration_s"])
            counts = {"total_attempts": int(attempt), "total_retry_duration_ms": total_ms}
            self._native_event("api_retries_exhausted", {**common, **counts, **source})

    def record_api_refusal(
        self, model: str, *, request_id: str | None = None, category: str | None = None, explained: bool = False,
        attempt: int = 1, speed: Literal["normal", "fast"] = "normal", query_source: str | None = None,
    ) -> None:  # fmt: skip
        """Record that the model refused (``stop_reason`` is ``refusal``); the request itself counts as well."""
        self._native_event(
            "api_refusal",
            {
                "model": as_text(model),
                "request_id": request_id,
                "speed": speed,
                "attempt": int(attempt),
                "server_fallback_hop": False,
                "query_source": self._finer_source(query_source),
                "has_category": category is not None,
                "has_explanation": bool(explained),
            },
            {"category": category},
        )


def _coarser(source: str) -> str:
    """The source of a request as metrics name it (reference section 5, last paragraph on ``query_source``)."""
    if source in _MAIN:
        return "main"
    return "subagent" if source == "subagent" or source.startswith("agent:") else "auxiliary"
