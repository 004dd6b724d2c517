"""The transcript of a session, which the SDK's hooks name: what is final of each request, and who decided on a tool.

The SDK's messages give an answer's tokens as they were when it began; its end is in the transcript alone. The program
writes it about every 0.1 s. A file that can't be read, or lines that are not as expected, change nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["Transcript"]

_MOST_BYTES = 64 * 1024 * 1024  # at once; more is no transcript
_WANTED = (b'"assistant"', b'"tool_result"', b'"api_error"')


class Transcript:
    """A transcript, read as it grows.

    Args:
        path: The file, which need not be there yet.
        since: ISO 8601 with milliseconds and ``Z``: earlier lines are of another run of the session.
        is_new: Whether the session began in this run; else what the file has by now is left out.
    """

    def __init__(self, path: str, since: str, *, is_new: bool) -> None:
        self._path = Path(path)
        self._since = since
        self._offset = 0
        with suppress(OSError, ValueError):
            self._offset = 0 if is_new else self._path.stat().st_size

    def read(self) -> Iterator[Mapping[str, Any]]:
        """The entries that came since the last call and say something of requests or tools."""
        whole = b""
        with suppress(OSError, ValueError), self._path.open("rb") as file:
            file.seek(self._offset)
            read = file.read(_MOST_BYTES)
            whole, _, _ = read.rpartition(b"\n")
            if len(read) == _MOST_BYTES and not whole:
                self._offset += len(read)  # a line without end: its rest is no entry either
        if whole:
            self._offset += len(whole) + 1
        for line in whole.split(b"\n"):
            if any(word in line for word in _WANTED):
                entry = None
                with suppress(ValueError, RecursionError):
                    entry = json.loads(line)
                if isinstance(entry, dict) and str(entry.get("timestamp", "")) >= self._since:
                    yield entry
