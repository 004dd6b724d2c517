"""The guard of one metric: it bounds its series, and gives up one label's breakdown rather than all of them.

A label keeps the values that came first, up to its bound; later ones become ``__other__`` in that label alone, so
sums by every other label stay exact. Where labels that are bounded well make too many series by their product, the
label with the most values is closed: combinations that are new have ``__other__`` in it. What is counted here is what
is kept; a series that is let go gives its places back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from claude_monitoring._bounds import Bounds
from claude_monitoring._catalog import MetricSpec
from claude_monitoring._labels import MAX_VALUE_CHARS, REDACTED, Pairs
from claude_monitoring._sealed import warn_once
from claude_monitoring._sketch import BITS, MASK, Sketch
from claude_monitoring.errors import CardinalityError
from claude_monitoring.types import AttributeValue

__all__ = ["OTHER", "Guard", "Known", "Label"]

OTHER = "__other__"
_MOST_LABELS = 256


def _held(value: AttributeValue) -> object:
    """A value as a key of a dictionary, in which ``1``, ``1.0`` and ``True`` would be one."""
    return value if value.__class__ is str else (value.__class__, repr(value))


class Label:
    """One label of one metric: the values that it keeps, each with its number of series, and those that it saw."""

    __slots__ = ("folded", "folding", "kept", "look", "sample")

    def __init__(self) -> None:
        self.kept: dict[object, int] = {}
        self.folding = False
        """Whether a value that is not kept becomes ``__other__``."""
        self.folded = Sketch()
        """The values that became ``__other__``."""
        self.look = ""
        self.sample: AttributeValue | None = None

    def estimate(self) -> int:
        """How many different values there were: exact until the label folds, then an estimate."""
        return len(self.kept) + self.folded.estimate()


class Guard:
    """Decides on the labels of new series. Every call is made under the store's lock, and for new series only."""

    def __init__(self, spec: MetricSpec, bounds: Bounds) -> None:
        self.name = spec.name
        self.max_series = spec.max_series or bounds.max_series
        self.max_label_values = spec.max_label_values or bounds.max_label_values
        self.labels: dict[str, Label] = {}
        self.closed: set[str] = set()
        self._margin = min(self.max_label_values, self.max_series // 10)
        # Closing a label needs no more places than there are series, so that up to half of the bound all is well.
        self._safe = max(0, self.max_series // 2 - self._margin - 16)
        self._look_at = self._safe
        """Until there are so many series, one more fits for certain."""

    def inspect(self, pairs: Pairs, *, strict: bool) -> None:
        """Name a label whose new value looks like one of a number without bound, once.

        Raises:
            CardinalityError: With ``strict``, instead.
        """
        for key, value in pairs:
            label = self.labels.get(key)
            if value == OTHER or (label is not None and (_held(value) in label.kept or (label.look and not strict))):
                continue
            from claude_monitoring._looks import look_of  # its patterns take time to build

            look = look_of(value)
            if look is None:
                continue
            why = f"looks like {look.words}, of which there is no end; use {look.instead}"
            if strict:
                raise CardinalityError(f"{self.name}: the value {value!r} of the label {key!r} {why}")
            label = self._label(key)
            if label is None:
                continue
            label.look = look.words
            label.sample = value
            self._tell(key, value, f"{why}. Up to {self.max_label_values} values are kept")

    def collapse(self, pairs: Pairs) -> Pairs:
        """``pairs`` with ``__other__`` where a label has no place for its value; the same object where all have."""
        changed: list[tuple[str, AttributeValue]] | None = None
        for index, (key, value) in enumerate(pairs):
            label = self.labels.get(key)
            if label is None or value == OTHER:
                continue
            if label.folding and (held := _held(value)) not in label.kept:
                label.folded.add(held)
                if key not in self.closed:
                    self._tell_folded(key, value)
            elif key not in self.closed:
                continue
            if changed is None:
                changed = list(pairs)
            changed[index] = (key, OTHER)
        return pairs if changed is None else tuple(changed)

    def has_room(self, count: int, series: Iterable[Pairs], pairs: Pairs) -> bool:
        """Whether one more series fits beside ``count`` others, and what closing the next label would need as well.

        Args:
            count: How many series there are, the overflow series left out.
            series: The labels of each.
            pairs: Those of the new one.
        """
        if count < self._look_at:
            return True
        several = self._with_several_values(pairs)
        if not several:
            return count < self.max_series - 1  # one place is the overflow series'
        following = {*self.closed, _largest(several)}
        # The labels that stay open may get values yet; the fewer are left, the less is kept back for that.
        margin = self._margin >> 3 * len(self.closed)
        spare = self.max_series - 1 - len(several) - margin - count - _needed(following, series)
        if spare <= 0:
            return False
        self._look_at = count + max(1, spare // 2)  # each new series takes one place, and may add one to what is needed
        return True

    def close_next(self, pairs: Pairs) -> bool:
        """Close the label of ``pairs`` that has the most values; ``False`` if that would help no more."""
        keys = {key for key, value in pairs if value != OTHER}
        several = {key: values for key, values in self._with_several_values(pairs).items() if key in keys}
        if not several:
            return False
        key = _largest(several)
        self.closed.add(key)
        self.labels[key].folding = True
        self._tell(
            key,
            dict(pairs)[key],
            f"together with the other labels makes more than {self.max_series} series, and has the most values "
            f"(about {several[key]}). New combinations have {OTHER!r} in it; sums by the other labels stay exact",
        )
        return True

    def keeps(self, key: str, value: AttributeValue) -> bool:
        """Whether a series has this value."""
        label = self.labels.get(key)
        return label is not None and _held(value) in label.kept

    def admit(self, pairs: Pairs) -> None:
        """Count a new series."""
        for key, value in pairs:
            label = self.labels.get(key) or self._label(key)
            if label is None or value == OTHER:
                continue
            held = _held(value)
            label.kept[held] = label.kept.get(held, 0) + 1
            if label.sample is None:
                label.sample = value
            label.folding = label.folding or len(label.kept) >= self.max_label_values

    def release(self, pairs: Pairs, count: int) -> None:
        """Give back the places of a series that was let go; ``count`` are left."""
        for key, value in pairs:
            label = self.labels.get(key)
            held = _held(value)
            if label is None or held not in label.kept:
                continue
            label.kept[held] -= 1
            if not label.kept[held]:
                del label.kept[held]
            if not label.kept and not label.folded and not label.look:
                del self.labels[key]
        self._look_at = max(
            self._safe, self._look_at - 1
        )  # the next one may need a place for closing that this did not
        if self.closed and count < self.max_series // 2:
            self.closed.clear()
        for key, label in list(self.labels.items()):
            label.folding = key in self.closed or len(label.kept) >= self.max_label_values

    @staticmethod
    def advice(label: Label) -> str:
        """The label to use instead of one with too many values."""
        from claude_monitoring._looks import ANYTHING, look_of

        return ((label.sample is not None and look_of(label.sample)) or ANYTHING).instead

    def _label(self, key: str) -> Label | None:
        """The label's own record; ``None`` for one too many, of which nothing is known."""
        found = self.labels.get(key)
        if found is None and len(self.labels) < _MOST_LABELS:
            found = self.labels[key] = Label()
        return found

    def _with_several_values(self, pairs: Pairs) -> dict[str, int]:
        """The labels that are open and have two values or more, that of ``pairs`` included, with their number."""
        new = {key: _held(value) for key, value in pairs if value != OTHER}
        found = {}
        for key, label in list(self.labels.items()):  # a signal handler may add one
            if key not in self.closed:
                values = label.estimate() + (key in new and not label.folded and new[key] not in label.kept)
                if values > 1:
                    found[key] = values
        return found

    def _tell_folded(self, key: str, value: AttributeValue) -> None:
        from claude_monitoring._looks import ANYTHING, look_of

        look = look_of(value) or ANYTHING
        self._tell(
            key,
            value,
            f"has about {self.labels[key].estimate()} different values{look.as_remark}, and {self.max_label_values} "
            f"are kept. New ones become {OTHER!r} in this label alone; sums by the other labels stay exact. "
            f"Use {look.instead}",
        )

    def _tell(self, key: str, value: AttributeValue, why: str) -> None:
        warn_once(
            ("label", self.name, key),
            f"claude_monitoring: {self.name}: the label {key!r} (now {str(value)[:80]!r}) {why}. "
            "monitor.cardinality_report() has them all",
        )


def _largest(values: Mapping[str, int]) -> str:
    return max(values, key=lambda key: (values[key], key))


def _needed(closed: Collection[str], series: Iterable[Pairs]) -> int:
    """How many series would have to be made if every combination came again with the labels in ``closed`` closed."""
    there: set[Pairs] = set()
    wanted: set[Pairs] = set()
    for pairs in series:
        projected = tuple((key, OTHER if key in closed else value) for key, value in pairs)
        (there if projected == pairs else wanted).add(projected)
    return len(wanted - there)


class Known(dict[Any, Any]):
    """Labels as a caller gives them to their series, for one metric of one recorder.

    A look-up of labels that are not there answers with the series of ``__other__`` where one label folds: a label that
    explodes comes this way on every call.
    """

    __slots__ = ("_fold",)

    def __init__(self) -> None:
        super().__init__()
        self._fold: Any = None

    def fold(self, key: Any, index: int, label: Label, series: object) -> None:
        """Remember that of labels like ``key`` the value at ``index`` is folded, and that ``series`` takes it in."""
        if not all(
            isinstance(value, str) and len(value) < MAX_VALUE_CHARS and REDACTED not in value for value in label.kept
        ):
            return  # what a caller gives may stand for a value that is kept
        known = self._fold
        if known is None or known[2] is not label or (known[0], known[1]) != (index, key[index][0]):
            known = self._fold = (index, key[index][0], label, label.kept, label.folded.registers, {})
        known[5][key[:index] + key[index + 1 :]] = series

    def __missing__(self, key: Any) -> Any:
        index, name, label, kept, registers, by_others = self._fold  # None raises, and the caller goes the long way
        raw, value = key[index]
        if raw == name and label.folding and value.__class__ is str and value not in kept:
            series = by_others[key[:index] + key[index + 1 :]]
            mixed = hash(value)  # the lines of Sketch.add, of which a call would cost as much
            rest = mixed >> BITS
            rank = (rest & -rest).bit_length()
            if rank > registers[mixed & MASK]:  # noqa: PLR1730 - max() would cost more than the rest
                registers[mixed & MASK] = rank
            return series
        raise KeyError(key)
