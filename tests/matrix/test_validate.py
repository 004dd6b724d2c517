"""``python -m matrix validate``, run as a user runs it, against real far sides."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from claude_monitoring.receiver import OtlpReceiver
from matrix.prometheus_server import Prometheus
from matrix.round_trip import Sample, judge
from matrix.server_process import free_port

pytestmark = pytest.mark.slow  # each test is a process or two, half a minute together

REPO = Path(__file__).parents[2]
PROTOCOLS = ("grpc", "http/protobuf", "http/json")
SECRET = "s3cr3t-t0ken"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `python -m matrix` finds the matrix, but not the sources of the package that is installed."""
    folder = tmp_path_factory.mktemp("validate")
    (folder / "matrix").symlink_to(REPO / "matrix", target_is_directory=True)
    return folder


class Validate:
    """Runs the command in a clean environment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self, *options: str, **environ: str) -> subprocess.Popen[str]:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OTEL_", "CLAUDE_")) and not name.lower().endswith("_proxy")
        }
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "matrix", "validate", *options],
            cwd=self._folder,
            env=clean | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *options: str, **environ: str) -> Done:
        process = self.start(*options, **environ)
        try:
            return Done(process, *process.communicate(timeout=40))
        finally:
            process.kill()


class Done:
    """A run that ended; nothing of it may be a traceback."""

    def __init__(self, process: subprocess.Popen[str], stdout: str, stderr: str) -> None:
        self.code, self.stdout, self.stderr = process.returncode, stdout, stderr
        assert "Traceback" not in stderr, stderr

    @property
    def answer(self) -> str:
        return self.stdout.splitlines()[-1]

    @property
    def mark(self) -> str:
        return re.findall(r"validate-[0-9a-f]{8}", self.stderr)[0]

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def states(self) -> dict[str, str]:
        return {check["name"]: check["state"] for check in self.json["checks"]}


@pytest.fixture
def validate(folder: Path) -> Validate:
    return Validate(folder)


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver
        assert not receiver.faults


@pytest.fixture
def dead() -> Iterator[str]:
    """An address on which nothing listens, and nobody else can begin to."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{holder.getsockname()[1]}"


@contextmanager
def page(body: Callable[[], str], asked: list[tuple[str, str | None]] | None = None) -> Iterator[str]:
    """The address of a server that answers each request with ``body()``; ``asked`` gets paths and credentials."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = body().encode()
            if asked is not None:
                asked.append((self.path, self.headers["authorization"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            with suppress(OSError):  # whoever asked may have been interrupted
                self.wfile.write(text)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def collector(receiver: OtlpReceiver, name: str, factor: int = 1) -> Iterator[str]:
    """The ``/metrics`` of something that received OTLP and shows the counter of probes as ``name``."""

    def body() -> str:
        lines = [f"# HELP {name} text", f"# TYPE {name} counter"]
        for labels, value in receiver.series("claude.validate_probe").items():
            agent = dict(labels)["agent"]
            lines.append(f'{name}{{agent="{agent}"}} {value * factor}')
            lines.append(f'otel_claude_sessions_total{{agent="{agent}"}} 1')
        return "".join(f"{line}\n" for line in lines)

    with page(body) as address:
        yield address


# -- delivered --------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_healthy_endpoint_is_proven_and_has_the_marked_data(
    validate: Validate, receiver: OtlpReceiver, protocol: str
) -> None:
    done = validate("--endpoint", receiver.endpoint(protocol), "--protocol", protocol)
    assert (done.code, done.answer) == (0, f"PROVEN: metrics, logs and traces delivered as {done.mark}")
    assert {request.protocol for request in receiver.requests} == {protocol}
    assert receiver.total("claude.validate_probe", agent=done.mark) >= 1000
    assert [log.attributes["mark"] for log in receiver.logs if log.event_name == "validate_probe"] == [done.mark]
    assert [span.attributes["mark"] for span in receiver.spans if span.name == "validate_probe"] == [done.mark]


def test_the_environment_is_taken_as_it_is(validate: Validate, receiver: OtlpReceiver) -> None:
    done = validate(
        "--json",
        CLAUDE_CODE_ENABLE_TELEMETRY="1",
        OTEL_METRICS_EXPORTER="otlp",
        OTEL_METRIC_EXPORT_INTERVAL="1500",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.grpc_endpoint,
    )
    assert (done.code, done.states) == (0, {"metrics": "delivered", "logs": "off", "traces": "off"})
    assert done.json["settings"][0] == {
        "signal": "metrics",
        "exporter": "otlp",
        "protocol": "grpc",
        "endpoint": receiver.grpc_endpoint,
        "interval_s": 1.5,
        "compression": "gzip",
        "headers": [],
    }


def test_an_endpoint_where_every_exporter_says_none_asks_for_nothing(validate: Validate) -> None:
    done = validate("--endpoint", "http://127.0.0.1:9", OTEL_METRICS_EXPORTER="none")
    assert (done.code, done.stdout) == (2, "")
    assert "Unset OTEL_METRICS_EXPORTER" in done.stderr


def test_what_is_only_printed_cant_be_read_back(validate: Validate) -> None:
    environ = {"CLAUDE_CODE_ENABLE_TELEMETRY": "1", "OTEL_METRICS_EXPORTER": "console"}
    done = validate("--prometheus-url", "http://127.0.0.1:9", **environ)
    assert done.code == 1
    assert done.answer.endswith("round trip of metrics not tried: set OTEL_METRICS_EXPORTER=otlp or prometheus")


def test_options_win_over_the_environment(validate: Validate, receiver: OtlpReceiver, dead: str) -> None:
    done = validate(
        *("--endpoint", receiver.http_endpoint, "--protocol", "http/json", "--interval", "2500", "--json"),
        CLAUDE_CODE_ENABLE_TELEMETRY="0",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{dead}",
        OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"http://{dead}",
    )
    assert (done.code, set(done.states.values())) == (0, {"delivered"})
    assert [row["protocol"] for row in done.json["settings"]] == ["http/json"] * 3
    assert done.json["settings"][0]["interval_s"] == 2.5


def test_what_console_and_logging_write_is_found_and_stays_out_of_the_result(validate: Validate) -> None:
    done = validate(
        "--json",
        CLAUDE_CODE_ENABLE_TELEMETRY="1",
        OTEL_METRICS_EXPORTER="console,logging",
        OTEL_LOGS_EXPORTER="console",
        OTEL_TRACES_EXPORTER="logging",
    )
    assert done.code == 0
    assert [(check["name"], check["through"], check["state"]) for check in done.json["checks"]] == [
        ("metrics", "console", "delivered"),
        ("metrics", "logging", "delivered"),
        ("logs", "console", "delivered"),
        ("traces", "logging", "delivered"),
    ]


# -- not delivered ----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_dead_endpoint_is_named_with_the_variable_to_set(validate: Validate, dead: str, protocol: str) -> None:
    done = validate("--endpoint", f"http://{dead}", "--protocol", protocol)
    assert done.code == 1
    assert done.answer == (
        f"NOT PROVEN: metrics, logs and traces refused: nothing listens on {dead}; start the collector or set "
        "OTEL_EXPORTER_OTLP_ENDPOINT"
    )


@pytest.mark.parametrize(
    ("protocol", "port", "diagnosis"),
    [
        ("grpc", "http/json", "looks like an HTTP port, not gRPC: .*OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        ("http/protobuf", "grpc", "looks like a gRPC port: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
        ("http/json", "grpc", "looks like a gRPC port: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
    ],
)
def test_the_wrong_protocol_is_told_with_the_right_one(
    validate: Validate, receiver: OtlpReceiver, protocol: str, port: str, diagnosis: str
) -> None:
    done = validate("--endpoint", receiver.endpoint(port), "--protocol", protocol)
    assert done.code == 1
    assert re.search(f"^NOT PROVEN: metrics, logs and traces refused: .*{diagnosis}", done.answer)
    assert not receiver.metrics


def test_the_diagnosis_is_in_the_result_and_not_on_standard_error(validate: Validate, dead: str) -> None:
    done = validate("--endpoint", f"http://{dead}")
    assert done.stderr == f"sending the probe {done.mark} (at most 10 s)\n"
    expected, seen, way_out = re.findall(r"^  (?:expected|seen|way out) +(.*)", done.stdout, re.MULTILINE)
    assert expected == f"data points acknowledged by http/protobuf http://{dead}, none refused"
    assert re.fullmatch(r"data points not acknowledged, \d+ attempts failed", seen)
    assert way_out == f"nothing listens on {dead}; start the collector or set OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_key_that_is_refused_is_a_refusal_and_the_right_one_is_not(validate: Validate, protocol: str) -> None:
    with OtlpReceiver(required_headers={"x-key": SECRET}) as receiver:
        options = ("--endpoint", receiver.endpoint(protocol), "--protocol", protocol)
        without, wrong = validate(*options), validate(*options, "--headers", f"x-key={SECRET}x")
        assert (without.code, wrong.code) == (1, 1)
        assert all("not allowed" in done.answer for done in (without, wrong))
        assert "OTEL_EXPORTER_OTLP_HEADERS" in without.answer
        assert not receiver.metrics
        right = validate(*options, OTEL_EXPORTER_OTLP_HEADERS=f"x-key={SECRET}")
        assert right.code == 0
    assert not [done for done in (without, wrong, right) if SECRET in done.stdout + done.stderr]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_far_side_that_says_nothing_leaves_it_unknown_in_bounded_time(
    validate: Validate, receiver: OtlpReceiver, protocol: str
) -> None:
    receiver.answer(delay_s=60, accepted=True)
    began_s = time.monotonic()
    done = validate("--endpoint", receiver.endpoint(protocol), "--protocol", protocol, "--timeout-s", "1.5", "--json")
    assert time.monotonic() - began_s < 15
    assert (done.code, done.states) == (1, dict.fromkeys(("metrics", "logs", "traces"), "unknown"))
    assert all("--timeout-s gives the probe more time" in check["way_out"] for check in done.json["checks"])


def test_one_signal_may_be_refused_while_the_others_are_delivered(validate: Validate, receiver: OtlpReceiver) -> None:
    receiver.answer(status=404, signal="logs")
    done = validate("--endpoint", receiver.http_endpoint, "--json")
    assert (done.code, done.states) == (1, {"metrics": "delivered", "logs": "refused", "traces": "delivered"})
    assert "under /v1/logs; look at OTEL_EXPORTER_OTLP_ENDPOINT" in done.json["answer"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_a_success_rejects_counts_as_refused(validate: Validate, receiver: OtlpReceiver, protocol: str) -> None:
    receiver.answer(partial_success=1, message="over \x1b[31mquota", signal="traces")
    done = validate("--endpoint", receiver.endpoint(protocol), "--protocol", protocol)
    assert done.code == 1
    assert re.search(r"^traces +\S+ \S+ +refused +1 of 1 spans refused", done.stdout, re.MULTILINE)
    assert done.answer.endswith("over  [31mquota")


# -- configuration ----------------------------------------------------------------------------------


def test_a_bad_value_is_shown_with_its_variable_and_the_other_signals_are_tried(
    validate: Validate, receiver: OtlpReceiver
) -> None:
    done = validate(
        CLAUDE_CODE_ENABLE_TELEMETRY="1",
        CLAUDE_MONITORING_STRICT="1",
        OTEL_METRICS_EXPORTER="oltp",
        OTEL_LOGS_EXPORTER="otlp",
        OTEL_LOGS_EXPORT_INTERVAL="soon",
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.http_endpoint,
    )
    assert done.code == 1
    assert re.search(r"^OTEL_METRICS_EXPORTER +unusable +OTEL_METRICS_EXPORTER='oltp'", done.stdout, re.MULTILINE)
    assert re.search(r"^OTEL_LOGS_EXPORT_INTERVAL +unusable +", done.stdout, re.MULTILINE)
    assert re.search(r"^metrics +off +no exporter that can be used", done.stdout, re.MULTILINE)
    assert re.search(r"^traces .* delivered", done.stdout, re.MULTILINE)
    assert "did you mean 'otlp'?" in done.answer
    assert done.answer.endswith("(and 1 more above)")


def test_telemetry_that_is_not_turned_on_is_a_finding_and_nothing_is_sent(
    validate: Validate, receiver: OtlpReceiver
) -> None:
    done = validate(OTEL_METRICS_EXPORTER="otlp", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.http_endpoint)
    assert (done.code, receiver.requests) == (1, ())
    assert "set CLAUDE_CODE_ENABLE_TELEMETRY=1 or pass --endpoint" in done.answer


@pytest.mark.parametrize("environ", [{}, {"CLAUDE_CODE_ENABLE_TELEMETRY": "1", "OTEL_METRICS_EXPORTER": "none"}])
def test_where_nothing_is_configured_it_says_what_to_set_or_pass(validate: Validate, environ: dict[str, str]) -> None:
    done = validate(**environ)
    assert (done.code, done.stdout) == (2, "")
    assert "usage: python -m matrix validate" in done.stderr
    for word in ("--endpoint", "CLAUDE_CODE_ENABLE_TELEMETRY=1", "OTEL_METRICS_EXPORTER", "http://localhost:4318"):
        assert word in done.stderr


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--endpoint", f"ftp://me:{SECRET}@host"), "--endpoint=.* can't be used: its scheme is not http or https"),
        (("--endpoint", ""), "--endpoint='' can't be used"),
        (("--protocol", "http/xml"), "--protocol: invalid choice: 'http/xml'"),
        (("--endpoint", "http://host", "--headers", SECRET), "--headers can't be used: .*name=value"),
        (("--interval", "0"), "'0' can't be used: accepted is a number of milliseconds from 1"),
        (("--timeout-s", "soon"), "'soon' can't be used: accepted is a number of seconds"),
        (("--prometheus-url", f"me:{SECRET}@host"), "accepted is a URL such as http://localhost:9090"),
        (("--metrics-url", "http://"), "accepted is a URL such as"),
        (("--header", f"x-key={SECRET}"), "not understood: --header"),
        (("--headers", "Authorization:", "Bearer", SECRET), "not understood: a word too many"),
    ],
)  # fmt: skip
def test_arguments_that_cant_be_used_end_with_2_and_what_is_accepted(
    validate: Validate, options: tuple[str, ...], why: str
) -> None:
    done = validate(*options)
    assert (done.code, done.stdout) == (2, "")
    assert re.search(why, done.stderr)
    assert SECRET not in done.stderr


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_no_secret_is_ever_shown(validate: Validate, receiver: OtlpReceiver, form: tuple[str, ...]) -> None:
    receiver.answer(status=404, message=f"no tenant for {SECRET}")
    host = receiver.http_endpoint.removeprefix("http://")
    done = validate(
        *(
            "--endpoint",
            f"http://me:{SECRET}@{host}/in?key={SECRET}",
            "--headers",
            f"x-key={SECRET},x-more=Bearer {SECRET}",
        ),
        *form,
        OTEL_EXPORTER_OTLP_METRICS_HEADERS=f"x-other={SECRET}",
        OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE="/nowhere.pem",
    )
    assert done.code == 1
    assert SECRET not in done.stdout + done.stderr
    assert all(name in done.stdout for name in ("x-key", "x-more", "x-other", "authorization", "?***"))


def test_json_has_the_settings_every_check_and_the_answer(validate: Validate, dead: str) -> None:
    done = validate("--endpoint", f"http://{dead}", "--prometheus-url", f"http://{dead}", "--json")
    whole = done.json
    assert whole.keys() == {"proven", "answer", "mark", "settings", "checks"}
    assert (whole["proven"], whole["mark"]) == (False, done.mark)
    assert [row["signal"] for row in whole["settings"]] == ["metrics", "logs", "traces"]
    assert [(check["kind"], check["name"], check["state"]) for check in whole["checks"]] == [
        ("signal", "metrics", "refused"),
        ("signal", "logs", "refused"),
        ("signal", "traces", "refused"),
        ("round trip", "metrics", "not tried"),
    ]
    assert all(check["expected"] and check["seen"] and check["way_out"] for check in whole["checks"])


# -- the way back -----------------------------------------------------------------------------------


def test_the_exact_value_on_a_page_of_metrics_proves_the_round_trip(validate: Validate, receiver: OtlpReceiver) -> None:
    with collector(receiver, "claude_validate_probe_total") as address:
        done = validate("--endpoint", receiver.http_endpoint, "--metrics-url", f"http://{address}/metrics")
    assert done.code == 0
    assert done.answer.endswith(f"; the exact value was read back from http://{address}/metrics")
    value = receiver.total("claude.validate_probe", agent=done.mark)
    wanted = f'claude_validate_probe_total{{agent="{done.mark}"}} = {value:.0f}'
    assert f"waiting for {wanted} at http://{address}/metrics (at most 60 s)" in done.stderr
    assert f"{wanted}, after " in done.stdout


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("otel_claude_validate_probe_total", "`namespace: otel`"),
        ("claude_validate_probe", "add_metric_suffixes: true"),
        ("my_claude_validate_probe", "something on the way renames it"),
    ],
)
def test_another_name_is_a_finding_that_names_what_was_expected_and_seen(
    validate: Validate, receiver: OtlpReceiver, name: str, mend: str
) -> None:
    with collector(receiver, name) as address:
        done = validate(
            *("--endpoint", receiver.http_endpoint, "--metrics-url", f"http://{address}/metrics"),
            *("--round-trip-timeout-s", "1", "--json"),
        )
    check = done.json["checks"][-1]
    value = receiver.total("claude.validate_probe", agent=done.mark)
    assert (done.code, check["state"]) == (1, "not proven")
    assert check["expected"] == f'claude_validate_probe_total{{agent="{done.mark}"}} = {value:.0f}'
    assert check["seen"] == f'{name}{{agent="{done.mark}"}} = {value:.0f}'
    assert mend in check["way_out"]


def test_a_value_that_is_not_the_one_sent_is_a_finding(validate: Validate, receiver: OtlpReceiver) -> None:
    with collector(receiver, "claude_validate_probe_total", factor=2) as address:
        done = validate(
            *("--endpoint", receiver.http_endpoint, "--metrics-url", f"http://{address}/metrics"),
            *("--round-trip-timeout-s", "1"),
        )
    value = receiver.total("claude.validate_probe", agent=done.mark)
    assert (done.code, f" = {2 * value:.0f}\n" in done.stdout, f" = {value:.0f}\n" in done.stdout) == (1, True, True)
    assert "added up" in done.answer


@pytest.mark.parametrize(
    ("option", "body", "why"),
    [
        ("--metrics-url", "", "nothing of the probe within 1 s"),
        ("--metrics-url", "<html>hello</html>", "it is no page of metrics"),
        ("--prometheus-url", "<html>hello</html>", "it does not answer as the HTTP API of Prometheus does"),
        ("--prometheus-url", '{"status":"success","data":{"result":[]}}', "nothing of the probe within 1 s"),
    ],
)
def test_what_cant_be_read_back_is_told(
    validate: Validate, receiver: OtlpReceiver, option: str, body: str, why: str
) -> None:
    with page(lambda: body) as address:
        done = validate(
            *("--endpoint", receiver.http_endpoint, option, f"http://me:{SECRET}@{address}", "--json"),
            *("--round-trip-timeout-s", "1"),
        )
    check = done.json["checks"][-1]
    assert (done.code, check["state"], check["seen"]) == (1, "not proven", why)
    assert check["way_out"]
    assert SECRET not in done.stdout + done.stderr


def test_a_round_trip_through_nobody_is_told_at_once(validate: Validate, receiver: OtlpReceiver, dead: str) -> None:
    done = validate("--endpoint", receiver.http_endpoint, "--prometheus-url", f"http://{dead}")
    assert done.code == 1
    assert f"nothing listens on {dead}" in done.stdout
    assert done.answer.endswith("look at --prometheus-url")


def test_the_way_back_takes_a_password_and_the_proxy_of_the_environment(
    validate: Validate, receiver: OtlpReceiver
) -> None:
    asked: list[tuple[str, str | None]] = []
    with page(str, asked) as proxy:
        done = validate(
            *("--endpoint", receiver.http_endpoint, "--metrics-url", f"http://me:{SECRET}@collector.invalid/metrics"),
            *("--round-trip-timeout-s", "0.1"),
            http_proxy=f"http://{proxy}",
            no_proxy="127.0.0.1",
        )
    assert done.code == 1
    password = base64.b64encode(f"me:{SECRET}".encode()).decode()
    assert set(asked) == {("http://collector.invalid/metrics", f"Basic {password}")}
    assert password not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("samples", "seen", "way_out"),
    [
        ([("claude_validate_probe", {"agent": "m"}, 7)], "claude_validate_probe{", "add_metric_suffixes"),
        ([("claude.validate_probe_total", {"agent": "m"}, 7)], "claude.validate_probe_total", "translation_strategy"),
        ([("claude_validate_probe_total", {"agent": "x", "exported_agent": "m"}, 7)], "exported_agent", "honor_labels"),
        (
            [("claude_validate_probe_total", {"agent": "m", "job": job}, 7) for job in "ab"],
            " and ",
            "counts it twice; these labels differ: job",
        ),
    ],
)
def test_each_way_to_miss_the_name_has_its_own_way_out(samples: Any, seen: str, way_out: str) -> None:
    verdict = judge([Sample(*sample) for sample in samples], "m", 7)
    assert verdict is not None
    assert (verdict.exact, seen in verdict.seen, way_out in verdict.way_out) == (False, True, True)


def test_what_other_probes_left_is_not_taken_for_ours() -> None:
    others = [Sample("claude_validate_probe_total", {"agent": "other"}, 7)]
    assert judge(others, "m", 7) is None
    ours = judge([*others, Sample("claude_validate_probe_total", {"agent": "m"}, 7)], "m", 7)
    assert ours is not None
    assert ours.exact


# -- Prometheus -------------------------------------------------------------------------------------


def prometheus_exporter(port: int) -> dict[str, str]:
    return {
        "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(port),
    }


def test_the_probe_is_found_on_its_own_metrics_page(validate: Validate) -> None:
    done = validate(**prometheus_exporter(0))
    assert (done.code, done.answer) == (0, f"PROVEN: metrics delivered as {done.mark}")
    assert re.search(r"http://127\.0\.0\.1:\d+/metrics", done.stdout)


def test_a_port_that_is_taken_is_told_with_the_variable_to_set(validate: Validate) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        done = validate(**prometheus_exporter(taken.getsockname()[1]))
    assert done.code == 1
    assert "is taken by another program; set OTEL_EXPORTER_PROMETHEUS_PORT to a free port" in done.answer


def test_a_real_prometheus_proves_the_round_trip_and_shows_a_namespace(
    validate: Validate, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    needs_prometheus()
    port = free_port()
    with (
        collector(receiver, "otel_claude_validate_probe_total") as address,
        Prometheus([f"127.0.0.1:{port}", address], tmp_path) as server,
    ):
        url = server.url
        done = validate("--prometheus-url", url, **prometheus_exporter(port))
        assert (done.code, done.answer) == (
            0,
            f"PROVEN: metrics delivered as {done.mark}; the exact value was read back from {url}",
        )
        # What is read there a second time comes from the page of a Collector with a namespace.
        done = validate("--endpoint", receiver.http_endpoint, "--prometheus-url", url)
        assert done.code == 1
        assert f'otel_claude_validate_probe_total{{agent="{done.mark}"}} = ' in done.stdout
        assert "`namespace: otel`" in done.answer


def needs_prometheus() -> None:
    from tests.integration.program import needs

    needs("prometheus", package="prometheus")


# -- the end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("waits_for", ["an answer", "the way back"])
def test_ctrl_c_ends_it_at_once_and_without_a_traceback(
    validate: Validate, receiver: OtlpReceiver, waits_for: str
) -> None:
    if waits_for == "an answer":
        receiver.answer(delay_s=60)
    with page(str) as address:
        process = validate.start("--endpoint", receiver.http_endpoint, "--metrics-url", f"http://{address}/metrics")
        assert process.stderr is not None
        sign = "sending the probe" if waits_for == "an answer" else "waiting for"
        while sign not in (line := process.stderr.readline()):
            assert line, "it ended before it waited"
        if waits_for == "an answer":
            receiver.wait_until(lambda it: bool(it.requests))
        process.send_signal(signal.SIGINT)
        done = Done(process, *process.communicate(timeout=15))
    assert (done.code, done.stderr) == (-signal.SIGINT, "interrupted: nothing is proven\n")
