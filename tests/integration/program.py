"""Runs a program of the kind that users write, in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

__all__ = ["PATIENT", "environment", "needs", "run_file", "run_program", "unmeasured"]

PATIENT = {"CLAUDE_CODE_OTEL_SHUTDOWN_TIMEOUT_MS": "20000"}
"""For a busy machine: what is to arrive has more time than the usual 2 s."""


def needs(program: str, *, package: str) -> None:
    """Without ``program`` the test is skipped, in CI it fails."""
    if shutil.which(program) is None:
        missing = f"needs {program}: apt-get install {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)


def unmeasured(env: Mapping[str, str]) -> dict[str, str]:
    """Without coverage, whose lock hangs a child that is forked while another thread holds it."""
    return {key: value for key, value in env.items() if not key.startswith("COVERAGE_")}


def environment(endpoint: str = "", protocol: str = "", **more: str) -> dict[str, str]:
    """The environment of a program with telemetry on; all three signals by OTLP if there is an endpoint."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "CLAUDE_"))}
    clean["CLAUDE_CODE_ENABLE_TELEMETRY"] = "1"
    if endpoint:
        clean |= {f"OTEL_{signal}_EXPORTER": "otlp" for signal in ("METRICS", "LOGS", "TRACES")}
        clean["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    if protocol:
        clean["OTEL_EXPORTER_OTLP_PROTOCOL"] = protocol
    return clean | more


def run_file(path: Path, env: Mapping[str, str], timeout_s: float = 40) -> subprocess.CompletedProcess[str]:
    """Run a script; a program that hangs fails the test."""
    return _run([str(path)], env, timeout_s)


def run_program(code: str, env: Mapping[str, str], timeout_s: float = 40) -> subprocess.CompletedProcess[str]:
    """Run ``code``; a program that hangs fails the test."""
    return _run(["-c", textwrap.dedent(code)], env, timeout_s)


def _run(arguments: list[str], env: Mapping[str, str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
