from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tacit.scenarios.app_recommendation.ranking import Ranking, rank_in_blocks, ranks_of


def test_a_tie_counts_against_the_method():
    scores = np.array([[3.0, 1.0, 1.0, 0.0]])
    assert [int(ranks_of(scores, np.array([t]))[0]) for t in range(4)] == [1, 3, 3, 4]
    assert ranks_of(np.zeros((1, 50)), np.array([7]))[0] == 50


def test_nan_is_the_worst_score():
    assert ranks_of(np.array([[np.nan, 1.0]]), np.array([0]))[0] == 2
    assert ranks_of(np.array([[np.nan, 1.0]]), np.array([1]))[0] == 1


def test_excluded_items_do_not_count_but_the_target_always_does():
    scores = np.array([[3.0, 2.0, 1.0]])
    excluded = np.array([[True, False, True]])
    assert ranks_of(scores, np.array([1]), excluded)[0] == 1
    assert ranks_of(scores, np.array([2]), excluded)[0] == 2


def test_metrics_of_ranks_one_to_eleven_are_those_of_pencil_and_paper():
    ranking = Ranking(np.array([1, 2, 5, 10, 11]), np.zeros(5, dtype=np.int64))
    metrics = ranking.metrics()
    assert (metrics["HR@1"], metrics["HR@5"], metrics["HR@10"]) == (0.2, 0.6, 0.8)
    assert np.isclose(metrics["MRR@10"], (1 + 1 / 2 + 1 / 5 + 1 / 10) / 5)
    assert np.isclose(metrics["NDCG@10"], (1 + 1 / np.log2(3) + 1 / np.log2(6) + 1 / np.log2(11)) / 5)


def test_a_busy_user_counts_as_much_as_a_quiet_one():
    ranking = Ranking(np.array([1] * 9 + [99]), np.array([0] * 9 + [1]))
    assert ranking.metrics()["HR@1"] == 0.5


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.int64, st.integers(2, 60), elements=st.integers(1, 30)), st.integers(1, 5))
def test_metrics_are_ordered_and_inside_their_interval(ranks: np.ndarray, users: int):
    ranking = Ranking(ranks, np.arange(len(ranks)) % users)
    m = ranking.metrics()
    assert 0 <= m["HR@1"] <= m["MRR@10"] + 1e-12 <= m["NDCG@10"] + 2e-12 <= m["HR@10"] + 3e-12 <= 1 + 3e-12
    low, high = ranking.interval()
    assert low - 1e-9 <= m["HR@10"] <= high + 1e-9 or users == len(set(np.arange(len(ranks)) % users)) == 1


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.float64, (17, 6), elements=st.floats(-3, 3)), st.integers(1, 20))
def test_ranks_do_not_depend_on_the_size_of_blocks(scores: np.ndarray, block: int):
    target, user = np.arange(17) % 6, np.arange(17) % 3
    whole = ranks_of(scores, target)
    assert np.array_equal(rank_in_blocks(lambda rows: scores[rows], target, user, block=block).ranks, whole)


def test_the_interval_narrows_with_more_users():
    def width(users: int) -> float:
        ranks = np.where(np.arange(users) % 2, 1, 99)
        low, high = Ranking(ranks, np.arange(users)).interval()
        return high - low

    assert width(1000) < width(20) / 4
