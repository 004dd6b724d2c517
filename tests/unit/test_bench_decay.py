"""The ten hottest operations execute as many byte codes as ``tests/bench/decay.json`` says, and a decay is noticed.

Counted in processes of their own, so that no coverage tool counts along.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import claude_monitoring

BENCH = Path(__file__).parents[1] / "bench"
sys.path.append(str(BENCH))  # its modules are run as a script, not as a package

from decay import FILE, TOLERANCE, WRITE, Count, compare, read, table  # noqa: E402

pytestmark = pytest.mark.any_python

MINOR = "{}.{}".format(*sys.version_info)
NOTED = read(MINOR)
PACKAGE = Path(claude_monitoring.__file__).parent
needs_counts = pytest.mark.skipif(NOTED is None, reason=f"{FILE.name} has no counts of Python {MINOR}")

# A file of the package, a line of it, and what stands there afterwards.
DECAYS = {
    "increment": (
        "_recorder.py",
        "            series: SumSeries = self._counters[name][",
        "            self._counters[name]\n            series: SumSeries = self._counters[name][",
    ),
    "handle": (
        "_series.py",
        '    __slots__ = ("others", "value")\n',
        """    __slots__ = ("_value", "others")
    value = property(lambda self: self._value, lambda self, given: setattr(self, "_value", given))
""",
    ),
    "gauge": (
        "_recorder.py",
        "series.owner and type(value) in NUMBERS and -MAX_AMOUNT <= value <= MAX_AMOUNT",
        "series.owner and type(value) in NUMBERS",
    ),
}


def count(*arguments: str, **environment: str) -> tuple[dict[str, str], dict[str, Count]]:
    """The versions and the counts of now, by a fresh process."""
    known = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, str(BENCH / "decay.py"), "--json", *arguments],
        env={**known, "PYTHONHASHSEED": "random", **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    found = json.loads(done.stdout)
    return found["versions"], {name: Count(*both) for name, both in found["counts"].items()}


def test_there_are_counts_of_the_interpreter_that_every_change_is_tested_on() -> None:
    assert read("3.11") is not None


@needs_counts
def test_the_ten_hottest_operations_take_as_many_steps_as_before() -> None:
    assert NOTED is not None
    versions, now = count()
    if versions != NOTED[0]:
        print(f"{FILE.name} is of {NOTED[0]}, here are {versions}: the steps of dependencies are not compared")
    assert now.keys() == NOTED[1].keys(), f"operations came or went; write the file anew: {WRITE}"
    changes = compare(NOTED[1], now, theirs=versions == NOTED[0])
    assert not changes, f"\n{table(changes)}\nIf that is meant, and worth it, write the file anew: {WRITE}"


@needs_counts
@pytest.mark.parametrize("operation", DECAYS)
def test_a_step_more_or_less_in_the_package_is_noticed(operation: str, tmp_path: Path) -> None:
    assert NOTED is not None
    module, before, after = DECAYS[operation]
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name)
    source = (tmp_path / PACKAGE.name / module).read_text(encoding="utf-8")
    assert source.count(before) == 1
    (tmp_path / PACKAGE.name / module).write_text(source.replace(before, after), encoding="utf-8")
    _, now = count("--only", operation, PYTHONPATH=str(tmp_path))
    [change] = compare(NOTED[1], now, theirs=False)
    assert (change.operation, change.whose) == (operation, "ours")
    assert (change.now < change.before) == (operation == "gauge")


def test_a_change_is_told_with_both_counts() -> None:
    changes = compare({"increment": Count(50, 10)}, {"increment": Count(54, 9)}, theirs=True)
    lines = [line.split() for line in table(changes).splitlines()]
    assert lines[1:] == [["increment", "ours", "50", "54", "+8.0%"], ["increment", "theirs", "10", "9", "-10.0%"]]


def test_what_lies_within_the_tolerance_is_no_change_and_what_dependencies_do_may_be_left_out() -> None:
    within = {"event": Count(1000, 10)}, {"event": Count(round(1000 * (1 + TOLERANCE)), 99)}
    assert compare(*within, theirs=False) == []
    assert [change.whose for change in compare(*within, theirs=True)] == ["theirs"]


def test_an_operation_that_had_no_count_is_a_change() -> None:
    assert [change.operation for change in compare({}, {"new": Count(5, 0)}, theirs=False)] == ["new"]
