"""The queries and alerts of the customer's documents give the same numbers for the real Claude Code and for ours.

Both send the same story (``seed_story``). A real Collector turns it into what Prometheus scrapes, a real Prometheus
answers (``seed_servers``); what each expression has to give stands in ``seed_queries``. Nothing depends on when things
happened: a scrape's time is made up, so that ``[1h]`` and ``for: 30m`` take seconds and are the same in every run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from claude_monitoring.receiver import OtlpReceiver
from claude_monitoring.testing.fake_anthropic import FakeAnthropic

from .claude_code import no_network
from .program import needs
from .seed_queries import QUERIES, Query, in_promql
from .seed_servers import Recorded, Samples, check_alerts, scraped, store
from .seed_story import LAST_MINUTE, Exported, ours, sent_by_claude_code, sent_by_us, users
from .seed_texts import SEEDS, expressions

BUILD_S = 1_200  # the first test that needs a Collector may have to build it

NAMESPACES = ("", "otel")
MINUTES = (0, 5, 15, 25, 72, 88, 133, 152, 164, 185, LAST_MINUTE)
"""When the expressions are evaluated: before all, a few minutes after the turns, and in the quiet at the end."""

TOLD_APART = {
    "agent_name": "ours names every agent, Claude Code its subagents",
    "instance": "ours has service.instance.id, which Claude Code leaves out",
    "otel_scope_version": "each has its own version",
}
MEASURED = "claude_code_active_time_seconds_total"
"""Its values are time that passed."""

Values = dict[frozenset[tuple[str, str]], float]


class Side(NamedTuple):
    samples: Samples
    prometheus: Recorded


class Both(NamedTuple):
    claude_code: Side
    ours: Side
    session_ids: Mapping[str, str]
    """Of ours, to those of Claude Code."""

    def at(self, minute: int, expression: str) -> tuple[Values, Values]:
        """What it gives on each, without the labels that tell the two apart."""
        asked = in_promql(expression)
        mine = self.ours.prometheus.at(minute, asked)
        return self._alike(self.claude_code.prometheus.at(minute, asked)), self._alike(mine)

    def _alike(self, values: Values) -> Values:
        found: Values = {}
        for series, value in values.items():
            labels = {key: self.session_ids.get(text, text) for key, text in series if key not in TOLD_APART}
            key = frozenset(labels.items())
            found[key] = found.get(key, 0.0) + (0.0 if labels.get("__name__", "").endswith(MEASURED) else value)
        return found


@pytest.fixture(scope="module")
def both(otelcol: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    needs("prometheus", package="prometheus")
    needs("promtool", package="prometheus")
    folder = tmp_path_factory.mktemp("seeds")
    with ExitStack() as stack:
        stack.enter_context(no_network())
        api = stack.enter_context(FakeAnthropic())
        with OtlpReceiver(grpc=False) as otlp:
            known = users(folder, api.base_url, otlp.http_endpoint)
            theirs = sent_by_claude_code(api, otlp, known)
        with OtlpReceiver(grpc=False) as otlp:
            mine, session_ids = sent_by_us(otlp, known, ours)

        def side(name: str, sent: list[Exported]) -> Side:
            place = folder / name
            place.mkdir()
            samples = scraped(otelcol, place, sent, NAMESPACES)
            store(samples, place)
            return Side(samples, stack.enter_context(Recorded(place)))

        yield Both(side("claude_code", theirs), side("ours", mine), session_ids)


def same(one: Values, other: Values) -> bool:
    """Whether they have the same series with the same values, to a billionth."""
    return one.keys() == other.keys() and all(
        math.isclose(one[key], value, rel_tol=1e-9, abs_tol=1e-12) or (math.isnan(one[key]) and math.isnan(value))
        for key, value in other.items()
    )


def without_threshold(expression: str) -> str:
    """The value that an alert compares; it is there even while the alert is silent."""
    return re.sub(r" [<>] [\d.]+$", "", expression)


def assert_same(both: Both, expression: str) -> None:
    """The same at all times, and something at one of them."""
    somewhere = False
    for minute in MINUTES:
        theirs, mine = both.at(minute, expression)
        assert same(theirs, mine), f"in minute {minute}"
        theirs, mine = both.at(minute, without_threshold(expression))
        assert same(theirs, mine), f"in minute {minute}"
        somewhere = somewhere or bool(theirs)
    assert somewhere, "neither gives anything"


def assert_ours_alone(both: Both, expression: str) -> None:
    results = [both.at(minute, without_threshold(expression)) for minute in MINUTES]
    assert not any(theirs for theirs, _ in results)
    assert any(mine for _, mine in results)


def named(query: Query) -> str:
    return query.at


@pytest.mark.skipif(not SEEDS.is_dir(), reason="the documents are beside the repository where it is developed alone")
def test_the_table_has_every_expression_of_the_documents() -> None:
    found = sorted(expressions())
    assert len(found) > 80
    assert [(query.at, query.expression, query.alert, query.wait) for query in QUERIES] == found


@pytest.mark.parametrize("query", QUERIES, ids=named)
@pytest.mark.slow
@pytest.mark.timeout(BUILD_S)
def test_an_expression_gives_what_the_table_says(both: Both, query: Query) -> None:
    if query.gives == "refused":
        for side in both.claude_code, both.ours:
            with pytest.raises(ValueError, match="parse error"):
                side.prometheus.at(LAST_MINUTE, in_promql(query.expression))
    elif query.gives == "nothing":
        assert [both.at(minute, without_threshold(query.expression)) for minute in MINUTES] == [({}, {})] * len(MINUTES)
    elif query.gives == "more":
        theirs, mine = both.at(LAST_MINUTE, query.expression)
        assert theirs
        assert same(theirs, {key: mine[key] for key in theirs})
        assert mine.keys() > theirs.keys()
    elif query.gives == "ours":
        assert_ours_alone(both, query.expression)
    else:
        assert_same(both, query.expression)


@pytest.mark.parametrize("query", [query for query in QUERIES if query.mended], ids=named)
@pytest.mark.slow
@pytest.mark.timeout(BUILD_S)
def test_a_mended_expression_gives_numbers(both: Both, query: Query) -> None:
    (assert_same if "claude_code_" in query.mended else assert_ours_alone)(both, query.mended)


@pytest.mark.parametrize(
    ("expression", "number"),
    [
        ("sum(claude_code_cost_usage_USD_total)", 12 * 0.00723 + 7 * 0.01205 + 125.00006 + 0.00241 + 7 * 0.00975),
        ("sum(claude_code_session_count_total)", 3),
        ("sum(claude_code_commit_count_total)", 3),
        ("sum(claude_code_pull_request_count_total)", 3),
        ('sum(claude_code_lines_of_code_count_total{type="added"})', 12),
        ('sum(claude_code_lines_of_code_count_total{type="removed"})', 3),
        ('sum(claude_code_code_edit_tool_decision_total{decision="reject"})', 1),
        ("sum(claude_code_code_edit_tool_decision_total)", 8),
        ("count(count by (user_id)(claude_code_cost_usage_USD_total))", 2),
    ],
)
@pytest.mark.slow
@pytest.mark.timeout(BUILD_S)
def test_the_numbers_are_those_of_the_story(both: Both, expression: str, number: float) -> None:
    for values in both.at(LAST_MINUTE, expression):
        assert list(values.values()) == [pytest.approx(number, rel=1e-9)]


STATES = {
    80: set(),
    88: {
        "DailyCostThreshold firing", "HighHourlyCost pending", "OpusModelHighUsage pending", "TokenUsageSpike pending",
    },
    92: {"DailyCostThreshold firing", "HighHourlyCost firing"},
    168: {
        "DailyCostThreshold firing", "LowCacheEfficiency pending", "LowCacheHitRate firing", "TokenUsageSpike firing",
    },
    185: {"DailyCostThreshold firing", "LowCacheEfficiency firing"},
}  # fmt: skip
"""What the story has to raise, by minute; for ours ``LowEfficiency`` of the framework family comes on top."""


@pytest.mark.parametrize("side", ["claude_code", "ours"])
@pytest.mark.slow
@pytest.mark.timeout(BUILD_S)
def test_the_same_alerts_are_raised(both: Both, side: str, tmp_path: Path) -> None:
    rules = [
        {"alert": query.alert, "expr": query.mended or query.expression} | ({"for": query.wait} if query.wait else {})
        for query in QUERIES
        if query.alert and query.gives != "refused"
    ]
    further = {"LowEfficiency firing"} if side == "ours" else set()
    states = {minute: raised | (further if minute > 85 else set()) for minute, raised in STATES.items()}
    assert check_alerts(rules, getattr(both, side).samples, tmp_path, states) == ""
