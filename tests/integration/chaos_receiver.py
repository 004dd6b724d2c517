"""A far side in a process of its own, which can be killed at any moment: what it took is on disk before it answers.

``python chaos_receiver.py JOURNAL HTTP_PORT GRPC_PORT``; each line of stdin holds arguments of ``OtlpReceiver.answer``
as JSON. It says ``ok`` when it listens and after each line, and ends with stdin.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from claude_monitoring.receiver import OtlpReceiver
from claude_monitoring.receiver.decode import decode
from claude_monitoring.receiver.flatten import flatten
from claude_monitoring.receiver.model import Arrival, Log, Point, Span
from claude_monitoring.receiver.store import Store

__all__ = ["Journal", "read_journal"]


class Journal(Store):
    """Writes each accepted request to a file, one a line, and keeps nothing in memory."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self._lock = threading.Lock()

    def add(self, arrival: Arrival, body_bytes: int, message: Any, status: int | str, *, accepted: bool) -> None:
        """Called before the answer goes out; a killed process leaves what the kernel already has."""
        if not accepted:
            return
        left = f"{arrival.signal} {base64.b64encode(message.SerializeToString()).decode()}\n".encode()
        with self._lock:
            while left:
                left = left[os.write(self._file, left) :]


def read_journal(path: Path) -> list[Point | Log | Span]:
    """What is in a journal; a line that the kill cut short was never acknowledged, and so may or may not count."""
    items: list[Point | Log | Span] = []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True)):
        if line.endswith(b"\n"):
            signal, _, body = line.decode().partition(" ")
            items += flatten(signal, decode(signal, base64.b64decode(body), as_json=False), number)  # type: ignore[arg-type]
    return items


def main(journal: str, http_port: str, grpc_port: str) -> None:
    receiver = OtlpReceiver(http_port=int(http_port), grpc_port=int(grpc_port))
    receiver._store = receiver._intake._store = Journal(Path(journal))
    with receiver:
        print("ok", flush=True)
        for line in sys.stdin:
            receiver.answer(**json.loads(line))
            print("ok", flush=True)
    assert receiver.faults == (), receiver.faults


if __name__ == "__main__":
    main(*sys.argv[1:])
