"""Makes label sets safe to export: plain values, bounded length, a key that tells types apart.

This is the first bound only: values are made plain here, and ``_store`` keeps the number of series finite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter

from claude_monitoring.types import AttributeValue

__all__ = ["MAX_CONTENT_CHARS", "MAX_VALUE_CHARS", "Pairs", "identity", "normalise", "plain"]

MAX_VALUE_CHARS = 128
MAX_CONTENT_CHARS = 61_440
"""Of one attribute of an event or a span, which may hold a prompt or an error's text (reference section 7)."""

Pairs = tuple[tuple[str, AttributeValue], ...]
"""Label keys and plain values, sorted by key."""


def plain(value: object, max_chars: int = MAX_VALUE_CHARS) -> AttributeValue | None:
    """One label value as something that every exporter can carry; ``None`` means: leave the label out.

    Text is cut at ``max_chars`` and lone surrogates are replaced, integers beyond 64 bits and everything else
    become text. Whatever a value's own ``__str__`` raises, the label keeps a place holder with the type's name.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return int(value)
    if isinstance(value, float):
        return float(value)
    try:
        text = str.__str__(value) if isinstance(value, str) else str(value)
    except Exception:  # noqa: BLE001 - the host's own __str__, or an integer too long for Python to write out
        text = f"<{type(value).__name__}>"
    text = text[:max_chars]
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


_key: Callable[[tuple[str, AttributeValue]], str] = itemgetter(0)


def normalise(labels: Mapping[str, object]) -> Pairs:
    """Labels in the order of their keys, with plain values and without those that are ``None``."""
    pairs: dict[str, AttributeValue] = {}
    for key, raw in labels.items():
        value = plain(raw)
        if value is not None:
            pairs[key if key.__class__ is str and len(key) <= MAX_VALUE_CHARS else str(plain(key))] = value
    return tuple(sorted(pairs.items(), key=_key))


def identity(pairs: Pairs) -> tuple[object, ...]:
    """A dictionary key that keeps ``1``, ``1.0``, ``True`` and ``"1"`` apart, and takes every NaN for one value."""
    if all(value.__class__ is str for _, value in pairs):
        return pairs
    return tuple((key, value.__class__, repr(value)) for key, value in pairs)
