"""The store seen through a host's own meter provider, for hosts that want our metrics in their pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from claude_monitoring._catalog import CATALOG
from claude_monitoring._store import Instrument, Store
from claude_monitoring._version import __version__

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

__all__ = ["observe"]

Callback = Callable[["CallbackOptions"], Iterable["Observation"]]


def observe(store: Store, provider: MeterProvider) -> None:
    """Let ``provider`` read every metric of ``store``, those of today and those still to come.

    Asynchronous instruments have limits: they know no histogram, so one is seen as the two counters ``<name>.count``
    and ``<name>.sum``; and the provider decides on start times, temporality and intervals. It does not say what it
    delivered, so series that ended stay, within the bounds.
    """
    store.lives.add_far_side()
    store.on_new_instrument(lambda instrument: _register(instrument, provider))
    for spec in CATALOG.values():
        if spec.is_about_ourselves:
            store.instrument(spec)


def _register(instrument: Instrument, provider: MeterProvider) -> None:
    spec = instrument.spec
    meter = provider.get_meter(spec.scope, __version__)
    if spec.kind == "histogram":
        counted = [_callback(instrument, lambda cell: sum(cell.buckets))]
        meter.create_observable_counter(f"{spec.name}.count", counted, "", f"{spec.description}: how often")
        summed = [_callback(instrument, lambda cell: cell.sum)]
        meter.create_observable_counter(f"{spec.name}.sum", summed, spec.unit, f"{spec.description}: sum")
        return
    create = {
        "counter": meter.create_observable_counter,
        "up_down_counter": meter.create_observable_up_down_counter,
        "gauge": meter.create_observable_gauge,
    }[spec.kind]
    create(spec.name, [_callback(instrument, float)], spec.unit, spec.description)


def _callback(instrument: Instrument, value_of: Callable[[Any], float]) -> Callback:
    def read(options: CallbackOptions) -> Iterable[Observation]:  # noqa: ARG001 - the API's signature
        from opentelemetry.metrics import Observation

        if instrument.spec.is_about_ourselves:
            instrument.store.report_itself()
        return [Observation(value_of(series.read()), series.attributes) for series in instrument.all_series()]

    return read
