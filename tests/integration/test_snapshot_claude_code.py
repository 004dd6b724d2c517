"""The snapshots in tests/data are what the installed Claude Code tells, and so is our session."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.contract.claude_code_differences import listed, unexplained
from tests.contract.claude_code_session import told_by_us
from tests.contract.claude_code_snapshot import VARIANTS, Snapshot, as_text, snapshot_path
from tests.integration.capture_claude_code import COMMAND, capture, difference, main
from tests.integration.claude_code import claude_version

pytestmark = pytest.mark.slow  # and one interpreter has the program

EVERY_VARIANT = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture(scope="module")
def fresh() -> dict[str, Snapshot]:
    return {variant: capture(variant) for variant in VARIANTS}


@EVERY_VARIANT
def test_a_new_capture_of_a_version_equals_its_snapshot(variant: str, fresh: dict[str, Snapshot]) -> None:
    path = snapshot_path(claude_version(), variant)
    if not path.exists():
        pytest.skip(f"no snapshot of Claude Code {claude_version()}; make it with: {COMMAND}")
    found = difference(fresh[variant], path)
    assert not found, found


@EVERY_VARIANT
def test_our_session_is_told_as_the_installed_version_tells_it(
    variant: str, fresh: dict[str, Snapshot], tmp_path: Path
) -> None:
    found = unexplained(json.loads(as_text(fresh[variant])), told_by_us(variant, tmp_path), claude_version())
    assert not found, listed(found)


def test_the_check_says_which_command_makes_what_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.integration.capture_claude_code.claude_version", lambda: "0.0.0")
    assert main(["--check"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2] for line in said] == [f"there is none; make it with: {COMMAND}"] * len(VARIANTS)
