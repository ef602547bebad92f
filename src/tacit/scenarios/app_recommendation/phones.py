"""From a log to phones: what each one trains on, what everyone is evaluated on, and what is public.

A phone's examples are (features of a moment, the item that came next). The features come from the phone's own past
(`features.py`), the targets from its training part alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tacit.errors import DataError, Problems, UsageError
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
from tacit.scenarios.app_recommendation.model import interest, loss_named
from tacit.scenarios.app_recommendation.sources import Columns, read_log
from tacit.scenarios.app_recommendation.splits import TEST, TRAIN, VALIDATION, Split, SplitRule, own_split, split
from tacit.scenarios.app_recommendation.vocabulary import Vocabulary

if TYPE_CHECKING:
    from tacit.population.population import Population


@dataclass(frozen=True)
class PhonesRule:
    """How a log becomes phones.

    Attributes:
        vocabulary: most items in the vocabulary; the training phones' most used ones are kept. None keeps all.
        most_examples: a phone trains on its latest examples, at most so many; None for all.
        loss: "cross_entropy" (targets are classes) or "mse" (targets are interest scores).
        horizon: with "mse", how many of the coming items count as interesting (`model.interest`).
        exclude_seen: leave items that the user has had out of a ranking: right for films, wrong for apps. None
            decides by the log: True where less than one event in twenty repeats an item.
        split: how the log is cut.
        features: how the past is weighed.
    """

    vocabulary: int | None = 1000
    most_examples: int | None = 300
    loss: str = "cross_entropy"
    horizon: int = 1
    exclude_seen: bool | None = None
    split: SplitRule = field(default_factory=SplitRule)
    features: FeatureRule = field(default_factory=FeatureRule)

    def __post_init__(self) -> None:
        with Problems("the phones cannot be made", UsageError) as problems:
            items, most = self.vocabulary, self.most_examples
            few = f"vocabulary is {items!r}, which ranks nothing: give at least 2 items, or None for all"
            problems.check(items is None or items >= 2, few)
            problems.check(most is None or most >= 1, f"most_examples is {most!r}: give at least 1, or None for all")
            problems.check(self.horizon >= 1, f"horizon is {self.horizon!r}: the next item counts, give at least 1")
            try:
                loss_named(self.loss)
            except UsageError as error:
                problems.add(str(error))


@dataclass(frozen=True, eq=False)
class PhoneExamples:
    """Examples of many phones, phone after phone, each in the order of time.

    Attributes:
        x: (n, F) float32 features.
        y: (n,) int64 the item that came next, in the vocabulary.
        user: (n,) int64 whose phone.
        event: (n,) int64 which event of the log.
    """

    x: np.ndarray
    y: np.ndarray
    user: np.ndarray
    event: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def spans(self) -> Iterator[tuple[int, slice]]:
        """Each user with the slice of their examples."""
        users, starts = np.unique(self.user, return_index=True)
        for u, start, end in zip(users, starts, [*starts[1:], len(self.user)], strict=True):
            yield int(u), slice(int(start), int(end))


@dataclass(frozen=True, eq=False)
class Phones:
    """All phones of a log.

    Attributes:
        log: the interactions, immediate repeats dropped.
        item: (events,) int64, the log's items in the vocabulary, or -1.
        vocabulary: what can be recommended.
        schema: what the model sees.
        parts: which event is for what.
        rule: how all of this was made.
        exclude_seen: whether items that a user has had are left out of a ranking.
        train, validation, test: examples of the phones that take part.
        unseen_warm_up, unseen: first and later examples of the phones that are kept apart.
        notes: what was done to the data, in sentences.
    """

    log: InteractionLog
    item: np.ndarray
    vocabulary: Vocabulary
    schema: FeatureSchema
    parts: Split
    rule: PhonesRule
    exclude_seen: bool
    train: PhoneExamples
    validation: PhoneExamples
    test: PhoneExamples
    unseen_warm_up: PhoneExamples
    unseen: PhoneExamples
    notes: tuple[str, ...]

    @property
    def features(self) -> int:
        """F, number of feature columns."""
        return self.schema.size

    @property
    def apps(self) -> int:
        """V, number of items that can be recommended."""
        return len(self.vocabulary)

    @cached_property
    def population(self) -> Population:
        """The training examples, one client per phone, with targets for the rule's loss."""
        from tacit.population.population import Population

        population = Population.from_arrays(self.arrays(self.train))
        population.record = _example_in_words(int(population.sizes.max()))
        return population

    def arrays(self, examples: PhoneExamples) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """`examples` by the name of their user: (features, targets for the rule's loss)."""
        return {self.log.users[u]: (examples.x[s], self.targets(examples.y[s])) for u, s in examples.spans()}

    def targets(self, y: np.ndarray) -> np.ndarray:
        """What the rule's loss compares with, from one phone's next items (n,): themselves, or interest (n, V)."""
        return y if self.rule.loss == "cross_entropy" else interest(y, self.apps, horizon=self.rule.horizon)

    def excluded(self, examples: PhoneExamples, rows: np.ndarray) -> np.ndarray:
        """(len(rows), V) bool: what cannot come next, and so is left out of everybody's ranking.

        For films that is all the user has seen. For apps it is the app on the screen, because immediate repeats were
        dropped; without an order of events it is nothing.
        """
        event = examples.event[rows]
        if self.exclude_seen:
            rule = FeatureRule(blocks=("frequency",), half_life=FOREVER, memory=len(self.log))
            return self.features_of(event, FeatureSchema(self.vocabulary.names, rule)) > 0
        out = np.zeros((len(rows), self.apps), dtype=bool)
        last = self.last_item(event)
        known = np.flatnonzero(last >= 0) if self.log.ordered else np.empty(0, dtype=np.int64)
        out[known, last[known]] = True
        return out

    def last_item(self, events: np.ndarray) -> np.ndarray:
        """(len(events),) the item that the same user had just before each event, or -1."""
        before = np.maximum(events - 1, 0)
        same = (events > 0) & (self.log.user[before] == self.log.user[events])
        return np.where(same, self.item[before], -1)

    def features_of(self, events: np.ndarray, schema: FeatureSchema | None = None) -> np.ndarray:
        """(len(events), F) features of the moments just before `events` of the log, each from its own phone's past."""
        return _features_of(self.log, self.item, schema or self.schema, events)


def _example_in_words(most: int) -> dict[str, str]:
    """What one example is, where a phone has `most` of them at most."""
    return {
        "en": "one training example, not one interaction: features of an example tell of the interactions before it, "
        f"so one interaction is in up to {most:,} examples, and what is claimed of an example is not claimed of it",
        "zh": f"一个训练样本，而不是一次交互：样本的特征反映此前的交互，因此一次交互最多进入 {most:,} 个样本，"
        "对样本的承诺不是对一次交互的承诺",
    }


def phones(
    source: str | Path | InteractionLog = "synthetic",
    columns: Columns | None = None,
    *,
    rule: PhonesRule | None = None,
    seed: int = 0,
) -> Phones:
    """Phones from a dataset, a file or a log.

    Args:
        source: "synthetic", a dataset's name, the path of a table, or a log.
        columns: how to read a table of your own.
        rule: how the log becomes phones.
        seed: of every draw: the generator, orders that the data do not give, the unseen users.

    Raises:
        DataError: with every problem of the data.
        UsageError: with every problem of the rule.
    """
    rule = rule or PhonesRule()
    log = source if isinstance(source, InteractionLog) else read_log(source, columns, seed=seed)
    log = log.without_immediate_repeats()
    parts = split(log, rule.split, seed=seed)
    vocabulary = Vocabulary.of(log, parts, rule.vocabulary)
    item = vocabulary.code[log.item]
    blocks = rule.features.blocks or blocks_for(log)
    schema = FeatureSchema(
        vocabulary.names,
        replace(rule.features, blocks=tuple(blocks)),
        {name: column.names for name, column in log.context.items()},
        {name: column.names for name, column in log.profile.items()},
    )
    examples = {name: _examples(log, item, schema, events) for name, events in _events(item, parts, log, rule).items()}
    _check_examples(log, examples)
    left = int((~parts.kept).sum())
    few = (f"{left:,} users with fewer than {rule.split.minimum} interactions were left out",) if left else ()
    exclude = log.repeat_share < 0.05 if rule.exclude_seen is None else rule.exclude_seen
    notes = (*log.notes, *few, *vocabulary.notes)
    return Phones(log, item, vocabulary, schema, parts, rule, exclude, notes=notes, **examples)


def _events(item: np.ndarray, parts: Split, log: InteractionLog, rule: PhonesRule) -> dict[str, np.ndarray]:
    """Which events of the log are examples of what. Items outside the vocabulary are history, never targets."""
    known, new = item >= 0, parts.unseen[log.user]
    return {
        "train": _latest(np.flatnonzero(known & ~new & (parts.part == TRAIN)), log, rule),
        "validation": np.flatnonzero(known & ~new & (parts.part == VALIDATION)),
        "test": np.flatnonzero(known & ~new & (parts.part == TEST)),
        "unseen_warm_up": np.flatnonzero(known & new & (parts.part == TRAIN)),
        "unseen": np.flatnonzero(known & new & (parts.part == TEST)),
    }


def _latest(events: np.ndarray, log: InteractionLog, rule: PhonesRule) -> np.ndarray:
    """Of each user the latest events, as many as the rule lets train."""
    if rule.most_examples is None or not len(events):
        return events
    ends = np.searchsorted(log.user[events], log.user[events], side="right")
    latest: np.ndarray = events[ends - np.arange(len(events)) <= rule.most_examples]
    return latest


def own_examples(log: InteractionLog, rule: PhonesRule, schema: FeatureSchema) -> tuple[np.ndarray, np.ndarray]:
    """Training examples (n, F) and (n,) of a participant's own log, in columns that were agreed before.

    Values that the schema does not know are as if they were not known: items as history of nothing, others as zeros.

    Raises:
        DataError: nothing is left to train on.
    """
    log = log.without_immediate_repeats()
    parts, names = own_split(log, rule.split), {name: k for k, name in enumerate(schema.items)}
    code = np.array([names.get(name, -1) for name in log.items], dtype=np.int64)
    log = replace(log, context=_recoded(log.context, schema.context), profile=_recoded(log.profile, schema.profile))
    item = code[log.item]
    events = _latest(np.flatnonzero((item >= 0) & (parts.part == TRAIN)), log, rule)
    if not len(events):
        raise DataError(f"{log.source}: none of its interactions is with one of the {len(names):,} items of this run")
    return _features_of(log, item, schema, events), item[events]


def _recoded(columns: Mapping[str, Category], known: Mapping[str, tuple[str, ...]]) -> dict[str, Category]:
    """Categorical columns with the codes of the schema; -1 for a value that it does not know."""
    found = {}
    for name in set(columns) & set(known):
        names = {value: k for k, value in enumerate(known[name])}
        codes = np.array([*(names.get(value, -1) for value in columns[name].names), -1], dtype=np.int64)
        found[name] = Category(codes[columns[name].codes], known[name])
    return found


def _examples(log: InteractionLog, item: np.ndarray, schema: FeatureSchema, events: np.ndarray) -> PhoneExamples:
    return PhoneExamples(_features_of(log, item, schema, events), item[events], log.user[events], events)


def _features_of(log: InteractionLog, item: np.ndarray, schema: FeatureSchema, events: np.ndarray) -> np.ndarray:
    out = np.empty((len(events), schema.size), dtype=np.float32)
    bounds, owner = log.bounds, log.user[events]
    for u in np.unique(owner):
        rows, low, high = np.flatnonzero(owner == u), bounds[u], bounds[u + 1]
        mine = events[rows]
        history = PhoneHistory(
            item[low:high],
            None if log.time is None else log.time[low:high],
            {name: int(column.codes[u]) for name, column in log.profile.items()},
        )
        moments = Moments(
            mine - low,
            None if log.time is None else log.time[mine],
            {name: column.codes[mine] for name, column in log.context.items()},
        )
        out[rows] = features(schema, history, moments)
    return out


def _check_examples(log: InteractionLog, examples: dict[str, PhoneExamples]) -> None:
    empty = [name for name in ("train", "validation", "test", "unseen") if len(examples[name]) == 0]
    if empty:
        raise DataError(
            f"{log.source}: nothing is left for {', '.join(empty)} after the split: give more users or interactions, "
            "a larger vocabulary, or larger shares"
        )
