"""The delivery contract: each protocol against each far side, through ``AgentMonitor``, as a user notices it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from claude_monitoring import AgentMonitor
from claude_monitoring.receiver import OtlpReceiver
from tests.contract.exporter_parts import PROTOCOLS, SECRET, SIGNALS, until
from tests.contract.far_sides import (
    STEPS,
    Certificates,
    Flushing,
    Later,
    Lines,
    Witness,
    breaking,
    exporters,
    flush,
    listening,
    monitor_at,
    mute,
    nobody,
    record,
    relaying,
)

pytestmark = pytest.mark.slow  # it mostly waits; otel-oldest runs it by name

BOTH = "http/protobuf", "http/json"
EACH_PROTOCOL = pytest.mark.parametrize("protocol", PROTOCOLS)
ALL = (float(STEPS), ["claude.done"], ["work"])
REPEATED = "CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"
FINAL = (
    "UNKNOWN", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION", "UNIMPLEMENTED", "INTERNAL", "UNAUTHENTICATED",
)  # fmt: skip
KEY = "OTEL_EXPORTER_OTLP_HEADERS"
DELTA = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
CERTIFICATE = "OTEL_EXPORTER_OTLP_CERTIFICATE"


@dataclass(frozen=True)
class Row:
    """What the receiver is to answer, and what the one line of warning must say of it."""

    id: str
    protocols: tuple[str, ...]
    answer: dict[str, Any] = field(default_factory=dict)
    says: str = ""


def rows(*given: Row) -> pytest.MarkDecorator:
    cases = [pytest.param(protocol, row, id=f"{protocol} {row.id}") for row in given for protocol in row.protocols]
    return pytest.mark.parametrize(("protocol", "row"), cases)


def http(status: int, says: str = "", **more: Any) -> Row:
    name = " ".join([str(status), *more])
    return Row(name, BOTH, {"status": status, "message": f"no to {SECRET}", **more}, says or str(status))


def grpc(name: str, says: str = "", **more: Any) -> Row:
    answer = {"grpc_status": name, "message": f"no to {SECRET}", **more}
    return Row(" ".join([name, *more]), ("grpc",), answer, says or name)


HTML = {"body": b"<html>Sign in</html>", "content_type": "text/html"}
ACCEPTED = (
    Row("ok", PROTOCOLS),
    Row("slow", PROTOCOLS, {"delay_s": 0.3}),
    Row("no body", BOTH, {"body": b""}),
    Row("202", BOTH, {"status": 202}),
    Row("204", BOTH, {"status": 204}),
    Row("words", PROTOCOLS, {"message": "this version is old"}),
)
RETRIED = (
    *(http(status) for status in (429, 502, 503, 504)),
    Row("dropped", PROTOCOLS, {"drop": True}, "closed the connection|not available"),
    *(grpc(name, {"UNAVAILABLE": "not available", "DEADLINE_EXCEEDED": "in time"}.get(name, "")) for name in REPEATED),
)
REFUSED = (
    *(http(status, "redirects") for status in (301, 302, 307, 308)),
    http(200, "page, not OTLP", **HTML),
    Row("broken message", PROTOCOLS, {"body": b"\xff\xff", "accepted": False}, "not OTLP"),
    *(http(status, KEY) for status in (401, 403)),
    *(http(status) for status in (400, 404, 408, 415, 500, 501, 505)),
    http(413, "larger than"),
    http(400, "400", retry_after_s=0.0),  # not among those that are repeated, whatever else it says
    *(grpc(name, KEY if name in {"UNAUTHENTICATED", "PERMISSION_DENIED"} else name) for name in FINAL),
    grpc("RESOURCE_EXHAUSTED", "larger than", message="grpc: received message larger than max (9 vs. 4)"),
)
THROTTLED = (
    http(429, retry_after_s=1.0),
    http(503, retry_after_s=1.0),
    grpc("RESOURCE_EXHAUSTED", retry_after_s=1.0),
    grpc("UNAVAILABLE", "not available", retry_after_s=1.0),
)


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as one:
        yield one
        assert one.faults == ()


@pytest.fixture
def witness(receiver: OtlpReceiver) -> Iterator[Witness]:
    yield Witness(receiver)
    receiver.answer()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(autouse=True)
def lines() -> Iterator[Lines]:
    """No test hears a library that we use, and none hears the secret."""
    with listening() as heard:
        yield heard
    assert heard.foreign() == []
    assert not any("s3cr3t" in line.getMessage() for line in heard.records)


def check_told(monitor: AgentMonitor, lines: Lines, endpoint: str, says: str) -> None:
    """One warning, which names the endpoint and the cause; ``health()`` says the same of each signal."""
    host_port = endpoint.partition("://")[2]
    told = [line for line in lines.warnings() if any(words in line for words in says.split("|"))]
    # A flush on a machine that stalls may end an attempt that would have failed for the cause.
    assert all("in time" in line for line in lines.warnings() if line not in told)
    assert len(told) == 1, lines.warnings()
    assert host_port in told[0]
    for one in exporters(monitor).values():
        assert host_port in one.name
        assert host_port in one.last_error
        assert "s3cr3t" not in one.name + one.last_error
    assert not monitor.health().ok


def check_arrived(monitor: AgentMonitor, witness: Witness) -> None:
    assert witness.got(monitor) == ALL
    states = exporters(monitor)
    assert {signal: one.sent for signal, one in states.items()} == {"metrics": witness.points(), "logs": 1, "traces": 1}
    for one in states.values():
        assert (one.consecutive_failures, one.last_error, one.refused, one.waiting) == (0, "", 0, 0)
        assert one.last_success_unix_s is not None
    assert monitor.health().dropped == {}
    assert monitor.health().ok


def check_recovers(  # the whole life of a fault that the specification lets us repeat
    monitor: AgentMonitor, lines: Lines, endpoint: str, says: str, witness: Witness, mend: Any, **many: float
) -> None:
    failures, timeout_s = many.get("failures", 2), many.get("timeout_s", 0.6)
    record(monitor)
    assert flush(monitor, timeout_s) is False
    while any(one.consecutive_failures < failures for one in exporters(monitor).values()):
        assert flush(monitor, timeout_s) is False
    states = exporters(monitor)
    assert all((one.last_success_unix_s, one.sent, one.refused) == (None, 0, 0) for one in states.values())
    assert (states["logs"].waiting, states["traces"].waiting) == (1, 1)
    assert states["metrics"].waiting > 0
    assert monitor.health().dropped == {}
    check_told(monitor, lines, endpoint, says)
    before = len(lines.of_ours())
    mend()
    assert flush(monitor, 20) is True
    check_arrived(monitor, witness)
    (again,) = lines.of_ours()[before:]
    assert endpoint.partition("://")[2] in again.getMessage()


@rows(*ACCEPTED)
def test_what_is_acknowledged_is_delivered(protocol: str, row: Row, witness: Witness, lines: Lines) -> None:
    witness.receiver.answer(**row.answer)
    with monitor_at(protocol, witness.receiver.endpoint(protocol)) as monitor:
        record(monitor)
        assert flush(monitor, 10) is True
        check_arrived(monitor, witness)
        assert [len(witness.requests(signal)) for signal in SIGNALS] == [1, 1, 1]
        assert lines.warnings() == []


@rows(*RETRIED)
def test_what_may_be_repeated_arrives_once_the_far_side_takes_it(
    protocol: str, row: Row, witness: Witness, lines: Lines
) -> None:
    witness.receiver.answer(**row.answer)
    endpoint = witness.receiver.endpoint(protocol)
    with monitor_at(protocol, endpoint) as monitor:
        check_recovers(monitor, lines, endpoint, row.says, witness, witness.receiver.answer)
    for signal in SIGNALS:
        assert len(witness.requests(signal)) > 2


@rows(*THROTTLED)
def test_no_attempt_comes_before_the_time_that_the_far_side_named(protocol: str, row: Row, witness: Witness) -> None:
    for signal in SIGNALS:
        witness.receiver.answer(**row.answer, times=1, signal=signal)
    with monitor_at(protocol, witness.receiver.endpoint(protocol)) as monitor:
        record(monitor)
        assert flush(monitor, 0.6) is False
        assert flush(monitor, 20) is True
        check_arrived(monitor, witness)
    for signal in SIGNALS[1:]:
        refused, taken = witness.requests(signal)
        assert taken.received_s - refused.received_s > row.answer["retry_after_s"] - 0.05


@rows(*REFUSED)
def test_what_may_not_be_repeated_is_counted_told_and_never_sent_again(
    protocol: str, row: Row, witness: Witness, lines: Lines
) -> None:
    witness.receiver.answer(**{"accepted": False, **row.answer})
    endpoint = witness.receiver.endpoint(protocol)
    with monitor_at(protocol, endpoint) as monitor:
        record(monitor)
        assert flush(monitor, 3) is False
        for signal in SIGNALS:  # a request that is too large may come again in parts, but not as it was
            bodies = [one.message.SerializeToString() for one in witness.requests(signal)]
            assert len(bodies) == 1 or (signal == "metrics" and row.says == "larger than")
            assert len(bodies) == len(set(bodies))
        check_told(monitor, lines, endpoint, row.says)
        assert "kept" not in lines.warnings()[0]
        states = exporters(monitor)
        assert all((one.last_success_unix_s, one.sent) == (None, 0) for one in states.values())
        assert [one.refused > 0 for one in states.values()] == [True] * 3
        for signal in ("logs", "traces"):
            one = states[signal]
            assert (one.refused, one.waiting, one.dropped) == (1, 0, {"export_failed": 1})
        witness.receiver.answer()
        monitor.event("later")
        with monitor.span("later"):
            pass
        assert flush(monitor, 10) is True
        assert witness.got(monitor) == (STEPS, ["claude.later"], ["later"])  # a cumulative total is never lost


@EACH_PROTOCOL
@pytest.mark.parametrize("claimed", [1, 1000], ids=["one", "more than were sent"])
def test_a_partial_success_is_counted_and_told_but_not_repeated(
    protocol: str, claimed: int, witness: Witness, lines: Lines
) -> None:
    witness.receiver.answer(partial_success=claimed, message=f"too old for {SECRET}")
    endpoint = witness.receiver.endpoint(protocol)
    with monitor_at(protocol, endpoint) as monitor:
        record(monitor)
        assert flush(monitor, 3) is False
        assert [len(witness.requests(signal)) for signal in SIGNALS] == [1, 1, 1]
        for signal, one in exporters(monitor).items():
            total = witness.points() if signal == "metrics" else 1
            refused = min(claimed, total)
            assert (one.sent, one.refused, one.dropped) == (total - refused, refused, {"rejected": refused})
            assert one.last_success_unix_s is not None
        (line,) = lines.warnings()
        assert endpoint.partition("://")[2] in line
        assert "too old for" in line
        assert "kept" not in line


@EACH_PROTOCOL
def test_a_signal_that_is_slow_takes_no_time_from_the_others(protocol: str, witness: Witness) -> None:
    witness.receiver.answer(delay_s=30, signal="metrics")
    with monitor_at(protocol, witness.receiver.endpoint(protocol)) as monitor:
        record(monitor)
        assert flush(monitor, 1.5) is False
        assert witness.got(monitor)[1:] == (["claude.done"], ["work"])
        assert [exporters(monitor)[signal].sent for signal in SIGNALS] == [0, 1, 1]
        witness.receiver.answer()


@EACH_PROTOCOL
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("mute", "in time"),
        ("after the request", "closed the connection"),
        ("in the answer", "closed the connection|broke off"),
        ("cut", "closed the connection|broke off"),
    ],
)
def test_a_connection_that_breaks_loses_nothing(
    protocol: str, fault: str, says: str, witness: Witness, lines: Lines
) -> None:
    port = int(witness.receiver.endpoint(protocol).rpartition(":")[2])
    handle = mute if fault == "mute" else breaking(protocol, fault)
    with relaying(port, fault=handle) as (relay, near):
        endpoint = f"http://127.0.0.1:{near}"
        with monitor_at(protocol, endpoint, OTEL_EXPORTER_OTLP_TIMEOUT="400") as monitor:
            many: dict[str, float] = {"failures": 1, "timeout_s": 1.6} if fault == "mute" else {}
            check_recovers(monitor, lines, endpoint, says, witness, lambda: setattr(relay, "fault", None), **many)


@EACH_PROTOCOL
def test_a_collector_that_starts_late_gets_everything(protocol: str, lines: Lines) -> None:
    with nobody() as (port, start):
        endpoint = f"http://127.0.0.1:{port}"
        later = Later()
        with monitor_at(protocol, endpoint) as monitor:
            check_recovers(
                monitor, lines, endpoint, "nothing listens", later, lambda: later.begin(start(grpc=protocol == "grpc"))
            )


@EACH_PROTOCOL
@pytest.mark.parametrize("mutual", [False, True], ids=["server", "mutual"])
def test_tls_with_the_right_certificates_delivers(
    protocol: str, mutual: bool, witness: Witness, lines: Lines, certificates: Certificates
) -> None:
    port = int(witness.receiver.endpoint(protocol).rpartition(":")[2])
    with relaying(port, tls=certificates.context(mutual=mutual)) as (_, near):
        env = certificates.env(certificates.trusted, client=mutual)
        with monitor_at(protocol, f"https://127.0.0.1:{near}", **env) as monitor:
            record(monitor)
            assert flush(monitor, 10) is True
            check_arrived(monitor, witness)
            assert lines.warnings() == []


@EACH_PROTOCOL
@pytest.mark.parametrize(
    ("shown", "says"),
    [
        ("untrusted", CERTIFICATE),
        ("expired", "expired|not trusted"),
        ("wrong host", "another host"),
        ("no client certificate", "CLIENT_CERTIFICATE"),
    ],
)
def test_tls_that_fails_names_the_mend_and_delivers_after_it(
    protocol: str, shown: str, says: str, witness: Witness, lines: Lines, certificates: Certificates
) -> None:
    mutual = shown == "no client certificate"
    issued = shown if shown in ("expired", "wrong host") else "good"
    trusted = certificates.other if shown == "untrusted" else certificates.trusted
    port = int(witness.receiver.endpoint(protocol).rpartition(":")[2])
    with relaying(port, tls=certificates.context(issued, mutual=mutual)) as (relay, near):
        endpoint = f"https://127.0.0.1:{near}"

        def mend() -> None:
            relay.tls = certificates.context("of the other" if shown == "untrusted" else "good")

        with monitor_at(protocol, endpoint, **certificates.env(trusted)) as monitor:
            check_recovers(monitor, lines, endpoint, says, witness, mend)


@EACH_PROTOCOL
def test_a_lost_acknowledgement_is_repeated_unchanged_so_that_a_delta_counts_once(
    protocol: str, witness: Witness
) -> None:
    witness.receiver.answer(drop=True, accepted=True, times=1, signal="metrics")
    with monitor_at(protocol, witness.receiver.endpoint(protocol), **DELTA) as monitor:
        record(monitor)
        flushing = Flushing(monitor, 20)
        until(lambda: len(witness.requests("metrics")) > 0)
        monitor.increment("steps", 4)
        assert flushing.answer() is True
        assert flush(monitor, 10) is True
        assert witness.got(monitor)[0] == STEPS + 4
        first, second, *_ = witness.requests("metrics")
        assert first.message.SerializeToString() == second.message.SerializeToString()


@EACH_PROTOCOL
@pytest.mark.parametrize(
    "refusal",
    [{"status": 503, "grpc_status": "ABORTED"}, {"status": 400, "grpc_status": "INVALID_ARGUMENT"}],
    ids=["for now", "for good"],
)
def test_a_delta_that_was_refused_joins_the_next_one(protocol: str, refusal: dict[str, Any], witness: Witness) -> None:
    witness.receiver.answer(**refusal)
    with monitor_at(protocol, witness.receiver.endpoint(protocol), **DELTA) as monitor:
        record(monitor)
        assert flush(monitor, 0.6) is False
        witness.receiver.answer()
        monitor.increment("steps", 4)
        assert flush(monitor, 10) is True
        *refused, taken = witness.requests("metrics")
        assert refused
        assert not any(request.accepted for request in refused)
        (point,) = [
            one for one in witness.receiver.metrics if one.metric == "claude.steps" and one.request == taken.index
        ]
        assert (point.value, point.temporality) == (STEPS + 4, "delta")


@EACH_PROTOCOL
def test_a_request_that_is_too_large_is_cut_until_it_fits(protocol: str) -> None:
    count = 40
    with OtlpReceiver(max_body_bytes=30_000) as small, monitor_at(protocol, small.endpoint(protocol)) as monitor:
        for number in range(count):
            monitor.event(f"event_{number}", {"text": "x" * 1000})
        assert flush(monitor, 20) is True
        assert sorted(log.body for log in small.logs) == sorted(f"claude.event_{number}" for number in range(count))
        assert exporters(monitor)["logs"].sent == count
        assert monitor.health().dropped == {}
