"""The harness around Prometheus tells what the server holds, and hides nothing that went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from matrix.prometheus_server import Prometheus

from .program import needs

pytestmark = pytest.mark.slow  # Prometheus holds back its first scrape for 5 s

SOUND = """\
# TYPE jobs_total counter
jobs_total{agent="a"} 3
jobs_total{agent="b"} 4
# TYPE runs_total counter
runs_total{agent="a"} 5
"""
FAULTY = {
    "1 duplicate samples a scrape were lost": "jobs_total 1\njobs_total 2\nruns_total 1\n",
    "Append failed": "jobs_total 1\n<html>\n",
    "Error on ingesting samples that are too old": "jobs_total 1 1000\n",
}


@contextmanager
def target(body: str) -> Iterator[str]:
    """The address of an endpoint that answers each scrape with ``body``."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body.encode())

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


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One server for all tests, since each needs 5 s until its first scrape; its first target is the sound one."""
    needs("prometheus", package="prometheus")
    with ExitStack() as stack:
        targets = [stack.enter_context(target(body)) for body in (SOUND, *FAULTY.values())]
        yield stack.enter_context(Prometheus(targets, tmp_path_factory.mktemp("prometheus")))


def test_values_arrive_and_a_query_gives_them(prometheus: Prometheus) -> None:
    sound = prometheus.targets[0]
    prometheus.wait_until(lambda server: server.scrapes(sound) >= 2)
    labels = {"__name__": "jobs_total", "job": "agents", "instance": sound}
    assert prometheus.query(f'jobs_total{{instance="{sound}"}}') == {
        frozenset((labels | {"agent": "a"}).items()): 3,
        frozenset((labels | {"agent": "b"}).items()): 4,
    }
    assert prometheus.scalar('sum(jobs_total{agent!=""})') == 7
    assert prometheus.scalar("no_such_metric") == 0
    with pytest.raises(AssertionError, match="gives 2 series"):
        prometheus.scalar('jobs_total{agent!=""}')


def test_each_fault_of_a_target_is_found_and_none_of_a_sound_one(prometheus: Prometheus) -> None:
    prometheus.wait_until(lambda server: all(fault in str(server.scrape_errors()) for fault in FAULTY))
    assert not [error for error in prometheus.scrape_errors() if prometheus.targets[0] in error]


def test_what_never_happens_is_a_timeout_that_tells_why(prometheus: Prometheus) -> None:
    prometheus.wait_until(lambda server: len(server.query("up")) == len(prometheus.targets))
    with pytest.raises(TimeoutError) as caught:
        prometheus.wait_scrapes(1, timeout_s=0.5)  # no scrape of the target with garbage counts as one
    assert f"{prometheus.targets[2]}: " in str(caught.value)
    assert "not a valid start token" in str(caught.value)
    assert "prometheus.log ends with:" in str(caught.value)
    assert "caller=" in str(caught.value)
