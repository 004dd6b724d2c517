"""The distribution as users install it, by the wheel that tox makes; an editable install has no files to look at."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

import pytest

from claude_monitoring import __version__


@pytest.fixture
def installed() -> Distribution:
    try:
        return distribution("claude-monitoring")
    except PackageNotFoundError:
        pytest.skip("the package is not installed here")


def files() -> set[str]:
    """What the installation put beside its own metadata; empty if it is editable or there is none."""
    try:
        paths = distribution("claude-monitoring").files or []
    except PackageNotFoundError:
        return set()
    return {path.as_posix() for path in paths if path.parts[0] == "claude_monitoring" and path.suffix != ".pyc"}


wheel_only = pytest.mark.skipif("claude_monitoring/__init__.py" not in files(), reason="no wheel is installed here")


@wheel_only
def test_the_wheel_ships_the_package_its_types_marker_and_nothing_else() -> None:
    source = Path(__file__).parents[2]
    expected = {path.relative_to(source).as_posix() for path in (source / "claude_monitoring").rglob("*.py")}
    assert files() == expected | {"claude_monitoring/py.typed"}


@wheel_only
def test_the_wheel_brings_the_command_and_the_licence(installed: Distribution) -> None:
    assert {entry.name: entry.value for entry in installed.entry_points} == {
        "claude-monitoring": "claude_monitoring.cli:main"
    }
    assert installed.metadata["License-Expression"] == "MIT"
    assert any(path.name == "LICENSE" for path in installed.files or [])


def test_the_base_install_asks_for_no_exact_version(installed: Distribution) -> None:
    base = [line for line in installed.requires or [] if "extra ==" not in line]
    assert base
    assert [line for line in base if "==" in line or "~=" in line] == []


def test_the_extra_all_has_every_extra(installed: Distribution) -> None:
    needs: dict[str, set[str]] = {}
    for line in installed.requires or []:
        requirement, _, extra = line.partition("; extra == ")
        needs.setdefault(extra.strip("'\""), set()).add(requirement)
    base, everything = needs.pop(""), needs.pop("all")
    assert base
    assert everything == set().union(*needs.values())


@pytest.mark.skipif(find_spec("rich") is not None, reason="the extra cli is installed here")
def test_without_the_extra_the_demo_names_the_line_that_installs_it() -> None:
    command = [sys.executable, "-c", "import sys; from claude_monitoring.cli import main; sys.exit(main(['demo']))"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'claude-monitoring[cli]'" in done.stderr


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
def test_the_base_install_delivers_over_every_protocol(protocol: str) -> None:
    script = """
import sys
from claude_monitoring import AgentMonitor
from claude_monitoring.receiver import OtlpReceiver
with OtlpReceiver() as receiver:
    monitor = AgentMonitor("a", export_to_grafana=True, protocol=sys.argv[1], endpoint=receiver.endpoint(sys.argv[1]))
    monitor.increment("features_completed", 3)
    assert monitor.close()
    print(receiver.total("claude.features_completed"))
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "CLAUDE_"))}
    done = subprocess.run(
        [sys.executable, "-c", script, protocol], capture_output=True, text=True, check=False, env=environment
    )
    assert (done.stderr, done.stdout.strip()) == ("", "3.0")


def test_the_version_is_spelled_in_one_place(installed: Distribution) -> None:
    assert installed.version == __version__
