"""The check of a whole: each request as it comes, then what only all of them together can show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.message import Message

from claude_monitoring._catalog import FRAMEWORK_SCOPE
from claude_monitoring.conformance.across import Across
from claude_monitoring.conformance.attributes import check_attributes
from claude_monitoring.conformance.check_logs import check_log, check_own_log
from claude_monitoring.conformance.check_metrics import check_metric, check_own_metric
from claude_monitoring.conformance.check_spans import check_span
from claude_monitoring.conformance.found import Found, Shown
from claude_monitoring.conformance.items import Item, items, values_of
from claude_monitoring.conformance.model import Departure
from claude_monitoring.conformance.nearest import is_near
from claude_monitoring.conformance.reading import UnusableInputError, decode_body, signal_of
from claude_monitoring.conformance.rules import (
    NOT_IN_RESOURCE,
    RESOURCE,
    SCOPE_VERSION,
    SCOPES,
    TRACING_SCOPE_VERSION,
)
from claude_monitoring.receiver.model import Request

__all__ = ["Checker", "check"]

_NATIVE_NAME = re.compile(r"claude[\W_]?code\b|claude_code", re.IGNORECASE)


def check(requests: Iterable[Any]) -> list[Departure]:
    """Every departure from Claude Code's conventions in ``requests``; an empty list if there is none.

    Args:
        requests: Of all signals, in the order in which they were sent. Each is an OTLP/JSON body as ``json.loads``
            gives it, a decoded ``Export...ServiceRequest``, or a ``Request`` of ``OtlpReceiver.requests``.

    Returns:
        Departures item by item, then those that the requests show together: sequences, parents, missing points.

    Raises:
        UnusableInputError: One of the requests is no OTLP.
    """
    checker = Checker()
    for request in requests:
        checker.add(request)
    return checker.departures()


class Checker:
    """The same as ``check`` for requests that come one by one.

    Attributes:
        requests: How many were added.
        checked: How many metrics, log records and spans of Claude Code's family or of ours were looked at.
        foreign: How many belong to neither, and were left alone.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.checked = 0
        self.foreign = 0
        self._found = Found()
        self._across = Across()

    def add(self, request: Any, source: str = "", index: int | None = None) -> None:
        """Look at one request.

        Args:
            request: As for ``check``.
            source: The file that it came from.
            index: Its index there; the number of requests so far if left out.

        Raises:
            UnusableInputError: It is no OTLP.
        """
        index = self.requests if index is None else index
        self.requests += 1
        if isinstance(request, Request):
            if request.message is None or not request.accepted:
                self._refused(request, source, index)
                return
            request = request.message
        if isinstance(request, Message):
            signal = signal_of(request)
            messages = [(signal, request)] if signal is not None else []
        elif isinstance(request, Mapping):
            messages = decode_body(request, f"{source or 'request'}[{index}]")
        else:
            messages = []
        if not messages:
            raise UnusableInputError(
                f"{source or 'request'}[{index}]: expected an OTLP/JSON body, a decoded OTLP request or a request of "
                f"OtlpReceiver, found {type(request).__name__}"
            )
        for signal, message in messages:
            self._message([*items(signal, message, source, index)])

    def departures(self) -> list[Departure]:
        """All that was found so far; more requests may be added afterwards."""
        return [*self._found, *self._across.departures()]

    def _refused(self, request: Request, source: str, index: int) -> None:
        expected = "an OTLP request at /v1/metrics, /v1/logs or /v1/traces, or the same over gRPC"
        found = f"{request.path!r} ({request.protocol}), answered with {request.status}"
        self._found.append(
            Departure("unusable request", request.signal or "", "", "", expected, found, source, index, "")
        )

    def _message(self, whole: list[Item]) -> None:
        native: list[Item] = []
        scopes: dict[str, Item] = {}
        resources: dict[str, Item] = {}
        for item in whole:
            family = _family(item)
            if family == "foreign":
                self.foreign += 1
                self._across.add_foreign(item)
                continue
            self.checked += 1
            resources.setdefault(item.resource_path, item)
            if family == "native":
                native.append(item)
                scopes.setdefault(item.part_path, item)
                _NATIVE[item.signal](item, self._found)
            elif item.signal in _OWN:
                _OWN[item.signal](item, self._found)
            else:
                self._across.add_foreign(item)
            self._across.add(item, native=family == "native")
        for item in resources.values():
            _check_resource(item, self._found)
        for item in scopes.values():
            _check_scope(item, self._found)
        self._across.switches(native, self._found)


_NATIVE = {"metrics": check_metric, "logs": check_log, "traces": check_span}
_OWN = {"metrics": check_own_metric, "logs": check_own_log}


def _family(item: Item) -> str:
    """``native``, ``own`` or ``foreign``, by the scope, or by a name that can mean nothing else."""
    name = item.raw.body.string_value if item.signal == "logs" else item.raw.name
    if item.scope_name in SCOPES.values() or _NATIVE_NAME.match(name):
        return "native"
    if item.scope_name == FRAMEWORK_SCOPE:
        return "own"
    return "native" if is_near(item.scope_name, SCOPES.values()) else "foreign"


def _check_scope(item: Item, found: Found) -> None:
    scope, path = item.part.scope, f"{item.part_path}.scope"
    right = SCOPES[item.signal]
    if scope.name != right:
        found.add(item, "scope name", "scope", right, scope.name, path=path)
    pattern = TRACING_SCOPE_VERSION if item.signal == "traces" else SCOPE_VERSION
    if not re.fullmatch(pattern, scope.version):
        expected = "1.0.0" if item.signal == "traces" else "the program's version, such as 2.1.330"
        found.add(item, "scope version", "scope", expected, scope.version, path=path)
    if scope.attributes:
        found.add(item, "extra attribute", "scope", "no attributes", Shown(scope.attributes[0].key), path=path)
    for part, where in ((item.part, item.part_path), (item.resource, item.resource_path)):
        if part.schema_url:
            found.add(item, "schema URL", "scope", "none", part.schema_url, path=where)


def _check_resource(item: Item, found: Found) -> None:
    path = f"{item.resource_path}.resource"
    values, twice = values_of(item.resource.resource.attributes)
    for key in twice:
        found.add(item, "repeated attribute", "resource", "each key once", Shown("twice"), attribute=key, path=path)
    for key in values:
        if key.startswith(NOT_IN_RESOURCE):
            found.add(item, "extra attribute", "resource", "none of that name", values[key], attribute=key, path=path)
    for fault in check_attributes(values, RESOURCE, others=values):
        found.add(
            item, fault.kind, "resource", fault.expected, Shown(fault.found), attribute=fault.attribute, path=path
        )
