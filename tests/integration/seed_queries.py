# ruff: noqa: E501 - expressions are not broken
"""Every PromQL expression of the customer's documents: where it stands, what it gives for Claude Code and for ours.

As in the documents but for room and comments: ``seed_texts.expressions`` finds them there. Metrics reach Prometheus
through a Collector, for document 000 one with ``namespace: otel``; no expression has the names of Claude Code's own
``/metrics``, which go without units.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

__all__ = ["QUERIES", "Query", "in_promql"]


class Query(NamedTuple):
    """An expression.

    Attributes:
        at: Document and line.
        expression: As it is written there.
        gives: ``same``: equal, and not nothing, on both. ``more``: ours has the program's, equal, and further ones.
            ``ours``: Claude Code sends no such metric, ours does. ``nothing``: no result on either. ``refused``:
            Prometheus can't read it.
        why: What is wrong with it, or why the two differ.
        mended: What was meant: it gives the ``same``, or, where Claude Code has nothing like it, a result on ``ours``.
        alert: The name of the alert with this condition.
        wait: Its ``for``.
    """

    at: str
    expression: str
    gives: Literal["same", "more", "ours", "nothing", "refused"] = "same"
    why: str = ""
    mended: str = ""
    alert: str = ""
    wait: str = ""


def in_promql(expression: str) -> str:
    """Without Grafana's words; those of a panel of three hours, scraped every minute."""
    expression = expression.replace("$__range", "3h").replace("$__rate_interval", "5m")
    expression = re.sub(r"^label_values\((\w+), (\w+)\)$", r"group by (\2) (\1)", expression)
    return re.sub(r"^label_values\((\w+)\)$", r'group by (\1) ({\1!=""})', expression)


QUERIES = (
    Query(
        "000:1362",
        "sum(increase(otel_claude_code_sessions_total[24h]))",
        "nothing",
        why="Claude Code has session.count; and a session's series begins at 1, so that increase sees none",
        mended="sum(increase(otel_claude_code_session_count_total[24h]))",
    ),
    Query("000:1371", "sum(otel_claude_code_token_usage_tokens_total)"),
    Query(
        "000:1381",
        "sum(otel_claude_code_cost_usd_total)",
        "nothing",
        why="the Collector calls it otel_claude_code_cost_usage_USD_total",
        mended="sum(otel_claude_code_cost_usage_USD_total)",
    ),
    Query("000:1391", "sum by (type) (rate(otel_claude_code_token_usage_tokens_total[5m]))"),
    Query(
        "000:1418",
        "sum by (model) (otel_claude_code_cost_usd_total)",
        "nothing",
        why="the Collector calls it otel_claude_code_cost_usage_USD_total",
        mended="sum by (model) (otel_claude_code_cost_usage_USD_total)",
    ),
    Query(
        "000:1429",
        "sum by (model) (rate(otel_claude_code_cost_usd_total[1h]))",
        "nothing",
        why="the Collector calls it otel_claude_code_cost_usage_USD_total",
        mended="sum by (model) (rate(otel_claude_code_cost_usage_USD_total[1h]))",
    ),
    Query(
        "000:1449",
        "topk(10, sum by (user_email) (otel_claude_code_cost_usd_total))",
        "nothing",
        why="as 000:1381; user_email is there after a login alone",
        mended="topk(10, sum by (user_email) (otel_claude_code_cost_usage_USD_total))",
    ),
    Query(
        "000:1461",
        "sum by (model) (rate(otel_claude_code_cost_usd_total[5m])) / sum by (model) (rate(otel_claude_code_token_usage_tokens_total[5m]))",
        "nothing",
        why="the Collector calls it otel_claude_code_cost_usage_USD_total",
        mended="sum by (model) (rate(otel_claude_code_cost_usage_USD_total[5m])) / sum by (model) (rate(otel_claude_code_token_usage_tokens_total[5m]))",
    ),
    Query(
        "000:1580",
        "sum(rate(otel_claude_code_cost_usd_total[1h])) > 100",
        "nothing",
        why="the Collector calls it otel_claude_code_cost_usage_USD_total",
        mended="sum(rate(otel_claude_code_cost_usage_USD_total[1h])) > 100",
        alert="HighClaudeCost",
        wait="5m",
    ),
    Query(
        "000:1591",
        "100 * sum(rate(otel_claude_code_errors_total[5m])) / sum(rate(otel_claude_code_operations_total[5m])) > 5",
        "nothing",
        why="Claude Code sends no such metric; ours has one of another name",
        mended='100 * sum(rate(otel_claude_tool_calls_total{status="error"}[5m])) / sum(rate(otel_claude_tool_calls_total[5m])) > 5',
        alert="HighErrorRate",
        wait="5m",
    ),
    Query(
        "000:1603",
        "sum(rate(otel_claude_code_token_usage_tokens_total[5m])) / sum(rate(otel_claude_code_token_usage_tokens_total[5m] offset 1h)) > 10",
        alert="TokenUsageSpike",
        wait="10m",
    ),
    Query(
        "000:1615",
        'sum by (user_email) ( rate(otel_claude_code_token_usage_tokens_total{model="claude-opus-4"}[5m]) ) > 10000',
        "nothing",
        why="models have longer names; user_email is there after a login alone",
        mended='sum by (user_email) ( rate(otel_claude_code_token_usage_tokens_total{model=~"claude-opus-4.*"}[5m]) ) > 10000',
        alert="OpusModelHighUsage",
        wait="5m",
    ),
    Query(
        "000:1629",
        'sum(rate(otel_claude_code_token_usage_tokens_total{type="cacheRead"}[5m])) / sum(rate(otel_claude_code_token_usage_tokens_total{type=~"cacheRead|input"}[5m])) < 0.3',
        alert="LowCacheHitRate",
        wait="15m",
    ),
    Query("000:2123", "sum(rate(otel_claude_code_token_usage_tokens_total[5m]))"),
    Query(
        "000:2125",
        "sum by (model) (rate(otel_claude_code_cost_usd_total[5m]))",
        "nothing",
        why="the Collector calls it otel_claude_code_cost_usage_USD_total",
        mended="sum by (model) (rate(otel_claude_code_cost_usage_USD_total[5m]))",
    ),
    Query("000:2166", "sum(rate(otel_claude_code_token_usage_tokens_total[5m]))"),
    Query(
        "000:2169",
        "sum by (model) (rate(otel_claude_code_cost_usd_total[5m]))",
        "nothing",
        why="the Collector calls it otel_claude_code_cost_usage_USD_total",
        mended="sum by (model) (rate(otel_claude_code_cost_usage_USD_total[5m]))",
    ),
    Query(
        "000:2173",
        "100 * sum(rate(otel_claude_code_errors_total[5m])) / sum(rate(otel_claude_code_operations_total[5m]))",
        "nothing",
        why="Claude Code sends no such metric; ours has one of another name",
        mended='100 * sum(rate(otel_claude_tool_calls_total{status="error"}[5m])) / sum(rate(otel_claude_tool_calls_total[5m]))',
    ),
    Query(
        "000:2177",
        "histogram_quantile(0.95, rate(otel_claude_code_response_time_ms_bucket[5m]))",
        "nothing",
        why="Claude Code sends no histogram; ours is in seconds",
        mended="histogram_quantile(0.95, rate(otel_claude_response_time_seconds_bucket[5m])) * 1000",
    ),
    Query("000:715", "sum by (model) (otel_claude_code_token_usage_tokens_total)"),
    Query(
        "000:720",
        "sum by (model) (rate(otel_claude_code_cost_usd_total[1h]))",
        "nothing",
        why="the Collector calls it otel_claude_code_cost_usage_USD_total",
        mended="sum by (model) (rate(otel_claude_code_cost_usage_USD_total[1h]))",
    ),
    Query(
        "000:728",
        "100 * sum(rate(otel_claude_code_errors_total[5m])) / sum(rate(otel_claude_code_operations_total[5m]))",
        "nothing",
        why="Claude Code sends no such metric; ours has one of another name",
        mended='100 * sum(rate(otel_claude_tool_calls_total{status="error"}[5m])) / sum(rate(otel_claude_tool_calls_total[5m]))',
    ),
    Query(
        "002:222",
        "count(count by (session_id) (claude_code_session_count))",
        "nothing",
        why="counters end in _total",
        mended="count(count by (session_id) (claude_code_session_count_total))",
    ),
    Query("002:230", "sum(increase(claude_code_cost_usage_USD_total[24h]))"),
    Query(
        "002:238",
        '( sum(count_over_time({service_name="claude-code", event_name="tool_result"} | json | success="false" [$__range])) / sum(count_over_time({service_name="claude-code", event_name="tool_result"} [$__range])) ) * 100',
        "refused",
        why="LogQL, which only Loki reads",
    ),
    Query(
        "002:250",
        'sum(claude_code_active_time_seconds_total{type="cli"}) / sum(claude_code_active_time_seconds_total{type="user"})',
        "nothing",
        why="no time at a keyboard, type user, where nobody sits at a terminal",
    ),
    Query("002:264", "sum by (model) (increase(claude_code_cost_usage_USD_total[$__rate_interval]))"),
    Query("002:272", "sum by (type) (increase(claude_code_token_usage_tokens_total[$__range]))"),
    Query(
        "002:279",
        '( sum(increase(claude_code_token_usage_tokens_total{type="cacheRead"}[$__range])) / sum(increase(claude_code_token_usage_tokens_total{type=~"input|cacheRead"}[$__range])) ) * 100',
    ),
    Query("002:291", "sum(rate(claude_code_cost_usage_USD_total[1h])) * 3600"),
    Query(
        "002:298",
        '(sum(increase(claude_code_cost_usage_USD_total[$__range])) / sum(sum_over_time(claude_code_lines_of_code_count_total{type="added"}[$__range]))) * 1000',
        why="sum_over_time adds up a counter's samples, so it counts a line once a scrape",
        mended='(sum(increase(claude_code_cost_usage_USD_total[$__range])) / sum(increase(claude_code_lines_of_code_count_total{type="added"}[$__range]))) * 1000',
    ),
    Query(
        "002:466",
        "sum by (type) (sum_over_time(claude_code_lines_of_code_count_total[$__rate_interval]))",
        why="as 002:298",
        mended="sum by (type) (increase(claude_code_lines_of_code_count_total[$__rate_interval]))",
    ),
    Query(
        "002:473",
        "sum(increase(claude_code_commit_count[$__range]))",
        "nothing",
        why="as 002:222",
        mended="sum(increase(claude_code_commit_count_total[$__range]))",
    ),
    Query(
        "002:480",
        "sum(increase(claude_code_pull_request_count[$__range]))",
        "nothing",
        why="as 002:222",
        mended="sum(increase(claude_code_pull_request_count_total[$__range]))",
    ),
    Query(
        "002:487",
        'sum(sum_over_time(claude_code_lines_of_code_count_total{type="added"}[$__range])) / 75',
        why="as 002:298",
        mended='sum(increase(claude_code_lines_of_code_count_total{type="added"}[$__range])) / 75',
    ),
    Query(
        "002:496",
        'sum(claude_code_code_edit_tool_decision{decision="accept"}) / sum(claude_code_code_edit_tool_decision)',
        "nothing",
        why="as 002:222",
        mended='sum(claude_code_code_edit_tool_decision_total{decision="accept"}) / sum(claude_code_code_edit_tool_decision_total)',
    ),
    Query("002:519", "sum by (session_id) (claude_code_cost_usage_USD_total)"),
    Query("002:551", "sum(rate(claude_code_cost_usage_USD_total[1h])) * 3600 > 10", alert="HighHourlyCost", wait="5m"),
    Query(
        "002:559",
        "sum(increase(claude_code_cost_usage_USD_total[24h])) > 100",
        alert="DailyCostThreshold",
        wait="1m",
    ),
    Query(
        "002:572",
        '(sum(count_over_time({service_name="claude-code", event_name="tool_result"} | json | success="false" [5m])) / sum(count_over_time({service_name="claude-code", event_name="tool_result"} [5m]))) > 0.15',
        "refused",
        why="LogQL, which only Loki reads",
        alert="HighToolErrorRate",
        wait="2m",
    ),
    Query(
        "002:582",
        'sum(count_over_time({service_name="claude-code", event_name="tool_result", tool_name="Task"} | json | success="false" [10m])) > 5',
        "refused",
        why="LogQL, which only Loki reads",
        alert="SubagentFailureSpike",
        wait="1m",
    ),
    Query(
        "002:591",
        'sum(count_over_time({service_name="claude-code", event_name="api_error"} [5m])) > 10',
        "nothing",
        why="LogQL that is PromQL too; there is no such metric",
        alert="APIErrorSpike",
        wait="1m",
    ),
    Query(
        "002:604",
        "avg(duration_ms) by (tool_name) > 30000",
        "nothing",
        why="duration_ms is an attribute of the event tool_result, no metric",
        alert="SlowToolExecution",
        wait="5m",
    ),
    Query(
        "002:613",
        '(sum(rate(claude_code_token_usage_tokens_total{type="cacheRead"}[1h])) / sum(rate(claude_code_token_usage_tokens_total{type=~"input|cacheRead"}[1h]))) < 0.5',
        alert="LowCacheEfficiency",
        wait="30m",
    ),
    Query(
        "002:716",
        "label_values(claude_code_session_count, session_id)",
        "nothing",
        why="as 002:222",
        mended="label_values(claude_code_session_count_total, session_id)",
    ),
    Query("002:717", "label_values(claude_code_cost_usage_USD_total, model)"),
    Query("002:718", "label_values(tool_name)"),
    Query(
        "002:719",
        "label_values(claude_code_session_count, terminal_type)",
        "nothing",
        why="as 002:222",
        mended="label_values(claude_code_session_count_total, terminal_type)",
    ),
    Query("002:890", '{__name__=~"claude.*"}', "more", why="it asks for the framework family as well"),
    Query("002:907", '{__name__=~"claude_code.*"}'),
    Query("002:913", '{__name__=~"claude_code.*"}'),
    Query("002:931", "sum(claude_code_cost_usage_USD_total)"),
    Query("003:191", "claude_sessions_total", "ours", why="of the framework family"),
    Query(
        "003:604",
        "rate(claude_api_cost_usd_total[1h]) > 10",
        "ours",
        why="of the framework family; and rate is per second",
        alert="HighCost",
    ),
    Query(
        "003:609",
        "claude_agent_efficiency_score < 0.0001",
        "ours",
        why="of the framework family",
        alert="LowEfficiency",
    ),
    Query("004:447", "claude_code_token_usage_tokens_total"),
    Query("004:466", "sum(claude_code_cost_usage_USD_total)"),
    Query("004:472", "sum by (model)(claude_code_cost_usage_USD_total)"),
    Query("004:478", "sum by (type)(claude_code_token_usage_tokens_total)"),
    Query("004:484", "sum(increase(claude_code_cost_usage_USD_total[24h]))"),
    Query("004:490", "rate(claude_code_token_usage_tokens_total[5m]) * 60"),
    Query("004:496", "count(count by (user_id)(claude_code_cost_usage_USD_total))"),
    Query("004:502", "sum by (user_id)(claude_code_cost_usage_USD_total)"),
    Query("004:508", "sum(claude_code_session_count_total)"),
    Query("004:514", "sum(claude_code_lines_of_code_count_total)"),
    Query("004:520", "sum(claude_code_commit_count_total)"),
    Query("004:526", "sum(claude_code_pull_request_count_total)"),
    Query(
        "004:532",
        'sum(claude_code_token_usage_tokens_total{type="input"}) / sum(claude_code_token_usage_tokens_total{type="output"})',
    ),
    Query(
        "004:540",
        'sum(claude_code_token_usage_tokens_total{type="cacheRead"}) / sum(claude_code_token_usage_tokens_total{type="cacheCreation"})',
    ),
    Query("004:579", "sum(increase(claude_code_cost_usage_USD_total[$__range]))"),
    Query("004:580", "count(count by (user_id)(increase(claude_code_cost_usage_USD_total[$__range]) > 0))"),
    Query("004:581", "sum(increase(claude_code_token_usage_tokens_total[$__range]))"),
    Query("004:582", "sum(increase(claude_code_lines_of_code_count_total[$__range]))"),
    Query("004:583", "sum by (model)(increase(claude_code_cost_usage_USD_total[$__range]))"),
    Query("004:584", "sum by (type)(increase(claude_code_token_usage_tokens_total[$__range]))"),
    Query("004:585", "sum by (user_id)(increase(claude_code_cost_usage_USD_total[$__range]))"),
    Query("004:586", "sum by (type)(increase(claude_code_lines_of_code_count_total[$__range]))"),
    Query("004:620", "sum(increase(claude_code_cost_usage_USD_total[24h]))"),
    Query("004:631", "sum by (model)(claude_code_token_usage_tokens_total)"),
    Query("004:642", "topk(10, sum by (user_id)(claude_code_cost_usage_USD_total))"),
    Query("004:653", "sum(claude_code_session_count_total)"),
    Query("004:662", "sum(claude_code_cost_usage_USD_total) / sum(claude_code_pull_request_count_total)"),
    Query(
        "004:673",
        'sum(claude_code_token_usage_tokens_total{type="cacheRead"}) / (sum(claude_code_token_usage_tokens_total{type="cacheRead"}) + sum(claude_code_token_usage_tokens_total{type="cacheCreation"}))',
    ),
)
