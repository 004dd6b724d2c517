"""The examples run, and print what the README shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.claude_code import claude_program, no_network
from tests.integration.program import environment, run_file

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
    given = {key: value for key, value in os.environ.items() if not key.startswith(("ANTHROPIC_", "OTEL_"))}
    ended = subprocess.run(
        [sys.executable, "-W", "error", script], capture_output=True, text=True, check=False, env=given
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "output             154 tokens" in ended.stdout
    assert "user_prompt, api_request, assistant_response, tool_decision, tool_result, api_request" in ended.stdout


@pytest.mark.slow  # and one interpreter has the program
def test_the_agent_on_the_claude_agent_sdk_runs_offline(tmp_path: Path) -> None:
    claude_program()  # or the test is skipped
    script = ROOT / "examples" / "claude_agent_sdk_agent.py"
    given = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("ANTHROPIC_", "CLAUDE", "OTEL_"))},
        "HOME": str(tmp_path),
        "CLAUDE_CODE_USE_BEDROCK": "1",  # what it must not see
        "ANTHROPIC_AUTH_TOKEN": "of this machine",
    }
    with no_network():
        ended = subprocess.run(
            [sys.executable, "-W", "error", script], capture_output=True, text=True, check=False, env=given
        )
    assert (ended.returncode, ended.stderr) == (0, "")
    said, files, *recorded = ended.stdout.splitlines()
    assert (said, files) == ("hello.py is there.", "files: hello.py")
    told = {line.split()[0]: " ".join(line.split()[1:]) for line in recorded}
    assert told == {
        "input": "2400 tokens",
        "output": "154 tokens",
        "cacheRead": "9000 tokens",
        "cacheCreation": "600 tokens",
        "cost": "0.0048 USD",
        "added": "3 lines",
        "Write": "1 calls",
        "events:": "user_prompt, api_request, assistant_response, tool_decision, tool_result, api_request, "
        "assistant_response",
    }
    assert list(tmp_path.iterdir()) == [], "Claude Code has a home of its own"


@pytest.mark.slow
def test_the_program_on_the_page_of_the_claude_agent_sdk_prints_what_it_shows(tmp_path: Path) -> None:
    claude_program()  # or the test is skipped
    page = (ROOT / "docs" / "how-to" / "instrument-claude-agent-sdk.md").read_text(encoding="utf-8")
    (shown,) = re.finditer(r"^```py\n(.*?)^```\n\n```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "program.py").write_text(shown[1], encoding="utf-8")
    kept = {key: value for key, value in environment().items() if not key.startswith("ANTHROPIC_")}
    with no_network():
        done = run_file(tmp_path / "program.py", kept)
    assert (done.returncode, done.stdout, done.stderr) == (0, shown[2], "")


def test_the_agent_on_the_claude_agent_sdk_says_what_it_needs() -> None:
    script = ROOT / "examples" / "claude_agent_sdk_agent.py"
    code = f"import runpy, sys; sys.modules['claude_agent_sdk'] = None; runpy.run_path({str(script)!r})"
    ended = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    needed = "This example needs the Claude Agent SDK: pip install 'claude-monitoring[claude-agent-sdk]'\n"
    assert (ended.returncode, ended.stderr) == (1, needed)


def without_estimates(text: str) -> str:
    """The number of values beyond a bound is an estimate that differs from run to run."""
    return re.sub(r"(about|customer) [\d,]+", r"\1 N", text)
