"""Monitors recording elsewhere for a while, as in ``capture``."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from claude_monitoring import _process
from claude_monitoring._settings import Settings
from claude_monitoring._weak import members

if TYPE_CHECKING:
    from claude_monitoring._core import MonitorCore
    from claude_monitoring.exporters.custom import CustomExporter

__all__ = ["monitors", "redirect", "redirected", "redirections"]

monitors: weakref.WeakSet[MonitorCore] = weakref.WeakSet()
"""Every monitor of this process."""

_PROVIDERS = ("_tracer_provider", "_meter_provider", "_logger_provider")
_STATE = ("_settings", "_exporters", "_on", "_closed", "_pipeline", "_session", "_health", *_PROVIDERS)


class _Redirection:
    """Where monitors record during ``capture``, and what they were before."""

    def __init__(self, settings: Settings, exporters: tuple[CustomExporter, ...]) -> None:
        self.settings = settings
        self.exporters = exporters
        self.saved: list[tuple[MonitorCore, dict[str, Any]]] = []

    def take(self, monitor: MonitorCore) -> None:
        self.saved.append((monitor, {name: getattr(monitor, name) for name in _STATE}))
        monitor._settings, monitor._exporters = self.settings, self.exporters
        monitor._tracer_provider = monitor._meter_provider = monitor._logger_provider = None
        monitor._on = True
        monitor._start_anew()

    def undo(self) -> None:
        for monitor, state in self.saved:
            if monitor._pipeline is not None:
                monitor._end_session()
                _process.release(monitor._pipeline, 5)
            monitor._start_anew()
            for name, value in state.items():
                setattr(monitor, name, value)
            parent = monitor._parent
            if parent is not None and monitor._settings is self.settings:  # made inside, of one that was taken
                for name in ("_settings", "_exporters", "_on", *_PROVIDERS):
                    setattr(monitor, name, getattr(parent, name))
            if monitor._pipeline is not None:
                monitor._use(monitor._pipeline)
                monitor._ready = True


redirections: list[_Redirection] = []
"""Those under way, the latest last."""


def redirect(monitor: MonitorCore) -> None:
    """Let a new monitor record where ``capture`` says, if one is under way."""
    if redirections:
        redirections[-1].take(monitor)


@contextmanager
def redirected(settings: Settings, exporters: tuple[CustomExporter, ...]) -> Iterator[None]:
    """Let every monitor, old or new, record to ``exporters``; afterwards the old ones are as before."""
    redirection = _Redirection(settings, exporters)
    for monitor in members(monitors):
        if not monitor._closed:
            redirection.take(monitor)
    redirections.append(redirection)
    try:
        yield
    finally:
        redirections.pop()
        redirection.undo()
