"""The page "Performance" shows the runs that are kept beside the benchmark, and nothing else."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_python

REPO = Path(__file__).parents[2]
SCRIPT = REPO / "docs" / "render_performance.py"
MADE = runpy.run_path(str(SCRIPT))


def test_the_made_parts_of_the_page_are_those_of_the_kept_runs() -> None:
    text = MADE["PAGE"].read_text(encoding="utf-8")
    assert MADE["page"](text) == text, "run: python docs/render_performance.py"
    assert all(part in text for part in MADE["rendered"]().values())


def test_what_stands_outside_the_marks_is_left_alone() -> None:
    text = (
        "before\n\n<!-- made: peers -->\n\n{}<!-- end -->\n\nbetween\n\n<!-- made: targets -->\n\n<!-- end -->\nafter\n"
    )
    made = MADE["page"](text.format("old\n\n"))
    assert made == MADE["page"](text.format(""))
    parts = MADE["rendered"]()
    outside = made.replace(parts["peers"], "").replace(parts["targets"], "")
    assert outside == text.format("\n\n").replace("targets -->\n\n", "targets -->\n\n\n\n")


def test_the_pictures_show_the_figures_of_the_kept_runs() -> None:
    sys.path.append(str(REPO / "tests" / "bench"))
    import plots

    (targets, _), (peers, _) = MADE["runs"]()["bench"], MADE["runs"]()["peers"]
    picture = MADE["PICTURES"]["peers"].read_text(encoding="utf-8")
    for operation in ("sync", "async", "scope", "start"):
        for name, (_, text) in plots.bars_of(peers, operation).items():
            assert f">{name}<" in picture
            assert f">{text}<" in picture
    picture = MADE["PICTURES"]["bench"].read_text(encoding="utf-8")
    for name, share in plots.shares_of(targets).items():
        assert f">{name}<" in picture
        assert f">{share:.0%}<" in picture
