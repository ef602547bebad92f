from __future__ import annotations

import numpy as np
import pytest

from tacit.errors import DataError, UsageError
from tacit.scenarios.app_recommendation.logs import InteractionLog
from tacit.scenarios.app_recommendation.phones import Phones, PhonesRule, phones
from tacit.scenarios.app_recommendation.splits import SplitRule


def test_every_phone_is_a_client_with_its_own_training_examples(small_phones: Phones):
    population = small_phones.population
    assert len(population) == (small_phones.parts.kept & ~small_phones.parts.unseen).sum()
    for user, span in small_phones.train.spans():
        x, y = population[small_phones.log.users[user]]
        assert np.array_equal(x.numpy(), small_phones.train.x[span])
        assert np.array_equal(y.numpy(), small_phones.train.y[span])
    assert small_phones.train.x.dtype == np.float32
    assert small_phones.train.x.shape[1] == small_phones.features == len(small_phones.schema.names)


def test_an_interaction_is_in_later_examples_and_the_population_says_in_how_many_at_most(small_phones: Phones):
    population = small_phones.population
    most = int(population.sizes.max())
    assert f"one interaction is in up to {most:,} examples" in population.record["en"]
    assert f"一次交互最多进入 {most:,} 个样本" in population.record["zh"]
    _, span = next(iter(small_phones.train.spans()))
    first, frequency = small_phones.train.y[span][0], slice(0, small_phones.apps)
    later = small_phones.train.x[span][1:, frequency]
    assert (later[:, first] > 0).all(), "what was used first is in the features of all later examples"


def test_no_unseen_user_is_trained_on_and_no_event_serves_twice(small_phones: Phones):
    p = small_phones
    unseen = set(np.flatnonzero(p.parts.unseen))
    assert set(p.unseen.user) == set(p.unseen_warm_up.user) == unseen
    assert not unseen & set(np.concatenate([p.train.user, p.validation.user, p.test.user]))
    events = np.concatenate([e.event for e in (p.train, p.validation, p.test, p.unseen_warm_up, p.unseen)])
    assert len(events) == len(np.unique(events)) == len(p.log)


def test_a_phone_trains_on_its_latest_examples_only(small_log: InteractionLog, small_phones: Phones):
    few = phones(small_log, rule=PhonesRule(most_examples=5), seed=3)
    for user, span in few.train.spans():
        all_events = small_phones.train.event[small_phones.train.user == user]
        assert np.array_equal(few.train.event[span], all_events[-5:])
    assert len(few.test) == len(small_phones.test)


def test_the_vocabulary_is_capped_by_what_training_phones_use_and_says_what_that_drops(small_log: InteractionLog):
    capped = phones(small_log, rule=PhonesRule(vocabulary=6), seed=3)
    assert capped.apps == len(capped.vocabulary.names) == 6
    assert capped.train.y.max() < 6
    lost = int((capped.item < 0).sum())
    assert f"{lost:,} of {len(capped.log):,}" in capped.notes[-1]
    kept = {capped.log.items.index(name) for name in capped.vocabulary.names}
    counts = np.bincount(
        capped.log.item[(capped.parts.part == 0) & ~capped.parts.unseen[capped.log.user]],
        minlength=len(capped.log.items),
    )
    assert min(counts[k] for k in kept) >= max(counts[k] for k in set(range(len(counts))) - kept)


def test_targets_follow_the_loss(small_log: InteractionLog):
    regression = phones(small_log, rule=PhonesRule(loss="mse", horizon=2), seed=3)
    x, y = next(iter(regression.arrays(regression.train).values()))
    assert y.shape == (len(x), regression.apps)
    assert set(np.unique(y)) == {0.0, 0.5, 1.0}
    assert np.array_equal(y.argmax(axis=1), regression.train.y[: len(x)])
    with pytest.raises(UsageError, match="no loss 'hinge'"):
        PhonesRule(loss="hinge")


def test_apps_leave_out_the_one_on_the_screen_and_films_all_that_were_seen(small_phones: Phones):
    p, rows = small_phones, np.arange(len(small_phones.test))
    out = p.excluded(p.test, rows)
    assert not p.exclude_seen
    assert np.array_equal(out.sum(axis=1), np.ones(len(rows)))
    assert not out[rows, p.test.y].any()
    films = InteractionLog.from_columns("films", np.repeat(list("abcdef"), 12), list(range(12)) * 6, np.arange(72))
    f = phones(films, rule=PhonesRule(split=SplitRule(unseen=0.3)))
    assert f.exclude_seen
    first = np.array([0])
    seen = f.excluded(f.test, first)[0]
    event = f.test.event[0]
    own = films.item[films.bounds[films.user[event]] : event]
    assert sorted(np.flatnonzero(seen)) == sorted(own)


def test_everything_is_reproduced_by_the_seed(small_log: InteractionLog, small_phones: Phones):
    again = phones(small_log, seed=3)
    assert again.schema.digest == small_phones.schema.digest
    assert np.array_equal(again.train.x, small_phones.train.x)
    assert np.array_equal(again.parts.unseen, small_phones.parts.unseen)


def test_a_log_too_small_to_be_cut_is_refused():
    tiny = InteractionLog.from_columns("tiny", ["a"] * 4 + ["b"] * 4, list("wxyzwxyz"), np.arange(8))
    with pytest.raises(DataError, match="0 of 2 users"):
        phones(tiny)
