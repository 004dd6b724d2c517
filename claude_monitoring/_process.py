"""The pipelines of this process, and what they need when it forks and when it ends."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from claude_monitoring import _labels, _sealed, _series
from claude_monitoring._pipeline import Pipeline
from claude_monitoring._sealed import Sealed, log
from claude_monitoring._settings import Settings
from claude_monitoring._store import Places

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

    from claude_monitoring.exporters.custom import CustomExporter

__all__ = ["acquire", "before_exit", "finish", "flush", "on_fork", "release"]

_lock = threading.RLock()
_pipelines: dict[object, Pipeline] = {}
_places = Places(lambda: [pipeline.store for pipeline in list(_pipelines.values())])
_after_fork: list[Callable[[], None]] = []
_before_exit: list[Callable[[], None]] = []
_forked = False
_finalizer: object = None


def acquire(
    settings: Settings, custom: Sequence[CustomExporter] = (), meter_provider: MeterProvider | None = None
) -> Pipeline:
    """The pipeline for these settings, made on first use; each ``acquire`` wants one ``release``."""
    with _lock:
        key = (
            settings._replace(exports_nothing=False, problems=()),
            tuple(id(exporter) for exporter in custom),
            id(meter_provider),
        )
        pipeline = _pipelines.get(key)
        if pipeline is None:
            pipeline = Pipeline(settings, custom, meter_provider, places=_places, forked=_forked)
            pipeline.key = key
            _pipelines[key] = pipeline
            _flush_at_the_end_of_a_worker()
        pipeline.users += 1
        return pipeline


def _flush_at_the_end_of_a_worker() -> None:
    """Forked workers end without ``atexit``: those of ``multiprocessing`` run finalizers instead, Celery's nothing.

    Celery's prefork pool (billiard) ends each of its processes by ``os._exit``; its signal is all that comes before.
    """
    global _finalizer  # noqa: PLW0603 - one a process, and forgotten in a forked child
    multiprocessing = sys.modules.get("multiprocessing")
    if _finalizer is None and multiprocessing is not None and multiprocessing.parent_process() is not None:
        from multiprocessing.util import Finalize

        _finalizer = Finalize(None, finish, exitpriority=100)
    shutdown = getattr(sys.modules.get("celery.signals"), "worker_process_shutdown", None)
    if shutdown is not None:
        shutdown.connect(_finish_celery_process, weak=False, dispatch_uid=__name__)


def _finish_celery_process(**_: Any) -> None:
    finish()


def release(pipeline: Pipeline, timeout_s: float) -> bool:
    """Give a pipeline back: its last user closes it, others flush it. Whether all was acknowledged in time."""
    with _lock:
        pipeline.users -= 1
        last = pipeline.users <= 0
        if last and _pipelines.get(pipeline.key) is pipeline:
            del _pipelines[pipeline.key]
    return pipeline.close(timeout_s) if last else pipeline.flush(timeout_s)


def on_fork(callback: Callable[[], None]) -> None:
    """Call ``callback`` in every forked child, after the pipelines of the parent were left behind."""
    _after_fork.append(callback)


def before_exit(callback: Callable[[], None]) -> None:
    """Call ``callback`` when the interpreter ends, before the last flush."""
    _before_exit.append(callback)


def _in_child() -> None:
    global _lock, _forked, _finalizer  # noqa: PLW0603 - the parent's lock may be held by a thread that does not exist here
    _lock = threading.RLock()
    _forked = True
    _finalizer = None
    _sealed.renew_lock()
    _series.renew_lock()
    _labels.renew_salt()
    for pipeline in list(_pipelines.values()):
        with Sealed():
            pipeline.leave_to_parent()
    _pipelines.clear()
    for callback in _after_fork:
        with Sealed():
            callback()


def flush() -> None:
    """Flush all pipelines at the same time, within one bound for all of them."""
    pipelines, deadline = _all_within_bound()
    asked = [ticket for pipeline in pipelines for ticket in pipeline.ask_flush(deadline)]
    for worker, ticket in asked:
        worker.wait_flushed(ticket, deadline)


def finish() -> None:
    """The end of the process: end sessions, flush and close all pipelines at the same time, within one bound."""
    for callback in _before_exit:
        with Sealed():
            callback()
    with Sealed():
        pipelines, deadline = _all_within_bound()
        asked = [(pipeline, pipeline.ask_flush(deadline, closing=True)) for pipeline in pipelines]
        for pipeline, tickets in asked:
            if not pipeline.finish_close(tickets, deadline):
                log.debug("not everything was acknowledged before the exit")


def _all_within_bound() -> tuple[list[Pipeline], float]:
    pipelines = list(_pipelines.values())
    bound_s = max((pipeline.settings.shutdown_timeout_s for pipeline in pipelines), default=0.0)
    return pipelines, time.monotonic() + bound_s


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_in_child)
atexit.register(finish)  # at import, so that it runs after the hooks that a host registers later
