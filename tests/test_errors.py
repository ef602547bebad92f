"""Errors, and collecting them."""

import pytest

from tacit import errors
from tacit.errors import DataError, Problems, TacitError, UsageError


def test_all_problems_are_raised_together_and_in_order():
    with pytest.raises(DataError) as caught, Problems("the data are wrong", DataError) as problems:
        problems.add("first")
        assert problems.check(True, "never") is True
        assert problems.check(False, "second") is False
        problems.extend(["third"])
    assert str(caught.value) == "the data are wrong (3 problems):\n  - first\n  - second\n  - third"


def test_one_problem_is_counted_as_one():
    with pytest.raises(UsageError, match=r"the plan is wrong \(1 problem\)"), Problems("the plan is wrong") as problems:
        problems.add("it")


def test_nothing_is_raised_where_nothing_was_found():
    with Problems("all is well") as problems:
        problems.check(True, "never")
    problems.raise_if_any()


def test_a_long_list_is_cut_and_says_how_much_is_left_out():
    with pytest.raises(UsageError) as caught, Problems("too much") as problems:
        problems.extend(f"number {k}" for k in range(23))
    text = str(caught.value)
    assert "(23 problems)" in text
    assert "number 19" in text
    assert "number 20" not in text
    assert text.endswith("  - and 3 more")


def test_another_failure_is_not_hidden_by_the_problems_found_before_it():
    with pytest.raises(ZeroDivisionError), Problems("too late") as problems:
        problems.add("it")
        _ = 1 / 0


def test_every_error_is_a_tacit_error_with_an_exit_code_of_its_kind():
    raised = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    kinds = [kind for kind in raised if not issubclass(kind, Warning)]
    assert len(kinds) > 5
    assert all(issubclass(kind, TacitError) for kind in kinds)
    assert all(0 < kind.exit_code < 256 for kind in kinds)
    assert errors.IncompatibleOptions.exit_code == UsageError.exit_code == 2
    own = [kind for kind in kinds if "exit_code" in vars(kind)]
    assert len({kind.exit_code for kind in own}) == len(own)
