"""A fake Anthropic Messages API on loopback, so that agents can be tested offline and for nothing.

::

    with FakeAnthropic() as api:
        api.answer(ToolUse("get_weather", {"city": "Rome"}), "Sunny.", ApiError(529))
        client = anthropic.Anthropic(base_url=api.base_url, api_key="dummy")
        ...

It serves the ``anthropic`` package (sync, async, streams, beta, batches) and the Claude Code program
(``ANTHROPIC_BASE_URL``). It needs neither.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from claude_monitoring.testing._answers import Answer, ApiError, Drop, Raw, StreamFault, Thinking, ToolUse, Usage
from claude_monitoring.testing._api_server import ApiServer
from claude_monitoring.testing._routes import Routes
from claude_monitoring.testing._script import MESSAGES, Answerable, Headers, Request, Script, Scripted

__all__ = [
    "Answer",
    "Answerable",
    "ApiError",
    "Drop",
    "FakeAnthropic",
    "Headers",
    "Raw",
    "Request",
    "Scripted",
    "StreamFault",
    "Thinking",
    "ToolUse",
    "Usage",
]


class FakeAnthropic:
    """The API, for as long as the ``with`` block runs.

    Paths: ``/v1/messages`` (JSON and streams), ``/v1/messages/count_tokens``, ``/v1/messages/batches`` (create,
    retrieve, results), ``/v1/models``; others are answered with 404 in the API's form.

    Args:
        *answers: The first answers, as for ``answer``.
        default: What is answered when no answer waits; a function gets each such request.
        port: 0 for a free one.
    """

    def __init__(self, *answers: Scripted, default: Scripted = "Hello.", port: int = 0) -> None:
        self._script = Script(default)
        self._routes = Routes(self._script)
        self._port = port
        self._lock = threading.Lock()
        self._server: ApiServer | None = None
        self.answer(*answers)

    def start(self) -> FakeAnthropic:
        """Listen; a second call while it runs does nothing.

        Raises:
            OSError: The port can't be had.
        """
        with self._lock:
            if self._server is None:
                self._server = ApiServer(self._port, self._script, self._routes)
                self._port = self._server.port
                self._routes.base_url = self.base_url
        return self

    def close(self) -> None:
        """Stop listening and cut all connections; what came stays readable.

        Raises:
            BaseException: The first one that a function of yours raised while it made an answer.
        """
        self._stop(quietly=False)

    def _stop(self, *, quietly: bool) -> None:
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.close()
            if server.faults and not quietly:
                raise server.faults[0]

    def __enter__(self) -> FakeAnthropic:  # noqa: PYI034 - Self needs 3.11, and hints must resolve at run time
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop(quietly=exc is not None)  # the block's own exception comes first

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:PORT``, for ``base_url=`` and ``ANTHROPIC_BASE_URL``."""
        return f"http://127.0.0.1:{self._port}"

    def answer(
        self,
        *answers: Scripted,
        when: Callable[[Request], bool] | None = None,
        times: int | None = 1,
        path: str = MESSAGES,
    ) -> None:
        """Put answers, one a request, behind those that wait.

        Each is a text, a ``ToolUse``, ``Thinking`` or another block (a mapping, sent as it is), a list of these, an
        ``Answer``, ``ApiError``, ``Drop`` or ``Raw``, or a function from the ``Request`` to one of these. Each request
        of a batch takes one, too.

        Args:
            *answers: In their order.
            when: Only for requests for which this is true; others pass them by.
            times: How often each of them is given; None for ever.
            path: Of the requests that they are for.

        Raises:
            TypeError: Something that can't be answered.
            ValueError: ``times`` is less than 1.
        """
        if times is not None and times < 1:
            raise ValueError(f"times={times!r} is less than 1; None stands for ever")
        for one in answers:
            self._script.add(one, path, when, times)

    @property
    def requests(self) -> tuple[Request, ...]:
        """All requests of every path, in the order in which they came."""
        return self._script.requests()

    @property
    def answers_left(self) -> int:
        """How many answers wait, those for ever left out: 0 at the end of a test whose script was played to its end."""
        return self._script.left()

    def wait_for(self, count: int = 1, *, path: str = MESSAGES, timeout_s: float = 5.0) -> tuple[Request, ...]:
        """The requests of ``path`` as soon as there are ``count`` of them.

        Raises:
            TimeoutError: Fewer came in time; the text says what came.
        """
        return self._script.wait_for(count, path, timeout_s)
