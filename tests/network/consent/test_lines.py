"""Lines that are only ever added to: torn ends are seen and written over, and several processes may write."""

from __future__ import annotations

import multiprocessing
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import DamagedFile, StorageError
from tacit.network.consent.lines import LONGEST, Lines


def test_what_is_added_is_read_in_order(tmp_path):
    lines = Lines(tmp_path / "lines")
    for line in (b"one", b"", b"three"):
        with lines.held() as held:
            held.add(line)
    assert lines.read() == ([b"one", b"", b"three"], b"")
    assert stat.S_IMODE((tmp_path / "lines").stat().st_mode) == 0o600


def test_without_a_file_there_is_nothing(tmp_path):
    assert Lines(tmp_path / "none").read() == ([], b"")


@given(
    whole=st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=5),
    torn=st.binary(min_size=1, max_size=200).filter(lambda line: b"\n" not in line),
    new=st.binary(max_size=300).filter(lambda line: b"\n" not in line),
)
def test_a_torn_end_is_told_and_then_written_over(tmp_path_factory, whole, torn, new):
    path = tmp_path_factory.mktemp("lines") / "lines"
    path.write_bytes(b"".join(line + b"\n" for line in whole) + torn)
    lines = Lines(path)
    assert lines.read() == (whole, torn)
    with lines.held() as held:
        assert held.torn == torn
        assert held.last == (whole[-1] if whole else b"")
        held.add(new)
        assert (held.last, held.torn) == (new, b"")
    assert lines.read() == ([*whole, new], b"")


def test_the_last_line_is_found_in_a_long_file(tmp_path):
    path = tmp_path / "lines"
    long = [bytes([65 + k]) * (LONGEST - 1) for k in range(5)]
    path.write_bytes(b"".join(line + b"\n" for line in long) + b"to")
    with Lines(path).held() as held:
        assert held.last == long[-1]
        assert held.torn == b"to"


def test_a_line_that_nobody_wrote_is_refused(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"x" * (4 * LONGEST))
    with pytest.raises(DamagedFile, match="a line of more than"), Lines(path).held():
        pass


@pytest.mark.parametrize("line", [b"two\nlines", b"x" * LONGEST])
def test_what_is_no_line_is_not_added(tmp_path, line):
    with Lines(tmp_path / "lines").held() as held, pytest.raises(StorageError, match="cannot be added"):
        held.add(line)
    assert Lines(tmp_path / "lines").read() == ([], b"")


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StorageError, match="cannot be read or written"), Lines(tmp_path / "no" / "lines").held():
        pass


def _count_up(path, times):
    for _ in range(times):
        with Lines(path).held() as held:
            held.add(str(int(held.last or b"0") + 1).encode())


def test_processes_write_one_after_the_other(tmp_path):
    path, fork = tmp_path / "lines", multiprocessing.get_context("fork")
    workers = [fork.Process(target=_count_up, args=(path, 50)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert Lines(path).read() == ([str(k).encode() for k in range(1, 151)], b"")
