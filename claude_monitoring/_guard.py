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

    __slots__ = ("collapsed", "folded", "folding", "kept", "look", "sample", "told")

    def __init__(self) -> None:
        self.kept: dict[object, int] = {}
        self.folding = False
        """Whether a value that is not kept becomes ``__other__``."""
        self.folded = Sketch()
        """The values that became ``__other__``."""
        self.collapsed = False
        """Whether a series has ``__other__`` in it, or had."""
        self.told = False
        self.look = ""
        self.sample: AttributeValue | None = None

    def estimate(self) -> int:
        """How many different values there were: exact until the label folds, then an estimate."""
        return len(self.kept) + self.folded.estimate()

    def advice(self) -> str:
        """The label to use instead of one with too many values."""
        from claude_monitoring._looks import ANYTHING, look_of

        return ((self.sample is not None and look_of(self.sample)) or ANYTHING).instead

    @property
    def folds_as_given(self) -> bool:
        """Whether what a caller gives folds if it is not kept: it does not stand, cut or redacted, for what is."""
        return all(
            isinstance(value, str) and len(value) < MAX_VALUE_CHARS and not value.startswith((REDACTED, "redacted-"))
            for value in self.kept
        )


class Guard:
    """Decides on the labels of new series. Every call is made under the store's lock, and for new series only."""

    def __init__(self, spec: MetricSpec, bounds: Bounds) -> None:
        self.name = spec.name
        self.max_series = spec.max_series or bounds.max_series
        self.max_label_values = spec.max_label_values or bounds.max_label_values
        self.labels: dict[str, Label] = {}
        self.closed: set[str] = set()
        self.notices: list[tuple[object, str]] = []
        """What is to be logged, by its key for ``warn_once``."""
        self._margin = min(self.max_label_values, self.max_series // 10)
        # Closing a label needs no more places than there are series, so that up to half of the bound all is well.
        self._safe = max(0, self.max_series // 2 - self._margin - 16)
        self.looks_at = self._safe
        """Until there are so many series, one more fits for certain."""
        self._next: frozenset[str] = frozenset()
        """The labels that would be closed next, together."""

    def inspect(self, pairs: Pairs, *, strict: bool) -> None:
        """Name a label whose new value looks like one of a number without bound, once.

        Raises:
            CardinalityError: With ``strict``, instead.
        """
        for key, value in pairs:
            label = self.labels.get(key)
            if value == OTHER or (label is not None and _held(value) in label.kept):
                continue
            if label is not None and not strict and (label.look or label.folding):
                continue  # it was named already
            from claude_monitoring._looks import look_of  # its patterns take time to build

            look = look_of(value)
            if look is None:
                continue
            if strict:
                raise CardinalityError(f"{self.name}: the value {value!r} of the label {key!r} {look.why}")
            label = self._label(key)
            if label is None:
                continue
            label.look = look.words
            label.sample = value
            self._tell(key, value, f"{look.why}. Up to {self.max_label_values} values are kept")

    def collapse(self, pairs: Pairs) -> Pairs:
        """``pairs`` with ``__other__`` where a label has no place for its value; the same object where all have."""
        changed: list[tuple[str, AttributeValue]] | None = None
        for index, (key, value) in enumerate(pairs):
            label = self.labels.get(key)
            if label is None or value == OTHER:
                continue
            if label.folding and (held := _held(value)) not in label.kept:
                label.folded.add(held)
                if not label.told:
                    self._tell_folded(key, value)
            elif key not in self.closed:
                continue
            if changed is None:
                changed = list(pairs)
            changed[index] = (key, OTHER)
            label.collapsed = True
        return pairs if changed is None else tuple(changed)

    def has_room(self, count: int, series: Collection[Pairs], pairs: Pairs) -> bool:
        """Whether one more series fits beside ``count`` others, and what closing the next label would need as well.

        Below ``looks_at`` it does.

        Args:
            count: How many series there are, the overflow series left out.
            series: The labels of each.
            pairs: Those of the new one.
        """
        several = self._with_several_values(pairs)
        self._next = frozenset()
        if not several:
            return count < self.max_series - 1  # one place is the overflow series'
        needed = count
        for key in sorted(several, key=lambda key: (several[key], key), reverse=True):
            self._next |= {key}
            needed = _needed(self.closed | self._next, series)
            if needed <= self.max_series // 4:
                break  # else it goes with another, as an agent's name does with its sessions, and both have to close
        # The labels that stay open may get values yet; the fewer are left, the less is kept back for that.
        margin = self._margin >> 3 * len(self.closed)
        spare = self.max_series - 1 - len(several) - margin - count - needed
        if spare <= 0:
            return False
        self.looks_at = count + max(1, spare // 2)  # each new series takes one place, and may add one to what is needed
        return True

    def close_next(self, pairs: Pairs) -> bool:
        """Close the label of ``pairs`` that has the most values, and those that go with it.

        Returns:
            ``False`` if that would help no more.
        """
        values = dict(pairs)
        several = {key: n for key, n in self._with_several_values(pairs).items() if values.get(key, OTHER) != OTHER}
        if not several:
            return False
        first = max(several, key=lambda key: (several[key], key))
        together = self._next if first in self._next else frozenset((first,))
        self.closed |= together
        for key in together:
            label = self.labels[key]
            label.folding = True
            self._tell(
                key,
                values.get(key, label.sample),
                f"together with the other labels makes more than {self.max_series} series, and has the most values "
                f"(about {label.estimate()}). New combinations have {OTHER!r} in it; sums by other labels stay exact",
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
            if not label.kept and not label.collapsed and not label.look:
                del self.labels[key]
        # The next one may need a place for closing that this one did not.
        self.looks_at = max(self._safe, self.looks_at - 1)
        if self.closed and count < self.max_series // 2:
            self.closed.clear()
        for key, label in list(self.labels.items()):
            label.folding = key in self.closed or len(label.kept) >= self.max_label_values

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

    def _tell(self, key: str, value: AttributeValue | None, why: str) -> None:
        label = self.labels[key]
        if not label.told:
            label.told = True
            text = f"the label {key!r} (now {str(value)[:80]!r}) {why}. monitor.cardinality_report() has them all"
            self.notices.append((("label", self.name, key), f"claude_monitoring: {self.name}: {text}"))


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

    A look-up of labels that are not there answers with the series of ``__other__`` where labels fold: a label that
    explodes comes this way on every call.
    """

    __slots__ = ("_folds", "_takes_in")

    def __init__(self) -> None:
        super().__init__()
        self._folds: tuple[tuple[int, str, Label, dict[object, int], Any], ...] = ()
        self._takes_in: dict[tuple[Any, ...], object] = {}

    def fold(self, key: tuple[tuple[str, object], ...], labels: Mapping[int, Label], series: object) -> bool:
        """Remember that of labels like ``key`` the values at these places fold, and that ``series`` takes them in.

        Returns:
            Whether something is remembered that was not before.
        """
        if not all(label.folds_as_given for label in labels.values()):
            return False
        if any(index >= len(key) or key[index][0] != name for index, name, *_ in self._folds):
            self._folds, self._takes_in = (), {}  # labels in another order
        known = {fold[0]: fold for fold in self._folds}
        for index, label in labels.items():
            known[index] = (index, key[index][0], label, label.kept, label.folded.registers)
        others = tuple(None if index in labels else pair for index, pair in enumerate(key))
        self._folds = tuple(known.values())
        is_new = others not in self._takes_in
        self._takes_in[others] = series
        return is_new

    def __missing__(self, key: Any) -> Any:
        others = list(key)
        for index, name, label, kept, registers in self._folds:
            given, value = key[index]
            if given != name or not label.folding or value.__class__ is not str:
                raise KeyError(key)
            if value not in kept:
                others[index] = None
                mixed = hash(value)  # the lines of Sketch.add, of which a call would cost as much
                rest = mixed >> BITS
                rank = (rest & -rest).bit_length()
                if rank > registers[mixed & MASK]:  # noqa: PLR1730 - max() would cost more than the rest
                    registers[mixed & MASK] = rank
        return self._takes_in[tuple(others)]
