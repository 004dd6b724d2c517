"""An OTLP server inside the process, to see what a program really sends: gRPC and HTTP on loopback.

::

    with OtlpReceiver() as receiver:
        run_agent(endpoint=receiver.http_endpoint)
        receiver.wait_until(lambda seen: seen.total("claude.tasks", status="ok") == 3)

It shares no code with the exporters of this package, so it can be their witness. Nothing heavy (grpc, protobuf) is
loaded before ``OtlpReceiver`` is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claude_monitoring.receiver.model import Log, Point, Request, Span, SpanEvent
    from claude_monitoring.receiver.server import OtlpReceiver

__all__ = ["Log", "OtlpReceiver", "Point", "Request", "Span", "SpanEvent"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from claude_monitoring.receiver import model, server

    return getattr(server if name == "OtlpReceiver" else model, name)


def __dir__() -> list[str]:
    return list(__all__)
