"""What the receiver answers: success, unless a test asked for something else."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from claude_monitoring.types import Signal

__all__ = ["CODES", "Answer", "Answers"]

CODES = {
    "OK": 0,
    "CANCELLED": 1,
    "UNKNOWN": 2,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "OUT_OF_RANGE": 11,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "DATA_LOSS": 15,
    "UNAUTHENTICATED": 16,
}
"""The gRPC status codes by name."""

_FROM_HTTP = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "UNIMPLEMENTED",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    411: "INVALID_ARGUMENT",
    413: "RESOURCE_EXHAUSTED",
    415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "UNAVAILABLE",
}
_SUCCESS = range(200, 300)
_FINAL = range(200, 600)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, in terms of both protocols; see ``OtlpReceiver.answer`` for the fields."""

    status: int = 200
    grpc_status: str | None = None
    delay_s: float = 0.0
    retry_after_s: float | None = None
    partial_success: int = 0
    message: str = ""
    drop: bool = False
    body: bytes | None = None
    content_type: str | None = None
    accepted: bool | None = None

    def __post_init__(self) -> None:
        if self.status not in _FINAL:
            raise ValueError(f"status={self.status!r} is no final HTTP status; use one from 200 to 599")
        if self.grpc_status is not None and self.grpc_status not in CODES:
            raise ValueError(f"grpc_status={self.grpc_status!r} is none of {', '.join(CODES)}")

    @property
    def grpc_name(self) -> str:
        """The name of the gRPC status: the one that was set, or else the one nearest to the HTTP status."""
        if self.grpc_status is not None:
            return self.grpc_status
        return "OK" if self.status in _SUCCESS else _FROM_HTTP.get(self.status, "UNKNOWN")

    def shown(self, protocol: str) -> int | str:
        """What the far side sees of it, as ``Request.status``."""
        if self.drop:
            return "dropped"
        return self.grpc_name if protocol == "grpc" else self.status

    def accepts(self, protocol: str) -> bool:
        """Whether the content of the request counts."""
        if self.accepted is not None:
            return self.accepted
        if self.drop:
            return False
        return self.grpc_name == "OK" if protocol == "grpc" else self.status in _SUCCESS


class Answers:
    """The answers that were asked for: counted ones first, in order, then the lasting one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: list[list[Any]] = []  # [signal or None, times left, answer]
        self._lasting: dict[Signal | None, Answer] = {}

    def add(self, answer: Answer, signal: Signal | None, times: int | None) -> None:
        """Ask for ``answer`` ``times`` times, or until the next lasting one, which also drops what is still counted."""
        if times is not None and times < 1:
            raise ValueError(f"times={times!r} must be 1 or more, or None for a lasting answer")
        with self._lock:
            if times is not None:
                self._counted.append([signal, times, answer])
                return
            if signal is None:
                self._counted.clear()
                self._lasting.clear()
            self._counted = [row for row in self._counted if row[0] != signal]
            self._lasting[signal] = answer

    def take(self, signal: Signal) -> Answer:
        """The answer to the next request of ``signal``."""
        with self._lock:
            for row in self._counted:
                if row[0] in (None, signal):
                    row[1] -= 1
                    if not row[1]:
                        self._counted.remove(row)
                    return row[2]  # type: ignore[no-any-return]
            return self._lasting.get(signal) or self._lasting.get(None) or Answer()
