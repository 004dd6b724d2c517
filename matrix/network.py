"""Where far sides stand: in a process on this machine, or a long way off, in a network namespace where it can be."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path as FilePath
from types import TracebackType
from typing import Any

from matrix.far_side import FarSide, Seen, connect
from matrix.relay import DIRECT, Path

__all__ = ["LONG_WAY", "Place", "Unreached"]

LONG_WAY = Path(delay_s=0.03, jitter_s=0.01, loss=0.005)
_NEAR, _FAR = "198.18.54.1", "198.18.54.2"  # RFC 2544 keeps 198.18.0.0/15 for tests of networks
_READY_TIMEOUT_S = 30.0


class Unreached(RuntimeError):  # noqa: N818 - it is the name of a condition
    """A place can't be had; its text says why."""


class Place:
    """A process that holds far sides, from ``__enter__`` to ``__exit__``.

    Args:
        remote: Whether the way to it is long: in a network namespace of its own behind a veth pair, with delay, jitter
            and loss by ``tc netem``, where that can be had. Where the kernel has no netem, relays in the namespace
            make the way long; without namespaces, relays on another loopback address.
    """

    def __init__(self, *, remote: bool = False) -> None:
        self._remote = remote
        self._stack = ExitStack()
        self.host = "127.0.0.2" if remote else "127.0.0.1"
        self.path = LONG_WAY if remote else DIRECT
        self.description = "on loopback"

    def __enter__(self) -> Place:  # noqa: PYI034 - Self needs Python 3.11
        with self._stack:
            refused = ""
            if self._remote:
                refused = _why_no_namespace()
                if not refused:
                    try:
                        self._start(["unshare", "--net", "--"])
                        self._plug_in()
                    except Unreached as exc:
                        refused = str(exc)
                        self._stack.close()
                if refused:
                    self.host, self.path = "127.0.0.2", LONG_WAY
                    self.description = f"{self.host}, a relay makes {LONG_WAY}; no network namespace: {refused}"
            if not self._remote or refused:
                self._start([])
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def open(self, name: str, wanted: FarSide) -> dict[str, int]:
        """Begin to listen; the ports by ``grpc`` and ``http``."""
        return dict(self._far_sides.open(name, wanted))

    def seen(self, name: str, *, complete: bool) -> Seen:  # noqa: ARG002 - a receiver has what it acknowledged
        """What came so far."""
        seen: Seen = self._far_sides.seen(name)
        return seen

    def close(self, name: str) -> None:
        """Stop listening."""
        self._far_sides.close(name)

    def _start(self, prefix: list[str]) -> None:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="matrix-"))
        address, key = str(FilePath(folder) / "far_sides"), secrets.token_bytes(16)
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "COVERAGE_"))}
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", "from matrix.far_side import serve; serve()", address],
            cwd=FilePath(__file__).parents[1],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for who started us, who then ends it
        )
        self._stack.callback(_stop, process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(key.hex() + "\n")
        process.stdin.flush()
        if process.stdout.readline().strip() != "ready":
            raise Unreached(f"the process of the far sides ended with code {process.wait(_READY_TIMEOUT_S)}")
        self._process = process
        self._far_sides: Any = connect(address, key)

    def _plug_in(self) -> None:
        """Lay a veth pair into the namespace; when the process ends, both are gone."""
        link = f"mx{os.getpid() % 10**6}"
        inside = ["nsenter", f"--net=/proc/{self._process.pid}/ns/net", "--"]
        _run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(self._process.pid))
        for prefix, device, address in (([], link, _NEAR), (inside, "eth0", _FAR)):
            _run(*prefix, "ip", "addr", "add", f"{address}/30", "dev", device)
            _run(*prefix, "ip", "link", "set", device, "up")
        _run(*inside, "ip", "link", "set", "lo", "up")
        self.host = _FAR
        where = f"network namespace behind a veth pair ({_NEAR}, {_FAR})"
        shape = (f"{LONG_WAY.delay_s * 1e3:g}ms", f"{LONG_WAY.jitter_s * 1e3:g}ms", "loss", f"{LONG_WAY.loss:%}")
        try:
            for prefix, device in (([], link), (inside, "eth0")):
                _run(*prefix, "tc", "qdisc", "add", "dev", device, "root", "netem", "delay", *shape)
        except Unreached as exc:
            self.path = LONG_WAY
            self.description = f"{where}; relays in it make {LONG_WAY}, since tc netem can't be had: {exc}"
        else:
            self.path = DIRECT
            self.description = f"{where}; tc netem makes {LONG_WAY}"


def _why_no_namespace() -> str:
    """Empty if a namespace can be made, else the reason."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "needs root"
    missing = [tool for tool in ("ip", "tc", "unshare", "nsenter") if shutil.which(tool) is None]
    return f"needs {', '.join(missing)} (Debian: iproute2, util-linux)" if missing else ""


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unreached(f"{command[0]}: {done.stderr.strip()}")


def _stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
