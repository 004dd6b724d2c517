"""Where settings come from: arguments first, then variables; and the one line about each that can't be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from claude_monitoring._settings_parse import Kind, PartlyUsableError
from claude_monitoring._settings_table import ENV, EnvVar

__all__ = ["TURNED_OFF", "Source", "Sources"]

TURNED_OFF = "; turned off: "
"""Stands in a problem's line before what it turns off."""

_LONGEST_SHOWN = 80
_DEFAULTS = {row.field: row.kind.parse(row.default) if row.default else None for row in ENV}


@dataclass(slots=True)
class Source:
    """A variable or argument that is set. ``reason`` is empty if its value can be used.

    ``name`` is the setting's, ``label`` what a message calls it: the variable or argument, and its value.
    """

    name: str
    label: str
    value: Any = None
    reason: str = ""
    turns_off: list[str] = field(default_factory=list)
    instead: str = ""

    def line(self) -> str:
        """What is wrong and what happens instead."""
        outcome = f"; {self.instead}" if self.instead else "; nothing uses it now"
        if self.turns_off:
            outcome = TURNED_OFF + ", ".join(self.turns_off)
        return f"{self.label} can't be used: {self.reason}{outcome}"


class Sources:
    """Everything that is set, read once; ``ENV`` and ``extra``, which has no variables, say how."""

    def __init__(self, environ: Mapping[str, str], arguments: Mapping[str, object], extra: Mapping[str, Kind]) -> None:
        kinds = {row.field: row.kind for row in ENV} | dict(extra)
        if unknown := sorted(arguments.keys() - kinds.keys()):
            raise TypeError(f"Settings.load() has no setting {', '.join(unknown)}")
        self._arguments = {
            name: _argument(name, kinds[name], value) for name, value in arguments.items() if value is not None
        }
        self._variables = {
            row.field: _variable(row, text) for row in ENV if (text := environ.get(row.name, "").strip())
        }
        self._combined: dict[tuple[str, str], Source] = {}

    def find(self, *fields: str) -> Source | None:
        """The source that decides: the first of ``fields`` given as an argument, else the first set as a variable."""
        return next(iter(self.every(*fields)), None)

    def every(self, *fields: str) -> list[Source]:
        """Every source for ``fields``, the deciding one first."""
        return [found[name] for found in (self._arguments, self._variables) for name in fields if name in found]

    def given(self, name: str) -> bool:
        """Whether ``name`` is an argument."""
        return name in self._arguments

    def default(self, name: str) -> Any:
        """What the table has for a setting that is not set."""
        return _DEFAULTS.get(name)

    def value(self, name: str, default: Any = None) -> Any:
        """The value of a setting whose default is used where the given one can't be, which its line then says."""
        default = self.default(name) if default is None else default
        source = self.find(name)
        if source is None:
            return default
        if source.reason and source.value is None:
            source.instead = f"{_shown(default)} is used" if default not in (None, ()) else "it counts as unset"
            return default
        return source.value

    def clash(self, source: Source, reason: str) -> Source:
        """A problem that ``source``, good by itself, has together with what else is set."""
        return self._combined.setdefault((source.label, reason), Source(source.name, source.label, reason=reason))

    def problems(self) -> tuple[str, ...]:
        """One line for each source that can't be used, arguments first."""
        every = (*self._arguments.values(), *self._variables.values(), *self._combined.values())
        return tuple(source.line() for source in every if source.reason)


def _variable(row: EnvVar, text: str) -> Source:
    shown = row.kind.show(text)
    return _read(Source(row.field, f"{row.name}={_shown(shown)}" if shown else row.name), row.kind.parse, text)


def _argument(name: str, kind: Kind, value: object) -> Source:
    shown = kind.show(value) if isinstance(value, str) else value
    label = f"argument {name}={_shown(shown)}" if shown != "" or value == "" else f"argument {name}"
    return _read(Source(name, label), kind.accept, value)


def _read(source: Source, read: Any, value: object) -> Source:
    try:
        source.value = read(value)
    except PartlyUsableError as exc:
        source.value, source.reason, source.instead = exc.value, str(exc), "the other entries are kept"
    except (ValueError, OverflowError) as exc:
        source.reason = str(exc)
    return source


def _shown(value: object) -> str:
    """``value`` on one line and not too long; of a container only its type, since it may hold secrets."""
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}...")
    if isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 10**20):
        return repr(value)
    return f"<{type(value).__name__}>"
