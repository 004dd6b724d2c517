"""A call of a tool, as Claude Code traces and reports it (reference sections 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from claude_monitoring._labels import MAX_CONTENT_CHARS, as_text, content
from claude_monitoring._turns import NativeScope

if TYPE_CHECKING:
    from claude_monitoring._native_recorder import NativeRecorder

__all__ = ["ToolExecution", "ToolUse"]

_DETAILS = ("file_path", "full_command", "skill_name", "subagent_type")
_PARAMETERS = {"Bash": ("description", "timeout"), "Agent": ("subagent_type",), "Task": ("subagent_type",)}


def _parameters_of(tool_name: str, given: Mapping[str, object]) -> dict[str, object]:
    """``tool_parameters`` of a call (reference section 5)."""
    if tool_name.startswith("mcp__"):
        server, _, name = tool_name.removeprefix("mcp__").partition("__")
        return {"mcp_server_name": server, "mcp_tool_name": name}
    found = {key: given[key] for key in _PARAMETERS.get(tool_name, ()) if key in given}
    if tool_name == "Bash" and (command := as_text(given.get("command"), MAX_CONTENT_CHARS)):
        found = {"bash_command": command.split()[0] if command.split() else "", "full_command": command, **found}
    if tool_name == "Skill" and "skill" in given:
        found["skill_name"] = given["skill"]
    return found


def _kind_of_failure(tool_name: str) -> str:
    """``error_type`` of a tool that said no more than that it failed (reference section 5)."""
    return "McpToolCallError" if tool_name.startswith("mcp__") else "ShellError" if tool_name == "Bash" else "ToolError"


class ToolUse(NativeScope):
    """A call of a tool, from the model's wish to its end. Made with ``monitor.tool_use``.

    ``decided`` says whether it may run; with ``execution`` around the work the trace tells it from the waiting. An
    exception that leaves the block has failed it; ``failed`` says so without one.
    """

    __slots__ = (
        "_failure", "_input", "_parameters", "_rejected", "_request_id", "_result_bytes", "_worked_s", "name",
        "tool_use_id",
    )  # fmt: skip

    monitor: NativeRecorder
    span_type = "tool"

    def __init__(
        self, monitor: NativeRecorder, name: str, *, tool_use_id: str | None, tool_input: Mapping[str, object] | None,
        request_id: str | None,
    ) -> None:  # fmt: skip
        super().__init__(monitor)
        self.name = as_text(name)
        self.tool_use_id = tool_use_id
        self._input = monitor._given_input(tool_input)
        self._request_id = request_id
        self._parameters = _parameters_of(self.name, self._input or {})
        self._rejected = False
        self._worked_s: float | None = None
        self._result_bytes: int | None = None
        self._failure: tuple[str, str] | None = None  # kind and text, since an exception holds all that its frames hold

    def _at_begin(self) -> Mapping[str, object]:
        is_mcp = self.name.startswith("mcp__")
        details = self._input if self.monitor._settings.log_tool_details and self._input else {}
        shown = {key: details.get(key) for key in _DETAILS}
        if self.name == "Bash":
            shown["full_command"] = details.get("command")
        return {
            "tool_name": self.name,
            "tool_name_safe": "mcp_other" if is_mcp else self.name,
            "gen_ai__operation__name": "execute_tool",
            "gen_ai__tool__name": self.name,
            "anthropic__mcp__server__name": self.name.split("__")[1] if is_mcp else None,
            "tool_use_id": self.tool_use_id,
            "gen_ai__tool__call__id": self.tool_use_id,
            **shown,
        }

    def decided(self, decision: Literal["accept", "reject"], *, source: str = "config", **more: Any) -> None:
        """Somebody decided whether it may run; the waiting began with the scope.

        Args:
            decision: ``accept`` or ``reject``; what was rejected has no result.
            source: Who decided; see ``record_edit_decision``.
            more: Other arguments of ``record_tool_decision``; ``parameters`` are told with the result, too.
        """
        self._rejected = decision == "reject"
        self._know(more.get("parameters"))
        path = self._input.get("file_path") if self._input else None
        given: dict[str, Any] = {"file_path": as_text(path) or None, "request_id": self._request_id}
        given |= {"tool_use_id": self.tool_use_id, **more, "parameters": self._parameters or None}
        with _Waiting(self, decision, source):
            self.monitor.record_tool_decision(self.name, decision, source=source, **given)

    def execution(self) -> ToolExecution:
        """The work itself, as a context manager."""
        return ToolExecution(self)

    def _know(self, parameters: object) -> None:
        self._parameters |= self.monitor._given_input(parameters) or {}

    def returned(self, result: str | bytes, *, parameters: Mapping[str, object] | None = None) -> None:
        """What it gave back; only its size is sent.

        Args:
            result: Of whatever size.
            parameters: What is known of the call only now, such as ``{"git_commit_id": ...}``; told with those of
                ``decided``.
        """
        self._know(parameters)
        whole = result if isinstance(result, str | bytes) else content(result)
        self._result_bytes = len(whole.encode("utf-8", "replace") if isinstance(whole, str) else whole)

    def failed(self, error: BaseException | str) -> None:
        """It did not do what it was asked for."""
        self._failure = self._told(error)

    def _told(self, error: object) -> tuple[str, str] | None:
        """Kind and text of what went wrong; ``None`` for nothing."""
        if error is None:
            return None
        kind = type(error).__name__ if isinstance(error, BaseException) else _kind_of_failure(self.name)
        return kind, content(error)

    def _end(self, exc: BaseException | None, result: object) -> None:
        super()._end(exc, result)
        if self._rejected:
            return
        kind, error = self._failure or self._told(exc if isinstance(exc, Exception) else None) or (None, None)
        self.monitor.record_tool_result(
            self.name, success=error is None, duration_s=self.duration_s if self._worked_s is None else self._worked_s,
            tool_use_id=self.tool_use_id, error=error, error_type=kind, parameters=self._parameters or None,
            tool_input=self._input, result_bytes=self._result_bytes, request_id=self._request_id,
        )  # fmt: skip


class _Waiting(NativeScope):
    """The time that a tool waited for a decision."""

    __slots__ = ("_decision", "_source", "_tool")

    monitor: NativeRecorder
    span_type = "tool.blocked_on_user"

    def __init__(self, tool: ToolUse, decision: str, source: str) -> None:
        super().__init__(tool.monitor)
        self._tool = tool
        self._decision, self._source = decision, source

    def _since(self) -> tuple[float, int]:
        return self._tool._started_s, self._tool._began_unix_nano

    def _end(self, exc: BaseException | None, result: object) -> None:
        self._set(decision=self._decision, source=self._source)
        super()._end(exc, result)


class ToolExecution(NativeScope):
    """The work of a tool; made with ``execution()`` of what ``monitor.tool_use`` gives."""

    __slots__ = ("_tool",)

    monitor: NativeRecorder
    span_type = "tool.execution"

    def __init__(self, tool: ToolUse) -> None:
        super().__init__(tool.monitor)
        self._tool = tool

    def _at_begin(self) -> Mapping[str, object]:
        return {"tool_use_id": self._tool.tool_use_id, "gen_ai__tool__call__id": self._tool.tool_use_id}

    def _end(self, exc: BaseException | None, result: object) -> None:
        failure = self._tool._failure or self._tool._told(exc if isinstance(exc, Exception) else None)
        self._tool._worked_s = self.duration_s
        self._set(success=failure is None)
        if failure is not None:
            kind, text = failure[0], failure[1] if self.monitor._settings.log_tool_details else failure[0]
            self._set(error__type="tool_error", error=text, error_class=kind)
            self._error(text)
        super()._end(exc, result)
