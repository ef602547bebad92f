from __future__ import annotations

import numpy as np
import pytest

from tacit.scenarios.app_recommendation.baselines import baselines, popularity, transitions
from tacit.scenarios.app_recommendation.logs import InteractionLog
from tacit.scenarios.app_recommendation.phones import Phones, phones
from tacit.scenarios.app_recommendation.splits import TRAIN


@pytest.fixture(scope="module")
def unordered(small_log: InteractionLog) -> Phones:
    users, items = np.array(small_log.users), np.array(small_log.items)
    return phones(InteractionLog.from_columns("no time", users[small_log.user], items[small_log.item]), seed=1)


def test_what_is_shared_is_counted_on_the_training_part_of_the_phones_that_take_part(small_phones: Phones):
    p = small_phones
    rows = [e for e in range(len(p.log)) if p.parts.part[e] == TRAIN and not p.parts.unseen[p.log.user[e]]]
    counts, pairs = np.zeros(p.apps), np.zeros((p.apps, p.apps))
    for e in rows:
        counts[p.item[e]] += 1
        if e > 0 and p.log.user[e - 1] == p.log.user[e]:
            pairs[p.item[e - 1], p.item[e]] += 1
    np.testing.assert_allclose(popularity(p), counts / counts.sum())
    np.testing.assert_allclose(transitions(p)[:-1], pairs / np.maximum(pairs.sum(axis=1, keepdims=True), 1))
    assert not transitions(p)[-1].any()


def test_a_users_own_past_is_all_of_it_up_to_the_moment(small_phones: Phones):
    p, rows = small_phones, np.arange(len(small_phones.test))
    scores = {name: score(rows) for name, score in baselines(p, p.test).items() if score is not None}
    for row in rows[::37]:
        event = p.test.event[row]
        own = p.item[p.log.bounds[p.log.user[event]] : event]
        counts = np.bincount(own, minlength=p.apps)
        best = scores["most_frequent"][row].argmax()
        assert counts[best] == counts.max()
        latest = list(dict.fromkeys(own[::-1].tolist()))
        assert np.argsort(-scores["most_recent"][row], kind="stable")[: len(latest)].tolist() == latest


def test_without_an_order_there_is_no_most_recent_and_no_markov(unordered: Phones):
    found = baselines(unordered, unordered.test)
    assert found["most_recent"] is None
    assert found["markov"] is None
    assert found["most_frequent"] is not None
    assert unordered.schema.blocks == ("frequency",)
