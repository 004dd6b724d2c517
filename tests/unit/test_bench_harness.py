"""The benchmark's own arithmetic; what it measures is printed by ``tox -e bench`` and never asserted."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"
sys.path.append(str(BENCH))  # its modules are run as a script, not as a package

import report  # noqa: E402
from harness import FAST, Effort, Figure, Reading, Row, Sample, Side, measure, verdict_of  # noqa: E402

pytestmark = pytest.mark.any_python

TARGETS = {
    "increment-prometheus": 0.33,
    "increment-otel": 0.08,
    "handle": 0.6,
    "histogram": 0.5,
    "task-sync": 1.5,
    "task-async": 1.5,
    "task-peer": 0.1,
    "task-spans": 1.3,
    "task-off": 1.5,
    "guard-explosion": 3.0,
    "guard-millions": 3.0,
    "encode": 0.1,
    "memory": 0.5,
    "memory-exported": 0.5,
    "import": 1.5,
}
LIMITS = {
    "guard-memory": 10e6,
    "guard-sessions": 1.0,
    "heartbeat": 0.005,
    "heartbeat-scrape": 0.005,
    "exit-dead": 2.5,
    "exit-mute": 2.5,
    "exit-black-hole": 2.5,
    "exit-refusing": 2.5,
    "fork": 0,
    "fork-first-use": 0,
}


def always(*values: float) -> Side:
    @contextmanager
    def side(effort: Effort) -> Iterator[Sample]:
        turn = count()
        yield lambda: Reading(values[next(turn) % len(values)])

    return side


def row(**given: object) -> Row:
    return Row(id="a", what="b", other="c", **given)  # type: ignore[arg-type]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


def test_every_target_of_the_design_has_its_row() -> None:
    from rows import ROWS

    assert {one.id: one.target for one in ROWS if one.target is not None} == TARGETS
    assert {one.id: one.limit for one in ROWS if one.limit is not None} == LIMITS
    assert len(ROWS) == len(TARGETS) + len(LIMITS)


def test_only_the_peers_row_is_measured_elsewhere_and_says_where() -> None:
    from rows import ROWS

    assert [one.id for one in ROWS if one.ours is None] == ["task-peer"]
    assert measure(next(one for one in ROWS if one.id == "task-peer"), FAST).note == "by tox -e bench-peers"


def test_the_ratio_is_the_turns_median_and_neither_an_outlier_nor_a_slower_machine_moves_it() -> None:
    result = measure(row(ours=always(3.0, 6.0, 900.0), theirs=always(10.0, 20.0, 10.0), target=0.3), FAST)
    assert result.ratio == pytest.approx(0.3)
    assert result.verdict == "met"


def test_both_sides_are_sampled_as_often_and_in_turns() -> None:
    order: list[str] = []

    def noting(name: str) -> Side:
        @contextmanager
        def side(effort: Effort) -> Iterator[Sample]:
            def sample() -> Reading:
                order.append(name)
                return Reading(1.0)

            yield sample

        return side

    measure(row(ours=noting("ours"), theirs=noting("theirs"), target=1.0), FAST)
    assert [sorted(order[at : at + 2]) for at in range(0, len(order), 2)] == [["ours", "theirs"]] * FAST.samples
    assert order[0] != order[2]


@pytest.mark.parametrize(
    ("given", "ours", "theirs", "verdict"),
    [
        ({"target": 0.5}, (1.0,), (2.0,), "met"),
        ({"target": 0.5}, (1.1,), (2.0,), "missed"),
        ({"target": 0.5}, (1.0,), None, "missed"),
        ({"limit": 2.5}, (0.1, 2.5), None, "met"),
        ({"limit": 2.5}, (0.1, 0.1, 2.6), (30.0,), "missed"),
        ({"limit": 0.0}, (0.0,), (0.7,), "met"),
        ({"limit": 0.0}, (0.01,), None, "missed"),
    ],
)
def test_a_target_binds_the_median_and_a_limit_every_sample(
    given: dict[str, float], ours: tuple[float, ...], theirs: tuple[float, ...] | None, verdict: str
) -> None:
    other = Figure(theirs) if theirs is not None else None
    assert verdict_of(row(**given), Figure(ours), other) == verdict


def test_a_row_that_breaks_says_why_and_leaves_the_others_alone() -> None:
    @contextmanager
    def broken(effort: Effort) -> Iterator[Sample]:
        raise OSError("no such thing")
        yield

    result = measure(row(ours=broken, limit=1.0), FAST)
    assert (result.verdict, result.note) == ("failed", "OSError: no such thing")
    assert "broken" in result.trace


def test_a_missing_other_side_is_a_dash_in_the_table() -> None:
    result = measure(row(ours=always(0.0), limit=0.0, unit="share"), FAST)
    assert report.line(result).split() == ["a", "b", "0%", "c", "-", "<=0%", "met"]
    assert "| a | b | 0% | c | - | <=0% | met |  |" in report.markdown([result], {"python": "3"})


def test_neither_a_slow_first_call_nor_one_interruption_ends_the_calibration_early() -> None:
    from calls import calibrate

    interruptions = {0: 5.0, 3: 5.0, 6: 5.0}
    turn = count()
    assert calibrate(lambda calls: calls * 1e-6 + interruptions.get(next(turn), 0), 0.02) == pytest.approx(20_000)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (3.87e-7, "s", "387 ns"),
        (1.88e-6, "s", "1.88 us"),
        (0.0517, "s", "51.7 ms"),
        (2.06, "s", "2.06 s"),
        (120.0, "s", "120 s"),
        (0.0, "s", "0 ns"),
        (1722.4, "B", "1,722 B"),
        (0.25, "B", "0.2 B"),
        (0.07, "share", "7%"),
    ],
)
def test_values_are_shown_in_a_unit_that_fits(value: float, unit: str, text: str) -> None:
    assert report.show(value, unit) == text


def test_a_fast_run_of_two_rows_writes_json_and_markdown(tmp_path: Path) -> None:
    where, page = tmp_path / "bench.json", tmp_path / "bench.md"
    done = bench("--fast", "--rows", "handle, increment-prom*", "--json", str(where), "--markdown", str(page))
    assert done.returncode == 0, done.stderr
    document = json.loads(where.read_text())
    assert [one["id"] for one in document["rows"]] == ["increment-prometheus", "handle"]
    for one in document["rows"]:
        assert one["verdict"] in {"met", "missed"}, one["trace"]
        turns = zip(one["ours"]["samples"], one["theirs"]["samples"], strict=True)
        assert one["ratio"] == pytest.approx(statistics.median(ours / theirs for ours, theirs in turns))
        assert len(one["ours"]["samples"]) == len(one["theirs"]["samples"]) == FAST.samples
    assert document["machine"]["python"]
    assert "| handle | bound handle .add(1) |" in page.read_text()
    assert "increment-prometheus" in done.stdout


def test_a_pattern_without_a_row_names_the_rows_there_are() -> None:
    done = bench("--fast", "--rows", "handel")
    assert done.returncode == 2
    assert "'handel'" in done.stderr
    assert "handle" in done.stderr


def test_only_check_turns_a_failed_row_into_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    import rows
    import run

    monkeypatch.setattr(rows, "ROWS", (row(ours=always(2.0), limit=1.0),))
    monkeypatch.setattr(run, "_forget_surroundings", lambda: None)
    assert run.main(["--fast"]) == 0
    assert run.main(["--fast", "--check"]) == 1
