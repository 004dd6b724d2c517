"""The examples run, and print what the README shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_python

ROOT = Path(__file__).parents[2]


def test_the_readme_shows_the_quickstart_and_its_real_output() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = ROOT / "examples" / "quickstart.py"
    code = script.read_text(encoding="utf-8").split('"""\n', 1)[1].strip()
    assert code in readme
    ended = subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"```text\n{ended.stdout}```" in readme


def test_the_report_of_a_label_that_explodes_reads_as_the_documentation_shows_it() -> None:
    script = ROOT / "examples" / "cardinality_report.py"
    ended = subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    printed = ended.stdout
    assert printed.splitlines()[:2] == [
        "orders: 5000.0 of plan pro: 2500.0",
        "as a customer of their own: 200",
    ]
    assert "'req_011CSHoEeqs5C35K2UUqR7Fy' looks like a random id" in printed
    assert "bob" not in printed
    page = (ROOT / "docs" / "explanation" / "guard.md").read_text(encoding="utf-8")
    shown = page.split("```text\n", 1)[1].split("```", 1)[0]
    assert without_estimates(shown) in without_estimates(printed)


def test_the_agent_on_anthropics_sdk_runs_offline() -> None:
    script = ROOT / "examples" / "anthropic_agent.py"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ANTHROPIC_", "OTEL_"))}
    ended = subprocess.run(
        [sys.executable, "-W", "error", script], capture_output=True, text=True, check=False, env=environment
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "output             154 tokens" in ended.stdout
    assert "user_prompt, api_request, assistant_response, tool_decision, tool_result, api_request" in ended.stdout


def without_estimates(text: str) -> str:
    """The number of values beyond a bound is an estimate that differs from run to run."""
    return re.sub(r"(about|customer) [\d,]+", r"\1 N", text)
