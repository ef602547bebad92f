"""One run of the benchmark of selection: a ground, a fleet, who is asked, when rounds close, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np

import tacit
from benchmarks.selection_grounds import GROUNDS, SOLVERS, Ground, Made, make
from tacit.fleet import Deadline, FedBuff, FirstArrivals, Fleet, PartialWork, WaitForAll, lognormal, phones
from tacit.selection.oort import Oort
from tacit.selection.overselected import OverSelected
from tacit.selection.power_of_choice import PowerOfChoice
from tacit.selection.quota import Quota

OVER = 1.3
"""Clients asked for each report wanted, where rounds close with the first reports."""
CANDIDATES = 5
"""Candidates for each client that power-of-choice chooses."""
BUFFERED_LR = 0.001
"""Of the adaptive server on the apps' ground when it takes a step for every buffer, a tenth of a cohort."""
SIGMA, DROPOUT, MEDIAN, DECILES = 1.0, 0.08, 1.0, 10
"""Of lognormal fleets: spread, failures, the median device's seconds for an example (arbitrary), tenths of devices."""
MEDIAN_ROUND = 300.0
"""Seconds that a median phone with the median of examples trains in a round under traces: runs then last for hours."""


@dataclass(frozen=True)
class Case:
    """What a run is made of; its seed apart.

    Attributes:
        ground: of `GROUNDS`.
        closing: "wait", "deadline", "first", "partial", "half" (partial work, until the median device is done), or
            "buffered".
        selection: "uniform", "oort", "power-of-choice", "quota".
        method: the algorithm; "" for the ground's own.
        fleet: "lognormal", "phones" (availability, links, jitter), "none".
        times: how many times as many rounds.
    """

    ground: str
    closing: str = "partial"
    selection: str = "uniform"
    method: str = ""
    fleet: str = "lognormal"
    times: int = 1

    @property
    def name(self) -> str:
        """In a few words."""
        longer = f"x{self.times}" if self.times > 1 else ""
        parts = (self.ground, self.fleet, self.selection, self.closing, self.method, longer)
        return " ".join(part for part in parts if part)

    @property
    def buffered(self) -> bool:
        """Whether it is asynchronous."""
        return self.closing == "buffered"


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        hours: (R,) of virtual time at each evaluation; the number of rounds where there is no fleet.
        accuracy: (R,) at each evaluation.
        by_decile: share of the reports from each tenth of the devices, the fastest first.
        gini: of the reports of all devices.
        wasted: share of device-hours whose work is in no sum.
        late: share of those asked who were late.
        others: further measures after the last rounds.
        engine: that ran the local steps.
        seconds: real ones of the run.
    """

    hours: list[float]
    accuracy: list[float]
    by_decile: list[float]
    gini: float | None
    wasted: float | None
    late: float | None
    others: dict[str, float]
    engine: str
    seconds: float


@dataclass(frozen=True)
class Scale:
    """How large runs are: `small` divides clients, cohorts and rounds."""

    small: int = 1

    def of(self, ground: Ground) -> tuple[int, int, int]:
        """Clients, cohort and rounds."""
        least = min(3, ground.cohort)
        return (
            max(ground.clients // self.small, 30),
            max(ground.cohort // self.small, least),
            max(ground.rounds // self.small, 4),
        )


def run(case: Case, seed: int, scale: Scale) -> Outcome:
    """Carries a case out.

    Buffers add up to as many reports as cohorts would. What takes more rounds is evaluated as often as the others.
    """
    clients, cohort, rounds = scale.of(GROUNDS[case.ground])
    made = make(case.ground, seed, clients)
    every = case.times * (max(1, cohort // buffer_of(cohort)) if case.buffered else 1)
    federation = federation_of(case, made, cohort, seed)
    start = perf_counter()
    done = federation.run(rounds * every, made.test, evaluate_every=every, progress=False)
    return _outcome(case, done, perf_counter() - start)


def buffer_of(cohort: int) -> int:
    """Reports in a buffer."""
    return max(2, cohort // 10)


def federation_of(case: Case, made: Made, cohort: int, seed: int) -> tacit.Federation:
    """The federation of a case."""
    return tacit.Federation(
        made.task,
        made.population,
        method_of(case),
        selection=selection_of(case, cohort),
        fleet=fleet_of(case, made, seed),
        closing=None if case.fleet == "none" else closing_of(case.closing, cohort),
        seed=seed,
        workers=1,
        engine="fused",
    )


def method_of(case: Case) -> Any:
    """The algorithm of a case."""
    solver = SOLVERS[case.ground.removesuffix("-few")]
    if case.method == "fedprox":
        return tacit.FedProx(solver, mu=1.0)
    if case.method == "fednova":
        return tacit.FedNova(solver)
    if case.ground.startswith("apps"):
        return tacit.FedAdam(solver, server_lr=BUFFERED_LR if case.buffered else 0.003, tau=1e-5)
    return tacit.FedAvg(solver)


def selection_of(case: Case, cohort: int) -> Any:
    """Who is asked: more than the cohort where rounds close with the first reports."""
    asked = ceil(OVER * cohort) if case.closing == "first" else cohort
    if case.selection == "oort":
        return Oort(asked)
    if case.selection == "power-of-choice":
        return PowerOfChoice(asked, CANDIDATES * asked)
    if case.selection == "quota":
        return Quota(asked)
    return OverSelected(cohort, OVER) if case.closing == "first" else tacit.Uniform(cohort)


def closing_of(name: str, cohort: int) -> Any:
    """When rounds are closed."""
    rules = {
        "wait": WaitForAll(),
        "deadline": Deadline(quantile=0.8),
        "first": FirstArrivals(cohort),
        "partial": PartialWork(quantile=0.8),
        "half": PartialWork(quantile=0.5),
        "buffered": FedBuff(concurrency=cohort, buffer=buffer_of(cohort)),
    }
    return rules[name]


def fleet_of(case: Case, made: Made, seed: int) -> Fleet | None:
    """The devices, by speed in tenths."""
    count = len(made.population)
    if case.fleet == "none":
        return None
    if case.fleet == "phones":
        return phones(count, seed, seconds=MEDIAN_ROUND / reads(case.ground, made), tiers=DECILES)
    devices = lognormal(count, seed, sigma=SIGMA, dropout=DROPOUT, seconds=MEDIAN, tiers=DECILES)
    if made.order is None:
        return devices
    place = np.empty(count, np.int64)
    place[made.order] = np.argsort(devices.seconds, kind="stable")
    return devices.take(place)


def reads(ground: str, made: Made) -> float:
    """Examples that a client with the median of them reads in a round."""
    solver = SOLVERS[ground]
    if solver.steps is not None:
        return float(solver.steps * (solver.batch_size or 1))
    return float(np.median(made.population.sizes)) * (solver.epochs or 1)


def _outcome(case: Case, done: Any, seconds: float) -> Outcome:
    metric, books = GROUNDS[case.ground].metric, done.facts["fleet"]
    history = done.history[done.history[metric].notna()]
    hours = history["virtual_hours"] if books else history.index + 1.0
    asked = float(done.history["asked"].sum()) if books else 0.0
    others = [name for name in history if name.startswith("test_") and name not in (metric, "test_loss")]
    return Outcome(
        hours=[float(f"{value:.6g}") for value in hours],
        accuracy=[round(float(value), 4) for value in history[metric]],
        by_decile=[round(share, 5) for share in books["participation_by_tier"]] if books else [],
        gini=round(books["participation_gini"], 4) if books else None,
        wasted=round(books["wasted_fraction"], 4) if books else None,
        late=round(float(done.history["late"].sum()) / asked, 4) if asked else None,
        others={name: round(float(history[name].iloc[-5:].mean()), 4) for name in others},
        engine=done.facts["engine"],
        seconds=round(seconds, 2),
    )
