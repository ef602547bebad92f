"""A TCP proxy that behaves like a bad network, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from dataclasses import dataclass

PIECE = 2**14


@dataclass
class Weather:
    """What the network does to what passes.

    Attributes:
        delay: seconds by which every piece comes later.
        stalled: nothing passes, nothing is refused: a black hole.
        down: connections are reset, and none is accepted.
        cut_after: bytes towards the coordinator after which a connection is reset; None for never.
        rate: bytes a second towards the coordinator; None for no limit.
        corrupt: every so many bytes towards participants one bit is turned; None for never.
        one_way: nothing passes towards participants, while all passes towards the coordinator.
    """

    delay: float = 0.0
    stalled: bool = False
    down: bool = False
    cut_after: int | None = None
    rate: float | None = None
    corrupt: int | None = None
    one_way: bool = False


class Proxy:
    """Listens at a port and passes everything on to another, as the weather is.

    Args:
        port: at which it listens.
        to: the port of the coordinator; may be changed, for new connections.
    """

    def __init__(self, port, to):
        self.port, self.to, self.weather = port, to, Weather()
        self.connections = 0
        self._open = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._accept, "127.0.0.1", port))

    def _call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def set(self, **weather):
        """Changes the weather; all that is not said is fair."""
        self.weather = Weather(**weather)
        if self.weather.down:
            self.reset()

    def reset(self):
        """Resets every connection."""

        async def all_of_them():
            for writer in list(self._open):
                _reset(writer)

        self._call(all_of_them())

    def close(self):
        async def end():
            self._server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        self.reset()
        self._call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _accept(self, reader, writer):
        self.connections += 1
        self._open.add(writer)
        other = None
        try:
            if self.weather.down:
                return
            ahead, other = await asyncio.open_connection("127.0.0.1", self.to)
            self._open.add(other)
            both = [
                asyncio.create_task(self._pass(reader, other, up=True)),
                asyncio.create_task(self._pass(ahead, writer, up=False)),
            ]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in both:
                task.cancel()
        except OSError:
            return
        finally:
            for one in (writer, other):
                if one is not None:
                    self._open.discard(one)
                    _reset(one)

    async def _pass(self, reader, writer, up):
        passed = 0
        try:
            while data := await reader.read(PIECE):
                weather = self.weather
                while self.weather.stalled or (self.weather.one_way and not up):
                    await asyncio.sleep(0.02)
                if weather.delay:
                    await asyncio.sleep(weather.delay)
                if up and weather.rate:
                    await self._slowly(data, writer, weather.rate)
                    continue
                passed += len(data)
                if up and weather.cut_after is not None and passed > weather.cut_after:
                    writer.write(data[: max(0, len(data) - (passed - weather.cut_after))])
                    await writer.drain()
                    return
                writer.write(data if up or not weather.corrupt else _turned(data, weather.corrupt))
                await writer.drain()
        except OSError:
            return

    async def _slowly(self, data, writer, rate):
        for at in range(len(data)):
            writer.write(data[at : at + 1])
            await writer.drain()
            await asyncio.sleep(1 / rate)


def _turned(data, every):
    """The bytes with a bit turned in every so many of them, beyond the head of a reply."""
    head = data.find(b"\r\n\r\n") + 4 if data.startswith(b"HTTP/") else 0
    wrong = bytearray(data)
    for at in range(head + every - 1, len(wrong), every):
        wrong[at] ^= 1
    return bytes(wrong)


def _reset(writer):
    """Ends a connection by RST, as a router does that has forgotten it."""
    found = writer.get_extra_info("socket")
    if found is not None and found.fileno() >= 0:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
