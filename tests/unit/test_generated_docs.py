"""The generated pages of the reference say what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "render_reference.py"
PAGES: dict[Path, str] = runpy.run_path(str(SCRIPT))["pages"]()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_generated_page_equals_its_source(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == PAGES[path], "run: python docs/render_reference.py"
