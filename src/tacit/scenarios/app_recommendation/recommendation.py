"""One user's top items, from a trained model and that user's log: what a phone would show."""

from __future__ import annotations

from difflib import get_close_matches

import numpy as np
import torch
from torch import nn

from tacit.errors import DataError, UsageError
from tacit.scenarios.app_recommendation.features import Moments, PhoneHistory, features
from tacit.scenarios.app_recommendation.model import scores_of
from tacit.scenarios.app_recommendation.phones import Phones
from tacit.scenarios.scenario import Advice

UNKNOWN = -1


def recommended(phones: Phones, model: nn.Module, user: str, *, top: int, at: float | None = None) -> Advice:
    """The `top` items for `user`, at the moment after all of their events.

    Args:
        phones: with the user's log. The user may be one that no model was trained on.
        model: the trained recommender.
        user: name.
        top: how many items.
        at: seconds since 1970 in the phone's local time; the time of the last event when None.

    Returns:
        Items with scores: probabilities with the loss "cross_entropy", interest with "mse".

    Raises:
        DataError: no user has that name, with the nearest names.
        UsageError: `top` is below 1.
    """
    if top < 1:
        raise UsageError(f"top is {top!r}: ask for at least 1 item")
    index = _index(phones, user)
    log = phones.log
    low, high = log.bounds[index], log.bounds[index + 1]
    item = phones.item[low:high]
    time = None if log.time is None else log.time[low:high]
    now = None if time is None else np.array([time[-1] if at is None else at])
    profile = {name: int(column.codes[index]) for name, column in log.profile.items()}
    moments = Moments(np.array([high - low]), now, {name: np.array([UNKNOWN]) for name in log.context})
    x = features(phones.schema, PhoneHistory(item, time, profile), moments)
    scores = scores_of(model, x)[0].astype(np.float64)
    if phones.rule.loss == "cross_entropy":
        scores = torch.softmax(torch.from_numpy(scores), 0).numpy()
    out = _excluded(phones, item)
    order = [k for k in np.argsort(-scores, kind="stable") if not out[k]][:top]
    names = phones.vocabulary.names
    return Advice(user, tuple((names[k], float(scores[k])) for k in order), _notes(phones, index, high - low))


def _index(phones: Phones, user: str) -> int:
    users = phones.log.users
    if user in users:
        return users.index(user)
    near = get_close_matches(user, users, n=3, cutoff=0.3) or list(users[:3])
    raise DataError(f"no user is called {user!r} among {len(users):,}: near or first are {', '.join(near)}")


def _excluded(phones: Phones, item: np.ndarray) -> np.ndarray:
    """(V,) bool: what cannot come next, by the rule of `Phones.excluded`."""
    out = np.zeros(phones.apps, dtype=bool)
    seen = item if phones.exclude_seen else item[-1:] if phones.log.ordered else item[:0]
    out[seen[seen >= 0]] = True
    return out


def _notes(phones: Phones, index: int, events: int) -> tuple[str, ...]:
    if phones.parts.unseen[index]:
        part = "a new user: no model was trained on their log"
    elif not phones.parts.kept[index]:
        part = "too few events to take part in training"
    else:
        part = "took part in training with the first part of their log"
    return (f"{events:,} events are known; {part}",)
