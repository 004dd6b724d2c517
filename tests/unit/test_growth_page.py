"""The page "Growth" shows the run that is kept beside the benchmark; the arithmetic of slopes and verdicts."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
BENCH = REPO / "tests" / "bench"
sys.path.append(str(BENCH))  # its modules are run as a script, not as a package

import growth  # noqa: E402
from growth import COSTS, Curve, slope_of  # noqa: E402

pytestmark = pytest.mark.any_python

MADE = runpy.run_path(str(REPO / "docs" / "render_growth.py"))
SIZES = (1, 10, 100, 1_000, 10_000)


def curve(values: list[float], key: str = "collection") -> Curve:
    cost = next(cost for cost in COSTS if (cost.dimension, cost.key) == ("series", key))
    return Curve(cost, tuple(zip(SIZES, values, strict=True)))


def test_the_made_parts_of_the_page_are_those_of_the_kept_run() -> None:
    text = MADE["PAGE"].read_text(encoding="utf-8")
    assert MADE["page"](text) == text, "run: python docs/render_growth.py"
    assert all(part in text for part in MADE["rendered"]().values())


def test_the_picture_shows_the_slopes_of_the_kept_run() -> None:
    import growth_plots

    picture = MADE["PICTURE"].read_text(encoding="utf-8")
    for one in MADE["run"]()[0]:
        assert f">{growth_plots.legend_of(one)}<" in picture


def test_the_kept_run_is_a_full_one_of_everything() -> None:
    from growth_sides import DIMENSIONS

    curves = MADE["run"]()[0]
    assert [one.cost for one in curves] == list(COSTS)
    for one in curves:
        sizes = {size for size, _ in one.points}
        assert max(sizes) == DIMENSIONS[one.cost.dimension].sizes[-1]
        assert sizes | {0} == set(DIMENSIONS[one.cost.dimension].sizes) | {0}


@pytest.mark.parametrize("power", [0, 0.5, 1, 2])
def test_the_slope_is_the_power_of_the_size_and_nothing_has_no_place(power: float) -> None:
    assert slope_of([(0, 5.0), *((size, 3e-6 * size**power) for size in SIZES)]) == pytest.approx(power, abs=1e-9)


@pytest.mark.parametrize(
    ("key", "values", "verdict"),
    [
        ("collection", [1, 10, 100, 1_000, 10_000], "met"),
        ("collection", [1, 1, 1, 1, 1], "met"),
        ("collection", [1, 20, 400, 8_000, 160_000], "missed"),
        ("collection", [1_000, 1_001, 1_100, 11_000, 1_010_000], "missed"),  # a dear beginning hides a square
        ("call", [1.0, 1.1, 0.9, 1.0, 1.1], "met"),
        ("call", [1.0, 1.0, 1.0, 1.0, 30.0], "missed"),
    ],
)
def test_a_verdict_binds_the_whole_and_the_end(key: str, values: list[float], verdict: str) -> None:
    assert curve(values, key).verdict == verdict


def test_what_is_read_back_from_json_is_what_was_written() -> None:
    curves, machine = [curve([1.0, 2, 3, 4, 5]), curve([1.0, 1, 1, 1, 1], "call")], {"python": "3"}
    document = json.loads(json.dumps(growth.as_json(curves, machine)))
    assert growth.read(document) == (curves, machine)


def test_a_fast_run_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    where = tmp_path / "growth.json"
    command = [sys.executable, str(BENCH / "growth.py"), "--fast", "--only", "labels", "--json", str(where)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    curves, machine = growth.read(json.loads(where.read_text()))
    assert growth.table(curves) in done.stdout
    assert machine["python"]
