"""Messages: what is written is read back, and nothing is believed that was not checked."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.network.office import Assignment, Blob, CheckIn, Code, Failure, Kind, Receipt, Refused, Reply, Withdrawal
from tacit.network.wire import Enrol, Problem, Upload, Uploaded, decode, encode
from tacit.network.wire import tacit_pb2 as pb
from tacit.network.wire.codec import FORMS, largest
from tests.network.wire.examples import VALUES

KINDS = st.sampled_from(list(VALUES))
GOOD = CheckIn("0" * 32, "1" * 64, bytes(64), "0.1", "eager", 5.0, ("2" * 32,), "why")


def code_of(kind: type[Any], data: bytes) -> Code:
    with pytest.raises(Refused) as refused:
        decode(kind, data)
    return refused.value.code


@given(KINDS.flatmap(lambda kind: VALUES[kind]))
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    assert decode(type(value), encode(value)) == value


def test_every_kind_of_message_is_tried_here() -> None:
    assert set(VALUES) == set(FORMS)


@settings(max_examples=300)
@given(kind=KINDS, data=st.binary(max_size=300))
def test_any_bytes_are_a_value_or_are_refused(kind: type[Any], data: bytes) -> None:
    with suppress(Refused):
        assert isinstance(decode(kind, data), kind)


@settings(max_examples=300)
@given(value=KINDS.flatmap(lambda kind: VALUES[kind]), other=KINDS, data=st.data())
def test_a_message_that_was_changed_or_meant_otherwise_is_a_value_or_is_refused(
    value: Any, other: type[Any], data: st.DataObject
) -> None:
    written = bytearray(encode(value))
    if written:
        at = data.draw(st.integers(0, len(written) - 1))
        written[at] ^= data.draw(st.integers(1, 255))
    for kind in (type(value), other):
        with suppress(Refused):
            assert isinstance(decode(kind, bytes(written)), kind)


def test_fields_of_a_later_version_are_ignored() -> None:
    later = bytes([0x9A, 0x06, 3]) + b"new"  # field 99, of length 3
    assert decode(CheckIn, encode(GOOD) + later) == GOOD


@pytest.mark.parametrize(
    "changes",
    [
        {"incarnation": ""},
        {"incarnation": "0" * 31},
        {"incarnation": "G" * 32},
        {"incarnation": "A" * 32},
        {"terms": "0" * 63},
        {"approval": bytes(63)},
        {"version": "v" * 257},
        {"engine": "e" * 257},
        {"note": "ü" * 2049},
        {"wait_ms": 25_001},
        {"working": ["2" * 32] * 65},
        {"working": ["2" * 31]},
    ],
)
def test_a_check_in_with_a_part_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    message = pb.CheckIn(incarnation="0" * 32)
    message.MergeFrom(pb.CheckIn(**changes)) if "incarnation" not in changes else None
    message = pb.CheckIn(**changes) if "incarnation" in changes else message
    assert code_of(CheckIn, message.SerializeToString()) is Code.MALFORMED


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Reply, pb.Reply()),
        (Reply, pb.Reply(state=9)),
        (Reply, pb.Reply(state=1, terms=pb.Blob(sha256="0"))),
        (Reply, pb.Reply(state=1, terms=pb.Blob(sha256="0" * 64, size=2**48 + 1))),
        (Reply, pb.Reply(state=1, wait_ms=86_400_001)),
        (Reply, pb.Reply(state=1, assignments=[pb.Assignment(id="0" * 32)])),
        (Reply, pb.Reply(state=1, assignments=[pb.Assignment(id="0" * 32, kind=99)])),
        (Reply, pb.Reply(state=1, assignments=[pb.Assignment(id="0" * 32, kind=1, payload=bytes(2**20 + 1))])),
        (Reply, pb.Reply(state=1, assignments=[pb.Assignment(id="0" * 32, kind=1, round=2**31)])),
        (
            Reply,
            pb.Reply(
                state=1,
                assignments=[
                    pb.Assignment(
                        id="0" * 32, kind=1, blobs=[pb.NamedBlob(name="down", blob=pb.Blob(sha256="0" * 64))] * 2
                    )
                ],
            ),
        ),
        (
            Reply,
            pb.Reply(
                state=1,
                assignments=[
                    pb.Assignment(
                        id="0" * 32,
                        kind=1,
                        blobs=[pb.NamedBlob(name="down", blob=pb.Blob(sha256="0" * 64, size=3), data=b"four")],
                    )
                ],
            ),
        ),
        (
            Receipt,
            pb.Receipt(
                reply=pb.Reply(
                    state=1,
                    assignments=[
                        pb.Assignment(
                            id="0" * 32,
                            kind=1,
                            blobs=[
                                pb.NamedBlob(
                                    name="d", blob=pb.Blob(sha256="0" * 64, size=2**16 + 1), data=bytes(2**16 + 1)
                                )
                            ],
                        )
                    ],
                )
            ),
        ),
        (Receipt, pb.Receipt(reply=pb.Reply(state=9))),
        (Failure, pb.Failure(kind=0)),
        (Failure, pb.Failure(kind=99)),
        (Enrol, pb.Enrol(token="t", name="", key=bytes(32))),
        (Enrol, pb.Enrol(token="t", name="a\nb", key=bytes(32))),
        (Enrol, pb.Enrol(token="t", name="n" * 65, key=bytes(32))),
        (Enrol, pb.Enrol(token="t", name="n", key=bytes(31))),
        (Upload, pb.Upload(assignment="0" * 32, sha256="0" * 64, length=2**63)),
        (Uploaded, pb.Uploaded(id="0" * 32, offset=2, length=1, chunk=1)),
        (Uploaded, pb.Uploaded(id="0" * 32, offset=0, length=1)),
        (Withdrawal, pb.Withdrawal(remains=["x"] * 65)),
        (Problem, pb.Problem(code=0)),
        (Problem, pb.Problem(code=99)),
    ],
)
def test_a_part_that_cannot_be_is_refused(kind: type[Any], message: Any) -> None:
    assert code_of(kind, message.SerializeToString()) is Code.MALFORMED


def test_a_message_that_is_too_long_is_not_parsed() -> None:
    for kind in FORMS:
        assert code_of(kind, bytes(largest(kind) + 1)) is Code.TOO_LARGE


def test_a_text_that_is_no_utf_8_is_refused() -> None:
    assert code_of(Failure, bytes([8, 1, 18, 1, 0xFF])) is Code.MALFORMED


def test_a_message_nested_without_end_is_refused() -> None:
    data = b""
    for _ in range(1000):
        data = bytes([0x22]) + _length(len(data)) + data  # field 4 of Reply, and unknown ones inside
    with suppress(Refused):
        decode(Reply, data)


def _length(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def test_our_own_sentences_are_cut_and_mended_rather_than_refused_by_the_other_side() -> None:
    long = replace(GOOD, note="ü" * 5000, wait=99.0)
    found = decode(CheckIn, encode(long))
    assert found.note == "ü" * 2048
    assert found.wait == 25.0
    assert decode(Failure, encode(Failure("data", "file \udcff"))).text == "file ?"
    assert decode(Receipt, encode(Receipt())) == Receipt()


def test_seconds_are_whole_milliseconds_on_the_wire() -> None:
    asked = Assignment("0" * 32, Kind.MASK, 1, 2, 1.23456, 10, b"p", {"down": Blob("1" * 64, 5)})
    assert decode(Reply, encode(Reply("training", assignments=(asked,)))).assignments[0].seconds == 1.235


def test_the_generated_code_is_that_of_the_committed_messages(tmp_path: Path) -> None:
    protoc = pytest.importorskip("grpc_tools.protoc", reason="grpcio-tools is not installed: nothing to generate with")
    source = Path(pb.__file__).parents[3]
    name = "tacit/network/wire/tacit.proto"
    options = [f"-I{source}", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", name]
    assert protoc.main(["protoc", *options]) == 0
    for suffix in ("_pb2.py", "_pb2.pyi"):
        made, kept = ((folder / name.replace(".proto", suffix)).read_text() for folder in (tmp_path, source))
        assert _code(made) == _code(kept), "the messages were changed: run `make protocol`"


def _code(text: str) -> list[str]:
    """The lines that do not depend on the version of the generator."""
    version = ("# Protobuf Python Version", "    7,", "    35,", "    1,")
    return [line for line in text.splitlines() if not line.startswith(version)]
