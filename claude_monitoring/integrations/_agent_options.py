"""The options of a session that is watched: a copy of the host's, with our hooks and our environment."""

from __future__ import annotations

import copy
import functools
import json
import sys
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claude_monitoring._labels import as_text
from claude_monitoring._sealed import Sealed, warn_once
from claude_monitoring._settings import environment
from claude_monitoring.integrations._agent_session import AgentSession

if TYPE_CHECKING:
    from claude_monitoring._monitor import AgentMonitor

__all__ = ["watched"]

_HOOKS = (
    "UserPromptSubmit", "PreToolUse", "PostToolUse", "PostToolUseFailure", "SubagentStart", "SubagentStop", "Stop",
)  # fmt: skip
_SWITCH = "CLAUDE_CODE_ENABLE_TELEMETRY"


def watched(
    options: Any, monitor: AgentMonitor, recorder: AgentMonitor, *, is_watching: bool
) -> tuple[AgentSession, Any]:
    """A session to watch, and the options that let us.

    Args:
        options: The host's ``ClaudeAgentOptions``, or ``None``.
        monitor: Whose settings a program that reports itself gets.
        recorder: What records the session.
        is_watching: Whether we report it, not the program itself.
    """
    sdk = sys.modules["claude_agent_sdk"]
    ours = copy.copy(options) if options is not None else sdk.ClaudeAgentOptions()
    session = AgentSession(
        recorder,
        _start_type(ours),
        model=as_text(getattr(ours, "model", None)),
        custom_agents=getattr(ours, "agents", None) or (),
    )
    ours.hooks = _with_ours(getattr(ours, "hooks", None), session, sdk)
    if callable(getattr(ours, "can_use_tool", None)):
        ours.can_use_tool = _asking(ours.can_use_tool, session)
    ours.settings = _settings_for(ours, is_watching=is_watching)
    ours.env = _environment_for(monitor, getattr(ours, "env", None) or {}, is_watching=is_watching)
    return session, ours


def _start_type(options: Any) -> str:
    if getattr(options, "resume", None):
        return "resume"
    return "continue" if getattr(options, "continue_conversation", False) else "fresh"


def _environment_for(monitor: AgentMonitor, given: Mapping[str, str], *, is_watching: bool) -> dict[str, str]:
    """The options' ``env``, which the SDK lays over this process' own."""
    if is_watching:
        return {_SWITCH: "0", **given}
    whole = {**environment(), **given}
    child = monitor.subprocess_env(whole)
    dropped = {name: "" for name in whole if name.startswith("OTEL_") and name not in child}
    return {**given, **{name: value for name, value in child.items() if whole.get(name) != value}, **dropped}


def _settings_for(options: Any, *, is_watching: bool) -> str | None:
    """The options' ``settings`` with the telemetry's switch, since the ``env`` of a settings file wins over ours."""
    given = getattr(options, "settings", None)
    if _SWITCH in (getattr(options, "env", None) or {}):
        return given
    try:
        text = given or "{}"
        if not text.lstrip().startswith("{"):
            text = Path(getattr(options, "cwd", None) or "", text).read_text(encoding="utf-8")
        whole = json.loads(text)
        return json.dumps({**whole, "env": {**whole.get("env", {}), _SWITCH: "0" if is_watching else "1"}})
    except (OSError, ValueError, TypeError, AttributeError):  # the program will say what is wrong with it
        return given


def _with_ours(hooks: Mapping[str, Any] | None, session: AgentSession, sdk: Any) -> dict[str, Any]:
    async def tell(given: Any, *_: Any) -> dict[str, Any]:
        session.hook(given)
        return {}

    whole = dict(hooks or {})
    for name in _known_hooks(sdk):
        whole[name] = [*whole.get(name, ()), sdk.HookMatcher(hooks=[tell])]
    return whole


def _known_hooks(sdk: Any) -> list[str]:
    """Those of the hooks that we use which this version of the SDK has."""
    kinds = getattr(getattr(sdk, "types", None), "HookEvent", None)
    names = {name for kind in typing.get_args(kinds) for name in typing.get_args(kind) or (kind,)}
    missing = [name for name in _HOOKS if names and name not in names]
    for name in missing:
        warn_once(
            ("claude_agent_sdk hook", name),
            f"claude_monitoring: this version of claude_agent_sdk has no hook {name}: what only it tells is not "
            "recorded, the rest is",
        )
    return [name for name in _HOOKS if name not in missing]


def _asking(can_use_tool: Callable[..., Any], session: AgentSession) -> Callable[..., Any]:
    @functools.wraps(can_use_tool)
    async def ask(*args: Any, **kwargs: Any) -> Any:
        result = await can_use_tool(*args, **kwargs)
        with Sealed():
            context = kwargs.get("context", args[2] if len(args) > 2 else None)  # noqa: PLR2004 - its third
            source = "user_permanent" if getattr(result, "updated_permissions", None) else "user_temporary"
            if getattr(result, "behavior", "") == "deny":
                source = "user_reject"
            session.answered(getattr(context, "tool_use_id", None), source)
        return result

    return ask
