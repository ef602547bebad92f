from __future__ import annotations

import numpy as np
import pytest

from tacit.errors import UsageError
from tacit.scenarios.app_recommendation.logs import InteractionLog, hour_of_day
from tacit.scenarios.app_recommendation.synthetic import SyntheticLogs
from tests.scenarios.app_recommendation.conftest import SMALL


def test_the_same_seed_gives_the_same_log_and_another_seed_another(small_log: InteractionLog):
    again, other = SMALL.log(seed=3), SMALL.log(seed=4)
    assert np.array_equal(small_log.item, again.item)
    assert np.array_equal(small_log.time, again.time)
    assert not np.array_equal(small_log.item, other.item)


def test_the_log_says_that_it_is_synthetic(small_log: InteractionLog):
    assert small_log.synthetic
    assert "SYNTHETIC" in small_log.notes[0]
    assert "synthetic" in small_log.source


def test_no_app_follows_itself_and_no_phone_exceeds_its_cap(small_log: InteractionLog):
    assert len(small_log.without_immediate_repeats()) == len(small_log)
    assert np.diff(small_log.bounds).max() <= SMALL.most_events
    assert len(small_log.users) == SMALL.phones


def test_popularity_is_skewed_and_use_follows_the_clock():
    log = SyntheticLogs(phones=80, days=14).log(seed=0)
    counts = np.sort(np.bincount(log.item, minlength=len(log.items)))[::-1]
    assert counts[:10].sum() > 0.3 * counts.sum()
    assert counts[len(counts) // 2 :].sum() < 0.25 * counts.sum()
    work = np.array([name.startswith("work") for name in log.items])[log.item]
    games = np.array([name.startswith("games") for name in log.items])[log.item]
    day = (hour_of_day(log.time) > 8) & (hour_of_day(log.time) < 16)
    assert day[work].mean() > day[games].mean() + 0.1


def test_tastes_differ_more_between_ages_than_within():
    log = SyntheticLogs(phones=200, days=14, profile=2.0, taste=0.3).log(seed=0)
    share = np.zeros((len(log.users), len(log.items)))
    np.add.at(share, (log.user, log.item), 1.0)
    share = np.sqrt(share / share.sum(axis=1, keepdims=True))
    alike, age = share @ share.T, log.profile["age"].codes
    same = age[:, None] == age[None, :]
    off = ~np.eye(len(age), dtype=bool)
    assert alike[same & off].mean() > alike[~same].mean() + 0.05


def test_a_rule_that_cannot_be_followed_names_every_reason():
    with pytest.raises(UsageError) as caught:
        SyntheticLogs(phones=1, apps=3, installed=0.0)
    assert all(word in str(caught.value) for word in ("phones", "apps", "installed"))
