from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tacit.errors import UsageError
from tacit.scenarios.app_recommendation.features import (
    FOREVER,
    FeatureRule,
    FeatureSchema,
    Moments,
    PhoneHistory,
    blocks_for,
    features,
)
from tacit.scenarios.app_recommendation.logs import Category, InteractionLog

ITEMS = ("a", "b", "c", "d")
SCHEMA = FeatureSchema(ITEMS, FeatureRule(), {"place": ("home", "work")}, {"age": ("young", "old")})


@st.composite
def pasts(draw: st.DrawFn) -> tuple[PhoneHistory, dict[str, np.ndarray]]:
    n = draw(st.integers(2, 25))
    item = draw(hnp.arrays(np.int64, n, elements=st.integers(-1, len(ITEMS) - 1)))
    time = np.cumsum(draw(hnp.arrays(np.float64, n, elements=st.integers(0, 200_000).map(float))))
    place = draw(hnp.arrays(np.int64, n, elements=st.integers(-1, 1)))
    return PhoneHistory(item, time, {"age": draw(st.integers(-1, 1))}), {"place": place}


def rows(history: PhoneHistory, context: dict[str, np.ndarray], schema: FeatureSchema = SCHEMA) -> np.ndarray:
    return features(schema, history, Moments(np.arange(len(history.item)), history.time, context))


@settings(max_examples=60, deadline=None)
@given(pasts(), pasts(), st.data())
def test_the_future_never_changes_a_row(
    past: tuple[PhoneHistory, dict[str, np.ndarray]],
    other: tuple[PhoneHistory, dict[str, np.ndarray]],
    data: st.DataObject,
):
    (history, context), (future, future_context) = past, other
    cut = data.draw(st.integers(1, len(history.item) - 1))
    item = np.concatenate([history.item[:cut], future.item])
    time = np.concatenate([history.time[:cut], history.time[cut - 1] + future.time])
    changed = rows(
        PhoneHistory(item, time, history.profile),
        {"place": np.concatenate([context["place"][:cut], future_context["place"]])},
    )
    assert np.array_equal(rows(history, context)[:cut], changed[:cut])


@settings(max_examples=60, deadline=None)
@given(pasts(), st.data())
def test_the_item_to_be_predicted_never_changes_its_own_row(
    past: tuple[PhoneHistory, dict[str, np.ndarray]], data: st.DataObject
):
    history, context = past
    k = data.draw(st.integers(0, len(history.item) - 1))
    item = history.item.copy()
    item[k] = data.draw(st.integers(-1, len(ITEMS) - 1))
    changed = rows(PhoneHistory(item, history.time, history.profile), context)
    assert np.array_equal(rows(history, context)[: k + 1], changed[: k + 1])


@settings(max_examples=30, deadline=None)
@given(pasts(), st.integers(1, 6))
def test_a_phone_looks_back_no_further_than_its_memory(past: tuple[PhoneHistory, dict[str, np.ndarray]], memory: int):
    history, context = past
    schema = FeatureSchema(ITEMS, FeatureRule(blocks=("frequency", "recency", "last"), memory=memory))
    late = rows(history, context, schema)
    n = len(history.item)
    start = max(0, n - 1 - memory)
    forgotten = PhoneHistory(history.item[start:], history.time[start:])
    alone = features(schema, forgotten, Moments(np.array([n - 1 - start]), history.time[n - 1 :]))
    np.testing.assert_allclose(late[-1:], alone, rtol=1e-5, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(pasts())
def test_blocks_of_shares_have_length_one_or_are_empty(past: tuple[PhoneHistory, dict[str, np.ndarray]]):
    history, context = past
    for block in ("frequency", "habit", "follows"):
        schema = FeatureSchema(ITEMS, FeatureRule(blocks=(block,), scale=1.0))
        lengths = np.linalg.norm(rows(history, context, schema), axis=1)
        assert np.all(np.isclose(lengths, 1.0, atol=1e-4) | (lengths == 0.0))


def by_hand(blocks: Sequence[str], item: list[int], at: int, **rule: float) -> list[float]:
    schema = FeatureSchema(ITEMS, FeatureRule(blocks=tuple(blocks), scale=1.0, half_life=FOREVER, **rule))
    time = 60.0 * np.arange(len(item) + 1)
    row = features(schema, PhoneHistory(np.array(item), time[:-1]), Moments(np.array([at]), time[at : at + 1]))
    return [round(float(v), 4) for v in row[0]]


def test_each_block_says_what_it_should_on_a_past_of_five():
    past = [0, 1, 0, 2, 0]
    assert by_hand(["frequency"], past, 5) == [round(0.6**0.5, 4), round(0.2**0.5, 4), round(0.2**0.5, 4), 0.0]
    assert by_hand(["recency"], past, 5, decay=0.5) == [1.0, 0.125, 0.5, 0.0]
    assert by_hand(["last"], past, 5, last=2) == [1.0, 0.0, 0.5, 0.0]
    assert by_hand(["follows"], past, 5) == [0.0, round(0.5**0.5, 4), round(0.5**0.5, 4), 0.0]
    assert by_hand(["frequency", "last"], past, 0) == [0.0] * 8


def test_an_old_event_counts_half_after_a_half_life():
    schema = FeatureSchema(ITEMS, FeatureRule(blocks=("frequency",), half_life=1.0, scale=1.0))
    history = PhoneHistory(np.array([0, 1]), np.array([0.0, 86_400.0]))
    row = features(schema, history, Moments(np.array([2]), np.array([86_400.0])))
    np.testing.assert_allclose(row[0] ** 2, [1 / 3, 2 / 3, 0, 0], rtol=1e-5)


def test_a_habit_of_the_morning_is_seen_in_the_morning():
    schema = FeatureSchema(ITEMS, FeatureRule(blocks=("habit",), scale=1.0))
    hours = np.array([8.0, 20.0, 32.0, 44.0]) * 3600
    history = PhoneHistory(np.array([0, 1, 0, 1]), hours)
    morning, evening = features(schema, history, Moments(np.array([4, 4]), np.array([56.0, 68.0]) * 3600))
    assert morning[0] > 0.99 > 0.1 > morning[1]
    assert evening[1] > 0.99 > 0.1 > evening[0]


def test_a_session_grows_and_ends_after_the_gap():
    schema = FeatureSchema(ITEMS, FeatureRule(blocks=("session",), session_gap=100.0, scale=1.0))
    time = np.array([0.0, 50.0, 120.0, 500.0])
    out = features(schema, PhoneHistory(np.array([0, 1, 2, 3]), time), Moments(np.arange(4), time))
    np.testing.assert_allclose(out[:, 0] * 4, np.log1p([0, 1, 2, 0]), rtol=1e-6)
    assert out[:, 1].tolist() == [1.0, 0.0, 0.0, 1.0]


def test_context_and_profile_are_one_of_their_values_or_nothing():
    schema = FeatureSchema(ITEMS, FeatureRule(blocks=("context", "profile"), scale=1.0), SCHEMA.context, SCHEMA.profile)
    history = PhoneHistory(np.array([0, 1]), None, {"age": 1})
    out = features(schema, history, Moments(np.array([0, 1]), None, {"place": np.array([-1, 1])}))
    assert schema.names == ("context:place=home", "context:place=work", "profile:age=young", "profile:age=old")
    assert out.tolist() == [[0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]]


def test_the_schema_names_every_column_and_its_digest_follows_the_rule():
    assert len(SCHEMA.names) == SCHEMA.size == len(set(SCHEMA.names))
    assert SCHEMA.digest == FeatureSchema(ITEMS, FeatureRule(), SCHEMA.context, SCHEMA.profile).digest
    assert SCHEMA.digest != FeatureSchema(ITEMS, FeatureRule(half_life=3.0), SCHEMA.context, SCHEMA.profile).digest
    assert SCHEMA.digest != FeatureSchema(ITEMS[:3], FeatureRule(), SCHEMA.context, SCHEMA.profile).digest


def test_a_log_offers_only_the_blocks_that_it_can_fill():
    user, item = ["u"] * 6, list("abcabc")
    place = {"place": Category.of(["home"] * 6)}
    unordered = InteractionLog.from_columns("t", user, item, context=place)
    films = InteractionLog.from_columns("t", user, list("abcdef"), range(6))
    apps = InteractionLog.from_columns("t", user, item, range(6))
    assert blocks_for(unordered) == ("frequency", "context")
    assert blocks_for(films) == ("frequency", "recency", "hour", "weekday", "session")
    assert "habit" in blocks_for(apps)


def test_a_rule_with_several_mistakes_names_them_all():
    with pytest.raises(UsageError) as caught:
        FeatureRule(blocks=("freqency",), decay=1.5, memory=0)
    assert all(word in str(caught.value) for word in ("freqency", "decay", "memory"))
