"""The quality gate: passed, failed, or unknown, and unknown never passes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from claude_monitoring import AgentMonitor, CardinalityError, QualityGateError, track_quality
from claude_monitoring._quality import read_coverage
from claude_monitoring.testing import Captured


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_json(path: Path, percent: float) -> Path:
    path.write_text(json.dumps({"meta": {"format": 3}, "totals": {"percent_covered": percent}}))
    return path


def write_xml(path: Path, rate: float) -> Path:
    path.write_text(f'<?xml version="1.0" ?>\n<coverage version="7.11" line-rate="{rate}" branch-rate="0"/>')
    return path


def write_data_file(path: Path) -> Path:
    """A real run of coverage over a program of four statements, of which three are run."""
    program = path.parent / "program.py"
    program.write_text("x = 1\nif x > 1:\n    x = 3\nx = 2\n")
    command = [sys.executable, "-m", "coverage", "run", f"--data-file={path}", str(program)]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    subprocess.run(command, check=True, cwd=path.parent, env=clean)
    return path


@pytest.mark.parametrize(
    ("share", "result"), [(0.95, "passed"), (0.9, "passed"), (0.89, "failed"), (0, "failed"), (1, "passed")]
)
def test_the_gate_takes_what_the_function_reports(seen: Captured, share: float, result: str) -> None:
    @track_quality(monitor=seen.monitor, test_coverage_required=0.90)
    def implement_with_tests() -> dict[str, Any]:
        return {"coverage": share, "other": 1}

    assert implement_with_tests() == {"coverage": share, "other": 1}
    labels = frozenset({("agent", "backend"), ("gate", "test_coverage"), ("result", result)})
    assert seen.series("claude.quality_gate") == {labels: 1}


def test_nothing_to_go_by_is_unknown_and_told_once(seen: Captured, caplog: pytest.LogCaptureFixture) -> None:
    @track_quality(monitor=seen.monitor)
    def implement() -> None: ...

    implement()
    implement()
    assert seen.value("claude.quality_gate", result="unknown") == 2
    assert seen.value("claude.quality_gate", result="passed") == 0
    assert ["unknown" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize("report", [92.5, -0.1, "0.95", True, None, float("nan"), [0.95]], ids=repr)
def test_what_is_no_share_is_unknown(seen: Captured, report: Any) -> None:
    @track_quality(monitor=seen.monitor, coverage=lambda: report, gate="unit")
    def implement() -> None: ...

    implement()
    assert seen.value("claude.quality_gate", gate="unit", result="unknown") == 1


def test_enforced_the_gate_raises_on_failed_and_on_unknown(seen: Captured) -> None:
    @seen.monitor.track_quality(test_coverage_required=0.9, enforce=True)
    def implement(report: dict[str, float]) -> dict[str, float]:
        return report

    assert implement({"coverage": 0.9}) == {"coverage": 0.9}
    with pytest.raises(QualityGateError, match=r"'test_coverage' of .*implement failed: coverage is 42\.0%; 90\.0% is"):
        implement({"coverage": 0.42})
    with pytest.raises(QualityGateError, match="unknown: no coverage was reported"):
        implement({})
    found = {str(dict(labels)["result"]): count for labels, count in seen.series("claude.quality_gate").items()}
    assert found == {"passed": 1, "failed": 1, "unknown": 1}


def test_the_functions_own_exception_is_never_replaced(seen: Captured) -> None:
    @track_quality(monitor=seen.monitor, enforce=True, coverage=lambda: 1.0)
    def implement() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        implement()
    assert seen.value("claude.quality_gate", result="unknown") == 1
    assert seen.value("claude.quality_gate", result="passed") == 0


@pytest.mark.parametrize(
    "settings",
    [{"strict": True}, {"cardinality_policy": "raise", "max_series": 1, "max_label_values": 1}],
    ids=["strict", "policy raise"],
)
def test_a_gate_that_can_not_be_counted_lets_nothing_through(settings: dict[str, Any]) -> None:
    with AgentMonitor("quality", enabled=True, **settings) as monitor:

        def check(gate: str) -> None:
            monitor.track_quality(enforce=True, gate=gate)(lambda: {"coverage": 0.5})()

        with pytest.raises(QualityGateError):
            check("tests")
        with pytest.raises(CardinalityError):
            check("550e8400-e29b-41d4-a716-446655440000")


def test_enforce_holds_with_telemetry_off_and_after_close() -> None:
    monitor = AgentMonitor("m", enabled=False)

    @monitor.track_quality(enforce=True)
    def implement() -> dict[str, float]:
        return {"coverage": 0.1}

    with pytest.raises(QualityGateError):
        implement()
    monitor.close()
    with pytest.raises(QualityGateError):
        implement()


def test_a_coroutine_is_judged_when_it_ends(seen: Captured) -> None:
    @track_quality(monitor=seen.monitor, enforce=True)
    async def implement() -> dict[str, float]:
        await asyncio.sleep(0)
        return {"coverage": 0.5}

    running = implement()
    assert seen.series("claude.quality_gate") == {}
    with pytest.raises(QualityGateError):
        asyncio.run(running)
    assert seen.value("claude.quality_gate", result="failed") == 1


def test_the_gate_is_no_task(seen: Captured) -> None:
    @track_quality(monitor=seen.monitor, coverage=lambda: 1.0)
    def implement() -> None: ...

    implement()
    assert seen.series("claude.tasks") == {}


@pytest.mark.parametrize(
    ("write", "share"),
    [
        (lambda folder: write_json(folder / "coverage.json", 93.5), 0.935),
        (lambda folder: write_json(folder / "report.txt", 93.5), 0.935),
        (lambda folder: write_xml(folder / "coverage.xml", 0.875), 0.875),
        (lambda folder: write_xml(folder / "report", 0.875), 0.875),
        (lambda folder: write_data_file(folder / ".coverage"), 0.75),
    ],
    ids=["json", "json under another name", "xml", "xml under another name", "data file"],
)
def test_each_format_that_coverage_writes_can_be_read(
    seen: Captured, tmp_path: Path, write: Callable[[Path], Path], share: float
) -> None:
    file = write(tmp_path)
    assert read_coverage(file) == pytest.approx(share)
    assert read_coverage(str(file)) == pytest.approx(share)

    @track_quality(monitor=seen.monitor, coverage=file, test_coverage_required=0.7, enforce=True)
    def implement() -> None: ...

    implement()
    assert seen.value("claude.quality_gate", result="passed") == 1


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "{", "<coverage/>", "<coverage", '{"totals": {}}', "\xff\xfe", "SQLite"]
)
def test_a_file_that_is_no_coverage_report_says_so_and_is_unknown(seen: Captured, tmp_path: Path, text: str) -> None:
    file = tmp_path / "coverage.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError):  # noqa: PT011 - the texts of the json module and of ours
        read_coverage(file)

    @track_quality(monitor=seen.monitor, coverage=file, enforce=True)
    def implement() -> None: ...

    with pytest.raises(QualityGateError, match="unknown"):
        implement()


def test_a_file_that_is_not_there_is_unknown_and_named(seen: Captured, caplog: pytest.LogCaptureFixture) -> None:
    @track_quality(monitor=seen.monitor, coverage="no/such/file.json")
    def implement() -> None: ...

    implement()
    assert seen.value("claude.quality_gate", result="unknown") == 1
    assert "no/such/file.json" in caplog.text


@pytest.mark.parametrize("name", ["coverage.json", "coverage.xml"])
def test_a_report_written_by_the_call_is_found(seen: Captured, tmp_path: Path, name: str) -> None:
    @track_quality(monitor=seen.monitor)
    def implement() -> None:
        (write_json(tmp_path / name, 99) if name.endswith("json") else write_xml(tmp_path / name, 0.99))

    implement()
    assert seen.value("claude.quality_gate", result="passed") == 1


def test_a_report_from_before_the_call_says_nothing_about_it(seen: Captured, tmp_path: Path) -> None:
    old = write_json(tmp_path / "coverage.json", 99)
    os.utime(old, (1_000_000_000, 1_000_000_000))

    @track_quality(monitor=seen.monitor)
    def implement() -> None: ...

    implement()
    assert seen.value("claude.quality_gate", result="unknown") == 1


def test_a_source_that_raises_is_unknown_and_harms_nobody(seen: Captured, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> float:
        raise OSError("disk on fire")

    @track_quality(monitor=seen.monitor, coverage=broken)
    def implement() -> int:
        return 7

    assert implement() == 7
    assert seen.value("claude.quality_gate", result="unknown") == 1
    assert "disk on fire" in caplog.text


@pytest.mark.parametrize("required", [90, -0.1, 1.01, "0.9", True, None, float("nan")], ids=repr)
def test_a_share_outside_0_to_1_is_refused_at_once(seen: Captured, required: Any) -> None:
    with pytest.raises(ValueError, match=r"from 0 to 1, such as 0\.9"):
        track_quality(monitor=seen.monitor, test_coverage_required=required)
