"""Synthetic phones: a seeded generator of app usage logs. No person made these logs, and reports say so.

What it imitates, and why a context-aware model can do better than counting:

- popularity follows Zipf's law over apps, and every phone has only some apps installed;
- a user's taste over kinds of apps leans on their age band and device tier, plus what is their own, and drifts by a
  random walk from day to day: old habits mislead;
- use comes in sessions, at hours that follow each kind's daily rhythm, shifted by the user's own clock, and weekends
  differ from working days;
- within a session an app leads to others (a photo to a messenger), for everyone alike: what the last app was matters,
  and more data teach it better than one phone could;
- what was used a moment ago is likelier to be used again.

The next app is drawn from a softmax over the sum of these effects, so that what there is to learn is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tacit.errors import Problems, UsageError
from tacit.keys import generator
from tacit.scenarios.app_recommendation.logs import SECONDS_PER_DAY, Category, InteractionLog, day_of_week, hour_of_day

MONDAY = 1_767_571_200.0  # 2026-01-05 00:00, so that weekdays mean something

# kind: (hour of the day at which it peaks, how sharp the peak is, shift of its appeal at weekends)
KINDS: dict[str, tuple[float, float, float]] = {
    "messages": (19.0, 0.3, 0.2),
    "social": (21.0, 0.9, 0.3),
    "video": (21.5, 1.6, 0.7),
    "music": (8.0, 1.0, -0.2),
    "news": (7.5, 2.0, -0.4),
    "mail": (10.0, 1.8, -1.2),
    "work": (11.0, 2.2, -1.8),
    "shopping": (20.0, 1.0, 0.6),
    "finance": (12.0, 1.2, -0.6),
    "maps": (17.5, 1.0, 0.4),
    "camera": (14.0, 0.9, 0.9),
    "games": (22.0, 1.2, 0.6),
    "health": (6.5, 2.2, 0.1),
    "reading": (23.0, 2.0, 0.1),
}
AGE_BANDS = ("18-24", "25-34", "35-49", "50-64", "65+")
DEVICE_TIERS = ("entry", "middle", "high")


@dataclass(frozen=True)
class SyntheticLogs:
    """How many phones, how busy, and how strong each effect is (in units of log-odds).

    Attributes:
        phones: number of users.
        apps: size of the catalogue.
        days: length of the log.
        sessions_per_day: median over users.
        events_per_session: mean length of a session.
        most_events: a phone keeps only its latest events, this many.
        zipf: exponent of popularity.
        installed: share of the catalogue on a phone.
        taste: spread of a user's taste over kinds of apps.
        profile: how much of a taste the user's age band and device tier explain.
        drift: standard deviation of the daily step of a taste.
        rhythm: strength of the hour of the day.
        weekend: strength of the weekend.
        transition: strength with which an app leads to others.
        momentum: strength of what was used lately.
    """

    phones: int = 240
    apps: int = 80
    days: int = 21
    sessions_per_day: float = 5.0
    events_per_session: float = 3.0
    most_events: int = 200
    zipf: float = 0.7
    installed: float = 0.45
    taste: float = 1.0
    profile: float = 0.9
    drift: float = 0.12
    rhythm: float = 1.3
    weekend: float = 1.0
    transition: float = 2.2
    momentum: float = 0.8

    def __post_init__(self) -> None:
        with Problems("the synthetic logs cannot be made", UsageError) as problems:
            problems.check(self.phones >= 2, f"phones is {self.phones!r}: give at least 2")
            least = len(KINDS)
            problems.check(self.apps >= least, f"apps is {self.apps!r}: give at least {least}, one of each kind")
            problems.check(self.days >= 1, f"days is {self.days!r}: give at least 1")
            problems.check(self.most_events >= 10, f"most_events is {self.most_events!r}: give at least 10")
            problems.check(0 < self.installed <= 1, f"installed is {self.installed!r}: give a share in (0, 1]")
            for name in ("sessions_per_day", "events_per_session"):
                problems.check(getattr(self, name) > 0, f"{name} is {getattr(self, name)!r}: give a positive number")

    def log(self, seed: int = 0) -> InteractionLog:
        """The log of all phones. The same seed gives the same log.

        Returns:
            A log with `synthetic=True`, a profile (age band, device tier) and local times.
        """
        world = _World(self, generator(seed, "app-recommendation", "synthetic"))
        user, time, opens = world.schedule()
        item = world.choose(user, time, opens)
        kept = self._latest(user)
        return InteractionLog.from_columns(
            f"synthetic phone logs (seed {seed})",
            np.array([f"phone-{u:0{len(str(self.phones - 1))}d}" for u in range(self.phones)])[user[kept]],
            np.array(world.names)[item[kept]],
            time[kept],
            profile={"age": Category(world.age, AGE_BANDS), "device": Category(world.device, DEVICE_TIERS)},
            synthetic=True,
            notes=("SYNTHETIC: these logs come from a generator, not from people",),
            seed=seed,
        )

    def _latest(self, user: np.ndarray) -> np.ndarray:
        ends = np.searchsorted(user, np.arange(self.phones), side="right")
        return np.asarray(ends[user] - np.arange(len(user)) <= self.most_events)


class _World:
    """The hidden truth: what apps are like, what users are like, and the draws that make a log of them."""

    def __init__(self, rule: SyntheticLogs, draw: np.random.Generator) -> None:
        self.rule, self.draw = rule, draw
        kinds = list(KINDS)
        self.kind = np.concatenate([np.arange(len(kinds)), draw.integers(len(kinds), size=rule.apps - len(kinds))])
        counts = dict.fromkeys(range(len(kinds)), 0)
        self.names = [f"{kinds[k]}-{self._next(counts, k)}" for k in self.kind]
        self.popularity = -rule.zipf * np.log(1.0 + draw.permutation(rule.apps))
        self.leads = self._transitions(len(kinds))
        self.age = draw.choice(len(AGE_BANDS), size=rule.phones, p=[0.2, 0.3, 0.25, 0.15, 0.1])
        self.device = draw.choice(len(DEVICE_TIERS), size=rule.phones, p=[0.35, 0.4, 0.25])
        self.taste = self._tastes(len(kinds))
        self.installed = self._installations()
        self.clock = draw.normal(0.0, 1.2, size=rule.phones)

    @staticmethod
    def _next(counts: dict[int, int], kind: int) -> int:
        counts[kind] += 1
        return counts[kind]

    def _transitions(self, kinds: int) -> np.ndarray:
        """(apps, apps): log-odds with which an app leads to another. Some kinds follow others, a few apps are tied."""
        between = self.draw.normal(0.0, 0.45, size=(kinds, kinds))[self.kind][:, self.kind]
        tied = self.draw.random((self.rule.apps, self.rule.apps)).argsort(axis=1) < 6
        return np.asarray(self.rule.transition * (0.5 * between + tied))

    def _tastes(self, kinds: int) -> np.ndarray:
        """(phones, kinds): taste on the first day."""
        rule, draw = self.rule, self.draw
        by_age = draw.normal(size=(len(AGE_BANDS), kinds))[self.age]
        by_device = 0.6 * draw.normal(size=(len(DEVICE_TIERS), kinds))[self.device]
        return rule.profile * (by_age + by_device) + rule.taste * draw.normal(size=(rule.phones, kinds))

    def _installations(self) -> np.ndarray:
        """(phones, apps) log-odds: the user's own liking of each installed app, and never for one not installed."""
        rule, draw = self.rule, self.draw
        appeal = self.popularity + 0.7 * self.taste[:, self.kind] + draw.gumbel(size=(rule.phones, rule.apps))
        ranked = (-appeal).argsort(axis=1).argsort(axis=1)
        wanted = max(2, round(rule.installed * rule.apps))
        return np.where(ranked < wanted, 0.6 * draw.normal(size=appeal.shape), -np.inf)

    def schedule(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """When phones are used: user (n,), time (n,) and whether the event opens a session (n,), in order."""
        rule, draw = self.rule, self.draw
        busy = rule.sessions_per_day * np.exp(draw.normal(0.0, 0.45, size=rule.phones))
        sessions = np.maximum(4, draw.poisson(busy * rule.days))
        owner = np.repeat(np.arange(rule.phones), sessions)
        day = draw.integers(rule.days, size=len(owner))
        hour = np.where(
            draw.random(len(owner)) < 0.35, draw.normal(8.5, 1.8, len(owner)), draw.normal(18.0, 3.5, len(owner))
        )
        start = MONDAY + SECONDS_PER_DAY * day + 3600.0 * ((hour + self.clock[owner]) % 24.0)
        length = draw.geometric(1.0 / max(rule.events_per_session, 1.0), size=len(owner))
        user, first = np.repeat(owner, length), np.repeat(np.cumsum(length) - length, length)
        gaps = np.cumsum(draw.exponential(75.0, size=len(user)))
        time = np.floor(np.repeat(start, length) + gaps - gaps[first])
        opens = np.arange(len(user)) == first
        order = np.lexsort((time, user))
        return user[order], time[order], opens[order]

    def choose(self, user: np.ndarray, time: np.ndarray, opens: np.ndarray) -> np.ndarray:
        """(n,) the app of each event: all phones take their t-th step at once, busiest phones last to fall out."""
        day = ((time - MONDAY) // SECONDS_PER_DAY).astype(np.int64)
        steps = self.draw.normal(0.0, self.rule.drift, size=(day.max() + 1, *self.taste.shape))
        drift = np.cumsum(steps, axis=0)
        phones, apps = self.rule.phones, self.rule.apps
        last, lately = np.full(phones, -1), np.zeros((phones, apps))
        item = np.empty(len(user), dtype=np.int64)
        for rows in _steps(user, phones):
            who = user[rows]
            score = self._appeal(who, time[rows], drift[day[rows], who])
            score += self.rule.momentum * np.minimum(lately[who], 1.5)
            score += np.where(last[who] >= 0, np.where(opens[rows], 0.35, 1.0), 0.0)[:, None] * self.leads[last[who]]
            score[np.arange(len(who)), last[who]] = np.where(
                last[who] >= 0, -np.inf, score[np.arange(len(who)), last[who]]
            )
            chosen = np.argmax(score + self.draw.gumbel(size=score.shape), axis=1)
            item[rows] = last[who] = chosen
            lately[who] *= 0.8
            lately[who, chosen] += 1.0
        return item

    def _appeal(self, who: np.ndarray, time: np.ndarray, drift: np.ndarray) -> np.ndarray:
        """(events, apps): popularity, taste of the day, rhythm and weekend, before what was used last."""
        peak, sharpness, weekend = (np.array(column) for column in zip(*KINDS.values(), strict=True))
        angle = 2.0 * np.pi * (hour_of_day(time) - self.clock[who])[:, None] / 24.0 - 2.0 * np.pi * peak / 24.0
        by_kind = self.taste[who] + drift + self.rule.rhythm * sharpness * (np.cos(angle) - 0.3)
        by_kind += self.rule.weekend * weekend * (day_of_week(time) >= 5)[:, None]
        return np.asarray(self.popularity + self.installed[who] + by_kind[:, self.kind])


def _steps(user: np.ndarray, phones: int) -> Iterator[np.ndarray]:
    """For t = 0, 1, ...: the rows that are the t-th event of a phone."""
    starts = np.searchsorted(user, np.arange(phones + 1))
    counts = np.diff(starts)
    for t in range(int(counts.max())):
        yield starts[:-1][counts > t] + t
