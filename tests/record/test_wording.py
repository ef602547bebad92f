import pytest
from hypothesis import given
from hypothesis import strategies as st

import tacit
from tacit.record.wording import in_words


@pytest.mark.parametrize("empty", [None, "", "()", "[]", "{}", {}])
def test_what_is_empty_says_nothing(empty: object) -> None:
    assert in_words("stages", empty) == ""


def test_objects_are_told_by_class_and_fields() -> None:
    method = tacit.FedAvg(tacit.SGD(lr=0.5, momentum=0.9, nesterov=True))
    told = in_words("algorithm", repr(method))
    assert told.startswith("FedAvg: ")
    assert "; solver SGD: lr 0.5" in told
    assert "nesterov yes" in told
    assert "None" not in told
    assert in_words("selection", repr(tacit.Everyone())) == "Everyone"
    assert in_words("stages", repr((tacit.NormBound(2.0),))).startswith("NormBound: ")


def test_numbers_are_readable_and_a_seed_is_not_broken_up() -> None:
    assert in_words("parameters", 158160) == "158,160"
    assert in_words("seed", 158160) == "158160"
    assert in_words("engine_deviation", 5.957718e-07) == "5.96e-07"
    assert in_words("engine_declined", {"fused": "no convolutions"}) == "fused: no convolutions"


@given(st.text())
def test_any_text_has_words(text: str) -> None:
    assert isinstance(in_words("ended", text), str)
