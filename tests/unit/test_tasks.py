"""Tasks: what one run leaves behind, how it went, and what it has to do with the tasks around it."""

from __future__ import annotations

import asyncio
import enum
import math
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_monitoring import AgentMonitor, Task, track_task
from claude_monitoring.testing import Captured, capture


def test_a_task_is_counted_timed_and_under_way_only_inside(seen: Captured) -> None:
    with seen.monitor.track_task("Add API rate limiting", complexity=5, task_type="refactoring") as task:
        assert seen.value("claude.tasks.active", task_type="refactoring") == 1
        assert seen.value("claude.tasks") == 0
    assert task.status == "ok"
    assert task.duration_s > 0
    assert seen.value("claude.tasks.active", task_type="refactoring") == 0
    assert seen.series("claude.tasks") == {
        frozenset({("agent", "backend"), ("task_type", "refactoring"), ("status", "ok")}): 1
    }
    assert seen.value("claude.task.duration", task_type="refactoring", status="ok") == 1
    assert seen.value("claude.story_points.delivered", agent="backend") == 5


def test_the_name_of_a_task_is_no_label_anywhere(seen: Captured) -> None:
    with seen.monitor.track_task("very special name"):
        pass
    for metric in ("claude.tasks", "claude.tasks.active", "claude.task.duration"):
        assert all("very special name" not in dict(labels).values() for labels in seen.series(metric))


def test_an_exception_is_counted_by_type_and_goes_on_unchanged(seen: Captured) -> None:
    error = KeyError("missing")
    with pytest.raises(KeyError) as caught, seen.monitor.track_task("risky", complexity=3) as task:
        raise error
    assert caught.value is error
    assert task.status == "error"
    assert seen.value("claude.tasks", status="error") == 1
    assert seen.value("claude.errors", error_type="KeyError") == 1
    assert seen.value("claude.tasks.active") == 0
    assert seen.value("claude.story_points.delivered") == 0


def test_an_exception_that_passes_several_tasks_is_one_error_and_several_failed_tasks(seen: Captured) -> None:
    try:
        with seen.monitor.track_task("outer"), seen.monitor.track_task("inner"):
            raise ValueError("x")
    except ValueError as exc:
        seen.monitor.record_error(exc)
    assert seen.value("claude.errors") == 1
    assert seen.value("claude.tasks", status="error") == 2


@pytest.mark.parametrize(
    ("error", "status", "errors"),
    [
        (KeyboardInterrupt(), "cancelled", 0),
        (asyncio.CancelledError(), "cancelled", 0),
        (SystemExit(0), "ok", 0),
        (SystemExit(None), "ok", 0),
        (SystemExit(3), "error", 1),
        (TimeoutError(), "error", 1),
    ],
    ids=repr,
)
def test_the_outcome_tells_errors_from_cancellation_and_a_clean_exit(
    seen: Captured, error: BaseException, status: str, errors: int
) -> None:
    with pytest.raises(type(error)), seen.monitor.track_task("x"):
        raise error
    assert seen.value("claude.tasks", status=status) == 1
    assert seen.value("claude.errors") == errors


def test_a_cancelled_asyncio_task_is_cancelled_and_no_error(seen: Captured) -> None:
    async def work() -> None:
        async with seen.monitor.track_task("x"):
            await asyncio.sleep(60)

    async def main() -> None:
        running = asyncio.create_task(work())
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert seen.value("claude.tasks", status="cancelled") == 1
    assert seen.value("claude.errors") == 0


@pytest.mark.parametrize("outcome", ["ok", "error", "cancelled"])
def test_the_caller_may_say_how_it_went(seen: Captured, outcome: str) -> None:
    with seen.monitor.track_task("x", complexity=2) as task:
        task.set_outcome(outcome)
    assert seen.value("claude.tasks", status=outcome) == 1
    assert seen.value("claude.story_points.delivered") == (2 if outcome == "ok" else 0)
    assert seen.value("claude.errors") == (1 if outcome == "error" else 0)


def test_an_outcome_said_by_the_caller_stands_against_an_exception(seen: Captured) -> None:
    with pytest.raises(ValueError, match="known"), seen.monitor.track_task("x") as task:  # noqa: PT012 - as a caller would
        task.set_outcome("ok")
        raise ValueError("known")
    assert seen.value("claude.tasks", status="ok") == 1
    assert seen.value("claude.errors") == 0


@pytest.mark.parametrize("outcome", ["done", "", None, ["ok"]])
def test_another_outcome_is_refused_and_the_task_goes_on(seen: Captured, outcome: Any) -> None:
    with seen.monitor.track_task("x") as task:
        task.set_outcome(outcome)
    assert seen.value("claude.tasks", status="ok") == 1
    assert seen.monitor.health().dropped == {"invalid_value": 1}


def test_only_a_feature_that_succeeded_is_delivered(seen: Captured) -> None:
    with seen.monitor.track_task("a", task_type="feature"):
        pass
    with seen.monitor.track_task("b", task_type="bugfix"):
        pass
    with pytest.raises(ValueError, match="x"), seen.monitor.track_task("c", task_type="feature"):
        raise ValueError("x")
    assert seen.value("claude.features.delivered") == 1


def test_items_give_the_throughput_and_quality_the_score(seen: Captured) -> None:
    with seen.monitor.track_task("x", task_type="batch") as task:
        task.items = 50
        task.quality = 0.75
    assert seen.value("claude.task.throughput", task_type="batch") == 50 / task.duration_s
    assert seen.value("claude.agent.quality_score", agent="backend") == 0.75


@pytest.mark.parametrize("bad", ["many", True, math.nan, math.inf, -1, [3]], ids=repr)
@pytest.mark.parametrize("field", ["items", "quality", "complexity"])
def test_what_is_no_amount_is_refused_and_the_rest_of_the_task_is_kept(seen: Captured, field: str, bad: Any) -> None:
    given = {"complexity": bad} if field == "complexity" else {}
    with seen.monitor.track_task("x", **given) as task:
        if not given:
            setattr(task, field, bad)
    assert seen.monitor.health().dropped == {"invalid_value": 1}
    assert seen.value("claude.tasks", status="ok") == 1
    for metric in ("claude.task.throughput", "claude.agent.quality_score", "claude.story_points.delivered"):
        assert seen.series(metric) == {}


def test_a_quality_above_one_is_refused(seen: Captured) -> None:
    with seen.monitor.track_task("x") as task:
        task.quality = 95
    assert seen.series("claude.agent.quality_score") == {}
    assert seen.monitor.health().dropped == {"invalid_value": 1}


@pytest.mark.parametrize("field", ["items", "quality", "complexity", "outcome"])
def test_strict_raises_where_the_mistake_is_made(seen: Captured, field: str) -> None:
    monitor = AgentMonitor("strict", strict=True)
    if field == "complexity":
        with pytest.raises(ValueError, match="from 0"):
            monitor.track_task("x", complexity=-1)
        return
    with monitor.track_task("x") as task, pytest.raises(ValueError, match=r"expected|outcome"):
        task.set_outcome("done") if field == "outcome" else setattr(task, field, math.nan)
    assert seen.value("claude.tasks", agent="strict", status="ok") == 1


class Kind(enum.Enum):
    FEATURE = "feature"


@pytest.mark.parametrize(
    ("task_type", "label"),
    [(None, "general"), ("", "general"), (Kind.FEATURE, "kind.feature"), (["a"], "['a']"), (7, "7")],
)
def test_a_task_type_that_is_no_text_becomes_one(seen: Captured, task_type: Any, label: str) -> None:
    with seen.monitor.track_task("x", task_type=task_type):
        pass
    assert seen.value("claude.tasks", task_type=label) == 1


def test_tokens_cost_and_tools_inside_count_for_the_task_and_those_around_it(seen: Captured) -> None:
    with seen.monitor.track_task("outer", complexity=8) as outer:
        seen.monitor.record_tool_call("Bash")
        with seen.monitor.track_task("inner", complexity=2) as inner:
            seen.monitor.record_usage("claude-sonnet-4-5", input_tokens=100, output_tokens=20, cost_usd=0.5)
            seen.monitor.record_tool_call("Read", count=3)
    seen.monitor.record_usage("claude-sonnet-4-5", input_tokens=1_000, cost_usd=9)
    assert inner.parent is outer
    assert outer.parent is None
    assert (inner.input_tokens, inner.output_tokens, inner.cost_usd, inner.tool_calls) == (100, 20, 0.5, 3)
    assert (outer.input_tokens, outer.output_tokens, outer.cost_usd, outer.tool_calls) == (100, 20, 0.5, 4)
    assert seen.value("claude.agent.efficiency_score") == 8 / 120  # of the latest task to end


def test_a_task_without_tokens_has_no_efficiency(seen: Captured) -> None:
    with seen.monitor.track_task("x", complexity=8):
        pass
    assert seen.series("claude.agent.efficiency_score") == {}


TREES: st.SearchStrategy[Any] = st.recursive(
    st.integers(0, 1_000).map(lambda tokens: (tokens, [])),
    lambda trees: st.tuples(st.integers(0, 1_000), st.lists(trees, max_size=3)),
    max_leaves=12,
)


def tokens_in(tree: Any) -> int:
    return int(tree[0]) + sum(map(tokens_in, tree[1]))


@given(TREES)
def test_however_tasks_are_nested_each_has_the_tokens_of_all_below_it(tree: Any) -> None:
    with capture() as seen:

        def run(node: Any) -> None:
            with seen.monitor.track_task("node") as task:
                seen.monitor.record_usage("m", input_tokens=node[0], output_tokens=2 * node[0], cost_usd=node[0] / 8)
                for below in node[1]:
                    run(below)
            assert task.input_tokens == tokens_in(node)
            assert task.output_tokens == 2 * tokens_in(node)
            assert task.cost_usd == tokens_in(node) / 8

        run(tree)
    assert seen.value("claude.tokens.input") == tokens_in(tree)
    assert seen.value("claude.tasks.active") == 0


def test_concurrent_coroutines_keep_their_tokens_apart(seen: Captured) -> None:
    async def agent(tokens: int) -> None:
        async with seen.monitor.track_task("x") as task:
            for _ in range(10):
                seen.monitor.record_usage("m", input_tokens=tokens, cost_usd=0)
                await asyncio.sleep(0)
        assert task.input_tokens == 10 * tokens

    async def main() -> None:
        await asyncio.gather(*(agent(tokens) for tokens in range(20)))

    asyncio.run(main())
    assert seen.value("claude.tasks", status="ok") == 20
    assert seen.value("claude.tokens.input") == 10 * sum(range(20))


def test_tasks_in_threads_are_all_counted_and_none_is_left_under_way(seen: Captured) -> None:
    def agent() -> None:
        for _ in range(200):
            with seen.monitor.track_task("x", complexity=1):
                pass

    threads = [threading.Thread(target=agent) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen.value("claude.tasks", status="ok") == 1_600
    assert seen.value("claude.task.duration") == 1_600
    assert seen.value("claude.story_points.delivered") == 1_600
    assert seen.value("claude.tasks.active") == 0


def test_the_three_spellings_of_the_decorator_track_the_same(seen: Captured) -> None:
    @track_task(monitor=seen.monitor, task_type="kind", complexity=1)
    def one() -> int:
        return 1

    @seen.monitor.track_task("named", task_type="kind", complexity=1)
    def two() -> int:
        return 2

    @seen.monitor.track_task
    def three() -> int:
        return 3

    assert (one(), two(), three()) == (1, 2, 3)
    assert seen.value("claude.tasks", task_type="kind", status="ok") == 2
    assert seen.value("claude.tasks", task_type="general", status="ok") == 1
    assert seen.value("claude.story_points.delivered") == 2


def test_without_a_monitor_the_innermost_active_one_is_meant(seen: Captured) -> None:
    @track_task
    def work() -> None: ...

    with AgentMonitor("outer"), AgentMonitor("inner") as inner:
        work()
        with inner.child("child").track_task("x"):
            work()
    assert seen.value("claude.tasks", agent="inner") == 1
    assert seen.value("claude.tasks", agent="child") == 2
    assert seen.value("claude.tasks", agent="outer") == 0


def test_a_decorated_function_gets_its_task_anew_at_each_call(seen: Captured) -> None:
    parents = []

    @track_task(monitor=seen.monitor)
    def fall(depth: int) -> None:
        from claude_monitoring._context import current_task

        task = current_task()
        assert task is not None
        parents.append(task.parent)
        if depth:
            fall(depth - 1)

    fall(2)
    assert parents[0] is None
    assert len(set(map(id, parents))) == 3
    assert seen.value("claude.tasks") == 3


def test_attributes_may_be_set_where_there_is_no_span() -> None:
    monitor = AgentMonitor("x", enabled=False)
    with monitor.track_task("x") as task:
        task.set_attribute("k", "v")
        task.items = 3
    assert isinstance(task, Task)
    assert task.status == ""
