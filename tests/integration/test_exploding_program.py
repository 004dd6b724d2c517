"""A program whose labels explode keeps its bounds in a real Prometheus, and what is summed there is exact."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample

from matrix.prometheus_server import Prometheus

from .program import environment, needs

# The first test waits for all that is recorded and scraped, about 20 s, and no scrape may be late.
pytestmark = [pytest.mark.slow, pytest.mark.alone]

SCRAPE_INTERVAL_S = 1.5  # also the bound on the time of a scrape, and the machine may be busy
ROUNDS = 2
BOUNDS: Mapping[str, Mapping[str, int]] = {
    "default": {},
    "small": {"max_series": 300, "max_label_values": 60, "max_total_series": 2_000},
    "full": {"max_series": 300, "max_label_values": 60, "max_total_series": 500},  # less than its metrics want together
}
OTHER = "__other__"
LASTING = ("claude_model_calls_total", "claude_answer_size_count", "claude_lookups_total", "claude_mails_total")
OF_SESSIONS = ("claude_code_token_usage_total", "claude_code_cost_usage_total", "claude_code_session_count_total")
OF_CHILDREN = ("claude_tokens_input_total", "claude_tokens_output_total", "claude_api_calls_total")

# It records from "begin" to "end". Its own count is {metric: {label: {value: amount}}} by the names on /metrics, with
# the total under the label "". Amounts are whole quarters, so that no sum of them is rounded.
PROGRAM = """
    import json, random, sys
    from collections import Counter, defaultdict
    from itertools import count
    from threading import Event, Thread
    from claude_monitoring import AgentMonitor

    THREADS, PAUSE_S = 4, 0.004
    MODELS = [f"model-{n}" for n in range(5)]
    monitor = AgentMonitor("main", **json.loads(sys.argv[1]))
    numbers = count()  # next() is atomic
    counts = [defaultdict(Counter) for _ in range(THREADS)]
    stop = Event()

    def note(own, metric, amount, **labels):
        for pair in {"": "", **labels}.items():
            own[metric][pair] += amount

    def call_model(own, agent, chance):
        model, source = chance.choice(MODELS), "main" if agent is monitor else "subagent"
        tokens = {"input": chance.randrange(99), "output": chance.randrange(9), "cacheRead": 7, "cacheCreation": 0}
        agent.record_usage(model, *tokens.values(), cost_usd=0.25)
        for kind, amount in tokens.items():
            note(own, "claude_code_token_usage_total", amount, type=kind, model=model, query_source=source)
        note(own, "claude_code_cost_usage_total", 0.25, model=model, query_source=source)
        note(own, "claude_tokens_input_total", tokens["input"], model=model)
        note(own, "claude_tokens_output_total", tokens["output"], model=model)
        note(own, "claude_api_calls_total", 1, model=model)

    def run_session(own, number, chance):
        with monitor.session():
            call_model(own, monitor, chance)
            if number % 40 == 0:
                child = monitor.child(f"helper-{number}")
                call_model(own, child, chance)
                child.close()
        note(own, "claude_code_session_count_total", 1, start_type="fresh")

    def record_one(own, number, chance):
        model, user, size = chance.choice(MODELS), f"user-{number // 2}", chance.randrange(400) / 4
        monitor.increment("model_calls", 1, {"model": model, "user": user})
        note(own, "claude_model_calls_total", 1, model=model, user=user)

        monitor.histogram("answer_size", size, {"model": model, "request": f"request-{number}"})
        note(own, "claude_answer_size_count", 1, model=model)
        note(own, "claude_answer_size_sum", size, model=model)
        note(own, "up_to_10", size <= 10, model=model)

        place = {label: f"{label}-{chance.randrange(n)}" for label, n in (("room", 50), ("shelf", 40), ("tier", 10))}
        monitor.increment("lookups", 2, place)
        note(own, "claude_lookups_total", 2, **place)

        monitor.increment("mails", 1, {"model": model, "user": f"person-{number}@example.com"})
        note(own, "claude_mails_total", 1, model=model, user="__redacted__")
        if number % 10 == 0:
            run_session(own, number, chance)

    def record(own):
        chance = random.Random(next(numbers))
        while not stop.wait(PAUSE_S):
            record_one(own, next(numbers), chance)

    def tell(**what):
        print(json.dumps(what), flush=True)

    monitor.increment("begun")
    note(counts[0], "claude_code_session_count_total", 1, start_type="fresh")  # the monitor's own session
    tell(port=monitor._pipeline.prometheus_address[1], session_id=monitor.session_id)
    threads = []
    for line in sys.stdin:
        command = line.strip()
        if command == "begin":
            stop.clear()
            threads = [Thread(target=record, args=(own,)) for own in counts]
            for thread in threads:
                thread.start()
            tell()
        elif command == "end":
            stop.set()
            for thread in threads:
                thread.join()
            tell()
        else:
            merged = defaultdict(lambda: defaultdict(Counter))
            for own in counts:
                for metric, amounts in own.items():
                    for (label, value), amount in amounts.items():
                        merged[metric][label][value] += amount
            tell(count=merged, report=monitor.cardinality_report().to_dict(), dropped=dict(monitor.health().dropped))
    stop.set()
"""

Amounts = dict[str, float]


class Program:
    """The program above, in a process of its own."""

    def __init__(self, bounds: Mapping[str, int], errors: Path) -> None:
        self.max_series = bounds.get("max_series", 2_000)
        self.max_total_series = bounds.get("max_total_series", 50_000)
        self._errors = errors
        env = environment(
            OTEL_METRICS_EXPORTER="prometheus",
            OTEL_EXPORTER_PROMETHEUS_HOST="127.0.0.1",
            OTEL_EXPORTER_PROMETHEUS_PORT="0",
        )
        # Not traced by coverage: a scrape would take several times as long.
        env = {key: value for key, value in env.items() if not key.startswith("COVERAGE_")}
        with errors.open("w") as written:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", textwrap.dedent(PROGRAM), json.dumps(bounds)],
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=written,
                text=True,
            )

    def wait_begun(self) -> None:
        begun = self.answer()
        self.target = f"127.0.0.1:{begun['port']}"
        self.session_id: str = begun["session_id"]

    def ask(self, command: str) -> None:
        assert self._process.stdin is not None
        print(command, file=self._process.stdin, flush=True)

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the program ended:\n{self._errors.read_text()}"
        answered: dict[str, Any] = json.loads(line)
        return answered

    def faults(self) -> list[str]:
        """What it wrote to its errors beside the guard's own warnings."""
        return [line for line in self._errors.read_text().splitlines() if not line.startswith("claude_monitoring: ")]

    def close(self) -> None:
        """Close its input, with which it ends."""
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise


class Explosion:
    """What a program counted itself, and what Prometheus holds of it."""

    def __init__(self, program: Program, server: Prometheus, begin_s: float) -> None:
        self.program = program
        self.server = server
        self._begin_s = begin_s
        program.ask("count")
        counted = program.answer()
        self.own: dict[str, dict[str, Amounts]] = counted["count"]
        self.dropped: dict[str, int] = counted["dropped"]
        self._reports = {one["name"].replace(".", "_"): one for one in counted["report"]["metrics"]}

    def of(self, metric: str, matchers: str = "") -> str:
        """The selector of the program's series of a metric."""
        return f'{metric}{{instance="{self.program.target}"{matchers}}}'

    def ever(self, metric: str) -> str:
        """The last value of each of its series, also of those that are gone."""
        return f"last_over_time({self.of(metric)}[1h])"

    def at_each_scrape(self, expression: str) -> str:
        """The range of what ``expression`` gave so far; two steps an interval, so no scrape is passed over."""
        return f"({expression})[{int(time.monotonic() - self._begin_s) + 1}s:{SCRAPE_INTERVAL_S * 500:.0f}ms]"

    def number(self, expression: str) -> float:
        return self.server.scalar(expression)

    def sums(self, label: str, expression: str) -> Amounts:
        """The sums by ``label``; a sum of 0 is left out."""
        found = self.server.query(f"sum by ({label}) ({expression})")
        return {dict(key).get(label, ""): value for key, value in found.items() if value}

    def values(self, label: str, expression: str) -> set[str]:
        """The values of ``label``, of series without it the empty one."""
        return {dict(key).get(label, "") for key in self.server.query(f"group by ({label}) ({expression})")}

    def total(self, metric: str) -> float:
        """The program's own total."""
        return self.own[metric][""][""]

    def own_sums(self, label: str, metric: str) -> Amounts:
        """The program's own sums by ``label``; a sum of 0 is left out."""
        return {value: amount for value, amount in self.own[metric][label].items() if amount}

    def whole_labels(self, metric: str) -> set[str]:
        """The labels that the program counted by, without those that the guard reports."""
        report = self._reports[metric.rpartition("_")[0]]
        collapsed = {label["name"] for label in report["labels"] if label["is_collapsed"]}
        return set() if report["overflowed"] else self.own[metric].keys() - {""} - collapsed

    def page(self) -> list[Sample]:
        """What the program answers to one more scrape."""
        body = urllib3.request("GET", f"http://{self.program.target}/metrics").data.decode()
        return [sample for family in parse_text(body) for sample in family.samples]


@pytest.fixture(scope="module")
def explosions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Explosion]]:
    """The programs after they recorded in rounds, with scrapes in each round, after it and at the end."""
    needs("prometheus", package="prometheus")
    folder = tmp_path_factory.mktemp("explosions")
    with ExitStack() as stack:
        programs: dict[str, Program] = {}
        for name, bounds in BOUNDS.items():
            programs[name] = Program(bounds, folder / f"{name}.err")
            stack.callback(programs[name].close)
        for program in programs.values():
            program.wait_begun()
        begin_s = time.monotonic()
        targets = [program.target for program in programs.values()]
        server = stack.enter_context(Prometheus(targets, folder / "prometheus", SCRAPE_INTERVAL_S))
        server.wait_until(lambda server: all(server.scrapes(target) for target in targets))
        for _ in range(ROUNDS):
            for command in ("begin", "end"):
                for program in programs.values():
                    program.ask(command)
                for program in programs.values():
                    program.answer()
                server.wait_scrapes()
        server.wait_scrapes(2)  # the one before and the next have the last of each session; the third is without it
        yield {name: Explosion(program, server, begin_s) for name, program in programs.items()}


@pytest.fixture(params=BOUNDS)
def explosion(request: pytest.FixtureRequest, explosions: dict[str, Explosion]) -> Explosion:
    return explosions[request.param]


@pytest.fixture(params=["default", "small"])
def roomy(request: pytest.FixtureRequest, explosions: dict[str, Explosion]) -> Explosion:
    """Its metrics have as much place as each may take."""
    return explosions[request.param]


def test_the_bounds_hold_at_every_scrape(explosion: Explosion) -> None:
    # A histogram's series is many in Prometheus; its count stands for it.
    series = explosion.of("", ', __name__=~"claude.+", __name__!~".+_(bucket|sum)"')
    by_metric = explosion.at_each_scrape(f"max(count by (__name__) ({series}))")
    together = explosion.at_each_scrape(f"count({series})")
    assert 100 < explosion.number(f"max_over_time({by_metric})") <= explosion.program.max_series
    assert 400 < explosion.number(f"max_over_time({together})") <= explosion.program.max_total_series


def test_no_scrape_fails_and_no_sample_is_lost_or_sent_twice(explosion: Explosion) -> None:
    assert explosion.server.scrape_errors() == []
    assert explosion.number(f"min_over_time({explosion.of('up')}[1h])") == 1
    assert (explosion.dropped, explosion.program.faults()) == ({}, [])
    calls = explosion.at_each_scrape(f"sum({explosion.of('claude_model_calls_total')})")
    assert explosion.number(f"changes({calls})") > ROUNDS, "no scrape came while it recorded"


@pytest.mark.parametrize("metric", ["claude_model_calls_total", "claude_answer_size_count", "claude_answer_size_sum"])
def test_each_model_has_its_exact_sum_beside_a_label_that_explodes(roomy: Explosion, metric: str) -> None:
    assert roomy.sums("model", roomy.of(metric)) == roomy.own_sums("model", metric)


def test_a_histogram_has_every_value_in_its_bucket(explosion: Explosion) -> None:
    size = "claude_answer_size"
    assert explosion.number(f"sum({explosion.of(f'{size}_sum')})") == explosion.total(f"{size}_sum")
    assert explosion.number(f"sum({explosion.of(f'{size}_count')})") == explosion.total(f"{size}_count")
    buckets = explosion.sums("le", explosion.of(f"{size}_bucket"))
    assert (buckets["10.0"], buckets["+Inf"]) == (explosion.total("up_to_10"), explosion.total(f"{size}_count"))


def test_of_labels_with_too_many_combinations_the_smallest_stays_whole(roomy: Explosion) -> None:
    whole = roomy.whole_labels("claude_lookups_total")
    assert {"tier"} <= whole < {"room", "shelf", "tier"}


@pytest.mark.parametrize("metric", [*LASTING, *OF_SESSIONS, *OF_CHILDREN])
def test_totals_are_exact_and_so_are_sums_by_each_label_that_is_not_reported(explosion: Explosion, metric: str) -> None:
    series = explosion.ever(metric) if metric not in LASTING else explosion.of(metric)
    assert explosion.number(f"sum({series})") == explosion.total(metric)
    for label in explosion.whole_labels(metric):
        assert explosion.sums(label, series) == explosion.own_sums(label, metric), label


@pytest.mark.parametrize("metric", LASTING)
def test_no_value_of_a_collapsed_label_has_more_than_was_recorded(explosion: Explosion, metric: str) -> None:
    for label in explosion.own[metric].keys() - {""}:
        own, shown = explosion.own_sums(label, metric), explosion.sums(label, explosion.of(metric))
        assert all(amount <= own[value] for value, amount in shown.items() if value not in {OTHER, ""}), label


def test_no_address_arrives(explosion: Explosion) -> None:
    mails = "claude_mails_total"
    assert explosion.sums("user", explosion.of(mails)) == {"__redacted__": explosion.total(mails)}
    assert explosion.server.query('last_over_time({user=~".*@.*"}[1h])') == {}
    assert not [sample for sample in explosion.page() if "@" in str(sample)]


@pytest.mark.parametrize(
    ("wire_name", "metric"),
    [
        ("claude.model_calls", "claude_model_calls_total"),
        ("claude.answer_size", "claude_answer_size_count"),
        ("claude.lookups", "claude_lookups_total"),
        ("claude_code.session.count", "claude_code_session_count_total"),
    ],
)
def test_the_guard_tells_how_many_series_it_keeps(explosion: Explosion, wire_name: str, metric: str) -> None:
    kept = explosion.of("claude_monitoring_series_kept", f', metric="{wire_name}"')
    assert explosion.number(kept) == explosion.number(f"count({explosion.of(metric)})")


def test_the_guard_tells_how_many_values_it_gave_up(explosion: Explosion) -> None:
    calls = "claude_model_calls_total"
    given_up = explosion.own_sums("user", calls).keys() - explosion.values("user", explosion.of(calls))
    told = explosion.of("claude_monitoring_series_collapsed", ', metric="claude.model_calls", label="user"')
    assert explosion.number(told) == pytest.approx(len(given_up), rel=0.15)  # its standard error is 3 %


def test_sessions_that_ended_are_gone_after_two_scrapes(explosion: Explosion) -> None:
    lasting = {explosion.program.session_id, OTHER, ""}
    assert {sample.labels.get("session_id", "") for sample in explosion.page()} <= lasting
    assert explosion.values("session_id", explosion.of("", ', __name__=~"claude.+"')) <= lasting
    seen = explosion.values("session_id", explosion.ever("claude_code_session_count_total")) - lasting
    retired = explosion.of("claude_monitoring_series_retired_total", ', metric="claude_code.session.count"')
    assert explosion.number(retired) == len(seen)


def test_sessions_that_come_and_go_collapse_no_other_label(explosions: dict[str, Explosion]) -> None:
    explosion = explosions["default"]
    for metric in (*OF_SESSIONS, *OF_CHILDREN):
        assert explosion.whole_labels(metric) == explosion.own[metric].keys() - {""}, metric
