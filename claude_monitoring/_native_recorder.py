"""What Claude Code reports of tools, and its spans as scopes (reference sections 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from claude_monitoring._labels import as_text, content
from claude_monitoring._llm_requests import LlmRequest
from claude_monitoring._recorder import as_dict
from claude_monitoring._request_events import RequestRecorder
from claude_monitoring._sealed import Sealed
from claude_monitoring._settings import environment
from claude_monitoring._tool_uses import ToolUse
from claude_monitoring._turns import milliseconds

__all__ = ["NativeRecorder"]

EDIT_TOOLS = frozenset({"Edit", "Write", "NotebookEdit"})


class NativeRecorder(RequestRecorder):
    """All that Claude Code reports; numbers are sent as text where it does so."""

    def subprocess_env(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment to start a Claude Code with, so that it reports itself where and as this program does.

        It becomes a child of the current span, and what it reports carries this agent's ``agent``, ``project`` and
        ``sprint``, and the attributes of ``OTEL_RESOURCE_ATTRIBUTES``. Only OTLP is handed on. It keeps a
        ``service.name`` of its own, so that nothing is counted twice.

        Args:
            env: What to begin with; this process' environment if left out.
        """
        from claude_monitoring._child_env import child_environment

        carrier: dict[str, str] = {}
        with Sealed():
            if self._live() and self._tracing is not None:
                from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

                TraceContextTextMapPropagator().inject(carrier)
        labels = {"agent": self.agent_id, "project": self.project_name, "sprint": self.sprint}
        return child_environment(environment() if env is None else env, self._settings, labels, carrier)

    def llm_request(
        self, model: str, *, query_source: str | None = None, speed: Literal["normal", "fast"] = "normal",
        effort: str | None = None,
    ) -> LlmRequest:  # fmt: skip
        """A request to a model, as a context manager: the span ``claude_code.llm_request`` and what it comes to.

        Args:
            model: The model that is asked.
            query_source: As for ``record_api_request``.
            speed: As for ``record_api_request``.
            effort: As for ``record_api_request``.
        """
        return LlmRequest(self, model, query_source=query_source, speed=speed, effort=effort)

    def tool_use(
        self, name: str, *, tool_use_id: str | None = None, tool_input: Mapping[str, object] | None = None,
        request_id: str | None = None,
    ) -> ToolUse:  # fmt: skip
        """A call of a tool, as a context manager: the span ``claude_code.tool``, its decision and its result.

        Args:
            name: As for ``record_tool_decision``.
            tool_use_id: The model's id of the call.
            tool_input: The arguments of the call; see ``record_tool_result``.
            request_id: The request whose answer asked for the tool.
        """
        return ToolUse(self, name, tool_use_id=tool_use_id, tool_input=tool_input, request_id=request_id)

    def _given_input(self, tool_input: object) -> dict[str, object] | None:
        """The arguments of a call; what is no mapping is refused."""
        if tool_input is None:
            return None
        try:
            return as_dict(tool_input, "tool_input")
        except TypeError as exc:
            self._refuse("tool_use", exc)
            return None

    def record_tool_decision(
        self,
        tool_name: str,
        decision: Literal["accept", "reject"],
        *,
        source: str = "config",
        tool_use_id: str | None = None,
        parameters: Mapping[str, object] | None = None,
        permission_mode: str | None = None,
        request_id: str | None = None,
        file_path: str | None = None,
    ) -> None:
        """Record that a tool may run, or not; for the tools that edit, the metric of decisions counts it too.

        Args:
            tool_name: The tool; one of an MCP server (``mcp__server__tool``) is called ``mcp_tool`` on the event.
            decision: ``accept`` or ``reject``.
            source: Who decided; see ``record_edit_decision``.
            tool_use_id: The model's id of the call.
            parameters: What the call is about, such as ``{"bash_command": "git"}``; only with
                ``OTEL_LOG_TOOL_DETAILS``.
            permission_mode: Such as ``default`` or ``bypassPermissions``.
            request_id: The request whose answer asked for the tool.
            file_path: What is edited; only its language is sent.
        """
        name = as_text(tool_name)
        if name in EDIT_TOOLS:
            self.record_edit_decision(decision, tool_name=name, source=source, file_path=file_path)
        self._native_event(
            "tool_decision",
            {
                "decision": decision,
                "source": source,
                "tool_name": _event_name_of(name),
                "tool_use_id": tool_use_id,
                "tool_source": "mcp" if _is_mcp(name) else "builtin",
                "permission_mode": permission_mode,
                "request_id": request_id,
            },
            {"tool_parameters": _json(parameters) if parameters else None},
        )

    def record_tool_result(  # noqa: PLR0913 - as above
        self,
        tool_name: str,
        *,
        success: bool,
        duration_s: float = 0.0,
        tool_use_id: str | None = None,
        error: BaseException | str | None = None,
        error_type: str | None = None,
        parameters: Mapping[str, object] | None = None,
        tool_input: Mapping[str, object] | None = None,
        result_bytes: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """Record that a tool ended: the event ``tool_result``, and ``claude.tool.calls``.

        Args:
            tool_name: As for ``record_tool_decision``.
            success: Whether it did what it was asked for.
            duration_s: Seconds that it took.
            tool_use_id: The model's id of the call.
            error: What went wrong; its text only with ``OTEL_LOG_TOOL_DETAILS``.
            error_type: The kind of error; from ``error`` if left out.
            parameters: As for ``record_tool_decision``.
            tool_input: The arguments of the call; only their size without ``OTEL_LOG_TOOL_DETAILS``.
            result_bytes: Size of what it gave back, where it succeeded.
            request_id: The request whose answer asked for the tool.
        """
        amounts = self._checked("record_tool_result", duration_s=duration_s, result_bytes=result_bytes or 0)
        if amounts is None:
            return
        name = as_text(tool_name)
        self.record_tool_call(name, status="ok" if success else "error")
        given = _json(tool_input) if tool_input is not None else None
        kind = error_type or (type(error).__name__ if isinstance(error, BaseException) else None)
        self._native_event(
            "tool_result",
            {
                "tool_name": _event_name_of(name),
                "tool_use_id": tool_use_id,
                "success": "true" if success else "false",
                "duration_ms": str(milliseconds(amounts["duration_s"])),
                "error_type": None if success else kind,
                "tool_input_size_bytes": str(len(given.encode())) if given is not None else None,
                "tool_result_size_bytes": str(int(result_bytes)) if success and result_bytes is not None else None,
                "request_id": request_id,
            },
            {
                "tool_parameters": _json(parameters) if parameters else None,
                "tool_input": given,
                "error": None if success or error is None else content(error),
            },
        )


def _json(value: object) -> str:
    import json  # with what it brings a thirtieth of all that an import of ours takes

    return json.dumps(value, default=as_text, ensure_ascii=False, separators=(",", ":"))


def _is_mcp(tool_name: str) -> bool:
    return tool_name.startswith("mcp__")


def _event_name_of(tool_name: str) -> str:
    return "mcp_tool" if _is_mcp(tool_name) else tool_name
