"""The program's own totals, against which what was told of its requests is held."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from claude_monitoring._labels import as_text
from claude_monitoring._sealed import warn_once
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
_MOST_AT_ALL = 1e300
_MOST = 10**9  # of tokens, or US dollars, in one turn; nothing comes near it


class Totals:
    """What was counted of each model in one run of the program.

    Args:
        is_whole: Whether the program began with nothing; one that goes on with a session has its totals of before.
    """

    def __init__(self, *, is_whole: bool) -> None:
        self._is_whole = is_whole
        self._counted: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._before: dict[str, dict[str, float]] = {}
        self._names: dict[str, str] = {}
        self._output_of_turn = 0.0

    def count(self, request: Request) -> None:
        """A request was told."""
        counted = self._counted[self._names.get(request.model, request.model)]
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
        known = {self._name_of(as_text(name), as_mapping(usage)): as_mapping(usage) for name, usage in said.items()}
        self._rename(known)
        if set(self._counted) - set(known):
            return  # it calls a model by another name: nobody can tell what is missing
        for name, usage in known.items():
            self._record_rest(name, usage, monitor)
        self._is_whole = self._is_whole or bool(known)

    def _rename(self, known: Mapping[str, Mapping[str, Any]]) -> None:
        """A gateway may answer under another name than was asked; it is that of the one model that lacks as much."""
        unknown = [name for name in self._counted if name not in known]
        rests = {name: self._rest(name, usage) for name, usage in known.items()}
        lacking = [name for name, rest in rests.items() if any(rest[key] for key in _KEYS)]
        lacks = {key: sum(self._counted[name][key] for name in unknown) for key in _KEYS}
        if len(lacking) == 1 and all(rests[lacking[0]][key] >= value for key, value in lacks.items()):
            for name in unknown:
                self._names[name] = lacking[0]
                for key, value in self._counted.pop(name).items():
                    self._counted[lacking[0]][key] += value

    def _name_of(self, name: str, usage: Mapping[str, Any]) -> str:
        names = (name, name.partition("[")[0], as_text(usage.get("canonicalModel")))
        return next((one for one in names if one in self._counted), names[1])

    def _record_rest(self, model: str, usage: Mapping[str, Any], monitor: AgentMonitor) -> None:
        if not self._is_whole:
            self._before[model] = self._rest(model, usage)
        rest = self._rest(model, usage)
        counted = self._counted[model]
        for key, value in rest.items():
            counted[key] += value
        if max(rest.values()) > _MOST:
            warn_once(
                ("claude_agent_sdk totals", model),
                f"claude_monitoring: Claude Code says that a turn took {rest} of {model}: it is left out",
            )
            return
        cost: float | None = rest.pop("cost_usd")
        if model in (monitor._prices or ()):
            cost = None  # the host knows better what it pays
        if any(rest.values()):
            tokens: dict[str, Any] = dict(rest)
            monitor.record_usage(model, **tokens, cost_usd=cost, query_source="auxiliary")
        elif cost is not None and cost > _LEAST_USD:  # the program knows another price, or one where we know none
            monitor.record_cost(cost, model)

    def _rest(self, model: str, usage: Mapping[str, Any]) -> dict[str, float]:
        """What the program counted beyond what was counted here."""
        counted, before = self._counted[model], self._before.get(model, {})
        totals = {ours: _number(usage.get(theirs)) for ours, theirs in {**_KEYS, "cost_usd": "costUSD"}.items()}
        return {key: max(0.0, value - before.get(key, 0.0) - counted[key]) for key, value in totals.items()}


def _number(value: object) -> float:
    is_amount = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST_AT_ALL
    return float(value) if is_amount else 0.0  # type: ignore[arg-type]
