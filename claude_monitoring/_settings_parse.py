"""The kinds of value that a setting may have: how a variable's text and an argument's value are read.

Each reader raises ``ValueError`` with a reason that says what is accepted. A reason never holds a header's value
nor the user part of a URL.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from claude_monitoring._settings_url import parse_endpoint, redact, redact_url

__all__ = [
    "BOOLEAN", "COUNT", "ENDPOINT", "FILE", "HEADERS", "HOST", "INTERVAL", "LABELS", "PAIRS", "PORT", "TEXT", "TIMEOUT",
    "TOTAL", "WAIT", "Kind", "PartlyUsableError", "choice", "instance_of", "names",
]  # fmt: skip

Pairs = tuple[tuple[str, str], ...]


class PartlyUsableError(ValueError):
    """Some of a list can be used: ``value``; the text says what can't."""

    def __init__(self, reason: str, value: Any) -> None:
        super().__init__(reason)
        self.value = value


class Kind(NamedTuple):
    """One type of setting.

    ``parse`` reads the text of a variable, ``accept`` an argument; both raise ``ValueError`` with what is accepted.
    ``show`` is how a text is repeated in a message.
    """

    label: str
    parse: Callable[[str], Any]
    accept: Callable[[Any], Any]
    show: Callable[[str], str] = redact


def _textual(label: str, parse: Callable[[str], Any], *others: type, show: Callable[[str], str] = redact) -> Kind:
    """A kind whose arguments are text as in a variable, or already an instance of one of ``others``."""

    def accept(value: Any) -> Any:
        if isinstance(value, str):
            return parse(value.strip())
        if isinstance(value, others):
            return value
        raise ValueError(f"accepted is {label}, not {type(value).__name__}")

    return Kind(label, parse, accept, show)


def _did_you_mean(word: str, accepted: Iterable[str]) -> str:
    import difflib

    known = list(accepted)
    begun = [name for name in known if name.startswith(word)]
    close = begun or difflib.get_close_matches(word[:64], known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


# -- words ------------------------------------------------------------------------------------------

_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        hint = _did_you_mean(text.lower(), ("true", "false"))
        raise ValueError(f"accepted are 1, true, yes, on and 0, false, no, off{hint}") from None


def choice(accepted: Mapping[str, str]) -> Kind:
    """One of the words ``accepted``, in any case; the mapping says what each stands for."""
    listed = ", ".join(accepted)

    def parse(text: str) -> str:
        word = text.lower()
        if word not in accepted:
            raise ValueError(f"accepted are {listed}{_did_you_mean(word, accepted)}")
        return accepted[word]

    return _textual(f"one of {listed}", parse)


def names(*accepted: str, refused: Mapping[str, str] | None = None) -> Kind:
    """A comma-separated list of names, or ``none``; ``refused`` has the reason against a name known elsewhere."""
    listed = ", ".join((*accepted, "none"))

    def parse(text: str) -> tuple[str, ...]:
        words = [word for word in (part.strip().lower() for part in text.split(",")) if word]
        for word in words:
            if word not in accepted and word != "none":
                why = (refused or {}).get(word) or f"{redact(word)[:40]!r} is no exporter"
                raise ValueError(f"{why}; accepted are {listed}{_did_you_mean(word, accepted)}")
        return tuple(dict.fromkeys(word for word in words if word != "none"))

    def accept(value: Any) -> tuple[str, ...]:
        if isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value):
            return parse(",".join(value))
        if isinstance(value, str):
            return parse(value)
        raise ValueError(f"accepted is a list of {listed}, not {type(value).__name__}")

    return Kind(f"list of {listed}", parse, accept)


# -- numbers ----------------------------------------------------------------------------------------

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_WITH_UNIT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|sec|m|min|h)", re.IGNORECASE)
_UNIT_MS = {"ms": 1, "s": 1_000, "sec": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000}
_SHORTEST_S = 0.001
_LONGEST_S = 2_147_483.647  # 2**31 - 1 ms, what every timer of every platform can wait


def _duration(zero_s: float | None) -> Kind:
    """Milliseconds in a variable, seconds as an argument; ``zero_s`` is what 0 stands for, ``None`` if refused."""
    or_zero = "" if zero_s is None else ", or 0"

    def bounded(seconds: float, accepted: str) -> float:
        if seconds == 0 and zero_s is not None:
            return zero_s
        if not _SHORTEST_S <= seconds <= _LONGEST_S:
            raise ValueError(f"accepted is a number of {accepted}{or_zero}")
        return seconds

    def parse(text: str) -> float:
        if not _NUMBER.fullmatch(text):
            unit = _WITH_UNIT.fullmatch(text)
            hint = f"; write {float(unit[1]) * _UNIT_MS[unit[2].lower()]:.0f}" if unit else ""
            raise ValueError(f"accepted is a number of milliseconds{hint}")
        return bounded(float(text) / 1_000, "milliseconds from 1 to 2147483647")

    def accept(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"accepted is a number of seconds, not {type(value).__name__}")  # noqa: TRY004 - as text
        if value == zero_s == math.inf:
            return math.inf
        return bounded(float(value), "seconds from 0.001 to 2147483")

    return Kind("milliseconds", parse, accept)


def _integer(label: str, least: int, most: int) -> Kind:
    def accept(value: Any) -> int:
        if isinstance(value, str):
            value = int(value) if re.fullmatch("[0-9]{1,15}", value.strip()) else -1
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"accepted is a whole number from {least} to {most}")
        return value

    return Kind(label, accept, accept)


# -- lists of pairs ---------------------------------------------------------------------------------

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def _decoded(text: str) -> str:
    if "%" in text:
        from urllib.parse import unquote

        text = unquote(text)
    return text.strip()


def _header_pairs(pairs: Iterable[tuple[Any, Any]]) -> Pairs:
    found: dict[str, str] = {}
    for position, (key, value) in enumerate(pairs, 1):
        name = key.strip().lower() if isinstance(key, str) else ""
        if not _HEADER_NAME.fullmatch(name):  # what stands there may be a secret: it is not repeated
            raise ValueError(f"the name of header {position} is not one; accepted is name=value,name=value")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"the value of header {name[:40]!r} has a character that no header may have")
        found[name] = value.strip()
    return tuple(found.items())


def _headers(text: str) -> Pairs:
    """``k=v,k2=v2`` with percent-encoding, or as people write it: ``Authorization: Bearer x``."""
    pairs = []
    for position, entry in enumerate((part for part in text.split(",") if part.strip()), 1):
        separator = re.search("[=:]", entry)
        if separator is None:
            raise ValueError(f"header {position} has no '='; accepted is name=value,name=value")
        pairs.append((_decoded(entry[: separator.start()]), _decoded(entry[separator.end() :])))
    return _header_pairs(pairs)


def _accept_headers(value: Any) -> Pairs:
    if isinstance(value, str):
        return _headers(value)
    if isinstance(value, Mapping):
        return _header_pairs(value.items())
    raise ValueError(f"accepted is a mapping or name=value,name=value, not {type(value).__name__}")


def _resource(text: str) -> Pairs:
    found: dict[str, str] = {}
    bad: list[str] = []
    for entry in (part for part in text.split(",") if part.strip()):
        key, separator, value = entry.partition("=")
        if separator and _decoded(key):
            found[_valid_text(_decoded(key))] = _valid_text(_decoded(value))
        else:
            bad.append(repr(redact(entry.strip())[:40]))
    if bad:
        raise PartlyUsableError(
            f"no key or no '=' in {', '.join(bad[:3])}; accepted is key=value,key=value", tuple(found.items())
        )
    return tuple(found.items())


def _accept_resource(value: Any) -> Pairs:
    if isinstance(value, str):
        return _resource(value)
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    try:
        return tuple((_valid_text(str(key)), _valid_text(str(item))) for key, item in pairs)
    except (TypeError, ValueError):
        raise ValueError("accepted is a mapping or key=value,key=value") from None


# -- text -------------------------------------------------------------------------------------------


def _valid_text(text: str) -> str:
    """Without lone surrogates, which bytes that are no UTF-8 become in ``os.environ``: they can't be sent."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _host(text: str) -> str:
    if not re.fullmatch(r"[\w.:%-]+", text):
        raise ValueError("accepted is an address or host name, such as 0.0.0.0 or 127.0.0.1")
    return text


def _accept_labels(value: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Metric names and the label keys that each may have, as something hashable."""
    if not isinstance(value, Mapping):
        raise ValueError(  # noqa: TRY004 - as text
            f"accepted is a mapping of metric names to label keys, not {type(value).__name__}"
        )
    found = []
    for metric, keys in value.items():
        listed = list(keys) if isinstance(keys, Iterable) and not isinstance(keys, str | bytes) else None
        if not isinstance(metric, str) or listed is None or not all(isinstance(key, str) for key in listed):
            raise ValueError(f"for {metric!r} accepted is a list of label keys, such as ['model', 'status']")
        found.append((metric, tuple(sorted(listed))))
    return tuple(sorted(found))


def _file(text: str) -> str:
    if not os.path.isfile(text):  # noqa: PTH113 - pathlib costs import time and raises on a zero byte
        raise ValueError("accepted is the path of an existing file")
    return text


def _folder(text: str) -> str:
    path = os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111 - as above
    if os.path.exists(path) and not os.path.isdir(path):  # noqa: PTH110, PTH112
        raise ValueError("accepted is the path of a folder, or of one that can be made")
    return path


def _accept_folder(value: Any) -> str:
    try:
        return _folder(os.fspath(value))
    except TypeError:
        raise ValueError(f"accepted is the path of a folder, not {type(value).__name__}") from None


def instance_of(wanted: type) -> Kind:
    """Only an argument, of this type."""
    return _textual(wanted.__name__, _no_text, wanted)


def _no_text(_: str) -> Any:
    raise ValueError("text is not accepted here")


BOOLEAN = _textual("1, true, yes, on or 0, false, no, off", _boolean, bool)
INTERVAL = _duration(None)
TIMEOUT = _duration(math.inf)
WAIT = _duration(0.0)
COUNT = _integer("whole number", 1, 1_000_000)
TOTAL = _integer("whole number", 100, 10_000_000)
PORT = _integer("port", 0, 65_535)
TEXT = _textual("text", _valid_text)
HOST = _textual("address", _host)
FILE = _textual("file", _file, show=str)
FOLDER = Kind("folder", _folder, _accept_folder)
FOLDER_BYTES = _integer("bytes", 1_000_000, 10**12)
ENDPOINT = _textual("URL", parse_endpoint, show=redact_url)
HEADERS = Kind("list of name=value", _headers, _accept_headers, lambda _: "")
LABELS = Kind("mapping of metric names to label keys", _no_text, _accept_labels)
PAIRS = Kind("list of key=value", _resource, _accept_resource)
