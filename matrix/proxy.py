"""A real HTTP proxy, tinyproxy, between a probe and its far side."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from matrix.process import NotRunError
from matrix.server_process import free_port

__all__ = ["Proxy"]

_READY_TIMEOUT_S = 10.0
_REQUEST = re.compile(r"Request \(file descriptor \d+\): (\S+ \S+)")


class Proxy:
    """Runs from ``__enter__`` to ``__exit__``; its files are in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._log, self._config = folder / "proxy.log", folder / "proxy.conf"
        self._stack = ExitStack()

    def __enter__(self) -> Proxy:  # noqa: PYI034 - Self needs Python 3.11
        if shutil.which("tinyproxy") is None:
            raise NotRunError("needs tinyproxy: apt-get install tinyproxy")
        self._config.write_text(
            f'Port {self._port}\nListen 127.0.0.1\nAllow 127.0.0.1\nLogLevel Connect\nLogFile "{self._log}"\n'
        )
        process = subprocess.Popen(
            ["tinyproxy", "-d", "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        deadline_s = time.monotonic() + _READY_TIMEOUT_S
        while not _answers(self._port):
            if process.poll() is not None or time.monotonic() > deadline_s:
                self._stack.close()
                raise NotRunError(f"tinyproxy does not start; see {self._log}")
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def requests(self) -> list[str]:
        """Method and target of each request."""
        return _REQUEST.findall(self._log.read_text())


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
