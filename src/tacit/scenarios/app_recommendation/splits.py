"""Who learns from what: each user's events cut by time into train, validation and test, and users kept apart whole.

A user's last events are the test, the ones before them the validation. A share of the users, drawn from the seed, is
never trained on at all: their phones are new. Of such a phone the first `warm_up` events are its short past (local-only
training may use them, every method may read them as history), and the next ones are evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit.errors import DataError, Problems, UsageError
from tacit.keys import generator
from tacit.scenarios.app_recommendation.logs import InteractionLog

TRAIN, VALIDATION, TEST, UNUSED = 0, 1, 2, 3


@dataclass(frozen=True)
class SplitRule:
    """How a log is cut.

    Attributes:
        validation: share of each user's events used to tune and to stop early.
        test: share of each user's events, the last ones, used once, at the end.
        unseen: share of the users kept apart as new phones.
        warm_up: events that a new phone has before it is evaluated.
        minimum: users with fewer events are left out.
    """

    validation: float = 0.1
    test: float = 0.2
    unseen: float = 0.1
    warm_up: int = 10
    minimum: int = 10

    def __post_init__(self) -> None:
        with Problems("the split cannot be made", UsageError) as problems:
            for name in ("validation", "test", "unseen"):
                share = getattr(self, name)
                problems.check(0 < share < 1, f"{name} is {share!r}: give a share between 0 and 1")
            total = self.validation + self.test
            problems.check(total < 1, f"validation + test is {total!r}: leave something to train on, below 1")
            problems.check(self.warm_up >= 1, f"warm_up is {self.warm_up!r}: give at least one event")
            problems.check(self.minimum >= 5, f"minimum is {self.minimum!r}: a split needs at least 5 events")


@dataclass(frozen=True, eq=False)
class Split:
    """A cut log.

    Attributes:
        part: (n,) int8, `TRAIN`, `VALIDATION`, `TEST` or `UNUSED` for each event. For an unseen user the warm-up is
            `TRAIN` in this sense: the only part its own phone may fit something to.
        unseen: (users,) bool, users that no shared model is trained on.
        kept: (users,) bool, users with enough events.
    """

    part: np.ndarray
    unseen: np.ndarray
    kept: np.ndarray


def split(log: InteractionLog, rule: SplitRule | None = None, *, seed: int = 0) -> Split:
    """Cuts `log` by `rule`. The draw of the unseen users depends on `seed` and on nothing else.

    Raises:
        DataError: fewer than two users have enough events.
    """
    rule = rule or SplitRule()
    counts = np.diff(log.bounds)
    kept = counts >= rule.minimum
    if kept.sum() < 2:
        raise DataError(
            f"{log.source}: {int(kept.sum())} of {len(kept)} users have at least {rule.minimum} interactions; "
            "two are needed. Give more data or a smaller minimum"
        )
    return _parted(log, rule, kept, _unseen(kept, rule.unseen, seed))


def own_split(log: InteractionLog, rule: SplitRule) -> Split:
    """Cuts the log of a participant, all of whose users take part.

    Raises:
        DataError: no user has enough events.
    """
    kept = np.diff(log.bounds) >= rule.minimum
    if not kept.any():
        raise DataError(f"{log.source}: no user has {rule.minimum} interactions, which a split needs: give more data")
    return _parted(log, rule, kept, np.zeros(len(kept), dtype=bool))


def _parted(log: InteractionLog, rule: SplitRule, kept: np.ndarray, unseen: np.ndarray) -> Split:
    counts = np.diff(log.bounds)
    position = np.arange(len(log)) - np.repeat(log.bounds[:-1], counts)
    n = np.repeat(counts, counts)
    tested = np.maximum(1, np.round(rule.test * n)).astype(np.int64)
    validated = np.maximum(1, np.round(rule.validation * n)).astype(np.int64)
    part = np.where(position >= n - tested, TEST, np.where(position >= n - tested - validated, VALIDATION, TRAIN))
    warm = np.minimum(rule.warm_up, n // 2)
    part = np.where(unseen[log.user], np.where(position < warm, TRAIN, TEST), part)
    part = np.where(kept[log.user], part, UNUSED)
    return Split(part.astype(np.int8), unseen, kept)


def _unseen(kept: np.ndarray, share: float, seed: int) -> np.ndarray:
    users = np.flatnonzero(kept)
    wanted = min(max(1, round(share * len(users))), len(users) - 1)
    drawn = generator(seed, "app-recommendation", "unseen users").choice(users, size=wanted, replace=False)
    unseen = np.zeros(len(kept), dtype=bool)
    unseen[drawn] = True
    return unseen
