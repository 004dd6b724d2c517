"""What came, in order, never taken away; and waiting for it."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from claude_monitoring.receiver.flatten import flatten
from claude_monitoring.receiver.model import Log, Point, Request, Span
from claude_monitoring.types import Signal

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

    def add(
        self,
        signal: Signal | None,
        protocol: str,
        path: str,
        headers: Mapping[str, str],
        body_bytes: int,
        message: Any,
        status: int | str,
        *,
        accepted: bool,
    ) -> None:
        """Keep one request and, if it was accepted, what is in it."""
        with self._changed:
            index = len(self._requests)
            items = flatten(signal, message, index) if accepted and signal else []
            now_s, now_unix_nano = time.monotonic(), time.time_ns()
            self._requests.append(
                Request(
                    index, signal, protocol, path, headers, body_bytes, now_s, now_unix_nano, message, status, accepted
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
        looked_at = 0
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: len(self._items) > looked_at, max(0.0, deadline - time.monotonic())  # noqa: B023
                )
                fresh = self._items[looked_at:]
            for item in fresh:
                if _tolerant(match, item):
                    return item
            looked_at += len(fresh)
            if not fresh:
                raise TimeoutError(f"nothing matched within {timeout_s:g} s; {self.summary()}")

    def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Return once ``condition`` holds; it is asked after each request, and every 50 ms for what else it reads."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"the condition did not come true within {timeout_s:g} s; {self.summary()}")
            with self._changed:
                self._changed.wait(min(left_s, _POLL_S))

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


def _tolerant(match: Callable[[Any], bool], item: Point | Log | Span) -> bool:
    """A match written for points must not fail on a log or span that came in between."""
    try:
        return match(item)
    except AttributeError:
        return False
