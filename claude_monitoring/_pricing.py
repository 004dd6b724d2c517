"""Tokens to US dollars: the caller's own table first, then ``genai-prices``, which is imported on first use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["PriceTable", "Tokens", "cost_usd"]

PriceTable = Mapping[str, Mapping[str, float]]
"""Model name to US dollars for a million tokens, by ``input``, ``output``, ``cache_read``, ``cache_creation``."""


class Tokens(NamedTuple):
    """Tokens of one call. ``input`` leaves those of the cache out, as Claude Code and Anthropic's API do."""

    input: float = 0
    output: float = 0
    cache_read: float = 0
    cache_creation: float = 0


def cost_usd(model: str, tokens: Tokens, own: PriceTable | None) -> float | None:
    """The list price of ``tokens``; ``None`` if nobody knows the model.

    ``genai-prices`` counts tokens of the cache as input too, so they are added for it
    (its convention is that of the GenAI semantic conventions).
    """
    if own is not None and model in own:
        prices = own[model]
        return sum(getattr(tokens, kind) * prices.get(kind, 0.0) for kind in Tokens._fields) / 1e6
    from genai_prices import Usage, calc_price

    whole = {name: int(value) for name, value in tokens._asdict().items()}
    usage = Usage(
        input_tokens=whole["input"] + whole["cache_read"] + whole["cache_creation"],
        output_tokens=whole["output"],
        cache_read_tokens=whole["cache_read"],
        cache_write_tokens=whole["cache_creation"],
    )
    try:
        return float(calc_price(usage, model).total_price)
    except LookupError:
        return None
