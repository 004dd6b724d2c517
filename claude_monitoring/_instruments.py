"""From a name that a caller gives to the one metric that it means."""

from __future__ import annotations

import re
import threading

from claude_monitoring._catalog import CATALOG, MetricSpec
from claude_monitoring._names import prometheus_name
from claude_monitoring._store import Instrument, Store
from claude_monitoring.types import Kind

__all__ = ["InvalidNameError", "KindConflictError", "Registry", "registry_of"]

_VALID = re.compile(r"[A-Za-z][A-Za-z0-9_.\-/]{0,254}")
_MAX_OWN_METRICS = 1_000


class InvalidNameError(ValueError):
    """A metric name that OpenTelemetry would not take (specification: metrics/api.md, "Instrument name syntax")."""


class KindConflictError(ValueError):
    """A name that already belongs to a metric of another kind."""


def _meant_by(spec: MetricSpec) -> tuple[str, ...]:
    """The names that mean the metric: as Prometheus shows it, a counter with and without ``_total``."""
    name = prometheus_name(spec.name, spec.unit, spec.kind)
    return (name, name.removesuffix("_total")) if spec.kind == "counter" else (name,)


def _exposed(spec: MetricSpec) -> tuple[str, ...]:
    """Every name that Prometheus would show for the metric, family and samples; no other metric may have one."""
    names = _meant_by(spec)
    if spec.kind == "histogram":
        return (*names, *(f"{names[0]}_{part}" for part in ("bucket", "sum", "count")))
    return names


_CATALOG_NAMES = {name: spec for spec in CATALOG.values() for name in _meant_by(spec)}
_CATALOG_EXPOSED = {name: spec for spec in CATALOG.values() for name in _exposed(spec)}
# Claude Code's metrics as an OpenTelemetry Collector exposes them, with units.
_CATALOG_NAMES |= {
    "claude_code_cost_usage_USD_total": CATALOG["claude_code.cost.usage"],
    "claude_code_token_usage_tokens_total": CATALOG["claude_code.token.usage"],
    "claude_code_active_time_seconds_total": CATALOG["claude_code.active_time.total"],
}


def _check(name: object) -> str:
    if not isinstance(name, str):
        raise InvalidNameError(f"a metric name is text, got {name!r} ({type(name).__name__})")
    if not _VALID.fullmatch(name):
        mended = re.sub(r"[^A-Za-z0-9_.\-/]+", "_", name).lstrip("0123456789_.-/")[:255] or "my_metric"
        raise InvalidNameError(
            f"metric name {name[:80]!r} can't be used: it has to begin with a letter and go on with letters, digits, "
            f"'_', '.', '-' or '/', 255 characters at most; {mended!r} would do"
        )
    return name


def _wire(name: str) -> str:
    return name if name.startswith(("claude.", "claude_code.")) else f"claude.{name.removeprefix('claude_')}"


class Registry:
    """The metrics of one store by name; two never meet under one Prometheus name, whatever is mixed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.RLock()
        self._own: dict[str, MetricSpec] = {}
        self._own_exposed: dict[str, MetricSpec] = {}
        self._allowed = {prometheus_name(_wire(name), "", "gauge"): keys for name, keys in store.bounds.allowed}

    def of(self, spec_name: str) -> Instrument:
        """The instrument of a catalogue row, by its wire name."""
        return self._instrument(CATALOG[spec_name])

    def _instrument(self, spec: MetricSpec) -> Instrument:
        if not self._allowed:
            return self._store.instrument(spec)
        meant = (prometheus_name(spec.name, "", "gauge"), *_meant_by(spec))
        return self._store.instrument(
            spec, next((self._allowed[name] for name in meant if name in self._allowed), None)
        )

    def resolve(self, name: object, kind: Kind | None) -> Instrument:
        """The instrument that ``name`` means; ``kind=None`` takes the kind that it has, else a counter.

        A name that has the Prometheus name of a catalogue row is that row, so ``api_calls`` is
        ``claude.api.calls`` (design section 3b).

        Raises:
            InvalidNameError: The name can't be a metric's name.
            KindConflictError: The name belongs to another kind.
        """
        text = _check(name)
        wire = _wire(text)
        spec = CATALOG.get(wire) or self._own.get(wire)
        if spec is None:
            plain = prometheus_name(wire, "", "gauge")
            spec = _CATALOG_NAMES.get(plain) or self._own.get(plain) or self._add_own(wire, kind or "counter")
        if spec.is_about_ourselves:
            raise InvalidNameError(f"{text!r} is where this library tells about itself; give your metric another name")
        if kind is not None and spec.kind != kind and not (kind == "counter" and spec.kind == "up_down_counter"):
            raise KindConflictError(
                f"{text!r} is a {spec.kind.replace('_', '-')} ({spec.name}), so it can't be used as a {kind}; "
                f"its data are kept, give the {kind} another name"
            )
        return self._instrument(spec)

    def _add_own(self, wire: str, kind: Kind) -> MetricSpec:
        name = wire.removesuffix("_total") if kind == "counter" else wire
        spec = MetricSpec(name, kind, "", "")
        with self._lock:
            for meant in _meant_by(spec):
                same = _CATALOG_NAMES.get(meant) or self._own.get(meant)
                if same is not None and same.kind == kind:
                    return same
            for exposed in (*_exposed(spec), spec.name):
                other = _CATALOG_EXPOSED.get(exposed) or self._own_exposed.get(exposed)
                if other == spec:  # a signal handler made it a moment ago
                    return other
                if other is not None:
                    raise KindConflictError(
                        f"{wire!r} as a {kind} would be exposed as {exposed}, which belongs to the "
                        f"{other.kind.replace('_', '-')} {other.name}; give it another name"
                    )
            if len({id(own) for own in self._own.values()}) >= _MAX_OWN_METRICS:
                raise InvalidNameError(
                    f"metric {wire!r} is one too many: {_MAX_OWN_METRICS} names are in use; "
                    "put what varies into a label instead of the name"
                )
            self._own.update(dict.fromkeys((*_meant_by(spec), spec.name), spec))
            self._own_exposed.update(dict.fromkeys((*_exposed(spec), spec.name), spec))
        return spec


def registry_of(store: Store) -> Registry:
    """The registry that all monitors over ``store`` share.

    It is kept by the store: a weak dictionary would keep both for ever, since a registry knows its store.
    """
    found = store.companions.get("registry")
    return found if isinstance(found, Registry) else store.companions.setdefault("registry", Registry(store))
