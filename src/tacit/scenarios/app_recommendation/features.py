"""What the model sees: features that a phone computes from its own past, and from nothing else.

A row answers "what comes next?" at one moment. It may use the events before that moment, the moment itself (clock,
context) and the user's profile. It never uses the event to be predicted nor anything after it, and nothing of other
phones: the only thing shared beforehand is the vocabulary of items, which is public.

Blocks of columns, each fixed by the schema (i runs over the vocabulary; a block "per item" has one column per item):

| block     | per item | value                                                                                        |
|-----------|----------|----------------------------------------------------------------------------------------------|
| frequency | yes      | root of the item's share of the past, older events counting half per half-life               |
| recency   | yes      | decay^(events since its last use)                                                            |
| last      | yes      | 1/j if it was the j-th last item, j <= k                                                     |
| follows   | yes      | root of its share of what followed the present last item in the user's past                  |
| habit     | yes      | root of its share of the past at this hour of the day                                        |
| hour      | no       | sine and cosine of the day and of the half-day, and one of 24 hours                          |
| weekday   | no       | one of 7 days, and weekend                                                                   |
| session   | no       | position in the session, whether it has just begun, time since the last event, length of past|
| context   | no       | one of the values of each context column                                                     |
| profile   | no       | one of the values of each fact about the user                                                |

The root of a share has a practical reason: such a block has Euclidean length 1 however many items it spreads over. All
columns are then multiplied by `scale`, which brings the first layer's outputs near unit variance with torch's default
weights: local training by plain SGD gets further in a round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from json import dumps

import numpy as np

from tacit.errors import Problems, UsageError
from tacit.scenarios.app_recommendation.logs import SECONDS_PER_DAY, InteractionLog, day_of_week, hour_of_day

PER_ITEM = ("frequency", "recency", "last", "follows", "habit")
BLOCKS = (*PER_ITEM, "hour", "weekday", "session", "context", "profile")
FOREVER = 1e9  # days: a half-life after which nothing is forgotten
CELLS = 2_000_000  # weights (rows x past events) held at once: 8 MB


@dataclass(frozen=True)
class FeatureRule:
    """How the past is weighed.

    Attributes:
        blocks: which blocks, in the order of `BLOCKS`; None chooses by what the log offers (`blocks_for`).
        half_life: days after which an event counts half in `frequency`.
        decay: factor per event in `recency`.
        last: k, how many last items `last` shows.
        breadth: hours, the standard deviation of "this hour" in `habit`.
        session_gap: seconds without an event after which a new session begins.
        memory: how many of its latest events a phone looks back at.
        scale: factor on all columns.
    """

    blocks: tuple[str, ...] | None = None
    half_life: float = 7.0
    decay: float = 0.85
    last: int = 5
    breadth: float = 1.5
    session_gap: float = 1800.0
    memory: int = 2000
    scale: float = 4.0

    def __post_init__(self) -> None:
        with Problems("the features cannot be computed", UsageError) as problems:
            unknown = [block for block in self.blocks or () if block not in BLOCKS]
            problems.check(not unknown, f"unknown blocks {unknown}: choose from {', '.join(BLOCKS)}")
            problems.check(self.blocks is None or len(self.blocks) > 0, "blocks is empty: choose at least one")
            for name in ("half_life", "breadth", "session_gap", "memory", "scale"):
                problems.check(getattr(self, name) > 0, f"{name} is {getattr(self, name)!r}: give a positive number")
            problems.check(0 < self.decay < 1, f"decay is {self.decay!r}: give a factor between 0 and 1")
            problems.check(self.last >= 1, f"last is {self.last!r}: show at least the last item")


def blocks_for(log: InteractionLog) -> tuple[str, ...]:
    """The blocks that `log` can fill: no order, no recency; no repeats (films), no habits."""
    wanted = set(BLOCKS)
    if not log.ordered:
        wanted -= {"recency", "last", "follows", "habit", "hour", "weekday", "session"}
    elif log.repeat_share < 0.05:
        wanted -= {"last", "follows", "habit"}
    wanted -= {name for name, columns in (("context", log.context), ("profile", log.profile)) if not columns}
    return tuple(block for block in BLOCKS if block in wanted)


@dataclass(frozen=True)
class FeatureSchema:
    """Which columns there are, in which order: public, fixed, and identified by `digest`.

    Attributes:
        items: the vocabulary.
        rule: how the past is weighed, with its blocks settled.
        context: name and values of each context column.
        profile: name and values of each fact about the user.
    """

    items: tuple[str, ...]
    rule: FeatureRule
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    profile: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def blocks(self) -> tuple[str, ...]:
        """The blocks, in order."""
        return tuple(block for block in BLOCKS if block in (self.rule.blocks or BLOCKS))

    def columns(self, block: str) -> tuple[str, ...]:
        """Names of the columns of `block`."""
        if block in PER_ITEM:
            return tuple(f"{block}:{item}" for item in self.items)
        if block in ("context", "profile"):
            values = self.context if block == "context" else self.profile
            return tuple(f"{block}:{name}={value}" for name, names in values.items() for value in names)
        return _MOMENT_COLUMNS[block]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns, in order."""
        return tuple(name for block in self.blocks for name in self.columns(block))

    @property
    def size(self) -> int:
        """F, the number of columns."""
        return len(self.names)

    @property
    def digest(self) -> str:
        """sha256 of the names in order and of the rule: equal digests mean equal inputs."""
        rule = {name: value for name, value in vars(self.rule).items() if name != "blocks"}
        return sha256(dumps([self.names, rule], sort_keys=True).encode()).hexdigest()


_HOURS = tuple(f"hour={h}" for h in range(24))
_DAYS = tuple(f"weekday={d}" for d in ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))
_MOMENT_COLUMNS: dict[str, tuple[str, ...]] = {
    "hour": ("hour:sin", "hour:cos", "hour:sin2", "hour:cos2", *_HOURS),
    "weekday": (*_DAYS, "weekday:weekend"),
    "session": ("session:position", "session:new", "session:gap", "session:past"),
}


@dataclass(frozen=True, eq=False)
class PhoneHistory:
    """What one phone remembers, oldest first.

    Attributes:
        item: (n,) int64 into the vocabulary, -1 for an item outside it.
        time: (n,) float64 seconds, or None.
        profile: code of each fact about the user, -1 if unknown.
    """

    item: np.ndarray
    time: np.ndarray | None = None
    profile: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Moments:
    """When predictions are asked for.

    Attributes:
        position: (m,) int64, how many events of the history lie before the moment.
        time: (m,) float64 seconds, or None.
        context: codes (m,) of each context column, -1 if unknown.
    """

    position: np.ndarray
    time: np.ndarray | None = None
    context: Mapping[str, np.ndarray] = field(default_factory=dict)


def features(schema: FeatureSchema, history: PhoneHistory, moments: Moments) -> np.ndarray:
    """The rows of one phone.

    Args:
        schema: which columns.
        history: the phone's events.
        moments: m moments; the row of a moment uses the events before `position` only.

    Returns:
        (m, F) float32.
    """
    out = np.zeros((len(moments.position), schema.size), dtype=np.float32)
    place = _places(schema)
    for rows in _chunks(moments.position, schema.rule.memory):
        _fill_per_item(schema, history, moments, rows, out, place)
    filled: dict[str, np.ndarray] = {}
    if moments.time is not None and history.time is not None:
        filled = {
            "hour": _hours(moments.time),
            "weekday": _weekdays(moments.time),
            "session": _sessions(schema.rule, history, moments),
        }
    filled["context"] = _one_hot(schema.context, moments.context, len(out))
    filled["profile"] = _one_hot(schema.profile, history.profile, len(out))
    for block, values in filled.items():
        if block in place:
            out[:, place[block]] = values
    out *= schema.rule.scale
    return out


def _places(schema: FeatureSchema) -> dict[str, slice]:
    """Where each block lies in a row."""
    places, start = {}, 0
    for block in schema.blocks:
        width = len(schema.items) if block in PER_ITEM else len(schema.columns(block))
        places[block] = slice(start, start + width)
        start += width
    return places


def _chunks(position: np.ndarray, memory: int) -> list[np.ndarray]:
    """Rows in groups that look back at few enough events together."""
    reach = max(1, min(int(position.max(initial=0)), memory + len(position)))
    size = max(1, CELLS // reach)
    order = np.argsort(position, kind="stable")
    return [order[start : start + size] for start in range(0, len(order), size)]


def _fill_per_item(
    schema: FeatureSchema,
    history: PhoneHistory,
    moments: Moments,
    rows: np.ndarray,
    out: np.ndarray,
    place: Mapping[str, slice],
) -> None:
    """Weighs the events before each moment, block by block, and adds the weights up per item."""
    rule, position = schema.rule, moments.position[rows]
    low, high = max(0, int(position.min()) - rule.memory), int(position.max())
    events = np.arange(low, high)
    item = history.item[low:high]
    known = np.flatnonzero(item >= 0)
    if len(known) == 0:
        return
    ago = position[:, None] - events[None, :]  # 1 = the event just before the moment
    past = ((ago >= 1) & (ago <= rule.memory)).astype(np.float32)
    for block, target in place.items():
        if block not in PER_ITEM:
            continue
        weight = (past * _weights(block, rule, history, moments, rows, ago, slice(low, high)))[:, known]
        if block in ("recency", "last"):
            out[rows, target] = _highest(weight, item[known], len(schema.items))
        else:
            total = _total(weight, item[known], len(schema.items))
            out[rows, target] = np.sqrt(total / np.maximum(total.sum(axis=1, keepdims=True), 1e-12))


def _total(weight: np.ndarray, item: np.ndarray, items: int) -> np.ndarray:
    """(rows, items): weights (rows, events) added up per item, in the order of events, so that zeros change no bit."""
    cell = np.arange(len(weight))[:, None] * items + item[None, :]
    total = np.bincount(cell.ravel(), weights=weight.ravel(), minlength=len(weight) * items)
    return total.reshape(len(weight), items)


def _highest(weight: np.ndarray, item: np.ndarray, items: int) -> np.ndarray:
    """(rows, items): the largest of the weights (rows, events) of each item."""
    order = np.argsort(item, kind="stable")
    distinct, starts = np.unique(item[order], return_index=True)
    highest = np.zeros((len(weight), items), dtype=np.float32)
    highest[:, distinct] = np.maximum.reduceat(weight[:, order], starts, axis=1)
    return highest


def _weights(
    block: str,
    rule: FeatureRule,
    history: PhoneHistory,
    moments: Moments,
    rows: np.ndarray,
    ago: np.ndarray,
    events: slice,
) -> np.ndarray | float:
    """(rows, events): what an event counts in `block`, before the future is masked out."""
    if block == "recency":
        return np.asarray(np.float32(rule.decay) ** np.maximum(ago - 1, 0).astype(np.float32))
    if block == "last":
        return np.where(ago <= rule.last, 1.0 / np.maximum(ago, 1), 0.0).astype(np.float32)
    if block == "follows":
        return _after_last(history.item, moments.position[rows], events)
    if history.time is None or moments.time is None:
        return 1.0
    past, now = history.time[events], moments.time[rows]
    if block == "frequency":
        age = np.maximum(now[:, None] - past[None, :], 0.0) / (rule.half_life * SECONDS_PER_DAY)
        return np.asarray(np.exp2(-age.astype(np.float32)))
    turn = 2.0 * np.pi / 24.0
    apart = turn * (hour_of_day(now)[:, None] - hour_of_day(past)[None, :]).astype(np.float32)
    return np.asarray(np.exp((np.cos(apart) - 1.0) / (turn * rule.breadth) ** 2))


def _after_last(item: np.ndarray, position: np.ndarray, events: slice) -> np.ndarray:
    """(rows, events) 1 where the event came just after an earlier use of the row's present last item."""
    before = np.full(events.stop - events.start, -1)
    first = max(events.start, 1)
    before[first - events.start :] = item[first - 1 : events.stop - 1]
    last = np.where(position > 0, item[np.maximum(position - 1, 0)], -1)
    return np.asarray((before[None, :] == last[:, None]) & (last[:, None] >= 0), dtype=np.float32)


def _hours(time: np.ndarray) -> np.ndarray:
    hour = hour_of_day(time)
    turn = 2.0 * np.pi * hour / 24.0
    cyclic = np.stack([np.sin(turn), np.cos(turn), np.sin(2 * turn), np.cos(2 * turn)], axis=1)
    return np.concatenate([cyclic, np.eye(24)[hour.astype(np.int64)]], axis=1)


def _weekdays(time: np.ndarray) -> np.ndarray:
    day = day_of_week(time)
    return np.concatenate([np.eye(7)[day], (day >= 5)[:, None]], axis=1)


def _sessions(rule: FeatureRule, history: PhoneHistory, moments: Moments) -> np.ndarray:
    """(m, 4): the session so far. A moment long after the last event begins a new one."""
    assert history.time is not None and moments.time is not None
    n, position = len(history.time), moments.position
    opens = np.ones(n, dtype=bool)
    opens[1:] = np.diff(history.time) > rule.session_gap
    first = np.maximum.accumulate(np.where(opens, np.arange(n), 0)) if n else np.zeros(0, dtype=np.int64)
    before = np.maximum(position - 1, 0)
    some = position > 0
    gap = np.full(len(position), 30.0 * SECONDS_PER_DAY)
    length = np.zeros(len(position))
    gap[some] = np.maximum(moments.time[some] - history.time[before[some]], 0.0)
    new = gap > rule.session_gap
    length[some] = (before[some] - first[before[some]] + 1) * ~new[some]
    scaled = [np.log1p(length) / 4.0, new, np.log1p(gap) / 15.0, np.log1p(position) / 8.0]
    return np.stack(scaled, axis=1)


def _one_hot(values: Mapping[str, tuple[str, ...]], codes: Mapping[str, np.ndarray | int], rows: int) -> np.ndarray:
    """(rows, sum of values): one of the values of each column; all zero where a code is missing."""
    parts = [np.zeros((rows, 0))]
    for name, names in values.items():
        code = np.broadcast_to(np.asarray(codes.get(name, -1), dtype=np.int64), (rows,))
        parts.append(np.eye(len(names) + 1)[code, : len(names)])
    return np.concatenate(parts, axis=1)
