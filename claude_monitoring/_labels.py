"""Labels as a caller gives them, made fit for export: the first step of the guard, normalise (design section 6).

Keys become text under one spelling, values plain and of bounded length, identifiers lower case, a file's path its
language, and what is private never leaves. Doing it twice is doing it once, and the order of the labels means nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from operator import itemgetter
from typing import Any

from claude_monitoring._catalog import ACCOUNT_KEYS, IDENTIFIERS, MetricSpec
from claude_monitoring._languages import file_type_of, language_of
from claude_monitoring._names import prometheus_label
from claude_monitoring._sealed import warn_once
from claude_monitoring.errors import CardinalityError
from claude_monitoring.types import AttributeValue, PrivateLabels

__all__ = [
    "MAX_CONTENT_CHARS",
    "MAX_NAME_CHARS",
    "MAX_VALUE_CHARS",
    "REDACTED",
    "LabelRules",
    "Pairs",
    "as_text",
    "content",
    "content_length",
    "identity",
    "monitor_labels",
    "plain",
    "renew_salt",
]

MAX_VALUE_CHARS = 128
MAX_CONTENT_CHARS = 61_440
"""Of one attribute of an event or a span, which may hold a prompt or an error's text (reference section 7)."""

MAX_NAME_CHARS = 1_024
"""Of the name of a span or an event."""

REDACTED = "__redacted__"
Pairs = tuple[tuple[str, AttributeValue], ...]
"""Label keys and plain values, sorted by key."""

_SEARCHED_CHARS = 8 * MAX_VALUE_CHARS  # a secret that begins within the part that is kept is seen as a whole
_MAX_SPELLINGS = 256
_MAX_KNOWN = 64
_PATH_LABEL = "file_path"
_IDENTIFIERS = frozenset(map(prometheus_label, IDENTIFIERS))
_SHORTEST_TOKEN = 15  # that is known by its shape alone; what is shorter has to say what it is
_MARKS = "@=: \t\n"
_salt = os.urandom(16)
_key: Callable[[tuple[str, Any]], str] = itemgetter(0)


def _as_text(value: object) -> str:
    return repr(plain(value))


def _path_text(path: object) -> str:
    """A path as text; whatever the host's own path raises, there is one."""
    try:
        return os.fsdecode(path)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - no path, or the host's own __fspath__
        return str(plain(path))


def renew_salt() -> None:
    """In a forked child: the hashes of private values of two processes can't be compared."""
    global _salt  # noqa: PLW0603 - one salt a process
    _salt = os.urandom(16)


def plain(value: object, max_chars: int = MAX_VALUE_CHARS) -> AttributeValue | None:
    """One label value as something that every exporter can carry; ``None`` means: leave the label out.

    Text is cut at ``max_chars`` and lone surrogates are replaced, integers beyond 64 bits and everything else
    become text. Whatever a value's own ``__str__`` raises, the label keeps a place holder with the type's name.
    """
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            return bool(value)
        if isinstance(value, int) and -(2**63) <= value < 2**63:
            return int(value)
        if isinstance(value, float):
            return float(value)
        # str() may hand out a subclass, whose methods are the host's.
        text = str.__str__(value if isinstance(value, str) else str(value))
    except Exception:  # noqa: BLE001 - the host's own methods, or an integer too long for Python to write out
        text = f"<{type(value).__name__}>"
    text = text[:max_chars]
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def as_text(value: object, max_chars: int = MAX_VALUE_CHARS) -> str:
    """``value`` as plain text of bounded length, whatever its own methods do; nothing for ``None``."""
    if value.__class__ is str and len(value) <= max_chars and value.isascii():
        return value
    found = plain(value, max_chars)
    return "" if found is None else str(found)


def content(value: object) -> str:
    """As ``as_text``, for prompts, answers and the texts of errors, which may be long."""
    return as_text(value, MAX_CONTENT_CHARS)


def content_length(value: object) -> int:
    """How many characters it has, before any cut."""
    return str.__len__(value) if isinstance(value, str) else len(content(value))


def identity(pairs: Pairs) -> tuple[object, ...]:
    """A dictionary key that keeps ``1``, ``1.0``, ``True`` and ``"1"`` apart, and takes every NaN for one value."""
    for _, value in pairs:
        if value.__class__ is not str:
            return tuple((key, value.__class__, repr(value)) for key, value in pairs)
    return pairs


def _clean(key: str, value: object, private: PrivateLabels, where: str, *, strict: bool) -> AttributeValue | None:
    """One value of the label ``key``, after every rule that looks at nothing but the two."""
    text = plain(value, _SEARCHED_CHARS)
    if not isinstance(text, str):
        return text
    fit = text.lower() if prometheus_label(key) in _IDENTIFIERS else text
    if key not in ACCOUNT_KEYS and (len(text) >= _SHORTEST_TOKEN or any(mark in text for mark in _MARKS)):
        from claude_monitoring._looks import private_kind  # its patterns take time to build

        kind = private_kind(text) or private_kind(fit)  # some secrets are known by their capitals
        if kind:
            return _hidden(key, fit, kind, private, where, strict=strict)
    if fit != text:
        warn_once(
            ("lower", key.removesuffix(".name")),
            f"claude_monitoring: {where}: {key} {text[:40]!r} is recorded as {fit[:40]!r}: identifiers are lower "
            "case, so that one that is spelled in two ways stays one; write it so to see the same name everywhere",
        )
    return fit[:MAX_VALUE_CHARS]


def _hidden(key: str, text: str, kind: str, private: PrivateLabels, where: str, *, strict: bool) -> str:
    advice = f"the label {key!r} holds {kind}, which belongs in no metric; leave it out, or give a team or a plan"
    if strict:
        raise CardinalityError(f"{where}: {advice}")
    shown = REDACTED
    if private == "hash":
        import hashlib  # slow to import

        shown = f"redacted-{hashlib.blake2b(text.encode(), key=_salt, digest_size=6).hexdigest()}"
    warn_once(
        ("private", where, key),
        f"claude_monitoring: {where}: {advice}. Sent is {shown if private == 'redact' else 'a salted hash'}",
    )
    return shown


def monitor_labels(
    labels: Mapping[str, object], private: PrivateLabels = "redact", as_given: Collection[str] = ()
) -> Pairs:
    """The attributes that a monitor gives to all of its series, sorted by key, without those that are ``None``.

    Those in ``as_given`` come from whoever runs the program, and are only made plain.
    """
    pairs: dict[str, AttributeValue] = {}
    for key, raw in labels.items():
        value = plain(raw) if key in as_given else _clean(key, raw, private, "the monitor", strict=False)
        if value is not None:
            pairs[key] = value
    return tuple(sorted(pairs.items(), key=_key))


class LabelRules:
    """How the labels of one metric are made fit.

    Args:
        spec: The metric; its own keys and the monitors' have their spelling already.
        private: What becomes of private values.
        allowed: The only keys that a caller may use; ``None`` allows all.
    """

    __slots__ = ("_allowed", "_known", "_name", "_path_becomes", "_private", "_spelled", "dropped")

    def __init__(self, spec: MetricSpec, private: PrivateLabels, allowed: Collection[str] | None) -> None:
        self._name = spec.name
        self._private = private
        self._spelled = {prometheus_label(key): key for key in (*spec.base_keys, *spec.keys)}
        self._path_becomes = "language" if "language" in spec.keys else "file_type"
        self._allowed = None if allowed is None else self._all_allowed({*allowed, *spec.base_keys})
        self._known: dict[object, Pairs] = {}
        self.dropped: dict[str, str] = {}
        """Keys that were left out, and why; for the report."""

    def apply(self, labels: Mapping[str, object], *, strict: bool = False) -> Pairs:
        """``labels`` in the order of their keys, with plain values and without those that are ``None``.

        Raises:
            CardinalityError: With ``strict``, for a private value and for a key that can't be used.
        """
        if strict:
            return self._apply(labels, strict=True)
        given = tuple(labels.items())
        try:
            known = self._known.get(given)
        except Exception:  # noqa: BLE001 - no hash, or the host's own __eq__
            known = None
        if known is not None:
            return known
        made = self._apply(labels, strict=False)
        # Only text: 1, 1.0 and True are equal as keys of a dictionary.
        if all(key.__class__ is str is value.__class__ for key, value in given):
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[given] = made
        return made

    def _apply(self, labels: Mapping[str, object], *, strict: bool) -> Pairs:
        pairs: dict[str, AttributeValue] = {}
        taken: dict[str, str] = {}
        for text, value in sorted(self._texts(labels).items()):
            label = prometheus_label(text)
            if self._allowed is not None and label not in self._allowed:
                self._leave_out(text, "is not among those allowed by labels=", strict)
            elif not text:
                self._leave_out(text, "has no name", strict)
            elif label in taken and label.strip("_"):
                self._leave_out(text, f"is the same as {taken[label]!r} in Prometheus", strict)
            else:
                key = self._spelling(text, label)
                cleaned = _clean(key, value, self._private, self._name, strict=strict)
                if cleaned is not None:
                    pairs[key], taken[label] = cleaned, text
        return tuple(sorted(pairs.items(), key=_key))

    def _all_allowed(self, keys: Collection[str]) -> set[str]:
        labels = {prometheus_label(key) for key in keys}
        return labels | {self._path_becomes} if _PATH_LABEL in labels else labels

    def _texts(self, labels: Mapping[str, object]) -> dict[str, Any]:
        """Keys as text, and the language of a file instead of its path, unless that is given as well."""
        found: dict[str, Any] = {}
        for raw, value in labels.items():
            if value is None:
                continue
            key = raw if raw.__class__ is str and len(raw) <= MAX_VALUE_CHARS and raw.isascii() else str(plain(raw))
            # Two keys may be one as text; which of the two stays must not depend on their order.
            found[key] = min(found[key], value, key=_as_text) if key in found else value
        paths = [key for key in found if prometheus_label(key) == _PATH_LABEL]
        for key in sorted(paths):
            path = found.pop(key)
            if not any(prometheus_label(other) == self._path_becomes for other in found):
                language = language_of if self._path_becomes == "language" else file_type_of
                found[self._path_becomes] = language(_path_text(path))
        return found

    def _spelling(self, text: str, label: str) -> str:
        """The key under which ``text`` is sent, as it was first spelled.

        Prometheus knows letters, digits and underscores alone, so ``session.id`` and ``session_id`` are one there.
        """
        if not label.strip("_"):  # no letter that Prometheus knows: nothing can be said about it
            return text
        first = self._spelled.get(label)
        if first is None:
            if len(self._spelled) >= _MAX_SPELLINGS:
                return text
            first = self._spelled.setdefault(label, text)  # another thread may have been first
        if first != text:
            warn_once(
                ("spelling", self._name, label),
                f"claude_monitoring: {self._name}: the label {text[:80]!r} is the same as {first[:80]!r} in "
                "Prometheus, so it is recorded as that; use one spelling",
            )
        return first

    def _leave_out(self, key: str, why: str, strict: bool) -> None:  # noqa: FBT001 - always passed on
        line = f"{self._name}: the label {key[:80]!r} is left out: it {why}"
        if strict:
            raise CardinalityError(line)
        if len(self.dropped) < _MAX_SPELLINGS:
            self.dropped[key] = why
        warn_once(("left out", self._name, key), f"claude_monitoring: {line}")
