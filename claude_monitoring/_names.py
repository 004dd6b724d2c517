"""How a metric's or a label's name looks in Prometheus. A foundation: it imports nothing of ours.

The rules are those of an OpenTelemetry Collector without a namespace (prometheus/otlptranslator, ``metric_namer.go``),
so that one query fits both ways in. Claude Code's own metrics follow Claude Code's own endpoint instead,
which keeps units out of names (reference section 10).
"""

from __future__ import annotations

import re
from typing import Literal

__all__ = ["prometheus_label", "prometheus_name", "prometheus_unit"]

_NATIVE_PREFIX = "claude_code."
_ODD = re.compile(r"[^A-Za-z0-9]+")
_ANNOTATION = re.compile(r"\{[^}]*\}")
_UNITS = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
    "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "TiBy": "tibibytes", "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes", "m": "meters",
    "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams", "Cel": "celsius", "Hz": "hertz",
    "%": "percent", "1": "",
}  # fmt: skip
_PER = {"s": "second", "m": "minute", "min": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}

Kind = Literal["counter", "up_down_counter", "gauge", "histogram"]


def _word(unit: str, table: dict[str, str]) -> str:
    return _ODD.sub("_", table.get(unit, unit)).strip("_")


def prometheus_unit(unit: str, kind: Kind = "counter") -> str:
    """The words for a UCUM unit: ``s`` is ``seconds``, ``By/s`` is ``bytes_per_second``, ``{token}`` is nothing."""
    if unit == "1" and kind == "gauge":
        return "ratio"
    main, _, per = (part.strip() for part in _ANNOTATION.sub("", unit).partition("/"))
    words = _word(main, _UNITS)
    return f"{words}_per_{_word(per, _PER)}".strip("_") if _word(per, _PER) else words


def prometheus_name(wire_name: str, unit: str, kind: Kind) -> str:
    """The name under which Prometheus shows a metric.

    Runs of characters that Prometheus does not take become one ``_``; the unit is added unless the name has its words;
    a counter ends in ``_total``, once. For a histogram it is the name before ``_bucket``, ``_sum`` and ``_count``.
    """
    words = [word for word in _ODD.split(wire_name) if word]
    if not wire_name.startswith(_NATIVE_PREFIX):
        main, _, per = prometheus_unit(unit, kind).partition("per_")
        main, per = main.strip("_"), f"per_{per}" if per else ""
        words += [part for part in (main, per) if part and part not in words and not _ends(words, part)]
    if kind == "counter":
        words = [*(word for word in words if word != "total"), "total"]
    name = "_".join(words) or "_"
    return f"_{name}" if name[0].isdigit() else name


def _ends(words: list[str], part: str) -> bool:
    return f"_{'_'.join(words)}".endswith(f"_{part}")


def prometheus_label(key: str) -> str:
    """The label for an attribute: ``agent.name`` is ``agent_name``; never empty, never reserved (``__x``)."""
    label = _ODD.sub("_", key) or "_"
    return f"_{label}" if label[0].isdigit() else label
