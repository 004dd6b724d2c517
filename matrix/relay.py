"""A TCP port before a receiver: it keeps what clients send, ends TLS, and can be as slow and lossy as a long way."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

__all__ = ["DIRECT", "Connection", "Path", "Relay"]

_CHUNK_BYTES = 65536
_RETRANSMIT_S = 0.2
"""How late a lost segment comes: the least retransmission timeout of Linux (RFC 6298 asks for more)."""


@dataclass(frozen=True)
class Path:
    """A way to the far side, in each direction: as ``tc netem`` would make it.

    Attributes:
        delay_s: Mean delay.
        jitter_s: It varies by this much up and down, evenly.
        loss: Share of segments that are lost, and come again later.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0

    def __str__(self) -> str:
        return f"{self.delay_s * 1e3:g} ms delay, {self.jitter_s * 1e3:g} ms jitter and {self.loss:.1%} loss each way"


DIRECT = Path()


@dataclass
class Connection:
    """One connection, from its begin on.

    Attributes:
        opened_s: ``time.monotonic()`` when it was accepted (with TLS: when the handshake was over).
        tls: Version of TLS, empty without.
        alpn: What ALPN agreed on, empty without.
        sent: What the client sent, in clear.
    """

    opened_s: float
    tls: str = ""
    alpn: str = ""
    sent: bytearray = field(default_factory=bytearray)


class Relay:
    """Listens on ``host`` from ``start`` to ``close``, on an event loop.

    Args:
        host: Where to listen.
        port_for: The port on loopback that a connection goes on to, by what ALPN agreed on.
        tls: Ends TLS with this.
        path: The way that bytes take.
    """

    def __init__(
        self, host: str, port_for: Callable[[str], int], *, tls: ssl.SSLContext | None = None, path: Path = DIRECT
    ) -> None:
        self._host = host
        self._port_for = port_for
        self._tls = tls
        self._path = path
        self._random = random.Random(54)  # noqa: S311 - the same losses every time
        self._tasks: set[asyncio.Task[None]] = set()
        self._used = asyncio.Event()
        self.connections: list[Connection] = []

    async def start(self, port: int = 0) -> int:
        """Listen; the port."""
        self._server = await asyncio.start_server(self._serve, self._host, port, ssl=self._tls)
        return int(self._server.sockets[0].getsockname()[1])

    async def go_away(self, after_s: float, for_s: float) -> None:
        """Some time after the first connection, stop listening for a while: a collector that restarts."""
        await self._used.wait()
        await asyncio.sleep(after_s)
        port = self._server.sockets[0].getsockname()[1]
        await self.close()
        await asyncio.sleep(for_s)
        await self.start(port)

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(asyncio.CancelledError):  # by ``close``; asyncio before 3.12 prints a traceback for it
                await self._pass_on(reader, writer)
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(time.monotonic())
        secure = writer.get_extra_info("ssl_object")
        if secure is not None:
            connection.tls, connection.alpn = secure.version(), secure.selected_alpn_protocol() or ""
        self.connections.append(connection)
        self._used.set()
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port_for(connection.alpn))
            ways = [
                asyncio.create_task(self._pump(reader, far_writer, connection.sent)),
                asyncio.create_task(self._pump(far_reader, writer, None)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait(ways, timeout=self._path.delay_s + self._path.jitter_s + _RETRANSMIT_S)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                far_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keep: bytearray | None) -> None:
        """Pass on what is read, in order, each chunk after its delay; then the end of the stream."""
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due_s, chunk = await chunks.get()
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                if not chunk:
                    break
                writer.write(chunk)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()

        delivery = asyncio.create_task(deliver())
        try:
            with suppress(OSError):
                while chunk := await reader.read(_CHUNK_BYTES):
                    if keep is not None:
                        keep += chunk
                    chunks.put_nowait((time.monotonic() + self._late_s(), chunk))
            chunks.put_nowait((time.monotonic() + self._late_s(), b""))
            with suppress(OSError):
                await delivery
        finally:
            delivery.cancel()

    def _late_s(self) -> float:
        path = self._path
        lost_s = _RETRANSMIT_S if self._random.random() < path.loss else 0.0
        return lost_s + max(0.0, path.delay_s + self._random.uniform(-path.jitter_s, path.jitter_s))
