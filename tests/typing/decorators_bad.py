"""Mistakes that a type checker has to find: each on a line that ends in ``# E:`` and words of the complaint."""

from __future__ import annotations

from claude_monitoring import AgentMonitor, track_performance, track_quality, track_task

monitor = AgentMonitor("agent")


@track_task
def bare(first: int, *, key: bool = False) -> str:
    return f"{first} {key}"


@track_task(monitor=monitor, task_type="feature", complexity=5)
def with_options(first: int) -> str:
    return str(first)


@track_performance(items="rows")
def performance(rows: list[str]) -> int:
    return len(rows)


@monitor.track_performance(items="rows")
def performance_by_monitor(rows: list[str]) -> int:
    return len(rows)


@track_quality(test_coverage_required=0.9)
def quality(path: str) -> bytes:
    return path.encode()


@monitor.track_quality(test_coverage_required=0.9)
def quality_by_monitor(path: str) -> bytes:
    return path.encode()


@track_task
async def coroutine(value: int) -> str:
    return str(value)


class Agent:
    @track_task
    def method(self, value: int) -> str:
        return str(value)


bare("1")  # E: incompatible type "str"; expected "int"
bare()  # E: Missing positional argument "first"
bare(1, kee=True)  # E: Unexpected keyword argument "kee"
bare(1) + 1  # E: Unsupported operand types
with_options(b"1")  # E: incompatible type "bytes"; expected "int"
performance([1])  # E: List item 0 has incompatible type "int"
performance_by_monitor([1])  # E: List item 0 has incompatible type "int"
quality(1)  # E: incompatible type "int"; expected "str"
quality("a").encode()  # E: "bytes" has no attribute "encode"
quality_by_monitor("a").encode()  # E: "bytes" has no attribute "encode"
Agent().method("1")  # E: incompatible type "str"; expected "int"
Agent().method(1).decode()  # E: "str" has no attribute "decode"


async def forgets_to_await() -> None:
    coroutine(1).upper()  # E: "Coroutine[Any, Any, str]" has no attribute "upper"


@track_task(complexity="high")  # E: No overload variant of "track_task"
def wrong_complexity() -> None: ...


@track_task(difficulty=5)  # E: "track_task"
def unknown_option() -> None: ...


@track_task("a name")  # E: No overload variant of "track_task"
def name_by_position() -> None: ...


@track_quality(test_coverage_required="90 %")  # E: No overload variant of "track_quality"
def wrong_share() -> None: ...


@monitor.track_quality(enforced=True)  # E: "track_quality"
def unknown_gate_option() -> None: ...


with monitor.track_task("a", complexity=1) as task:
    task.set_outcome(1)  # E: incompatible type "int"; expected "str"
    task.results = 3  # E: "Task" has no attribute "results"
