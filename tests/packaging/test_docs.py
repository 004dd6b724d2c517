"""The documentation does what it says: each ``python`` block is a program, a ``text`` block after it its output."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import claude_monitoring
from claude_monitoring import errors

pytestmark = pytest.mark.any_python

REPO = Path(__file__).parents[2]
PAGES = [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$(?:\n\n^```text\n(?P<output>.*?)^```$)?", re.MULTILINE | re.DOTALL)
BLOCKS = [
    pytest.param(found["code"], found["output"] or "", id=f"{page.relative_to(REPO).as_posix()}-{number}")
    for page in PAGES
    for number, found in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8")), 1)
]


@pytest.mark.parametrize(("code", "output"), BLOCKS)
def test_programs_in_the_documentation_print_what_it_shows(code: str, output: str, tmp_path: Path) -> None:
    foreign = ("OTEL_", "CLAUDE_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    environment["PYTHONPATH"] = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPO).as_posix())
def test_a_page_is_short_enough_to_be_read(page: Path) -> None:
    if page.parent.name != "reference":  # tables are for looking up
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 130


def test_the_page_of_names_has_every_public_name() -> None:
    page = (REPO / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    whole = {"errors": errors.__all__}  # modules that are documented as a whole
    named = {name.rpartition(".")[2] for name in re.findall(r"auto(?:class|function):: (\S+)", page)}
    named.update(*(names for module, names in whole.items() if f"automodule:: claude_monitoring.{module}\n" in page))
    assert named == set(claude_monitoring.__all__) - {"__version__"}


def test_each_promise_names_tests_that_are_there() -> None:
    page = (REPO / "docs" / "explanation" / "delivery.md").read_text(encoding="utf-8")
    tables = re.findall(r"\| Promise \| Tested by \|\n\|---\|---\|\n((?:\| .*\n)+)", page)
    promises = [line for table in tables for line in table.splitlines()]
    named = set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page))
    assert len(promises) >= 15
    assert all("tests/" in line or "the same" in line for line in promises)
    missing = [
        (path, test)
        for path, test in named
        if not (REPO / path).is_file() or (test and f"def {test}(" not in (REPO / path).read_text(encoding="utf-8"))
    ]
    assert not missing
