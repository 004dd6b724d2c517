"""Real servers that fork their workers, gunicorn and celery: what a request or a job recorded arrives, once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from claude_monitoring.receiver import OtlpReceiver

from .program import PATIENT, environment, unmeasured

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]

REQUESTS, CLIENTS, WORKERS = 400, 8, 4
JOBS = 40
# So long that only the end of a process can have sent anything.
NOT_ON_THE_BEAT = {
    "OTEL_METRIC_EXPORT_INTERVAL": "600000",
    "OTEL_LOGS_EXPORT_INTERVAL": "600000",
    "OTEL_TRACES_EXPORT_INTERVAL": "600000",
}

APPLICATION = """
    import os, time
    from claude_monitoring import AgentMonitor

    monitor = AgentMonitor("web")
    if os.environ["USED_IN_MASTER"]:
        with monitor.track_task("load", task_type="load"):
            monitor.event("loaded")
        assert monitor.flush(10)

    def application(environ, start_response):
        with monitor.track_task("request", task_type="web"):
            monitor.increment("requests_served", 1, {"method": environ["REQUEST_METHOD"]})
            monitor.event("served", {"request": environ["QUERY_STRING"]})
            time.sleep(0.02)  # so that every worker gets its share
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]
"""

JOBS_MODULE = """
    import os
    from pathlib import Path
    from celery import Celery, platforms
    from claude_monitoring import AgentMonitor

    # Over a broker that only blocks, Celery replaces a worker from a thread; the kernel then kills the worker when that
    # thread ends, which is first in the shutdown: in its last flush, or with a lock that the main process waits for.
    platforms.set_pdeathsig = lambda name: None

    folder = Path(os.environ["QUEUE"])
    for name in ("queue", "processed", "control", "done"):
        (folder / name).mkdir(exist_ok=True)
    options = {
        "data_folder_in": str(folder / "queue"),
        "data_folder_out": str(folder / "queue"),
        "processed_folder": str(folder / "processed"),
        "control_folder": str(folder / "control"),
    }
    app = Celery("jobs", broker="filesystem://")
    app.conf.update(broker_transport_options=options, task_ignore_result=True, broker_connection_retry_on_startup=True)
    monitor = AgentMonitor("celery")
    if os.environ["USED_IN_MASTER"]:
        with monitor.track_task("load", task_type="load"):
            monitor.event("loaded")
        assert monitor.flush(10)

    @app.task
    def job(number):
        with monitor.track_task("job", task_type="job"):
            monitor.increment("jobs_done", number)
            monitor.event("done", {"number": number})
        (folder / "done" / str(number)).touch()
"""


@contextmanager
def server(arguments: Sequence[str], env: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server in ``folder``, its output in ``output`` there; it ends with the block at the latest."""
    with (folder / "output").open("wb") as output:
        # In a session of its own, so that its workers can be ended with it.
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=env,
            cwd=folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_for(pattern: str, folder: Path, process: subprocess.Popen[bytes]) -> re.Match[str]:
    """The first match in the server's output."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(pattern, (folder / "output").read_text())
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError((folder / "output").read_text())


def settings(receiver: OtlpReceiver, protocol: str, folder: Path, *, in_master: bool) -> dict[str, str]:
    env = environment(
        receiver.endpoint(protocol), protocol, **NOT_ON_THE_BEAT, **PATIENT, USED_IN_MASTER="1" if in_master else "",
        QUEUE=str(folder), HOME=str(folder),
    )  # fmt: skip
    return unmeasured(env)


def assert_nothing_was_said(folder: Path) -> None:
    text = (folder / "output").read_text()
    assert "claude_monitoring" not in text, text
    assert "Traceback" not in text, text


@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        ("grpc", ["--preload"]),
        ("http/protobuf", []),
        ("http/json", ["--preload", "--worker-class=gthread", "--threads=4"]),
    ],
    ids=["grpc-preload", "http/protobuf", "http/json-preload-gthread"],
)
def test_a_prefork_web_server_loses_no_request_at_its_graceful_stop(
    protocol: str, options: list[str], tmp_path: Path
) -> None:
    (tmp_path / "web.py").write_text(textwrap.dedent(APPLICATION))
    preload = "--preload" in options
    command = ["gunicorn", f"--workers={WORKERS}", "--bind=127.0.0.1:0", *options, "web:application"]
    with OtlpReceiver() as receiver:
        env = settings(receiver, protocol, tmp_path, in_master=preload)
        with server(command, env, tmp_path) as process:
            url = wait_for(r"Listening at: (http://\S+)", tmp_path, process)[1]

            def ask(number: int) -> bytes:
                with urllib.request.urlopen(f"{url}/?{number}", timeout=20) as answer:
                    return bytes(answer.read())

            with ThreadPoolExecutor(CLIENTS) as clients:
                workers = set(clients.map(ask, range(REQUESTS)))
            process.terminate()
            assert process.wait(30) == 0
        assert_nothing_was_said(tmp_path)
        assert receiver.total("claude.requests_served", method="GET") == REQUESTS
        assert receiver.total("claude.tasks", task_type="web", status="ok") == REQUESTS
        assert receiver.total("claude.task.duration", task_type="web") == REQUESTS
        assert receiver.total("claude.tasks", task_type="load") == preload
        assert receiver.total("claude.tasks.active") == receiver.total("claude.sessions.active") == 0
        served = [log for log in receiver.logs if log.body == "claude.served"]
        assert sorted(int(log.attributes["request"]) for log in served) == list(range(REQUESTS))
        assert sum(span.name == "request" for span in receiver.spans) == REQUESTS
        assert sum(log.body == "claude.loaded" for log in receiver.logs) == preload
        assert len(workers) == WORKERS
        assert len({log.resource["service.instance.id"] for log in served}) == WORKERS
        assert len({point.resource["service.instance.id"] for point in receiver.metrics}) == WORKERS + preload


@pytest.mark.parametrize(
    ("protocol", "in_master", "options"),
    [
        ("grpc", False, ["--pool=prefork"]),
        ("http/protobuf", True, ["--pool=prefork", "--max-tasks-per-child=5"]),
        ("http/json", False, ["--pool=threads"]),
    ],
)
def test_celery_loses_no_job_at_its_warm_shutdown(
    protocol: str, in_master: bool, options: list[str], tmp_path: Path
) -> None:
    (tmp_path / "jobs.py").write_text(textwrap.dedent(JOBS_MODULE))
    alone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = ["celery", "--app=jobs", "worker", "--concurrency=2", "--loglevel=INFO", *alone, *options]
    with OtlpReceiver() as receiver:
        env = settings(receiver, protocol, tmp_path, in_master=in_master)
        with server(command, env, tmp_path) as process:
            wait_for("ready", tmp_path, process)
            subprocess.run(
                [sys.executable, "-c", f"import jobs\nfor n in range({JOBS}): jobs.job.delay(n)"],
                env=env | {"CLAUDE_CODE_ENABLE_TELEMETRY": "0", "USED_IN_MASTER": ""},
                cwd=tmp_path, timeout=30, check=True,
            )  # fmt: skip
            deadline = time.monotonic() + 30
            while len(list((tmp_path / "done").iterdir())) < JOBS and time.monotonic() < deadline:
                time.sleep(0.05)
            process.terminate()
            assert process.wait(30) == 0
        assert_nothing_was_said(tmp_path)
        assert receiver.total("claude.jobs_done") == JOBS * (JOBS - 1) / 2
        assert receiver.total("claude.tasks", task_type="job", status="ok") == JOBS
        assert receiver.total("claude.tasks", task_type="load") == in_master
        assert receiver.total("claude.tasks.active") == receiver.total("claude.sessions.active") == 0
        done = [log for log in receiver.logs if log.body == "claude.done"]
        assert sorted(log.attributes["number"] for log in done) == list(range(JOBS))
        assert sum(span.name == "job" for span in receiver.spans) == JOBS
        pids = set(re.findall(r"ForkPoolWorker-\d+", (tmp_path / "output").read_text())) or {"MainProcess"}
        assert len({log.resource["service.instance.id"] for log in done}) == len(pids)
