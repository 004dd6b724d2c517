"""The matrix as pytest sees it: all scenarios that are selected run side by side first, then each has its test."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live

from matrix.process import NotRunError
from matrix.report import summary, table, write_reports
from matrix.scenarios import Scenario
from matrix.session import new_row, run_all

RESULTS = Path(__file__).with_name("results")
ROWS = pytest.StashKey[dict[str, dict[str, Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ours."""
    group = parser.getgroup("matrix")
    group.addoption(
        "--time-scale",
        type=_scale,
        default=1.0,
        help="multiply every interval, to be quicker; that is no proof (default: 1)",
    )
    group.addoption("--results", type=Path, default=RESULTS, help="folder for the reports (default: matrix/results)")


def _scale(text: str) -> float:
    scale = float(text)
    if not 0.05 <= scale <= 1:
        raise ValueError(f"{text} is not between 0.05 and 1")
    return scale


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What is beyond the 54 runs only if its file is named."""
    is_beyond = collection_path.name in ("test_extended.py", "test_collector.py")
    return True if is_beyond and not any(collection_path.name in arg for arg in config.args) else None


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Run what is selected."""
    params = [item.callspec.params for item in session.items if hasattr(item, "callspec")]
    scenarios = [one["scenario"] for one in params if isinstance(one.get("scenario"), Scenario)]
    if scenarios and not session.config.option.collectonly:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up, as Ctrl-C does
        session.config.stash[ROWS] = _run(session.config, scenarios)
    return (yield)


def _run(config: pytest.Config, scenarios: Sequence[Scenario]) -> dict[str, dict[str, Any]]:
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    with ExitStack() as stack:
        if capture is not None:
            stack.enter_context(capture.global_and_fixture_disabled())
        console = Console()
        scale = config.option.time_scale
        rows = {scenario.id: new_row(scenario.scaled(scale)) for scenario in scenarios}
        show = _live(stack, console, rows) if console.is_terminal else _lines(console, rows)

        def on_change(row: dict[str, Any]) -> None:
            rows[row["id"]] = row
            show(row)

        through_collector = {scenario.group == "collector" for scenario in scenarios}
        if len(through_collector) > 1:
            raise pytest.UsageError("test_collector.py has far sides of its own: run it alone")
        try:
            results = run_all(scenarios, on_change, time_scale=scale, through_collector=through_collector.pop())
        except NotRunError as exc:
            return {name: row | {"outcome": "not run", "why": str(exc)} for name, row in rows.items()}
    write_reports(results, config.option.results)
    print(f"\n{summary(results)}{(config.option.results / 'report.html').resolve().as_uri()}")
    return rows


def _live(stack: ExitStack, console: Console, rows: dict[str, dict[str, Any]]) -> Callable[[dict[str, Any]], None]:
    """A table that changes while the run goes on."""
    live = stack.enter_context(Live(table(rows.values()), console=console, refresh_per_second=2))
    return lambda _: live.update(table(rows.values()))


def _lines(console: Console, rows: dict[str, dict[str, Any]]) -> Callable[[dict[str, Any]], None]:
    """For a log: a line for each scenario that came to its end."""

    def show(row: dict[str, Any]) -> None:
        if row["outcome"] not in ("waiting", "running"):
            done = sum(one["outcome"] not in ("waiting", "running") for one in rows.values())
            console.print(f"{done:3} of {len(rows)}  {row['outcome']:8} {row['id']}", highlight=False)

    console.print(f"\n{len(rows)} scenarios, side by side")
    return show


@pytest.fixture
def row(scenario: Scenario, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What came of the scenario."""
    return request.config.stash[ROWS][scenario.id]
