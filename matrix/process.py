"""Starts a probe and watches it from outside: its lines and when they came, its threads, memory and sockets."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

__all__ = ["Crowd", "NotRunError", "Watched", "watch"]

START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 30.0
"""How much longer than its work a probe may take, before it is killed."""
_WAIT_S = 0.05


class NotRunError(Exception):
    """Something could not be run, or not to its end; the text says why."""


class Crowd:
    """All probes of a run. Only ``starts`` of them are in their first moments at once.

    Starting Python and its imports takes processor time, for which the exports of the others would have to wait.
    """

    def __init__(self, starts: int = 2) -> None:
        self.starting = threading.Semaphore(starts)
        self._stopped = False
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()

    def start(self, command: list[str], environ: Mapping[str, str], news: int) -> subprocess.Popen[bytes]:
        """Start a probe, in a process group of its own."""
        with self._lock:
            if self._stopped:
                raise NotRunError("the run was stopped")
            process = subprocess.Popen(
                command,
                env=dict(environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[news],
                start_new_session=True,
            )
            self._processes.add(process)
        return process

    def gone(self, process: subprocess.Popen[bytes]) -> None:
        """It ended."""
        with self._lock:
            self._processes.discard(process)

    def stop(self) -> None:
        """Kill all, and start no more."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                process.kill()


@dataclass
class Watched:
    """What was seen of a process.

    Attributes:
        exit_code: Negative if a signal ended it.
        ended_s: ``time.monotonic()`` when it was gone.
        printed: Lines on standard output, each with the moment when it came.
        stderr: All of standard error.
        news: What it said over its own pipe: ``began`` and ``worked``, with the moment.
        threads: The most threads that it was seen with.
        peak_bytes: The most resident memory.
        sockets: The sockets that it was seen with, in the words of ``/proc``.
    """

    exit_code: int = 0
    ended_s: float = 0.0
    printed: list[tuple[float, str]] = field(default_factory=list)
    stderr: str = ""
    news: dict[str, float] = field(default_factory=dict)
    threads: int = 0
    peak_bytes: int = 0
    sockets: set[str] = field(default_factory=set)


def watch(
    program: list[str],
    environ: Mapping[str, str],
    crowd: Crowd,
    *,
    work_s: float,
    look_s: float,
    on_worked: Callable[[], None] | None,
) -> Watched:
    """Run ``program`` to its end.

    Args:
        program: Arguments for the Python that runs this.
        environ: All of its environment but the number of the pipe for its news.
        crowd: Where it waits for its turn.
        work_s: How long it works.
        look_s: How often its threads, memory and sockets are looked at.
        on_worked: Called when it has worked and holds still; then it is let go.

    Raises:
        NotRunError: It did not begin, or did not end, in time; it was killed.
    """
    news, write_news = os.pipe()
    try:
        with crowd.starting:
            began_s = time.monotonic()
            environ = {**environ, "PROBE_NEWS_FD": str(write_news)}
            process = crowd.start([sys.executable, *program], environ, write_news)
            os.close(write_news)
            write_news = -1
            watcher = _Watcher(process, news, look_s)
            try:
                watcher.until(lambda: "began" in watcher.watched.news, began_s + START_TIMEOUT_S, "begin to work")
            except BaseException:
                watcher.end()
                raise
        try:
            if on_worked is not None:
                watcher.until(
                    lambda: "worked" in watcher.watched.news, time.monotonic() + work_s + END_TIMEOUT_S, "work"
                )
                on_worked()
            assert process.stdin is not None
            process.stdin.close()
            watcher.until(lambda: False, time.monotonic() + work_s + END_TIMEOUT_S, "end")
        finally:
            watcher.end()
    finally:
        os.close(news)
        if write_news >= 0:
            os.close(write_news)
        with suppress(UnboundLocalError):
            crowd.gone(process)
    return watcher.watched


class _Watcher:
    """Reads the pipes of a process, and looks at it now and then."""

    def __init__(self, process: subprocess.Popen[bytes], news: int, look_s: float) -> None:
        self.watched = Watched()
        self._look_s = look_s
        self._next_look_s = 0.0
        self._process = process
        self._look_at = psutil.Process(process.pid)
        self._fds = Path(f"/proc/{process.pid}/fd")
        self._rest: dict[str, bytes] = {"stdout": b"", "stderr": b"", "news": b""}
        self._selector = selectors.DefaultSelector()
        for stream, name in ((process.stdout, "stdout"), (process.stderr, "stderr"), (news, "news")):
            self._selector.register(stream, selectors.EVENT_READ, name)  # type: ignore[arg-type]

    def until(self, condition: Callable[[], bool], deadline_s: float, what: str) -> None:
        """Read and look until ``condition`` holds or the process has closed everything."""
        while self._selector.get_map() and not condition():
            now_s = time.monotonic()
            if now_s > deadline_s:
                raise NotRunError(f"the probe did not {what} in time, and was killed{self._said()}")
            if now_s >= self._next_look_s:
                self._look()
                self._next_look_s = now_s + self._look_s
            for key, _ in self._selector.select(min(_WAIT_S, self._look_s)):
                self._read(key)

    def end(self) -> None:
        """Wait for a process that closed its pipes; kill one that did not."""
        if self._selector.get_map():
            self._process.kill()
        self.watched.exit_code = self._process.wait()
        self.watched.ended_s = time.monotonic()
        self.watched.stderr = self._rest["stderr"].decode(errors="replace")
        self._selector.close()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _said(self) -> str:
        text = self._rest["stderr"].decode(errors="replace").strip()
        return f"; it wrote: {text[-500:]}" if text else ""

    def _read(self, key: selectors.SelectorKey) -> None:
        name = key.data
        data = os.read(key.fd, 65536)
        if not data:
            self._selector.unregister(key.fileobj)
            return
        if name == "stderr":
            self._rest[name] += data
            return
        *lines, self._rest[name] = (self._rest[name] + data).split(b"\n")
        now_s = time.monotonic()
        for line in lines:
            text = line.decode(errors="replace")
            if name == "stdout":
                self.watched.printed.append((now_s, text))
            else:
                what, _, moment_s = text.partition(" ")
                self.watched.news[what] = float(moment_s)

    def _look(self) -> None:
        watched = self.watched
        with suppress(psutil.Error, OSError):
            watched.threads = max(watched.threads, self._look_at.num_threads())
            watched.peak_bytes = max(watched.peak_bytes, self._look_at.memory_info().rss)
            for fd in self._fds.iterdir():
                with suppress(OSError):
                    target = str(fd.readlink())
                    if target.startswith("socket:"):
                        watched.sockets.add(target)
