"""The parts of the benchmark of selection: the figures of each, and the runs that they are read off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from benchmarks.selection_figures import LAST, Figure, Reader, final
from benchmarks.selection_trials import DROPOUT, SIGMA, Case, Outcome
from tacit import keys
from tacit.fleet import Clock, Load, PartialWork, WaitForAll, expected, lognormal

COHORTS, DEVICES, WORK, STEP, CLOCKED = (20, 50, 100, 200), 1000, 60.0, 10.0, 100
"""Of rounds that are timed only: clients in them, in the fleet, examples of each and of a step, how many."""
FITS = 0.91
"""The share of the rounds of waiting for all that are as much work as the same rounds of partial work."""


def slowest(outcome: Outcome) -> float:
    """Reports of the slowest tenth of the devices, as a percentage of a fair share."""
    return 100 * len(outcome.by_decile) * outcome.by_decile[-1]


def closing(read: Reader) -> Iterator[Figure]:
    """When rounds close: waiting, deadlines, over-selection, partial work."""
    for ground in ("mnist", "apps"):
        wait = Case(ground, "wait")
        for name, title in CLOSINGS.items():
            case, ours = Case(ground, name), name == "partial"
            what = f"{ground}: {title}, times faster to the target than waiting for all"
            yield Figure("closing", what, "x", read.speedup(wait, case), "ratio", 4.0 if ours else None)
            what = f"{ground}: {title}, accuracy after as many rounds, against waiting for all"
            yield Figure("closing", what, "pp", read.gain(case, wait))
            what = f"{ground}: {title}, reports of the slowest tenth, of their share"
            yield Figure("closing", what, "%", read.of(case, slowest), goal=80.0 if ours else None)
            what = f"{ground}: {title}, wasted device-hours"
            yield Figure("closing", what, "%", read.of(case, wasted))
        yield from _final(read, ground)
    what = "apps-few: partial work, times faster to the target than waiting for all"
    few = (Case("apps-few", "wait"), Case("apps-few", "partial"))
    yield Figure("closing", what, "x", read.speedup(*few), "ratio")
    yield from lengths(read.seeds)


def _final(read: Reader, ground: str) -> Iterator[Figure]:
    """After five times as many rounds, when accuracy hardly rises any more; and in no more time."""
    long, waited, wait = Case(ground, "partial", times=5), Case(ground, "wait", times=5), Case(ground, "wait")
    what = f"{ground}: partial work, final accuracy after five times as many rounds of both, against waiting for all"
    yield Figure("closing", what, "pp", read.gain(long, waited), goal=0.0, tolerant=True)
    what = f"{ground}: the same against waiting for all after {100 * FITS:.0f} % of these rounds"
    yield Figure("closing", what, "pp", [100 * (final(a) - final(b, FITS)) for a, b in _pairs(read, long, waited)])
    what = f"{ground}: partial work, accuracy after five times as many rounds, against waiting for all"
    yield Figure("closing", what, "pp", read.gain(long, wait), goal=0.0)
    hours = [a.hours[-1] / b.hours[-1] for a, b in _pairs(read, long, wait)]
    yield Figure("closing", f"{ground}: hours of these rounds, of those of waiting for all", "x", [*hours], "ratio")


def _pairs(read: Reader, one: Case, other: Case) -> list[tuple[Outcome, Outcome]]:
    return [(read.found[one, seed], read.found[other, seed]) for seed in read.seeds]


def lengths(seeds: Sequence[int]) -> Iterator[Figure]:
    """How long rounds last by cohort, and how much of the work fits: of clocks alone."""
    told = {cohort: [clocked(cohort, seed) for seed in seeds] for cohort in COHORTS}
    for cohort, found in told.items():
        what = f"rounds of {cohort} clients: waiting for all, times as long as partial work"
        yield Figure("closing", what, "x", [longer for longer, _ in found], "ratio")
    what = f"rounds of {COHORTS[2]} clients: work that fits, of that of those who report"
    yield Figure("closing", what, "%", [100 * share for _, share in told[COHORTS[2]]])


def clocked(cohort: int, seed: int) -> tuple[float, float]:
    """How many times as long rounds last that wait for all, and which share of the work fits into the others."""
    devices, spent, done, asked = lognormal(DEVICES, seed, sigma=SIGMA, dropout=DROPOUT), [0.0, 0.0], 0.0, 0.0
    clock, every = Clock(devices, seed), Load(np.arange(DEVICES), WORK, step=STEP)
    rules = (WaitForAll(), PartialWork(float(np.quantile(expected(devices, every), 0.8))))
    for round in range(CLOCKED):
        who = keys.generator(seed, "lengths", round).choice(DEVICES, cohort, replace=False)
        for place, rule in enumerate(rules):
            outcome = clock.round(round, Load(who, WORK, step=STEP), rule, 0.0)
            spent[place] += outcome.seconds
        done, asked = done + float(outcome.work.sum()), asked + WORK * float(outcome.counts.sum())
    return spent[0] / spent[1], done / asked


def wasted(outcome: Outcome) -> float | None:
    """Per cent of device-hours."""
    return None if outcome.wasted is None else 100 * outcome.wasted


CLOSINGS = {
    "partial": "partial work until 80 % of devices are done",
    "half": "partial work until half of the devices are done",
    "deadline": "the same deadline without partial work",
    "first": "over-selection of 1.3",
}


def steps(read: Reader) -> Iterator[Figure]:
    """Unequal local steps: FedNova and FedProx against FedAvg."""
    for ground in ("slow-digits", "slow-digits-far"):
        wait, base = Case(ground, "wait"), Case(ground, "half")
        yield Figure(
            "steps", f"{ground}: FedAvg under partial work against waiting for all", "pp", read.gain(base, wait)
        )
        for method, title in (("fednova", "FedNova"), ("fedprox", "FedProx, mu = 1")):
            case = Case(ground, "half", method=method)
            expected = method == "fednova" and ground == "slow-digits"
            what = f"{ground}: {title} against FedAvg, final accuracy"
            yield Figure("steps", what, "pp", read.gain(case, base), goal=0.0 if expected else None)
            what = f"{ground}: {title} against FedAvg, on the digits of the slowest"
            yield Figure("steps", what, "pp", read.gain(case, base, lambda run: run.others["test_slow"]))


def guided(read: Reader) -> Iterator[Figure]:
    """Oort and power-of-choice, on their own ground and under availability traces."""
    for fleet, where in (("lognormal", "always there"), ("phones", "under traces")):
        for name, title in (("first", "over-selection of 1.3"), ("partial", "partial work")):
            oort, base = (Case("unequal", name, who, fleet=fleet) for who in ("oort", "uniform"))
            own = fleet == "lognormal" and name == "first"
            what = f"unequal, {where}, {title}: Oort, times faster to the target than uniform cohorts"
            yield Figure("guided", what, "x", read.speedup(base, oort), "ratio", 1.2 if own else None)
            what = f"unequal, {where}, {title}: Oort, final accuracy against uniform cohorts"
            yield Figure("guided", what, "pp", read.gain(oort, base))
            what = f"unequal, {where}, {title}: Oort, reports of the slowest tenth, of their share"
            yield Figure("guided", what, "%", read.of(oort, slowest))
    for fleet, where, goal in (("none", "always there, in rounds", 1.2), ("phones", "under traces, in hours", None)):
        yield from _chosen(read, "synthetic", "wait", fleet, where, goal)
    for fleet, where in (("lognormal", "always there, in hours"), ("phones", "under traces, in hours")):
        yield from _chosen(read, "unequal", "partial", fleet, f"{where}, partial work", None)


def _chosen(read: Reader, ground: str, name: str, fleet: str, where: str, goal: float | None) -> Iterator[Figure]:
    chosen, base = (Case(ground, name, who, fleet=fleet) for who in ("power-of-choice", "uniform"))
    what = f"{ground}, {where}: power-of-choice, times faster to the target than uniform cohorts"
    yield Figure("guided", what, "x", read.speedup(base, chosen), "ratio", goal)
    what = f"{ground}, {where}: power-of-choice, final accuracy against uniform cohorts"
    yield Figure("guided", what, "pp", read.gain(chosen, base))


def buffered(read: Reader) -> Iterator[Figure]:
    """Buffers against synchronous rounds."""
    for ground in ("mnist", "apps"):
        case = Case(ground, "buffered")
        for name, title in (("wait", "waiting for all"), *((n, CLOSINGS[n]) for n in ("first", "partial"))):
            what = f"{ground}: FedBuff, times faster to the target than {title}"
            goal = None if name == "first" else 2.0
            yield Figure("buffered", what, "x", read.speedup(Case(ground, name), case), "ratio", goal)
        what = f"{ground}: FedBuff, final accuracy after as many reports, against waiting for all"
        yield Figure("buffered", what, "pp", read.gain(case, Case(ground, "wait")))
        what = f"{ground}: FedBuff, reports of the slowest tenth, of their share"
        yield Figure("buffered", what, "%", read.of(case, slowest))


def fair(read: Reader) -> Iterator[Figure]:
    """Quotas against uniform cohorts."""
    for fleet, where in (("lognormal", "always there"), ("phones", "under traces")):
        quota, base = (Case("mnist", "partial", who, fleet=fleet) for who in ("quota", "uniform"))
        for case, title in ((base, "uniform cohorts"), (quota, "a quota of a half")):
            yield Figure("fair", f"mnist, {where}: {title}, Gini coefficient of reports", "", read.of(case, _gini))
        what = f"mnist, {where}: a quota, hours to the target, of those of uniform cohorts"
        yield Figure("fair", what, "x", read.speedup(quota, base), "ratio")
        what = f"mnist, {where}: a quota, final accuracy against uniform cohorts"
        yield Figure("fair", what, "pp", read.gain(quota, base))


def _gini(outcome: Outcome) -> float | None:
    return outcome.gini


PARTS: dict[str, Callable[[Reader], Iterator[Figure]]] = {
    "closing": closing, "steps": steps, "guided": guided, "buffered": buffered, "fair": fair,
}  # fmt: skip


class _Needed(dict[tuple[Case, int], Outcome]):
    """Stands for runs that were not made yet, and notes which are looked for."""

    def __missing__(self, key: tuple[Case, int]) -> Outcome:
        self[key] = Outcome([1.0] * 2 * LAST, [1.0] * 2 * LAST, [0.1] * 10, 0.5, 0.5, 0.0, {"test_slow": 0.5}, "", 0.0)
        return self[key]


def cases(part: str) -> list[Case]:
    """The cases that a part's figures are read off, each once."""
    needed = _Needed()
    list(PARTS[part](Reader(needed, [0])))
    return [case for case, _ in needed]
