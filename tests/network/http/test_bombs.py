"""Row 6 of the faults: small bodies that would become large ones are refused before anything is made of them."""

from __future__ import annotations

import asyncio
import json
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tacit.errors import MalformedMessage
from tacit.learning.layout import Layout
from tacit.network.http.link import Link
from tacit.network.office import Blob, CheckIn, Code, Refused
from tacit.network.training import read_parts
from tacit.network.wire import Enrol, Upload, decode, encode
from tacit.network.wire import tacit_pb2 as pb
from tests.network.http.serving import ANSWER, Someone, asked, head, known, sent, served, written

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what a process held at most is told by Linux' /proc")
CHUNK = 2**24
GIGABYTE = 2**30
MOST = 48 * 2**20
"""Bytes by which memory may grow: all of one message of the largest kind, twice."""


def held() -> int:
    """The most bytes that this process held since `bounded` began."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


@contextmanager
def bounded(most: int = MOST) -> Iterator[None]:
    """A block in which memory does not grow by more than so many bytes, not for a moment."""
    Path("/proc/self/clear_refs").write_text("5")
    before = held()
    yield
    assert held() - before < most


def deflated() -> bytes:
    """A gigabyte of zeros, as DEFLATE has it: the same blocks again and again."""
    packing = zlib.compressobj(9, wbits=-15)
    first = packing.compress(bytes(CHUNK)) + packing.flush(zlib.Z_FULL_FLUSH)
    again = packing.compress(bytes(CHUNK)) + packing.flush(zlib.Z_FULL_FLUSH)
    return first + (GIGABYTE // CHUNK - 1) * again + packing.flush()


DEFLATED = deflated()
ZEROS = (128 * 2**10 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
"""A block of Zstandard: one byte, 128 KiB times."""
BOMBS = {
    "gzip": bytes.fromhex("1f8b08000000000000ff") + DEFLATED + bytes(8),
    "deflate": b"\x78\x9c" + DEFLATED,
    "br": DEFLATED,
    "zstd": bytes.fromhex("28b52ffd0058") + (GIGABYTE // 2**17) * ZEROS,
}
PLACES = [
    ("POST", "/v1/enrol"),
    ("POST", "/v1/check-in"),
    ("PUT", ANSWER),
    ("POST", f"{ANSWER}/failure"),
    ("POST", "/v1/uploads"),
]


def test_the_bombs_are_what_they_are_called() -> None:
    assert len(BOMBS["zstd"]) < 40_000
    unpacking, size, rest = zlib.decompressobj(wbits=-15), 0, DEFLATED
    while size < 2 * CHUNK:  # the others are the second one again
        size += len(unpacking.decompress(rest, 2**20))
        rest = unpacking.unconsumed_tail
    assert len(rest) > len(DEFLATED) * (1 - 3 * CHUNK / GIGABYTE)


@pytest.mark.parametrize("coding", BOMBS)
@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "chunked"])
def test_a_compressed_body_is_refused_as_it_is_and_nothing_is_unpacked(coding: str, chunked: bool) -> None:
    async def story() -> None:
        office, who = known()
        body = BOMBS[coding][: 2**20]
        async with served(office) as server:
            for method, path in PLACES:
                headers = head(who, method, path, body, content_encoding=coding)
                sending = body
                if chunked:
                    del headers["Content-Length"]
                    headers["Transfer-Encoding"] = "chunked"
                    sending = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
                assert (await sent(server, written(method, path, headers, sending))).code is Code.MALFORMED
                assert server.memory.free == server.memory.size
        assert not office.said
        assert not office.answers

    with bounded():
        asyncio.run(story())


def test_a_compressed_body_that_does_not_say_so_is_taken_as_the_bytes_that_it_is() -> None:
    async def story() -> None:
        office, who = known()
        async with served(office) as server:
            assert (await asked(server, who, "POST", "/v1/check-in", BOMBS["zstd"])).code is Code.MALFORMED
            assert (await asked(server, who, "PUT", ANSWER, BOMBS["gzip"])).status == 200
        assert office.answers == {"a" * 32: BOMBS["gzip"]}

    with bounded():
        asyncio.run(story())


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


WORKING = pb.CheckIn.DESCRIPTOR.fields_by_name["working"].number << 3 | 2
MESSAGES = {
    "a text of 2^60 bytes": bytes([10]) + varint(2**60) + b"x" * 100,
    "a text of 2^31 - 1 bytes": bytes([10]) + varint(2**31 - 1) + b"x" * 100,
    "thirty thousand empty entries": bytes([WORKING, 0]) * 30_000,
    "a group in a group in a group": bytes([15 << 3 | 3]) * 60_000,
    "unknown fields": bytes([15 << 3 | 2, 0]) * 30_000,
}


@pytest.mark.parametrize("what", MESSAGES)
@pytest.mark.parametrize("kind", [CheckIn, Enrol, Upload])
def test_a_small_message_that_claims_to_be_large_is_refused_in_small_memory(kind: type, what: str) -> None:
    with bounded():
        for _ in range(20):
            with pytest.raises(Refused) as refused:
                decode(kind, MESSAGES[what])
            assert refused.value.code is Code.MALFORMED


def safetensors(header: object, after: bytes = b"") -> bytes:
    """A file with this header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + after


def part(shape: list[int], end: int, kind: str = "F32") -> dict[str, object]:
    return {"x": {"dtype": kind, "shape": shape, "data_offsets": [0, end]}}


MODELS = {
    "a header of 2^63 bytes": (2**63).to_bytes(8, "little") + b"{}",
    "a header of 99 million bytes": (99_000_000).to_bytes(8, "little") + b"{}",
    "2^40 numbers": safetensors(part([2**40], 2**42), bytes(16)),
    "2^64 numbers, which are none": safetensors(part([2**32, 2**32], 0)),
    "numbers beyond the end": safetensors(part([4], 16), bytes(8)),
    "another shape, of no numbers": safetensors(part([2**40, 0], 0)),
    "a type of which one is a gigabyte": safetensors(part([4], 16, "F8388608"), bytes(16)),
    "lists in lists": safetensors(b"[" * 90_000),
    "twenty thousand names": safetensors(
        {str(k): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for k in range(20_000)}
    ),
    "no bytes": b"",
    "compressed": BOMBS["zstd"],
}


@pytest.mark.parametrize("what", MODELS)
def test_a_model_whose_header_claims_what_is_not_there_is_refused_before_room_is_made_for_it(what: str) -> None:
    layout = Layout.of(x=(4,))
    limit = MOST if what != "twenty thousand names" else 4 * MOST  # a megabyte and more that were sent and read
    with bounded(limit), pytest.raises(MalformedMessage):
        read_parts(MODELS[what], layout, torch.float32)


@contextmanager
def lying(reply: bytes, again: bytes = b"") -> Iterator[object]:
    """What a coordinator needs that sends this to whoever asks, and then `again` without an end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            while again:
                writer.write(again)
                await writer.drain()
            await writer.drain()
            await reader.read()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    yield serve


def answer(body: bytes, **headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize("coding", BOMBS)
def test_a_participant_unpacks_no_reply(coding: str) -> None:
    body = BOMBS[coding][: 2**21]
    reply = answer(body, content_encoding=coding, content_length=str(len(body)), connection="close")

    async def story(serve: object) -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:  # type: ignore[arg-type]
            port = server.sockets[0].getsockname()[1]
            async with Link(Someone(), url=f"http://127.0.0.1:{port}", insecure=True, patience=0.0) as link:
                with pytest.raises(Refused):
                    await link.check_in(CheckIn("0" * 32))
                with pytest.raises(Refused):
                    await link.blob(Blob("a" * 64, 1000))

    with bounded(), lying(reply) as serve:
        asyncio.run(story(serve))


def test_a_participant_reads_no_reply_without_an_end() -> None:
    reply = answer(b"", transfer_encoding="chunked")
    again = b"%x\r\n%s\r\n" % (2**20, bytes(2**20))

    async def story(serve: object) -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:  # type: ignore[arg-type]
            port = server.sockets[0].getsockname()[1]
            async with Link(Someone(), url=f"http://127.0.0.1:{port}", insecure=True, patience=0.0) as link:
                with pytest.raises(Refused, match="more than"):
                    await link.check_in(CheckIn("0" * 32))
                with pytest.raises(Refused, match="more than"):
                    await link.blob(Blob("a" * 64, 1000))
                with pytest.raises(Refused, match="more than"):
                    await link.ask("POST", "/v1/answers", Upload, encode(Upload("a" * 32, 1, "b" * 64)))

    with bounded(2 * MOST), lying(reply, again) as serve:
        asyncio.run(story(serve))
