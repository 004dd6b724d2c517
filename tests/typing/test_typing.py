"""mypy --strict accepts correct programs that use the decorators, and finds the mistakes in wrong ones."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")

HERE = Path(__file__).parent
ERROR = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: (?P<text>.*?)  \[(?P<code>[a-z-]+)\]$", re.MULTILINE)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def complaints(name: str, cache: Path) -> dict[int, str]:
    """What mypy has against each line of a file, run as in a user's project: strict, without our configuration."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--python-version=3.10", "--no-pretty"]
    done = subprocess.run(
        [*command, "--no-error-summary", f"--cache-dir={cache}", str(HERE / name)],
        capture_output=True,
        text=True,
        check=False,
        cwd=HERE.parents[1],
    )
    found: dict[int, str] = {}
    for match in ERROR.finditer(done.stdout):
        assert Path(match["file"]).name == name, done.stdout
        found[int(match["line"])] = f"{found.get(int(match['line']), '')}{match['text']}\n"
    assert done.returncode == bool(found), done.stdout + done.stderr
    return found


def test_mypy_accepts_tracked_functions_and_knows_their_exact_types(cache: Path) -> None:
    assert complaints("decorators_ok.py", cache) == {}


def test_what_mypy_accepts_also_runs() -> None:
    command = [sys.executable, "-W", "error", str(HERE / "decorators_ok.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parents[1], timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_mypy_finds_every_mistake_and_no_other(cache: Path) -> None:
    lines = (HERE / "decorators_bad.py").read_text(encoding="utf-8").splitlines()
    expected = {number: line.split("  # E: ")[1] for number, line in enumerate(lines, 1) if "  # E: " in line}
    found = complaints("decorators_bad.py", cache)
    assert found.keys() == expected.keys()
    assert {number: text for number, text in expected.items() if text not in found[number]} == {}
