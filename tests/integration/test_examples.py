"""The examples run, and print what the README shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_readme_shows_the_quickstart_and_its_real_output() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = ROOT / "examples" / "quickstart.py"
    code = script.read_text(encoding="utf-8").split('"""\n', 1)[1].strip()
    assert code in readme
    ended = subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"```text\n{ended.stdout}```" in readme
