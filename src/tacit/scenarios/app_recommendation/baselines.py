"""Recommenders that learn nothing or only count: what a trained model must beat.

What is shared between phones (popularity, transitions) is counted on the training part of the phones that take part.
What is a phone's own (its counts, its last items) is read from its whole past before the moment, exactly the past from
which the model's features come: everyone has the same information.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tacit.scenarios.app_recommendation.features import FOREVER, FeatureRule, FeatureSchema
from tacit.scenarios.app_recommendation.phones import PhoneExamples, Phones
from tacit.scenarios.app_recommendation.splits import TRAIN

Scores = Callable[[np.ndarray], np.ndarray]
"""Rows of some examples (m,) -> scores (m, V)."""


def baselines(phones: Phones, examples: PhoneExamples) -> Mapping[str, Scores | None]:
    """The naive recommenders, ready to score rows of `examples`. Without an order of events some are None.

    - `most_popular`: what the training phones used most;
    - `most_frequent`: what this user used most, popularity among equals;
    - `most_recent`: what this user used last, popularity among equals;
    - `markov`: what followed this user's last item on the training phones, popularity among equals.
    """
    popular = popularity(phones)
    ordered = phones.log.ordered
    counts = _own(phones, examples, FeatureRule(blocks=("frequency",), half_life=FOREVER))
    recent = _own(phones, examples, FeatureRule(blocks=("recency",), decay=0.99))
    return {
        "most_popular": lambda rows: np.broadcast_to(popular, (len(rows), len(popular))),
        "most_frequent": lambda rows: counts(rows).astype(np.float64) + 1e-6 * popular,
        "most_recent": (lambda rows: recent(rows).astype(np.float64) + 1e-12 * popular) if ordered else None,
        "markov": _markov(phones, examples, popular) if ordered else None,
    }


def popularity(phones: Phones) -> np.ndarray:
    """(V,) share of each item among the training events."""
    counts = np.bincount(phones.item[_trained(phones)], minlength=phones.apps).astype(np.float64)
    return np.asarray(counts / max(counts.sum(), 1.0))


def transitions(phones: Phones) -> np.ndarray:
    """(V + 1, V) probability of the next item given the last; the last row, for an unknown last item, is zero."""
    follows = _trained(phones)
    follows = follows[(follows > 0)]
    follows = follows[phones.log.user[follows] == phones.log.user[follows - 1]]
    counts = np.zeros((phones.apps + 1, phones.apps))
    np.add.at(counts, (phones.item[follows - 1], phones.item[follows]), 1.0)
    counts[-1] = 0.0
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0))


def _trained(phones: Phones) -> np.ndarray:
    """Events of the log from which a shared count may be made."""
    parts, log = phones.parts, phones.log
    return np.flatnonzero((parts.part == TRAIN) & ~parts.unseen[log.user] & (phones.item >= 0))


def _own(phones: Phones, examples: PhoneExamples, rule: FeatureRule) -> Scores:
    schema = FeatureSchema(phones.vocabulary.names, rule)
    return lambda rows: phones.features_of(examples.event[rows], schema)


def _markov(phones: Phones, examples: PhoneExamples, popular: np.ndarray) -> Scores:
    probability = transitions(phones)

    def scores(rows: np.ndarray) -> np.ndarray:
        return np.asarray(probability[phones.last_item(examples.event[rows])] + 1e-6 * popular)

    return scores
