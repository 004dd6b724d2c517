"""How much the guard keeps, as one frozen value. A foundation: it imports nothing of ours but types."""

from __future__ import annotations

from typing import NamedTuple

from claude_monitoring.types import Policy, PrivateLabels

__all__ = ["Bounds"]


class Bounds(NamedTuple):
    """What is kept of each metric, of each label of it, of all metrics together; and what happens past that.

    ``allowed`` names, for some metrics, the only labels that a caller may use.
    """

    max_series: int = 2_000
    max_label_values: int = 200
    max_total_series: int = 50_000
    policy: Policy = "collapse"
    private: PrivateLabels = "redact"
    allowed: tuple[tuple[str, tuple[str, ...]], ...] = ()
