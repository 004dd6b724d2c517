"""One bad value never raises into the host, harms no other series, event or span, and stops no later export."""

from __future__ import annotations

import datetime as dt
import enum
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from decimal import Decimal
from fractions import Fraction
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_monitoring import AgentMonitor, Settings
from claude_monitoring.receiver import OtlpReceiver

PROTOCOLS = ("grpc", "http/protobuf", "http/json")
COLLECTORS_LIMIT = 4 * 2**20  # what a Collector takes over gRPC
HUGE = 10_000_000
AGENTS = itertools.count()
INVALID, BAD_NAME = {"invalid_value": 1}, {"invalid_name": 1}


class OwnFaultError(Exception):
    """What the host's own methods raise here."""


def fails(*args: object, **kwargs: object) -> Any:
    raise OwnFaultError


def hostile(base: type, *names: str) -> Any:
    """A class whose methods of these names raise."""
    return type("Hostile", (base,), dict.fromkeys(names, fails))


CONVERSIONS = ("__bool__", "__eq__", "__format__", "__hash__", "__repr__", "__str__")
ARITHMETIC = (*CONVERSIONS, "__abs__", "__add__", "__float__", "__ge__", "__gt__", "__int__", "__le__", "__lt__")
Thing = hostile(object, *CONVERSIONS)
BadInt, BadFloat = hostile(int, *ARITHMETIC), hostile(float, *ARITHMETIC)
BadStr = hostile(
    str, *CONVERSIONS, "__getitem__", "__len__", "encode", "isascii", "lower", "removeprefix", "startswith"
)
BadMapping = hostile(Mapping, "__getitem__", "__iter__", "__len__", "items")  # type: ignore[type-abstract]
BadError = hostile(Exception, "__repr__", "__str__")
ShyError = hostile(Exception, "__getattr__", "__setattr__")
OddKey = type("OddKey", (str,), {"__eq__": fails, "__hash__": str.__hash__})


class Sneaky:
    """Its text is of a subclass of ``str``."""

    def __str__(self) -> str:
        return BadStr("sneaky")  # type: ignore[no-any-return]


class Liar:
    """Says that it is an ``int`` and can be compared, as proxies do; it has no value."""

    __class__ = property(lambda self: int)  # type: ignore[assignment]
    __le__ = __lt__ = __ge__ = __gt__ = lambda self, other: True
    __float__ = __radd__ = fails


class Colour(enum.Enum):
    RED = 1


def nested(depth: int) -> list[Any]:
    """Lists in lists, too deep for ``repr``."""
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def cycle() -> dict[str, Any]:
    """A dictionary that holds a list that holds the dictionary."""
    found: dict[str, Any] = {}
    found["self"] = [found]
    return found


ODD_VALUES: dict[str, Any] = {
    "nothing works": Thing(),
    "str gives a subclass": Sneaky(),
    "text": BadStr("x"),
    "int": BadInt(7),
    "float": BadFloat(7),
    "past 64 bits": 2**63,
    "far past 64 bits": 10**5000,
    "nan": math.nan,
    "infinite": -math.inf,
    "cycle": cycle(),
    "deep": nested(100_000),
    "surrogate": "\ud800x",
    "nul": "a\0b",
    "huge": "x" * HUGE,
    "huge and wide": "\N{SNOWMAN}" * HUGE,
    "bytes": b"\xff\x00",
    "set": {1, "a"},
    "enum": Colour.RED,
    "datetime": dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc),
    "generator": (number for number in ()),
    "class": dict,
    "decimal": Decimal("sNaN"),
}


def as_label(value: Any) -> Callable[[AgentMonitor], None]:
    def use(monitor: AgentMonitor) -> None:
        for _ in range(2):  # the second call finds what the first one left
            monitor.increment("labelled", 1, {"odd": value})
            monitor.gauge("labelled_gauge", 1, {"odd": value})
            monitor.histogram("labelled_histogram", 1, {"odd": value})

    return use


def as_attribute(value: Any) -> Callable[[AgentMonitor], None]:
    def use(monitor: AgentMonitor) -> None:
        monitor.event("attributed", {"odd": value})
        enter_and_leave(monitor.span("attributed", {"odd": value}))

    return use


def enter_and_leave(scope: AbstractContextManager[Any]) -> None:
    with scope:
        pass


def as_set_attribute(value: Any) -> Callable[[AgentMonitor], None]:
    def use(monitor: AgentMonitor) -> None:
        with monitor.track_task("attributed") as task, monitor.span("inner") as span:
            task.set_attribute("odd", value)
            span.set_attribute("odd", value)

    return use


def failing_with(error: Exception) -> Callable[[AgentMonitor], None]:
    def use(monitor: AgentMonitor) -> None:
        with suppress(type(error)), monitor.track_task("failing"), monitor.span("failing inside"):
            raise error

    return use


def in_session(session_id: Any) -> Callable[[AgentMonitor], None]:
    def use(monitor: AgentMonitor) -> None:
        with monitor.session(session_id):
            monitor.record_usage("m", 1, cost_usd=0)
            monitor.event("inside")
            enter_and_leave(monitor.span("inside"))

    return use


def in_task(use: Callable[[Any], object]) -> Callable[[AgentMonitor], None]:
    def within(monitor: AgentMonitor) -> None:
        with monitor.track_task("odd") as task:
            use(task)

    return within


def other_agent(monitor: AgentMonitor, agent_id: Any, **more: Any) -> None:
    other = AgentMonitor(agent_id, settings=monitor._settings, **more)
    other.increment("odd")
    other.close(5)


Case = tuple[Callable[[AgentMonitor], object], dict[str, int]]

CASES: dict[str, Case] = {
    **{f"label: {name}": (as_label(value), {}) for name, value in ODD_VALUES.items()},
    **{f"attribute: {name}": (as_attribute(value), {}) for name, value in ODD_VALUES.items()},
    **{
        f"key: {name}": (lambda m, key=key: as_attribute_key(m, key), {})
        for name, key in {"surrogate": "\ud800", "nul": "a\0", "huge": "k" * HUGE, "odd": OddKey("k")}.items()
    },
    **{f"set_attribute: {name}": (as_set_attribute(value), {}) for name, value in ODD_VALUES.items()},
    "key: empty": (lambda m: as_attribute_key(m, ""), {}),
    "event: huge": (lambda m: m.event("x" * HUGE), {}),
    "handle: mock": (lambda m: m.counter("odd").add(Mock(spec=int)), INVALID),
    "counter: liar": (lambda m: m.increment("odd", Liar()), INVALID),
    "gauge: liar": (lambda m: [m.gauge("odd", value) for value in (1, Liar())], INVALID),
    "histogram: liar": (lambda m: [m.histogram("odd", value) for value in (1, Liar())], INVALID),
    "event attributes": (lambda m: m.event("odd", BadMapping()), INVALID),
    "span attributes": (lambda m: enter_and_leave(m.span("odd", BadMapping())), INVALID),
    "handle labels": (lambda m: m.counter("odd", BadMapping()).add(1), INVALID),
    "event: nothing works": (lambda m: m.event(Thing()), {}),
    "event: text": (lambda m: m.event(BadStr("x")), {}),
    "span: nothing works": (lambda m: enter_and_leave(m.span(Thing())), {}),
    "span: text": (lambda m: enter_and_leave(m.span(BadStr("x"))), {}),
    "span: surrogate": (lambda m: enter_and_leave(m.span("\ud800")), {}),
    "span: huge": (lambda m: enter_and_leave(m.span("x" * HUGE)), {}),
    "task: nothing works": (lambda m: enter_and_leave(m.track_task(Thing())), {}),
    "task: text": (lambda m: enter_and_leave(m.track_task(BadStr("x"))), {}),
    "task: surrogate": (lambda m: enter_and_leave(m.track_task("\ud800")), {}),
    "task: huge": (lambda m: enter_and_leave(m.track_task("x" * HUGE)), {}),
    "task type: nothing works": (lambda m: enter_and_leave(m.track_task("x", task_type=Thing())), {}),
    "task type: text": (lambda m: enter_and_leave(m.track_task("x", task_type=BadStr("x"))), {}),
    "complexity: float": (lambda m: enter_and_leave(m.track_task("x", complexity=BadFloat(1))), INVALID),
    "outcome: nothing works": (in_task(lambda task: task.set_outcome(Thing())), INVALID),
    "set_attribute: key": (in_task(lambda task: task.set_attribute(Thing(), 1)), {}),
    "set_attribute: key with a surrogate": (in_task(lambda task: task.set_attribute("\ud800", 1)), {}),
    "session: nothing works": (in_session(Thing()), {}),
    "session: text": (in_session(BadStr("x")), {}),
    "session: list": (in_session(["a"]), {}),
    "usage model: nothing works": (lambda m: m.record_usage(Thing(), 1, cost_usd=1), {}),
    "usage model: text": (lambda m: m.record_usage(BadStr("x"), 1, cost_usd=1), {}),
    "usage source: nothing works": (lambda m: m.record_usage("m", 1, cost_usd=1, query_source=Thing()), {}),
    "cost model: nothing works": (lambda m: m.record_cost(1, Thing()), {}),
    "lines type: nothing works": (lambda m: m.record_lines(1, file_type=Thing()), {}),
    "lines path: nothing works": (lambda m: m.record_lines(1, file_path=Thing()), {}),
    "decision: nothing works": (lambda m: m.record_edit_decision(Thing()), INVALID),
    "error: nothing works": (lambda m: m.record_error(Thing()), {}),
    "error: its attributes": (lambda m: m.record_error(ShyError()), {}),
    "raised: its text": (failing_with(BadError()), {}),
    "raised: its attributes": (failing_with(ShyError()), {}),
    "raised: surrogate": (failing_with(ValueError("\ud800")), {}),
    "raised: huge": (failing_with(ValueError("x" * HUGE)), {}),
    "agent: nothing works": (lambda m: other_agent(m, Thing()), INVALID),
    "project: nothing works": (lambda m: other_agent(m, "a", project_name=Thing()), {}),
    "retire": (lambda m: m.retire(BadMapping()), INVALID),
    "counter: int": (lambda m: m.increment("odd", BadInt(1)), INVALID),
    "counter: float": (lambda m: m.increment("odd", BadFloat(1)), INVALID),
    "gauge: float": (lambda m: m.gauge("odd", BadFloat(1)), INVALID),
    "histogram: float": (lambda m: m.histogram("odd", BadFloat(1)), INVALID),
    "handle: int": (lambda m: m.counter("odd").add(BadInt(1)), INVALID),
    "usage: int": (lambda m: m.record_usage("m", BadInt(1)), INVALID),
    "cost: float": (lambda m: m.record_cost(BadFloat(1)), INVALID),
    "lines: int": (lambda m: m.record_lines(BadInt(1)), INVALID),
    "labels": (lambda m: m.increment("odd", 1, BadMapping()), INVALID),
    "labels of a name in use": (lambda m: m.increment("good", 1, BadMapping()), INVALID),
    "name: text": (lambda m: m.increment(BadStr("odd"), 1), {}),
    "name: nothing works": (lambda m: m.increment(Thing(), 1), BAD_NAME),
    "name: surrogate": (lambda m: m.increment("odd\ud800", 1), BAD_NAME),
    "name: nul": (lambda m: m.increment("odd\0", 1), BAD_NAME),
    "name: huge": (lambda m: m.increment("x" * HUGE, 1), BAD_NAME),
    "name: handle": (lambda m: m.counter(Thing()).add(1), BAD_NAME),
    "event: surrogate": (lambda m: m.event("\ud800"), {}),
    "event: nul": (lambda m: m.event("a\0"), {}),
    "usage model: surrogate": (lambda m: m.record_usage("\ud800", 1, cost_usd=1), {}),
    "error: its text": (lambda m: m.record_error(BadError()), {}),
    "error: huge": (lambda m: m.record_error("x" * HUGE), {}),
    "tool: nothing works": (lambda m: m.record_tool_call(Thing()), {}),
    "session: surrogate": (in_session("\ud800"), {}),
    "session: huge": (in_session("x" * HUGE), {}),
    "session: nul": (in_session("a\0"), {}),
    "span: nul": (lambda m: enter_and_leave(m.span("a\0")), {}),
    "agent: surrogate": (lambda m: other_agent(m, "a\ud800"), {}),
}


def as_attribute_key(monitor: AgentMonitor, key: Any) -> None:
    for _ in range(2):
        monitor.increment("keyed", 1, {key: "x"})
    monitor.event("keyed", {key: "x"})
    enter_and_leave(monitor.span("keyed", {key: "x"}))


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver(max_body_bytes=COLLECTORS_LIMIT) as running:
        yield running


def make_monitor(receiver: OtlpReceiver, protocol: str, temporality: str = "cumulative", **more: Any) -> AgentMonitor:
    """A monitor of an agent that no other test has; it sends when it is asked to."""
    environ = {
        "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
        **{f"OTEL_{signal}_EXPORTER": "otlp" for signal in ("METRICS", "LOGS", "TRACES")},
        **{f"OTEL_{signal}_EXPORT_INTERVAL": "600000" for signal in ("METRIC", "LOGS", "TRACES")},
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint(protocol),
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality,
    }
    return AgentMonitor(f"agent-{next(AGENTS)}", settings=Settings.load(environ=environ, **more))


def record_good(monitor: AgentMonitor, amount: int) -> None:
    monitor.increment("good", amount, {"kind": "x"})
    monitor.histogram("good_sizes", amount, {"kind": "x"})
    monitor.gauge("good_level", amount, {"kind": "x"})
    monitor.event("good", {"amount": amount})
    enter_and_leave(monitor.span("good", {"amount": amount}))


def assert_good_arrived(receiver: OtlpReceiver, monitor: AgentMonitor, *amounts: int) -> None:
    agent = monitor.agent_id
    assert receiver.total("claude.good", agent=agent) == sum(amounts)
    assert receiver.total("claude.good_sizes", agent=agent, field="sum") == sum(amounts)
    assert receiver.total("claude.good_level", agent=agent) == amounts[-1]
    for items in (
        [log for log in receiver.logs if log.body == "claude.good"],
        [span for span in receiver.spans if span.name == "good"],
    ):
        assert [one.attributes["amount"] for one in items if one.attributes["agent.name"] == agent] == list(amounts)


def check(
    receiver: OtlpReceiver, protocol: str, case: Case, faults: list[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    use, dropped = case
    monitor = make_monitor(receiver, protocol)
    try:
        record_good(monitor, 2)
        use(monitor)
        record_good(monitor, 5)
        first = monitor.flush(20)
        record_good(monitor, 11)
        found, told = list(faults), [record.name for record in caplog.records]
        assert (first, monitor.flush(20), found) == (True, True, [])
        assert_good_arrived(receiver, monitor, 2, 5, 11)
        assert monitor.health().dropped == dropped
        assert set(told) <= {"claude_monitoring"}, caplog.text[:2000]
    finally:
        faults.clear()
        monitor.close(5)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_poison_is_refused_or_made_plain_and_all_else_arrives(
    receiver: OtlpReceiver,
    protocol: str,
    case: Case,
    internal_faults: list[BaseException],
    caplog: pytest.LogCaptureFixture,
) -> None:
    check(receiver, protocol, case, internal_faults, caplog)


NUMPYS = {
    "int64": ("int64", 7, 7),
    "uint64": ("uint64", 2**64 - 1, float(2**64)),
    "int8": ("int8", 5, 5),
    "float16": ("float16", 0.5, 0.5),
    "float32": ("float32", 0.25, 0.25),
    "float64": ("float64", 1e300, 1e300),
    "longdouble": ("longdouble", 0.5, 0.5),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scalars_of_numpy_are_numbers(receiver: OtlpReceiver, protocol: str) -> None:
    import numpy  # noqa: ICN001

    with make_monitor(receiver, protocol) as monitor:
        agent = monitor.agent_id
        for name, (kind, value, _) in NUMPYS.items():
            for _ in range(2):
                monitor.increment(f"np_{name}", getattr(numpy, kind)(value), {"kind": "x"})
            monitor.gauge(f"np_level_{name}", getattr(numpy, kind)(value))
        assert monitor.flush(20)
        assert monitor.health().dropped == {}
    for name, (_, _, expected) in NUMPYS.items():
        assert receiver.total(f"claude.np_{name}", agent=agent) == 2 * expected
        assert receiver.total(f"claude.np_level_{name}", agent=agent) == expected


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("kind", "value"),
    [("bool_", True), ("complex64", 1), ("complex128", 1), ("float32", math.nan), ("float64", -math.inf), ("str_", "5"),
     ("datetime64", "2020-01-01"), ("array", [1, 2]), ("array", 1)],
)  # fmt: skip
def test_what_numpy_has_beside_real_numbers_is_refused(
    receiver: OtlpReceiver, kind: str, value: Any, internal_faults: list[BaseException]
) -> None:
    import numpy  # noqa: ICN001

    with make_monitor(receiver, "http/protobuf") as monitor:
        monitor.increment("jobs", 2)
        monitor.increment("jobs", getattr(numpy, kind)(value))
        assert monitor.health().dropped == INVALID
        assert monitor.flush(20)
    assert receiver.total("claude.jobs", agent=monitor.agent_id) == 2


class Size(enum.IntEnum):
    LARGE = 7


REALS: dict[str, tuple[Any, float]] = {
    "IntEnum": (Size.LARGE, 7),
    "subclass of int": (type("Count", (int,), {})(7), 7),
    "subclass of float": (type("Seconds", (float,), {})(0.5), 0.5),
    "Decimal": (Decimal("0.125"), 0.125),
    "Fraction": (Fraction(1, 8), 0.125),
    "past 64 bits": (2**64, 2.0**64),
    "far past 64 bits": (10**300, 1e300),
    "the largest float": (Fraction(1.7976931348623157e308), 1.7976931348623157e308),
    "the smallest float": (5e-324, 5e-324),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_whatever_is_a_real_number_arrives_as_its_nearest_float(receiver: OtlpReceiver, protocol: str) -> None:
    with make_monitor(receiver, protocol) as monitor:
        for kind, (value, _) in REALS.items():
            monitor.increment("reals", value, {"kind": kind})
            monitor.gauge("real_level", value, {"kind": kind})
            monitor.gauge("real_below", -value, {"kind": kind})
            monitor.histogram("real_sizes", value, {"kind": kind})
        assert monitor.flush(20)
        assert monitor.health().dropped == {}
    agent = monitor.agent_id
    for kind, (_, expected) in REALS.items():
        assert receiver.total("claude.reals", agent=agent, kind=kind) == expected
        assert receiver.total("claude.real_level", agent=agent, kind=kind) == expected
        assert receiver.total("claude.real_below", agent=agent, kind=kind) == -expected
        assert receiver.total("claude.real_sizes", agent=agent, kind=kind, field="sum") == expected


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sums_that_pass_64_bits_are_right_and_stop_nothing(
    receiver: OtlpReceiver, protocol: str, temporality: str
) -> None:
    with make_monitor(receiver, protocol, temporality) as monitor:
        for _ in range(6):  # whole multiples of 2**40, so that no float rounds
            monitor.increment("large", 2**62)
            monitor.histogram("large_sizes", 2**62)
            monitor.increment("concurrent_requests", -(2**63))
            record_good(monitor, 3)
            assert monitor.flush(20)
    agent = monitor.agent_id
    assert receiver.total("claude.large", agent=agent) == 6 * 2**62
    assert receiver.total("claude.large_sizes", agent=agent, field="sum") == 6 * 2**62
    assert receiver.total("claude.concurrent_requests", agent=agent) == -6 * 2**63
    assert_good_arrived(receiver, monitor, *[3] * 6)


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_sum_past_the_largest_float_is_infinite_and_harms_no_other(
    receiver: OtlpReceiver, protocol: str, temporality: str
) -> None:
    monitor = make_monitor(receiver, protocol, temporality)
    record_good(monitor, 3)
    for _ in range(3):
        monitor.increment("vast", 1e308)
        monitor.histogram("vast_sizes", 1e308)
        assert monitor.flush(20)
    record_good(monitor, 4)
    assert monitor.close(20)
    assert receiver.total("claude.vast", agent=monitor.agent_id) == math.inf
    assert receiver.total("claude.vast_sizes", agent=monitor.agent_id) == 3
    assert_good_arrived(receiver, monitor, 3, 4)


def record_vast(monitor: AgentMonitor) -> None:
    monitor.increment("vast", 1e308)
    monitor.histogram("vast_sizes", 1e308)


def test_a_sum_over_threads_past_the_largest_float_is_infinite_too(
    receiver: OtlpReceiver, internal_faults: list[BaseException]
) -> None:
    monitor = make_monitor(receiver, "http/protobuf")
    record_vast(monitor)
    thread = threading.Thread(target=record_vast, args=(monitor,))
    thread.start()
    thread.join()
    record_good(monitor, 4)
    assert monitor.close(20)
    faults = list(internal_faults)
    internal_faults.clear()
    assert faults == []
    assert receiver.total("claude.vast", agent=monitor.agent_id) == math.inf
    assert receiver.total("claude.vast_sizes", agent=monitor.agent_id) == 2
    assert_good_arrived(receiver, monitor, 4)


def test_a_series_that_can_not_be_read_holds_no_other_back(
    receiver: OtlpReceiver, internal_faults: list[BaseException]
) -> None:
    monitor = make_monitor(receiver, "http/protobuf")
    monitor.gauge("odd", 1)
    [series] = monitor._registry.resolve("odd", "gauge").all_series()
    series.value = Liar()  # type: ignore[attr-defined]
    record_good(monitor, 4)
    assert monitor.close(20)
    assert_good_arrived(receiver, monitor, 4)
    assert {type(fault) for fault in internal_faults} == {OwnFaultError}
    internal_faults.clear()


MISUSES: dict[str, tuple[Callable[[AgentMonitor], object], type[Exception]]] = {
    "counter": (lambda m: m.increment("odd", BadInt(1)), TypeError),
    "gauge": (lambda m: m.gauge("odd", BadFloat(1)), TypeError),
    "histogram": (lambda m: m.histogram("odd", BadFloat(1)), TypeError),
    "handle": (lambda m: m.counter("odd").add(BadInt(1)), TypeError),
    "usage": (lambda m: m.record_usage("m", BadInt(1)), TypeError),
    "cost": (lambda m: m.record_cost(BadFloat(1)), TypeError),
    "labels": (lambda m: m.increment("odd", 1, BadMapping()), TypeError),
    "name": (lambda m: m.increment(Thing(), 1), ValueError),
    "name with a surrogate": (lambda m: m.increment("\ud800", 1), ValueError),
    "past every float": (lambda m: m.increment("odd", 10**400), ValueError),
    "minus infinity": (lambda m: m.gauge("odd", -math.inf), ValueError),
}


@pytest.mark.parametrize(("use", "error"), MISUSES.values(), ids=MISUSES)
def test_strict_raises_for_poison_at_once_and_goes_on(
    receiver: OtlpReceiver, use: Callable[[AgentMonitor], object], error: type[Exception]
) -> None:
    with make_monitor(receiver, "http/protobuf", strict=True) as monitor:
        with pytest.raises(error):
            use(monitor)
        record_good(monitor, 5)
        assert monitor.flush(20)
    assert_good_arrived(receiver, monitor, 5)


# Hypothesis hashes and prints what it draws, so it draws the names of what is odd.
BAD_AMOUNTS: dict[str, Any] = {
    "int": BadInt(3),
    "float": BadFloat(3),
    "nothing works": Thing(),
    "nan": math.nan,
    "infinite": math.inf,
    "negative": -1,
    "past every float": 10**400,
    "none": None,
}
NAMES: dict[str, Any] = {
    "one": "one",
    "two": "two",
    "text": BadStr("three"),
    "no text": Thing(),
    "surrogate": "\ud800",
}
LABELS = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from([None, *ODD_VALUES]), max_size=2)
ROWS = st.lists(st.tuples(st.sampled_from([*NAMES]), st.integers(0, 2**40) | st.sampled_from([*BAD_AMOUNTS]), LABELS))


@settings(max_examples=60)
@given(rows=ROWS, protocol=st.sampled_from(PROTOCOLS))
def test_whatever_poison_is_mixed_in_the_good_amounts_arrive_exactly(
    receiver: OtlpReceiver, rows: list[tuple[str, Any, dict[str, Any]]], protocol: str
) -> None:
    monitor = make_monitor(receiver, protocol)
    expected = {"one": 0, "two": 0, "text": 0}
    for name, amount, odd in rows:
        labels = {key: ODD_VALUES.get(value, "x") for key, value in odd.items()}
        monitor.increment(NAMES[name], BAD_AMOUNTS.get(amount, amount), labels)
        monitor.event("row", labels)
        if name in expected and isinstance(amount, int):
            expected[name] += amount
    assert monitor.close(20)
    agent = monitor.agent_id
    found = {name: receiver.total(f"claude.{str.__str__(NAMES[name])}", agent=agent) for name in expected}
    assert found == expected
    events = [log for log in receiver.logs if log.body == "claude.row" and log.attributes["agent.name"] == agent]
    assert len(events) == len(rows)
