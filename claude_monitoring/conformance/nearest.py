"""The right name that is nearest to a wrong one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["is_near", "nearest"]


def nearest(wrong: str, right: Iterable[str]) -> str:
    """``; the nearest is ...``, or nothing where none is near."""
    by_folded = {name.casefold().replace("_", ".").replace("-", "."): name for name in right}
    found = get_close_matches(wrong.casefold().replace("_", ".").replace("-", "."), by_folded, n=1, cutoff=0.75)
    return f"; the nearest is {by_folded[found[0]]}" if found else ""


def is_near(wrong: str, right: Iterable[str]) -> bool:
    """Whether ``wrong`` is one of ``right`` but for a slip."""
    return bool(get_close_matches(wrong.casefold(), list(right), n=1, cutoff=0.9))
