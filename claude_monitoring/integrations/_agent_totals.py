"""The program's own totals, against which what was told of its requests is held."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from claude_monitoring._labels import as_text
from claude_monitoring.integrations._anthropic_bodies import as_mapping, tokens_of

if TYPE_CHECKING:
    from claude_monitoring._monitor import AgentMonitor
    from claude_monitoring.integrations._agent_items import Request

__all__ = ["Totals"]

_KEYS = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "cache_read_tokens": "cacheReadInputTokens",
    "cache_creation_tokens": "cacheCreationInputTokens",
    "cache_creation_1h_tokens": "cacheCreationEphemeral1hInputTokens",
}
_LEAST_USD = 1e-9


class Totals:
    """What was counted of each model in one run of the program.

    Args:
        is_whole: Whether the program began with nothing; one that goes on with a session has its totals of before.
    """

    def __init__(self, *, is_whole: bool) -> None:
        self._is_whole = is_whole
        self._counted: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._before: dict[str, dict[str, float]] = {}
        self._output_of_turn = 0.0

    def count(self, request: Request) -> None:
        """A request was told."""
        counted = self._counted[request.model]
        for key in _KEYS:
            counted[key] += request.tokens.get(key, 0)
        counted["cost_usd"] += request.cost_usd
        if not request.actor.agent_id:
            self._output_of_turn += request.tokens.get("output_tokens", 0)

    def complete(self, requests: list[Request], result: Any) -> None:
        """Give the turn's requests whose end nobody saw the output that the result has beyond the others."""
        own = [one for one in requests if not one.actor.agent_id and not one.is_void and one.failure is None]
        open_ones = [one for one in own if not one.is_final and one.tokens]
        if open_ones:
            known = self._output_of_turn + sum(one.tokens.get("output_tokens", 0) for one in own)
            missing = tokens_of(getattr(result, "usage", None))["output_tokens"] - known
            open_ones[-1].tokens["output_tokens"] += max(0, round(missing))

    def reconcile(self, result: Any, monitor: AgentMonitor) -> None:
        """Record what the program counted beyond the requests that were told: summaries, and the like."""
        self._output_of_turn = 0.0
        said = as_mapping(getattr(result, "model_usage", None))
        names = {name: self._name_of(name, as_mapping(usage)) for name, usage in said.items()}
        if set(self._counted) - set(names.values()):
            return  # it calls a model by another name: nobody can tell what is missing
        for name, usage in said.items():
            self._record_rest(names[name], as_mapping(usage), monitor)
        self._is_whole = True

    def _name_of(self, name: str, usage: Mapping[str, Any]) -> str:
        names = (name, name.partition("[")[0], as_text(usage.get("canonicalModel")))
        return next((one for one in names if one in self._counted), names[1])

    def _record_rest(self, model: str, usage: Mapping[str, Any], monitor: AgentMonitor) -> None:
        counted = self._counted[model]
        totals = {ours: _number(usage.get(theirs)) for ours, theirs in _KEYS.items()}
        totals["cost_usd"] = _number(usage.get("costUSD"))
        if not self._is_whole:
            self._before[model] = {key: max(0.0, value - counted[key]) for key, value in totals.items()}
        before = self._before.get(model, {})
        rest = {key: max(0.0, value - before.get(key, 0.0) - counted[key]) for key, value in totals.items()}
        cost = rest.pop("cost_usd")
        cost = cost if cost > _LEAST_USD else 0.0
        if any(rest.values()):
            tokens: dict[str, Any] = dict(rest)
            monitor.record_usage(model, **tokens, cost_usd=cost, query_source="auxiliary")
        elif cost:  # the program knows another price, or one where we know none
            monitor.record_cost(cost, model)
        for key, value in {**rest, "cost_usd": cost}.items():
            counted[key] += value


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
