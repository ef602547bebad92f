"""The bytes of messages: what is written is read back, and nothing else is."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.aggregation.secure.wire import MAGIC, Reader, Writer, bits_of, members_of
from tacit.errors import MalformedMessage

field = st.one_of(
    st.tuples(st.just("fixed"), st.binary(max_size=40)),
    st.tuples(st.just("number"), st.integers(0, 2**32 - 1)),
    st.tuples(st.just("real"), st.floats(allow_nan=False)),
    st.tuples(st.just("text"), st.text(max_size=20)),
)


@given(st.lists(field, max_size=8), st.integers(0, 255))
def test_what_is_written_is_read_back(fields, kind):
    writer = Writer(kind)
    for method, value in fields:
        getattr(writer, method)(value)
    reader = Reader(writer.done(), kind)
    for method, value in fields:
        found = reader.fixed(len(value)) if method == "fixed" else getattr(reader, method)()
        assert found == value
    reader.end()
    assert reader.left == 0


def test_numbers_are_big_endian_and_texts_carry_their_length():
    data = Writer(7).number(1).number(2, 8).text("ü").real(1.0).done()
    assert data == b"TSA1\x07" + b"\0\0\0\1" + bytes(7) + b"\2" + b"\0\2\xc3\xbc" + struct.pack(">d", 1.0)


@pytest.mark.parametrize(
    "data",
    [b"", b"TSA", MAGIC, MAGIC + b"\x08", b"TSA2\x07", b"tsa1\x07"],
    ids=["nothing", "half", "no kind", "other kind", "other version", "other protocol"],
)
def test_a_message_of_something_else_is_refused(data):
    with pytest.raises(MalformedMessage):
        Reader(data, 7)


@pytest.mark.parametrize("data", ["TSA1\x07", None, 5, bytearray(b"TSA1\x07"), [84, 83]])
def test_what_is_not_bytes_is_refused(data):
    with pytest.raises(MalformedMessage, match="give bytes"):
        Reader(data, 7)


def test_a_message_that_ends_early_says_how_much_is_missing():
    reader = Reader(Writer(7).fixed(b"abc").done(), 7)
    with pytest.raises(MalformedMessage, match="4 bytes are missing of which 3 are there"):
        reader.number()
    assert reader.fixed(3) == b"abc"


def test_bytes_after_the_end_are_refused():
    with pytest.raises(MalformedMessage, match="1 bytes follow"):
        Reader(Writer(7).fixed(b"x").done(), 7).end()


@pytest.mark.parametrize("bits", [0x7FF8000000000000, 0x7FF0000000000001, 0xFFFFFFFFFFFFFFFF])
def test_a_nan_is_refused_for_it_could_be_written_in_many_ways(bits):
    with pytest.raises(MalformedMessage, match="not a number"):
        Reader(Writer(7).number(bits, 8).done(), 7).real()


@pytest.mark.parametrize("data", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xc3"], ids=["byte", "long", "half", "cut"])
def test_a_text_has_one_way_to_be_written(data):
    with pytest.raises(MalformedMessage, match="UTF-8"):
        Reader(Writer(7).number(len(data), 2).fixed(data).done(), 7).text()


@given(st.integers(1, 2**32 - 1), st.integers(1, 1000), st.binary(max_size=64))
def test_a_count_is_believed_only_where_so_much_follows(claimed, each, rest):
    reader = Reader(Writer(7).number(claimed).fixed(rest).done(), 7)
    if claimed * each <= len(rest):
        assert reader.count(each) == claimed
    else:
        with pytest.raises(MalformedMessage, match=f"claims {claimed} entries"):
            reader.count(each)


def test_a_claimed_size_reserves_no_memory():
    data = Writer(7).number(2**32 - 1).done()
    text = Writer(7).number(2**16 - 1, 2).done()
    tracemalloc.start()
    try:
        with pytest.raises(MalformedMessage):
            Reader(data, 7).count(1)
        with pytest.raises(MalformedMessage):
            Reader(data, 7).view(2**40)
        with pytest.raises(MalformedMessage):
            Reader(text, 7).text()
        assert tracemalloc.get_traced_memory()[1] < 2**16
    finally:
        tracemalloc.stop()


@given(st.integers(1, 70).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_a_set_of_clients_is_read_back(case):
    size, members = case
    packed = bits_of(sorted(members), size)
    assert len(packed) == (size + 7) // 8
    assert members_of(packed, size) == tuple(sorted(members))


@given(st.integers(1, 70).flatmap(lambda n: st.tuples(st.just(n), st.binary(min_size=-(-n // 8), max_size=-(-n // 8)))))
def test_a_set_has_one_way_to_be_written(case):
    size, packed = case
    if int.from_bytes(packed, "little") >> size:
        with pytest.raises(MalformedMessage, match=f"there are {size} clients"):
            members_of(packed, size)
    else:
        assert bits_of(members_of(packed, size), size) == packed


@pytest.mark.parametrize("packed", [b"", b"\1", b"\1\0\0"])
def test_a_set_of_another_length_is_refused(packed):
    with pytest.raises(MalformedMessage, match="2 hold 10 clients"):
        members_of(packed, 10)


def test_number_i_of_a_set_is_bit_i_the_lowest_first():
    assert bits_of((0, 3, 9), 10) == bytes([0b1001, 0b10])
