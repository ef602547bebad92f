"""Holding SciPy's OpenBLAS to one thread."""

from __future__ import annotations

import pytest

from tacit.learning.fused import blas


@pytest.fixture
def found():
    found = blas.find()
    before = found.get_threads()
    found.set_threads(2)
    yield found
    found.set_threads(before)


def test_the_number_of_threads_is_put_back(found):
    with blas.one_thread():
        assert found.get_threads() == 1
    assert found.get_threads() == 2


def test_it_is_put_back_by_the_last_of_several_holders_even_after_an_error(found):
    with blas.one_thread():
        with pytest.raises(ZeroDivisionError), blas.one_thread():
            raise ZeroDivisionError
        assert found.get_threads() == 1
    assert found.get_threads() == 2
