"""Tokens to US dollars: the caller's own table first, then ``genai-prices``, which is imported on first use."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from types import ModuleType
from typing import NamedTuple

from claude_monitoring._once import once

__all__ = ["PriceTable", "PriceTableError", "Tokens", "cost_usd"]

PriceTable = Mapping[str, Mapping[str, float]]
"""Model name to US dollars for a million tokens, by ``input``, ``output``, ``cache_read``, ``cache_creation``, and, if
they cost more, ``cache_creation_1h``."""
_1H_WRITE = 2
"""A token written to the cache for an hour costs so many times what one of input does (Anthropic, "Prompt caching")."""


class PriceTableError(ValueError):
    """A row of the caller's price table that can't be used."""


class Tokens(NamedTuple):
    """Tokens of one call. ``input`` leaves those of the cache out, as Claude Code and Anthropic's API do.

    ``cache_creation_1h`` are those of ``cache_creation`` that live for an hour.
    """

    input: float = 0
    output: float = 0
    cache_read: float = 0
    cache_creation: float = 0
    cache_creation_1h: float = 0


def cost_usd(model: str, tokens: Tokens, own: PriceTable | None) -> float | None:
    """The list price of ``tokens``; ``None`` if nobody knows the model.

    ``genai-prices`` counts tokens of the cache as input too, so they are added for it
    (its convention is that of the GenAI semantic conventions).

    Raises:
        PriceTableError: ``own`` has the model, with a key or a price that means nothing.
    """
    if own is not None and model in own:
        prices = _checked_row(model, own[model])
        prices = {"cache_creation_1h": prices.get("cache_creation", 0.0), **prices}
        counts = {**tokens._asdict(), "cache_creation": tokens.cache_creation - tokens.cache_creation_1h}
        return math.fsum(count * prices.get(kind, 0.0) for kind, count in counts.items()) / 1e6
    genai = _genai_prices()
    whole = {name: int(value) for name, value in tokens._asdict().items()}
    short = max(0, whole["cache_creation"] - whole["cache_creation_1h"])
    usage = genai.Usage(
        input_tokens=whole["input"] + whole["cache_read"] + short,
        output_tokens=whole["output"],
        cache_read_tokens=whole["cache_read"],
        cache_write_tokens=short,
    )
    try:
        price = genai.calc_price(usage, model).total_price
        if whole["cache_creation_1h"]:
            for_an_hour = genai.Usage(input_tokens=whole["cache_creation_1h"])
            price += _1H_WRITE * genai.calc_price(for_an_hour, model).total_price
        return float(price)
    except LookupError:
        return None


@functools.cache
def _genai_prices() -> ModuleType:
    with once:
        import genai_prices
    return genai_prices


def _checked_row(model: str, row: object) -> Mapping[str, float]:
    if not isinstance(row, Mapping):
        raise PriceTableError(f"prices[{model!r}] is a mapping such as {{'input': 3, 'output': 15}}, got {row!r}")
    for kind, price in row.items():
        is_price = isinstance(price, int | float) and not isinstance(price, bool) and 0 <= price < math.inf
        if kind not in Tokens._fields or not is_price:
            raise PriceTableError(
                f"prices[{model!r}] has {kind!r}: {price!r}; its keys are {', '.join(Tokens._fields)}, "
                "its values US dollars for a million tokens"
            )
    return row
