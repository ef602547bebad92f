"""The shape of a status: closed, checked, and without anything of single participants."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import MalformedMessage
from tacit.network.watch.status import as_json, problems, public_row, read
from tests.network.watch import samples

SAMPLES = [samples.training(), samples.troubled(), samples.gathering()]


@pytest.mark.parametrize("status", SAMPLES)
def test_what_is_written_is_read_back(status: dict[str, Any]) -> None:
    assert problems(status) == []
    assert read(as_json(status)) == status


def test_rows_that_a_reader_has_are_left_out() -> None:
    found = json.loads(as_json(samples.training(9), after=7))
    assert [row["round"] for row in found["history"]] == [8, 9]


def test_numbers_that_are_not_finite_become_null() -> None:
    status = samples.training(1)
    status["history"][0]["loss"] = math.nan
    status["load"]["lag"] = math.inf
    found = read(as_json(status))
    assert found["history"][0]["loss"] is None
    assert found["load"]["lag"] is None


@pytest.mark.parametrize("place", ["participants", "security", "load"])
def test_a_field_that_nobody_agreed_on_is_refused(place: str) -> None:
    status = samples.training(1)
    status[place]["names"] = ["clinic-a"]
    assert problems(status) == [f"{place}.names: Extra inputs are not permitted"]


def test_a_history_names_no_client() -> None:
    status = samples.training(1)
    status["history"][0]["set_aside_reasons_of_clinic_a"] = 1
    assert "set_aside_reasons_of_clinic_a" in problems(status)[0]
    whole = {
        "round": 1,
        "loss": 0.5,
        "test_HR@5": math.nan,
        "set_aside_reasons": "clinic-a: not finite",
        "clinic_a": 1.0,
    }
    assert public_row(whole) == {"round": 1, "loss": 0.5, "test_HR@5": None}


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_what_is_no_status_is_refused_with_a_sentence(found: Any) -> None:
    with pytest.raises(MalformedMessage, match="no status"):
        read(json.dumps(found).encode())


@given(st.binary(max_size=100))
def test_bytes_of_a_peer_never_do_more_than_be_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read(data)
