"""A server program on free ports of loopback, which is there when it is ready and gone afterwards."""

from __future__ import annotations

import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

__all__ = ["ServerProcess", "free_port"]

POLL_S = 0.05  # such programs offer nothing to wait on
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
ENDING_S = 1.0  # from the last that its sockets did to its end
PORT_ATTEMPTS = 5
TAIL_LINES = 20
_PORTS = range(20_000, 32_768)  # Linux and macOS give higher ones to connections that go out
_lock = threading.Lock()
_given: set[int] = set()

Self = TypeVar("Self", bound="ServerProcess")


class ServerProcess:
    """Runs from ``__enter__`` to ``__exit__``; its files are in ``folder``. A port that somebody took is replaced.

    Raises:
        RuntimeError: On entry, if it doesn't start; with the end of its log.
    """

    title: str
    """What it is called in messages."""
    port_count = 1

    def __init__(self, folder: Path, log_name: str) -> None:
        self._folder = folder
        self._log = folder / log_name
        self._stack = ExitStack()

    def command(self, ports: Sequence[int]) -> Sequence[str | Path]:
        """How to start it on these ports."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether it is this process that answers, and not somebody who took its ports."""
        raise NotImplementedError

    def __enter__(self: Self) -> Self:  # noqa: PYI019 - typing.Self needs Python 3.11
        self._folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            for _ in range(PORT_ATTEMPTS):
                command = self.command([free_port() for _ in range(self.port_count)])
                with self._log.open("wb") as log:
                    self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                stack.callback(_stop, self._process)
                if self._becomes_ready():
                    self._stack = stack.pop_all()
                    return self
            raise RuntimeError(f"somebody took free ports in each of {PORT_ATTEMPTS} attempts; {self.log_tail()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    def wait_until(self: Self, condition: Callable[[Self], bool], timeout_s: float = 20.0) -> None:  # noqa: PYI019
        """Return as soon as ``condition`` holds.

        Raises:
            TimeoutError: It never did; with what ``complaints`` has, and the end of the log.
            RuntimeError: The server ended; with the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        while not condition(self):
            self.check_alive()
            if time.monotonic() >= deadline:
                raise TimeoutError("; ".join([f"not within {timeout_s:g} s", *self.complaints(), self.log_tail()]))
            time.sleep(POLL_S)

    def complaints(self) -> list[str]:
        """What the server says against what it was given."""
        return []

    def check_alive(self, *, ending: bool = False) -> None:
        """Raise a ``RuntimeError`` with the end of the log if it ended; where it is ``ending`` that is waited for."""
        if ending:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(ENDING_S)
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.title} ended with {self._process.returncode}; {self.log_tail()}")

    def log_lines(self) -> list[str]:
        """Its log so far."""
        return self._log.read_text(errors="replace").splitlines()

    def log_tail(self) -> str:
        """The end of its log, for messages."""
        return "\n".join([f"{self._log} ends with:", *self.log_lines()[-TAIL_LINES:]])

    def _becomes_ready(self) -> bool:
        """Whether it is ready; not if somebody took one of its ports."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None and "address already in use" in "\n".join(self.log_lines()):
                return False
            self.check_alive()
            if self.is_ready():
                return True
            time.sleep(POLL_S)
        raise RuntimeError(f"{self.title} isn't ready after {READY_TIMEOUT_S:g} s; {self.log_tail()}")


def free_port() -> int:
    """A port of loopback that nobody has, and that is not given out again: not here, and to no connection.

    Raises:
        OSError: All are taken.
    """
    with _lock:
        for _ in _PORTS:
            port = secrets.choice(_PORTS)
            if port not in _given and _is_free(port):
                _given.add(port)
                return port
    raise OSError(f"no port of 127.0.0.1 from {_PORTS.start} to {_PORTS.stop - 1} is free")


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
