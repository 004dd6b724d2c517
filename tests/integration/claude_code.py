"""Runs the real Claude Code, the program in the package ``claude-agent-sdk``, offline.

Its environment is built from nothing, so that it sees no configuration and no key of this machine: a HOME of its own, a
dummy key, the fake API as base URL. In ``no_network`` it has loopback alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

__all__ = ["ClaudeCode", "Finished", "claude_program", "claude_version", "no_network", "otlp_environment"]

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET of <sched.h>
_SET_FLAGS, _UP = 0x8914, 0x1  # SIOCSIFFLAGS of <linux/sockios.h>, IFF_UP of <net/if.h>

GH = """#!/bin/sh
# Stands for GitHub's program: `gh pr create` and `glab mr create` print the address of what they made.
echo "https://github.com/acme/books/pull/$$"
"""


def claude_program() -> Path:
    """The bundled program; without it the test is skipped, in CI it fails."""
    spec = find_spec("claude_agent_sdk")
    folders = spec.submodule_search_locations if spec is not None else None
    name = "claude.exe" if sys.platform == "win32" else "claude"
    program = Path(folders[0]) / "_bundled" / name if folders else None
    if program is None or not program.is_file():
        missing = "needs Claude Code: pip install claude-agent-sdk (a wheel with the program in it)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return program


@cache
def claude_version() -> str:
    """Such as ``2.1.332``."""
    said = subprocess.run([claude_program(), "--version"], env={}, capture_output=True, text=True, check=True)
    return said.stdout.split()[0]


@contextmanager
def no_network() -> Iterator[bool]:
    """Inside, what this thread opens and starts (sockets, threads, programs) has a loopback of its own alone.

    Yields whether it is so: it needs Linux and root; elsewhere nothing changes. Open the servers inside as well.
    """
    home = -1
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    with suppress(OSError):
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc is None or home < 0 or libc.unshare(_NEW_NETWORK) != 0:
            yield False
            return
        try:
            _raise_loopback()
            yield True
        finally:
            if libc.setns(home, _NEW_NETWORK) != 0:
                raise OSError(ctypes.get_errno(), "can't return to the network namespace")
    finally:
        if home >= 0:
            os.close(home)


def _raise_loopback() -> None:
    import fcntl  # not on Windows

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))


def otlp_environment(endpoint: str, protocol: str = "http/json", **more: str) -> dict[str, str]:
    """Claude Code's own OTLP on, for all three signals; ``more`` wins."""
    return {
        "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
        "CLAUDE_CODE_ENHANCED_TELEMETRY_BETA": "1",
        **{f"OTEL_{signal}_EXPORTER": "otlp" for signal in ("METRICS", "LOGS", "TRACES")},
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        **more,
    }


@dataclass(frozen=True)
class Finished:
    """One run of the program."""

    code: int
    stdout: str
    stderr: str
    wall_s: float

    @property
    def result(self) -> dict[str, Any]:
        """What ``--output-format json`` printed."""
        found = json.loads(self.stdout)
        return dict(found)


class ClaudeCode:
    """A home, a git repository to work in, stand-ins for ``gh`` and ``glab``, and the environment for the program.

    Args:
        folder: An empty folder to make them in.
        base_url: The fake API's.
        more: Further variables; they win.
    """

    def __init__(self, folder: Path, base_url: str, **more: str) -> None:
        self.program = claude_program()
        self.home, self.work, self.stand_ins = (folder / name for name in ("home", "work", "bin"))
        for made in (self.home, self.work, self.stand_ins):
            made.mkdir()
        for name in ("gh", "glab"):
            (self.stand_ins / name).write_text(GH, encoding="utf-8")
            (self.stand_ins / name).chmod(0o755)
        (self.home / ".gitconfig").write_text("[user]\nname = Dev\nemail = dev@example.com\n", encoding="utf-8")
        git = shutil.which("git")
        assert git is not None, "needs git"
        self.env = {
            "HOME": str(self.home),
            "PATH": os.pathsep.join([str(self.stand_ins), str(Path(git).parent), "/usr/bin", "/bin"]),
            "TERM": "xterm",
            "ANTHROPIC_BASE_URL": base_url,
            "ANTHROPIC_API_KEY": "sk-ant-dummy",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "IS_SANDBOX": "1",  # root may skip permissions in a sandbox alone
            **more,
        }
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        """Run git in the repository; what it printed."""
        done = subprocess.run(
            ["git", *arguments], cwd=self.work, env=self.env, capture_output=True, text=True, check=True
        )
        return done.stdout

    def run(self, prompt: str, *arguments: str, model: str = "claude-sonnet-4-5", timeout_s: float = 50) -> Finished:
        """One ``claude -p``, which asks for no permission; it is killed after ``timeout_s``.

        Raises:
            subprocess.TimeoutExpired: It was.
        """
        command = [str(self.program), "-p", prompt, "--model", model, "--output-format", "json"]
        began = time.monotonic()
        done = subprocess.run(
            [*command, "--dangerously-skip-permissions", *arguments],
            cwd=self.work,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr, time.monotonic() - began)
