"""The spool: a folder where requests wait that could not be delivered before their process ended.

A file is one request as a line of OTLP/JSON, the form of the OTLP file exporter's specification, which the Collector's
``otlpjsonfile`` receiver reads. It gets its name when it is complete, so no reader ever sees half of one.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import quote, unquote
from uuid import uuid4

from claude_monitoring.types import Signal

__all__ = ["Spool", "Spooled"]

_NAME = re.compile(r"(\d{20})-[0-9a-f]{8}\.(\d{1,9})\.(metrics|logs|traces)\.(.*)\.jsonl")
_MAX_SERVICE_CHARS = 150  # a file name has 255 bytes
_LEFT_BEHIND_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Spooled:
    """One request on disk, with as many items as its name says."""

    path: Path
    unix_nano: int
    items: int
    signal: Signal
    service: str
    body_bytes: int

    def remove(self) -> None:
        """Delete it; another process may have done so."""
        self.path.unlink(missing_ok=True)


class Spool:
    """A folder of requests, of one service or several.

    Args:
        folder: Made on first use, readable by this user alone: events may hold what is private.
        max_bytes: Of all files together; past that the oldest are deleted.
    """

    def __init__(self, folder: str, max_bytes: int) -> None:
        self.folder = Path(folder)
        self._max_bytes = max_bytes

    def entries(self, service: str | None = None) -> list[Spooled]:
        """What waits, oldest first; of one service, if given."""
        found = []
        with suppress(FileNotFoundError):
            for entry in os.scandir(self.folder):
                match = _NAME.fullmatch(entry.name)
                if match is None or (service is not None and match[4] != _quoted(service)):
                    continue
                with suppress(FileNotFoundError):  # somebody else sent it
                    size = entry.stat().st_size
                    signal = cast("Signal", match[3])
                    found.append(
                        Spooled(Path(entry.path), int(match[1]), int(match[2]), signal, unquote(match[4]), size)
                    )
        return sorted(found, key=lambda one: one.path.name)

    def keep(self, signal: Signal, service: str, line: bytes, items: int) -> int:
        """Write one request with ``items`` items.

        Returns:
            How many items, of this request or of older ones, had to be given up for the bound on the folder.

        Raises:
            OSError: It can't be written.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lost = self._make_room(len(line) + 1)
        if len(line) >= self._max_bytes:
            return lost + items
        name = f"{time.time_ns():020d}-{uuid4().hex[:8]}.{items}.{signal}.{_quoted(service)}.jsonl"
        unfinished = self.folder / f".{name}.tmp"
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(line + b"\n")
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.folder / name)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        return lost

    def _make_room(self, wanted_bytes: int) -> int:
        waiting = self.entries()
        used, lost = sum(one.body_bytes for one in waiting), 0
        for one in waiting:
            if used + wanted_bytes <= self._max_bytes:
                break
            one.remove()
            used -= one.body_bytes
            lost += one.items
        return lost

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether this process is the one that may send from the folder now; a crash gives that up, too."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / ".lock", timeout=0)
        try:
            lock.acquire()
        except (Timeout, OSError):
            yield False
            return
        try:
            self._clean_up()
            yield True
        finally:
            lock.release()

    def _clean_up(self) -> None:
        """Delete what a process left that crashed while it wrote."""
        for path in self.folder.glob(".*.jsonl.tmp"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _LEFT_BEHIND_S:
                    path.unlink()


def _quoted(service: str) -> str:
    return quote(service, safe="")[:_MAX_SERVICE_CHARS]
