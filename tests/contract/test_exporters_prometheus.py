"""``/metrics``: names letter by letter, both formats, and a server that nothing stops."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from claude_monitoring._catalog import CATALOG
from claude_monitoring._names import prometheus_name
from claude_monitoring.exporters.prometheus import PrometheusServer, describe_bind_error
from tests.contract.exporter_parts import (
    RESOURCE,
    counter,
    gauge,
    histogram,
    histogram_metric,
    metrics_of,
    number,
    one_of_each,
)

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
SCOPE = {"otel_scope_name": "claude_monitoring", "otel_scope_version": "0.1.0"}


@contextlib.contextmanager
def exposing(collect: Callable[[], Any]) -> Iterator[PrometheusServer]:
    server = PrometheusServer("127.0.0.1", 0, collect, RESOURCE)
    try:
        yield server
    finally:
        server.close()


def fetch(server: PrometheusServer, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[Any, bytes]:
    connection = http.client.HTTPConnection(*server.address, timeout=10)
    connection.request(method, path, headers={key.replace("_", "-"): value for key, value in headers.items()})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def samples(text: str, parse: Callable[[str], Any] = parse_text) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in parse(text):
        for sample in family.samples:
            labels = frozenset((key, value) for key, value in sample.labels.items() if key not in SCOPE)
            key = (sample.name, labels)
            assert key not in found, f"twice in one scrape: {key}"
            found[key] = sample.value
    return found


def scrape(*metrics: Any) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    with exposing(lambda: metrics_of(*metrics)) as server:
        return samples(fetch(server)[1].decode())


def test_the_text_format_is_as_a_prometheus_server_expects() -> None:
    with exposing(one_of_each) as server:
        response, body = fetch(server)
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = body.decode().splitlines()
    assert "# TYPE claude_tasks_total counter" in lines
    assert [line for line in lines if line.startswith("claude_tasks_total{") and 'status="ok"' in line] == [
        'claude_tasks_total{agent="a",otel_scope_name="claude_monitoring",otel_scope_version="0.1.0",status="ok"} 3.0'
    ]
    assert "# TYPE claude_tasks_active gauge" in lines
    assert not [line for line in lines if line.startswith("# UNIT") or "_created" in line]


def test_every_value_is_there() -> None:
    with exposing(one_of_each) as server:
        found = samples(fetch(server)[1].decode())
    a, flag = ("agent", "a"), ("flag", "true")
    assert found == {
        ("target_info", frozenset({("service_name", "claude-code"), ("team_id", "platform")})): 1,
        ("claude_tasks_total", frozenset({a, ("status", "ok")})): 3,
        ("claude_tasks_total", frozenset({a, ("status", "error")})): 1,
        ("claude_tasks_active", frozenset({a})): -1,
        ("claude_agent_xp", frozenset({a})): 0.5,
        ("claude_task_duration_seconds_bucket", frozenset({a, flag, ("le", "0.5")})): 1,
        ("claude_task_duration_seconds_bucket", frozenset({a, flag, ("le", "1.0")})): 1,
        ("claude_task_duration_seconds_bucket", frozenset({a, flag, ("le", "+Inf")})): 3,
        ("claude_task_duration_seconds_count", frozenset({a, flag})): 3,
        ("claude_task_duration_seconds_sum", frozenset({a, flag})): 4.5,
    }


def test_openmetrics_is_served_when_asked_for_with_units() -> None:
    with exposing(one_of_each) as server:
        response, body = fetch(server, accept=OPENMETRICS)
        plain = samples(fetch(server)[1].decode())
    assert response.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    text = body.decode()
    assert "# UNIT claude_task_duration_seconds seconds" in text
    assert "# TYPE claude_tasks counter" in text
    assert text.endswith("# EOF\n")
    assert samples(text, parse_openmetrics) == plain


def test_native_metrics_carry_no_unit_in_either_format() -> None:
    batch = metrics_of(
        counter("claude_code.cost.usage", number(0.5, model="m"), unit="USD", help_="Cost of the Claude Code session"),
        counter("claude_code.active_time.total", number(2.0, type="cli"), unit="s"),
    )
    with exposing(lambda: batch) as server:
        plain, openmetrics = fetch(server)[1].decode(), fetch(server, accept=OPENMETRICS)[1].decode()
    for text in (plain, openmetrics):
        assert "claude_code_cost_usage_total{" in text
        assert "claude_code_active_time_total{" in text
        assert "# UNIT" not in text
    assert "# HELP claude_code_cost_usage_total Cost of the Claude Code session" in plain
    assert samples(plain) == samples(openmetrics, parse_openmetrics)


def test_every_metric_of_the_catalogue_has_its_name() -> None:
    metrics = []
    for spec in CATALOG.values():
        if spec.kind == "histogram":
            metrics.append(histogram_metric(spec.name, histogram([1, 0, 0], 0.1), unit=spec.unit))
        elif spec.kind == "gauge":
            metrics.append(gauge(spec.name, number(1.0), unit=spec.unit))
        else:
            metrics.append(counter(spec.name, number(1.0), unit=spec.unit, monotonic=spec.kind == "counter"))
    names = {name for name, _ in scrape(*metrics)}
    for spec in CATALOG.values():
        exposed = prometheus_name(spec.name, spec.unit, spec.kind)
        assert (f"{exposed}_count" if spec.kind == "histogram" else exposed) in names


def test_labels_whose_keys_become_equal_are_joined_in_the_order_of_the_keys() -> None:
    found = scrape(counter("x", number(1.0, **{"session_id": "b", "session.id": "a"})))
    assert ("x_total", frozenset({("session_id", "a;b")})) in found


def test_reserved_labels_are_kept_apart() -> None:
    found = scrape(histogram_metric("x", histogram([1, 0, 0], 0.1, le="mine", **{"otel.scope.name": "mine"}), unit=""))
    labels = {("exported_le", "mine"), ("exported_otel_scope_name", "mine"), ("le", "+Inf")}
    assert found["x_bucket", frozenset(labels)] == 1


@pytest.mark.parametrize("pair", [(True, "true"), (1, "1"), ("a\ud800", "a?")])
def test_series_whose_labels_become_equal_are_added_up(pair: tuple[object, object]) -> None:
    one, other = pair
    label = ("flag", str(other))
    found = scrape(
        counter("x", number(1.0, flag=one), number(2.0, flag=other)),
        counter("active", number(3, flag=one), number(-1, flag=other), monotonic=False),
        gauge("last", number(5.0, flag=one), number(7.0, flag=other)),
        histogram_metric("h", histogram([1, 0, 2], 4.5, flag=one), histogram([1, 1, 0], 1.0, flag=other), unit=""),
    )
    assert found["x_total", frozenset({label})] == 3
    assert found["active", frozenset({label})] == 2
    assert found["last", frozenset({label})] == 7
    assert found["h_count", frozenset({label})] == 5
    assert found["h_sum", frozenset({label})] == 5.5


def test_two_kinds_under_one_name_leave_the_first() -> None:
    found = scrape(gauge("x_total", number(1.0)), counter("x", number(2.0)), counter("y", number(3.0)))
    assert found["x_total", frozenset()] == 1
    assert found["y_total", frozenset()] == 3


def test_label_values_are_escaped() -> None:
    odd = 'a "quoted"\nback\\slash é'
    assert ("x_total", frozenset({("k", odd)})) in scrape(counter("x", number(1.0, k=odd)))


def test_before_anything_is_recorded_there_is_target_info_alone() -> None:
    with exposing(lambda: None) as server:
        assert [name for name, _ in samples(fetch(server)[1].decode())] == ["target_info"]


def test_only_metrics_is_served() -> None:
    with exposing(one_of_each) as server:
        assert [fetch(server, path)[0].status for path in ("/", "/favicon.ico", "/metrics/x")] == [404] * 3
        assert fetch(server, "/metrics?x=1")[0].status == 200
        assert fetch(server, method="POST")[0].status == 501


def test_head_has_the_headers_without_the_body() -> None:
    with exposing(one_of_each) as server:
        (get, body), (head, nothing) = fetch(server), fetch(server, method="HEAD")
    assert head.status == 200
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(body))
    assert nothing == b""


def test_gzip_is_used_when_asked_for() -> None:
    with exposing(one_of_each) as server:
        response, body = fetch(server, accept_encoding="gzip")
        plain = fetch(server)[1]
    assert response.headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == plain


def test_scrapes_at_the_same_time_wait_for_each_other() -> None:
    inside, most = 0, 0
    count = threading.Lock()
    both = threading.Barrier(8)

    def collect() -> Any:
        nonlocal inside, most
        with count:
            inside += 1
            most = max(most, inside)
        data = one_of_each()
        with count:
            inside -= 1
        return data

    bodies: list[bytes] = []

    def ask(server: PrometheusServer) -> None:
        both.wait(10)
        bodies.extend(fetch(server)[1] for _ in range(5))

    with exposing(collect) as server:
        threads = [threading.Thread(target=ask, args=(server,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert len(bodies) == 40
    assert len(set(bodies)) == 1
    assert most == 1


def test_a_collection_that_fails_is_an_error_500_and_the_next_one_works(caplog: pytest.LogCaptureFixture) -> None:
    broken = [True]

    def collect() -> Any:
        if broken.pop() if broken else False:
            raise ZeroDivisionError("oops")
        return one_of_each()

    with exposing(collect) as server:
        assert fetch(server)[0].status == 500
        assert fetch(server)[0].status == 200
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "claude_monitoring: a scrape failed: ZeroDivisionError: oops"
    ]


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x00garbage\r\n\r\n", b"GET /metrics", b"", b"A" * 70_000 + b"\r\n"])
def test_noise_and_clients_that_leave_do_no_harm(capfd: pytest.CaptureFixture[str], noise: bytes) -> None:
    with exposing(one_of_each) as server:
        with contextlib.suppress(OSError), socket.create_connection(server.address) as connection:
            connection.sendall(noise)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # close with a reset
        with socket.create_connection(server.address):  # one that says nothing blocks nobody
            assert fetch(server)[0].status == 200
    assert capfd.readouterr() == ("", "")


def test_a_port_in_use_is_one_clear_line() -> None:
    with exposing(one_of_each) as server:
        host, port = server.address
        with pytest.raises(OSError, match=r".") as caught:
            PrometheusServer(host, port, one_of_each, RESOURCE)
    line = describe_bind_error(host, port, caught.value)
    assert line == (
        f"no /metrics: 127.0.0.1:{port} is taken by another program; set OTEL_EXPORTER_PROMETHEUS_PORT to a free port"
    )


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.1"])
def test_a_host_that_is_not_ours_is_one_clear_line(host: str) -> None:
    with pytest.raises(OSError, match=r".") as caught:
        PrometheusServer(host, 0, one_of_each, RESOURCE)
    assert "is no address of this machine; set OTEL_EXPORTER_PROMETHEUS_HOST" in describe_bind_error(
        host, 0, caught.value
    )


@pytest.mark.parametrize(
    ("error", "mend"),
    [(PermissionError(13, "no"), "above 1023"), (OSError(5, "odd"), "OTEL_EXPORTER_PROMETHEUS_PORT")],
)
def test_other_bind_errors_are_told_too(error: OSError, mend: str) -> None:
    assert mend in describe_bind_error("", 80, error)


def test_all_interfaces_are_possible() -> None:
    server = PrometheusServer("", 0, one_of_each, RESOURCE)
    try:
        with socket.create_connection(("127.0.0.1", server.address[1])):
            pass
    finally:
        server.close()


def test_close_frees_the_port() -> None:
    with exposing(one_of_each) as server:
        host, port = server.address
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, port))
    again = PrometheusServer(host, port, one_of_each, RESOURCE)
    assert fetch(again)[0].status == 200
    again.close()


FORK = """
import os, socket
from claude_monitoring.exporters.prometheus import PrometheusServer

server = PrometheusServer("127.0.0.1", 0, lambda: None, {})
host, port = server.address
hold, release = os.pipe()
ready, tell = os.pipe()
child = os.fork()
if not child:
    server.close_in_child()
    os.close(release)
    os.write(tell, b"x")
    os.read(hold, 1)
    os._exit(0)
os.read(ready, 1)
server.close()
PrometheusServer(host, port, lambda: None, {}).close()
os.close(release)
os.waitpid(child, 0)
print("free")
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_a_forked_child_does_not_hold_the_port() -> None:
    run = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=50, check=False)
    assert run.stdout == "free\n", run.stderr
