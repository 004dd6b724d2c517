"""Who and where: ``user.id`` and ``terminal.type`` as Claude Code has them (reference section 3)."""

from __future__ import annotations

import os
import re
import stat
from functools import lru_cache

__all__ = ["terminal_type", "user_id"]


def terminal_type(term_program: str | None, tmux: str | None, term: str | None) -> str:
    """``TERM_PROGRAM``, ``tmux`` inside tmux, ``TERM``, or ``non-interactive``."""
    return term_program or ("tmux" if tmux else term) or "non-interactive"


def user_id(home: str | None) -> str:
    """The ``userID`` of ``<home>/.claude.json``, else a hash that is the same for one user of one host.

    Nothing is written, so a machine without Claude Code gets no file of its.
    """
    found = ""
    if home:
        path = f"{home}/.claude.json"
        try:
            status = os.stat(path)  # noqa: PTH116 - pathlib costs import time
            if stat.S_ISREG(status.st_mode):
                found = _read_user_id(path, status.st_mtime_ns, status.st_size)
        except (OSError, ValueError):
            found = ""
    return found or _fallback()


@lru_cache(maxsize=16)  # the file may be megabytes, and a process may have a thousand monitors
def _read_user_id(path: str, _mtime_ns: int, _size: int) -> str:
    import json

    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - as above
            content = json.load(file)
    except (OSError, ValueError, RecursionError):
        return ""
    found = content.get("userID") if isinstance(content, dict) else None
    return found if isinstance(found, str) and re.fullmatch("[0-9a-f]{64}", found) else ""


@lru_cache(maxsize=1)
def _fallback() -> str:
    import hashlib
    import platform

    uid = os.getuid() if hasattr(os, "getuid") else ""
    return hashlib.sha256(f"claude_monitoring:{platform.node()}:{uid}".encode("utf-8", "replace")).hexdigest()
