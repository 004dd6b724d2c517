"""Modules and functions stay small enough to be read at one go."""

from __future__ import annotations

import ast
from pathlib import Path
from statistics import median, quantiles

import pytest

pytestmark = pytest.mark.any_python

PACKAGE = Path(__file__).parents[2] / "claude_monitoring"
FILES = sorted(PACKAGE.rglob("*.py"))


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_is_longer_than_400_lines(path: Path) -> None:
    assert lines(path) <= 400


def test_half_of_the_modules_have_at_most_200_lines() -> None:
    assert median(map(lines, FILES)) <= 200


def test_nine_functions_of_ten_have_at_most_30_lines() -> None:
    lengths = [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert quantiles(lengths, n=10)[-1] <= 30
