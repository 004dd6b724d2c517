"""What both servers hand their requests to: decode, decide the answer, keep."""

from __future__ import annotations

import hmac
import threading
from collections.abc import Mapping
from typing import Any

from claude_monitoring.receiver.answers import Answer, Answers
from claude_monitoring.receiver.decode import MalformedError, decode
from claude_monitoring.receiver.model import Arrival
from claude_monitoring.receiver.store import Store

__all__ = ["Intake"]


class Intake:
    """The part of the receiver that knows no network."""

    def __init__(
        self, store: Store, answers: Answers, max_body_bytes: int, required_headers: Mapping[str, str]
    ) -> None:
        self.max_body_bytes = max_body_bytes
        self._required = {name.lower(): value.encode() for name, value in required_headers.items()}
        self._store = store
        self._answers = answers
        self._lock = threading.Lock()
        self._faults: list[str] = []

    def take(self, arrival: Arrival, body: bytes) -> Answer:
        """The answer to a request for a signal; a body that is no OTLP gets an error, whatever was asked for."""
        wrong = [
            name
            for name, value in self._required.items()
            if not hmac.compare_digest(arrival.headers.get(name, "").encode(), value)
        ]
        if wrong:
            answer = Answer(status=401, message=f"credentials rejected: header {', '.join(wrong)}", accepted=False)
            self._keep(arrival, len(body), answer, None)
            return answer
        try:
            message = decode(arrival.known_signal, body, as_json=arrival.protocol == "http/json")
        except MalformedError as exc:
            answer = Answer(status=400, message=str(exc), accepted=False)
            self._keep(arrival, len(body), answer, None)
        else:
            answer = self._answers.take(arrival.known_signal)
            self._keep(arrival, len(body), answer, message)
        return answer

    def refuse(self, arrival: Arrival, body_bytes: int, answer: Answer) -> None:
        """Keep a request that was not looked into."""
        self._keep(arrival, body_bytes, answer, None)

    def fault(self, exc: BaseException | None) -> None:
        """Note a fault of the receiver itself."""
        with self._lock:
            self._faults.append(repr(exc))

    def faults(self) -> tuple[str, ...]:
        """What ``fault`` was told."""
        with self._lock:
            return tuple(self._faults)

    def _keep(self, arrival: Arrival, body_bytes: int, answer: Answer, message: Any) -> None:
        status, accepted = answer.shown(arrival.protocol), answer.accepts(arrival.protocol)
        self._store.add(arrival, body_bytes, message, status, accepted=accepted)
