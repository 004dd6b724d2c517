"""The package broken on purpose, one fault at a time: what the matrix has to see, kept as a test of the matrix.

A mutation is a change of one line in a copy of the package. Each names the scenarios that must turn red, with a check
that must be among the failed ones, and, where it helps, scenarios that must stay green.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import claude_monitoring

__all__ = ["MUTATIONS", "Mutation", "mutate"]


@dataclass(frozen=True)
class Mutation:
    """One fault.

    Attributes:
        name: What is wrong, in words.
        module: File in the package.
        old: A text that is there once.
        new: What it becomes.
        red: Scenarios that must fail, with the begin of the name of a check that must have failed.
        green: Scenarios that must pass all the same.
    """

    name: str
    module: str
    old: str
    new: str
    red: Mapping[str, str]
    green: tuple[str, ...] = field(default=())


MUTATIONS = (
    Mutation(
        "a unit is changed", "_catalog.py", '"claude.tasks", "counter", "{task}"', '"claude.tasks", "counter", "1"',
        red={"http_protobuf-local_http-10s": "claude.tasks", "console": "claude.tasks"}, green=("none",),
    ),
    Mutation(
        "an attribute is dropped", "_core.py", '"sprint": self.sprint}', '"sprint": None}',
        red={"grpc-local_grpc-10s": "claude.sessions", "logging": "claude.tasks"},
    ),
    Mutation(
        "a count is doubled", "_recorder.py", "series.value += amount", "series.value += 2 * amount",
        red={"http_json-local_http-10s": "claude.probe_steps", "prometheus": "claude_probe_steps_total"},
    ),
    Mutation(
        "a metric is renamed", "_catalog.py", '"claude.lines_added"', '"claude.lines_new"',
        red={"http_protobuf-saas-10s": "claude.lines_added", "prometheus": "claude_lines_added_total"},
    ),
    Mutation(
        "a scope is renamed", "_catalog.py", 'NATIVE_SCOPE = "com.anthropic.claude_code"',
        'NATIVE_SCOPE = "com.anthropic.claude"',
        red={"grpc-saas-10s": "claude_code.token.usage"}, green=("console",),
    ),
    Mutation(
        "the temporality is another one", "_settings.py", 'else "cumulative"\n    if', 'else "delta"\n    if',
        red={"http_json-remote_http-10s": "claude.tasks"}, green=("prometheus",),
    ),
    Mutation(
        "the resource is forgotten", "_pipeline.py", '"service.name": settings.service_name',
        '"service.name": "claude-code"',
        red={"grpc-remote_grpc-10s": "resource"},
    ),
    Mutation(
        "the interval is ignored", "_lanes.py", "self.interval_s = interval_s", "self.interval_s = interval_s / 2",
        red={
            "http_protobuf-local_http-10s": "exports of metrics",
            "console": "exports of metrics",
            "console-500ms": "exports",
        },
    ),
    Mutation(
        "the beat drifts", "_lanes.py", "self.next_due += self.interval_s * (missed + 1)",
        "self.next_due = now + self.interval_s * 1.4",
        red={"grpc-local_grpc-10s": "gaps between exports of metrics"},
    ),
    Mutation(
        "the final flush is left out", "_pipeline.py",
        "return self.finish_close(self.ask_flush(deadline, closing=True), deadline)",
        "return self.finish_close((), deadline)",
        red={"http_json-local_http-10s": "exports of metrics", "logging": "exports of metrics"},
    ),
    Mutation(
        "each event is sent twice", "_lanes.py", "        self._waiting.append(item)\n",
        "        self._waiting.extend([item, item])\n",
        red={"http_protobuf-saas-10s": "events", "unknown_exporter": "events", "console": "events"},
    ),
    Mutation(
        "the diagnosis is swallowed", "_targets.py", "log.warning(\n", "log.debug(\n",
        red={
            "grpc-local_http-10s": "other lines on standard error",
            "http_json-invalid-10s": "other lines on standard error",
            "http_protobuf-unreachable-10s": "the line names the cause",
            "bad_credentials": "other lines on standard error",
        },
        green=("unknown_protocol",),
    ),
    Mutation(
        "the diagnosis has no way out", "_targets.py", "                error,\n",
        '                error.partition(";")[0],\n',
        red={"grpc-invalid-10s": "the line names the mend", "http_json-local_grpc-10s": "the line names the mend"},
    ),
    Mutation(
        "health hides failures", "_lanes.py", "self._failures += 1", "self._failures = 0",
        red={"http_protobuf-invalid-10s": "health of metrics", "timeout": "health of metrics"},
    ),
    Mutation(
        "losses are not counted", "_lanes.py", "self._health.drop(reason, count, self._dropped)", "pass",
        red={"grpc-unreachable-10s": "losses counted"},
    ),
    Mutation(
        "the end waits too long", "_pipeline.py", "        self.store.close()\n        return all(results)",
        "        self.store.close()\n        time.sleep(4)\n        return all(results)",
        red={"http_json-unreachable-10s": "time to close"},
    ),
    Mutation(
        "credentials are left out over HTTP", "exporters/otlp_http.py", "**dict(settings.headers),", "",
        red={"http_protobuf-saas-10s": "standard error", "http_json-saas-10s": "credentials of metrics"},
        green=("grpc-saas-10s",),
    ),
    Mutation(
        "requests over gRPC are not compressed", "exporters/otlp_grpc.py", "grpc.Compression.Gzip if gzip",
        "grpc.Compression.NoCompression if gzip",
        red={"grpc-saas-10s": "compress"}, green=("grpc-local_grpc-10s",),
    ),
    Mutation(
        "Prometheus' page is at another port", "exporters/prometheus.py", "_Server(host, port,", "_Server(host, 0,",
        red={"prometheus": "errors of Prometheus"}, green=("console",),
    ),
    Mutation(
        "one bad value silences all signals", "_settings.py",
        'if chosen := sources.find(f"{signal}_exporters"):', 'if chosen := sources.find("metrics_exporters"):',
        red={"unknown_exporter": "events"},
    ),
    Mutation(
        "a thread is started though nothing is sent", "_core.py", "    def _say_settings(self) -> None:\n",
        "    def _say_settings(self) -> None:\n"
        "        import threading, time\n"
        "        threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n",
        red={"disabled": "threads", "none": "threads", "unknown_protocol": "threads"},
    ),
    Mutation(
        "a socket is opened though nothing is sent", "_core.py", "    def _say_settings(self) -> None:\n",
        "    def _say_settings(self) -> None:\n        import socket\n        self.leak = socket.socket()\n",
        red={"disabled": "sockets", "none": "sockets"},
    ),
    Mutation(
        "a fault of ours reaches the program", "_event_recorder.py", 'own = self._content("event", attributes)',
        'raise RuntimeError("ours")',
        red={"console-1000ms": "exit code", "disabled": "exit code"},
    ),
)  # fmt: skip


def mutate(mutation: Mutation, folder: Path) -> Path:
    """A folder below ``folder`` with the package, broken.

    Raises:
        ValueError: What is to be changed is not there once: the mutation has to follow the code.
    """
    target = folder / mutation.name.replace(" ", "_")
    source = Path(claude_monitoring.__file__).parent
    shutil.copytree(source, target / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    path = target / source.name / mutation.module
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(
            f"mutation {mutation.name!r}: {mutation.old!r} is {text.count(mutation.old)} times in {mutation.module}, "
            "expected once; the code has changed, so change the mutation too"
        )
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    return target
