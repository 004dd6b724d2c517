"""Where the departures of one check are kept, each with its place."""

from __future__ import annotations

from claude_monitoring.conformance.items import Item, Value, Values, describe
from claude_monitoring.conformance.model import Departure

__all__ = ["Found"]


class Found(list[Departure]):
    """Departures in the order in which they were found."""

    def add(
        self, item: Item, kind: str, name: str, expected: str, found: object, *, attribute: str = "", path: str = ""
    ) -> None:
        """Keep one; ``path`` is that of the item if left out. ``found`` is shown as Python writes it."""
        shown = found if isinstance(found, Shown) else describe(found)
        self.append(
            Departure(kind, item.signal, name, attribute, expected, shown, item.source, item.request, path or item.path)
        )


class Shown(str):
    """Text that is shown as it is."""

    __slots__ = ()


def shown_values(values: Values) -> Shown:
    """Attributes on one line."""
    return Shown(", ".join(f"{key}={_plain(value)}" for key, value in sorted(values.items())) or "no attributes")


def _plain(value: Value) -> str:
    return value.text if value.type != "A" else describe(value)
