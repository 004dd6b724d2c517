"""The generated pages of the reference say what the code says."""

from __future__ import annotations

import runpy
from importlib import metadata
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "render_reference.py"
PAGES: dict[Path, str] = runpy.run_path(str(SCRIPT))["pages"]()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_generated_page_equals_its_source(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == PAGES[path], "run: python docs/render_reference.py"


@pytest.mark.slow
@pytest.mark.skipif(
    tuple(map(int, metadata.version("opentelemetry-sdk").split(".")[:2])) < (1, 45),
    reason="the SDK has a limit of its own from 1.45 on",
)
def test_the_page_on_the_guard_shows_what_the_run_behind_its_picture_says() -> None:
    script = runpy.run_path(str(SCRIPT.with_name("draw_explosion.py")))
    table = script["table"](script["measure"]())
    assert table.strip() in (SCRIPT.parent / "explanation" / "guard.md").read_text(encoding="utf-8")
    picture = script["PICTURE"].read_text(encoding="utf-8")
    assert all(f"{series} series" in picture for series in ("20,000", "2,001", "210"))
