"""Tokens to US dollars."""

from __future__ import annotations

from typing import Any

import pytest

from claude_monitoring import AgentMonitor
from claude_monitoring._pricing import PriceTable, PriceTableError, Tokens, cost_usd
from claude_monitoring.testing import Captured, capture

CAPTURED = Tokens(input=1200, output=77, cache_read=4500, cache_creation=300)


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("claude-sonnet-4-5", 0.00723),
        ("claude-sonnet-4-5-20250929", 0.00723),
        ("claude-opus-4-5", 0.01205),
        ("claude-haiku-4-5", 0.00241),
    ],
)
def test_the_cost_is_what_claude_code_computed_for_the_same_answer(model: str, usd: float) -> None:
    assert cost_usd(model, CAPTURED, None) == pytest.approx(usd, abs=1e-9)  # reference section 4.2


def test_no_tokens_cost_nothing() -> None:
    assert cost_usd("claude-sonnet-4-5", Tokens(), None) == 0


def test_more_tokens_from_the_cache_than_sent_are_no_contradiction() -> None:
    assert cost_usd("claude-sonnet-4-5", Tokens(input=1, cache_read=100_000), None) == pytest.approx(0.030003)


def test_nobody_knows_the_price_of_an_unknown_model() -> None:
    assert cost_usd("house-model-7b", CAPTURED, None) is None


OWN: PriceTable = {"house-model": {"input": 3, "output": 15, "cache_read": 0.3, "cache_creation": 3.75}}


def test_the_callers_own_table_is_asked_first() -> None:
    assert cost_usd("house-model", Tokens(1_000_000, 0, 0, 0), OWN) == 3
    assert cost_usd("house-model", Tokens(0, 1_000_000, 0, 0), OWN) == 15
    assert cost_usd("house-model", Tokens(0, 0, 1_000_000, 0), OWN) == pytest.approx(0.3)
    assert cost_usd("house-model", Tokens(0, 0, 0, 1_000_000), OWN) == 3.75
    assert cost_usd("claude-sonnet-4-5", Tokens(1_000_000), {"claude-sonnet-4-5": {"input": 1}}) == 1


def test_a_model_that_is_not_in_the_own_table_has_its_list_price() -> None:
    assert cost_usd("claude-sonnet-4-5", CAPTURED, OWN) == pytest.approx(0.00723)


def test_a_monitors_own_prices_reach_its_metrics_and_its_childrens() -> None:
    with capture("x") as seen:
        monitor = AgentMonitor("backend", prices=OWN)
        monitor.record_usage("house-model", input_tokens=2_000_000)
        monitor.child("helper").record_usage("house-model", output_tokens=1_000_000)
    assert seen.value("claude.api.cost_usd", agent="backend", model="house-model") == 6
    assert seen.value("claude.api.cost_usd", agent="helper", model="house-model") == 15


def test_an_unknown_model_has_tokens_no_cost_and_one_line_that_names_the_way_out(
    seen: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        seen.monitor.record_usage("house-model-7b", input_tokens=10)
    assert seen.value("claude.tokens.input", model="house-model-7b") == 30
    assert seen.value("claude.api.calls", model="house-model-7b") == 3
    assert seen.series("claude.api.cost_usd") == seen.series("claude_code.cost.usage") == {}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "'house-model-7b'" in caplog.text
    assert "AgentMonitor(prices=" in caplog.text


BAD_ROWS: list[Any] = [
    {"inputs": 3},
    {"input": "3"},
    {"input": -1},
    {"input": float("nan")},
    {"input": float("inf")},
    {"input": True},
    {"input": None},
    3,
]


@pytest.mark.parametrize("row", BAD_ROWS, ids=repr)
def test_a_row_that_means_nothing_is_told_and_costs_no_tokens(
    seen: Captured, caplog: pytest.LogCaptureFixture, row: Any
) -> None:
    monitor = AgentMonitor("m", prices={"house-model": row})
    for _ in range(2):
        monitor.record_usage("house-model", input_tokens=10)
    assert seen.value("claude.tokens.input", model="house-model") == 20
    assert seen.series("claude.api.cost_usd") == {}
    assert [("house-model" in record.message, record.levelname) for record in caplog.records] == [(True, "WARNING")]
    with pytest.raises(PriceTableError, match="house-model"):
        AgentMonitor("s", prices={"house-model": row}, strict=True).record_usage("house-model", input_tokens=10)
