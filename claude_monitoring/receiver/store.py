"""What came, in order, never taken away; and waiting for it."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from claude_monitoring.receiver.flatten import flatten
from claude_monitoring.receiver.model import Arrival, Log, Point, Request, Span

__all__ = ["Store"]

_POLL_S = 0.05
_NAMES_SHOWN = 20


class Store:
    """Append-only, for many writers and readers at once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._items: list[Point | Log | Span] = []
        self._points: dict[str, list[Point]] = defaultdict(list)

    def add(self, arrival: Arrival, body_bytes: int, message: Any, status: int | str, *, accepted: bool) -> None:
        """Keep one request and, if it was accepted, what is in it."""
        with self._changed:
            index = len(self._requests)
            items = flatten(arrival.known_signal, message, index) if accepted else []
            self._requests.append(
                Request(
                    index=index,
                    signal=arrival.signal,
                    protocol=arrival.protocol,
                    path=arrival.path,
                    headers=arrival.headers,
                    body_bytes=body_bytes,
                    received_s=time.monotonic(),
                    received_unix_nano=time.time_ns(),
                    message=message,
                    status=status,
                    accepted=accepted,
                )
            )
            self._items += items
            for item in items:
                if isinstance(item, Point):
                    self._points[item.metric].append(item)
            self._changed.notify_all()

    def requests(self) -> tuple[Request, ...]:
        """All requests so far."""
        with self._changed:
            return tuple(self._requests)

    def items(self, kind: type[Any]) -> tuple[Any, ...]:
        """All points, logs or spans so far."""
        with self._changed:
            return tuple(item for item in self._items if isinstance(item, kind))

    def points(self, metric: str) -> tuple[Point, ...]:
        """All points of one metric so far."""
        with self._changed:
            return tuple(self._points.get(metric, ()))

    def wait_for(self, match: Callable[[Any], bool], timeout_s: float) -> Any:
        """The first item that matches, now or within ``timeout_s``; ``match`` runs outside the lock."""
        deadline = time.monotonic() + timeout_s
        looked_at, hint = 0, ""
        while True:
            for item in self._after(looked_at, deadline):
                looked_at += 1
                try:
                    if match(item):
                        return item
                except AttributeError as exc:  # written for points, and this is a log: no match, and no failure
                    hint = f" (the match raised {exc})"
            if time.monotonic() >= deadline:
                raise TimeoutError(f"nothing matched within {timeout_s:g} s{hint}; {self.summary()}")

    def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Return once ``condition`` holds; it is asked after each request, and every 50 ms for what else it reads."""
        deadline = time.monotonic() + timeout_s
        while True:
            with self._changed:
                known = len(self._requests)
            if condition():
                return
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"the condition did not come true within {timeout_s:g} s; {self.summary()}")
            with self._changed:
                if len(self._requests) == known:
                    self._changed.wait(min(left_s, _POLL_S))

    def _after(self, index: int, deadline: float) -> list[Point | Log | Span]:
        """The items from ``index`` on, waiting for the first of them until ``deadline``."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) > index, max(0.0, deadline - time.monotonic()))
            return self._items[index:]

    def summary(self) -> str:
        """One line on what came, for messages."""
        with self._changed:
            requests = Counter((request.signal or "unknown", request.status) for request in self._requests)
            names = sorted({_label(item) for item in self._items})
        if not requests:
            return "no request came"
        came = ", ".join(f"{count} {signal} ({status})" for (signal, status), count in requests.items())
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        return f"requests: {came}; content: {', '.join(names[:_NAMES_SHOWN]) or 'none'}{more}"


def _label(item: Point | Log | Span) -> str:
    if isinstance(item, Point):
        return item.metric
    if isinstance(item, Log):
        return f"event {item.event_name or item.body}"
    return f"span {item.name}"
