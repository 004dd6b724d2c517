"""For every test: a clean environment, no memory of earlier warnings, and no fault of ours that hides."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from claude_monitoring import _sealed

sys.path.append(str(Path(__file__).parents[1]))  # for `matrix`; at the end, so that an installed wheel comes first

if find_spec("hypothesis") is not None:  # the packaging environment goes without
    from hypothesis import settings

    # Machines differ in speed, so no example has a deadline; CI repeats the same examples.
    settings.register_profile("untimed", deadline=None, derandomize="CI" in os.environ)
    settings.load_profile("untimed")

if find_spec("coverage") is not None:
    from coverage import Coverage

FOREIGN = ("ANTHROPIC_", "CLAUDE_", "CLAUDECODE", "GRPC_", "OTEL_")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the shell's own settings reaches a test, and no proxy stands before a loopback address."""
    for name in list(os.environ):
        if name.startswith(FOREIGN) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def each_warning_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is written once a process may be expected by every test."""
    monkeypatch.setattr(_sealed, "_warned", set())


@pytest.fixture(autouse=True)
def internal_faults() -> Iterator[list[BaseException]]:
    """What was kept away from the host; the test fails of it. A test that provokes one clears the list."""
    faults: list[BaseException] = []
    _sealed.set_internal_error_hook(faults.append)
    yield faults
    _sealed.set_internal_error_hook(None)
    if faults:
        raise faults[0]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of xdist hands in its coverage here: 10 s later it is killed, and to clear up may take it longer."""
    measured = Coverage.current() if hasattr(session.config, "workerinput") else None
    if measured is not None:
        measured.stop()
        measured.save()


@pytest.fixture(scope="session")
def otelcol() -> Path:
    """A real Collector; without one and without Go the test is skipped, in CI it fails."""
    from matrix.collector.build import NoCollectorError, find_or_build  # loaded where it is used

    try:
        return find_or_build()
    except NoCollectorError as exc:
        if os.environ.get("CI") == "true":
            pytest.fail(str(exc))
        pytest.skip(str(exc))
