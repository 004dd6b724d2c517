"""Targets: one far side that several lanes talk to, and the lines about it that the host gets to read."""

from __future__ import annotations

import re
import time

from claude_monitoring._sealed import log
from claude_monitoring.types import Signal

__all__ = ["Target"]


class Target:
    """An endpoint. One line when it begins to fail, one when it works again, however many signals go to it.

    A second line comes only for a signal that fails for a cause of its own, such as a path that is not there.

    Args:
        name: What it is called in these lines.
        meanwhile: What happens to the data until it works, in words.
    """

    def __init__(self, name: str, meanwhile: str = "") -> None:
        self.name = name
        self._meanwhile = meanwhile
        self._causes: dict[Signal, str] = {}
        self._told: set[str] = set()
        self._since = 0.0

    def failed(self, signal: Signal, error: str, *, for_good: bool = False, unreached: bool = False) -> None:
        """An attempt to deliver ``signal`` failed; what was refused ``for_good`` is not kept."""
        # In brackets is what a library said, which differs from one attempt to the next. What a broken connection looks
        # like differs too, by how far it came.
        words = re.sub(r" \([^()]*\)", "", error.replace(f"/v1/{signal}", "").replace(signal, ""))
        cause = "unreached" if unreached else words
        is_new = signal not in self._causes and cause not in self._told
        if not self._causes:
            self._since = time.monotonic()
        self._causes[signal] = cause
        if is_new:
            self._told.add(cause)
            log.warning(
                "claude_monitoring: %s not delivered by %s: %s%s",
                signal,
                self.name,
                error,
                "" if for_good else self._meanwhile,
            )

    def given_up(self, signal: Signal) -> None:
        """The end came while ``signal`` waited; told if nothing else was."""
        if not self._causes:
            self.failed(signal, "no answer before the program ended")

    def works(self, signal: Signal) -> None:
        """An attempt to deliver ``signal`` went well."""
        if self._causes.pop(signal, None) is None or self._causes:
            return
        self._told.clear()
        # As loud as the line about the failure: who has read that one wants to know that it is over.
        log.warning("claude_monitoring: %s works again, after %.0f s", self.name, time.monotonic() - self._since)
