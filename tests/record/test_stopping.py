from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tacit
from tacit.errors import UsageError


def rows(values, name="loss"):
    return [{name: v, "update_norm": v} for v in values]


def test_patience_ends_after_so_many_rounds_without_improvement():
    rule = tacit.Patience("loss", rounds=2)
    assert rule.done(rows([3, 2, 2.5])) is None
    assert "loss has not improved for 2 rounds; its best was 2" in rule.done(rows([3, 2, 2.5, 2]))


def test_patience_counts_only_rounds_in_which_the_metric_was_measured():
    rule = tacit.Patience("test_hr", rounds=2, mode="max")
    assert rule.done(rows([0.1, None, 0.05, None, None], "test_hr")) is None
    assert "its best was 0.1" in rule.done(rows([0.1, None, 0.05, None, 0.07], "test_hr"))


def test_small_gains_are_no_improvement():
    values = [1.0, 0.999, 0.998, 0.997]
    assert tacit.Patience(rounds=3).done(rows(values)) is None
    assert tacit.Patience(rounds=3, min_delta=0.01).done(rows(values))


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=20), st.integers(1, 5))
def test_larger_is_better_mirrors_smaller_is_better(values, rounds):
    down = tacit.Patience("loss", rounds, "min").done(rows(values))
    up = tacit.Patience("loss", rounds, "max").done(rows([-v for v in values]))
    assert (down is None) == (up is None)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=20), st.integers(1, 5))
def test_patience_ends_exactly_when_the_best_is_that_many_rounds_ago(values, rounds):
    first_best = values.index(min(values))
    assert (tacit.Patience("loss", rounds).done(rows(values)) is None) == (len(values) - 1 - first_best < rounds)


def test_a_metric_that_is_not_measured_is_named_with_those_that_are():
    with pytest.raises(UsageError, match="watches 'accuracy', which is not in the history: loss"):
        tacit.Patience("accuracy").done(rows([1.0]))


def test_converged_asks_for_short_steps_in_a_row():
    rule = tacit.Converged(norm=0.1, rounds=2)
    assert rule.done(rows([0.05])) is None
    assert rule.done(rows([0.05, 0.2, 0.05])) is None
    assert "converged" in rule.done(rows([0.2, 0.05, 0.09]))


@pytest.mark.parametrize(
    ("build", "part"),
    [
        (lambda: tacit.Patience(mode="up"), "mode is 'up'"),
        (lambda: tacit.Patience(rounds=0), "rounds is 0"),
        (lambda: tacit.Patience(min_delta=-1), "min_delta is -1"),
        (lambda: tacit.Converged(norm=0), "norm is 0"),
        (lambda: tacit.Converged(rounds=0), "rounds is 0"),
        (lambda: tacit.Patience(rounds="3"), "rounds is '3'"),
        (lambda: tacit.Patience(rounds=True), "rounds is True"),
        (lambda: tacit.Patience(min_delta="small"), "min_delta is 'small'"),
        (lambda: tacit.Patience(min_delta=float("nan")), "min_delta is nan"),
        (lambda: tacit.Patience(5), "metric is 5"),
        (lambda: tacit.Patience("set_aside_reasons"), "metric is 'set_aside_reasons': give a column of numbers"),
        (lambda: tacit.Patience(mode=["min"]), "mode is "),
        (lambda: tacit.Converged("x"), "norm is 'x'"),
        (lambda: tacit.Converged(norm=float("inf")), "norm is inf"),
        (lambda: tacit.Converged(rounds=1.5), "rounds is 1.5"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(build, part):
    with pytest.raises(UsageError, match=part):
        build()
