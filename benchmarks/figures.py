"""From measurements to figures: medians with their spread, ratios within repetitions, shares of the machine's peak."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks import check, workloads
from benchmarks.arena import Measurement
from benchmarks.check import Check
from benchmarks.engines import NAIVE, PEAK, TACIT


@dataclass(frozen=True)
class Spread:
    """A median, the smallest and the largest of `count` values."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: list[float]) -> Spread | None:
        """The spread of `values`; None of none."""
        return cls(median(values), min(values), max(values), len(values)) if values else None


@dataclass(frozen=True)
class Row:
    """One engine on one workload.

    Attributes:
        seconds: of a round, over all timed rounds of all repetitions.
        over_naive: how many times faster than the naive loop; one ratio of medians for each repetition.
        tacit_over: how many times faster tacit is than this engine, likewise.
        examples: per second, from the median.
        gflops: 1e9 operations per second, from the median.
        share: of the single-precision matrix product's rate on all threads, measured in the same run.
        ready: seconds from the start of the process to the end of the round that warms up.
        peak_mb: largest resident memory of the process tree.
        cores: processors kept busy, start-up included.
        others: processors that other processes kept busy meanwhile: the mean, and in the worst repetition.
        outside: share of a round that workers do not spend in local steps (idle ones included), where it is told.
        phases: median seconds of a round's phases, where they are told.
    """

    workload: str
    engine: str
    note: str
    versions: dict[str, str]
    failure: str | None
    seconds: Spread | None = None
    over_naive: Spread | None = None
    tacit_over: Spread | None = None
    examples: float | None = None
    gflops: float | None = None
    share: float | None = None
    ready: float | None = None
    peak_mb: float | None = None
    cores: float | None = None
    others: Spread | None = None
    outside: Spread | None = None
    phases: dict[str, float] | None = None
    check: Check | None = None

    @property
    def trusted(self) -> bool:
        """Whether the figure may be compared: it exists, and the model showed that the work was done."""
        return self.seconds is not None and (self.check is None or self.check.passed)


def rows(measurements: list[Measurement], quick: bool) -> list[Row]:
    """One row for each engine and workload, in the order of measurement."""
    result = []
    for name in dict.fromkeys(m.workload for m in measurements):
        here = [m for m in measurements if m.workload == name]
        workload = workloads.find(name, quick)
        checks = check.compare(workload, {m.engine.name: m.model for m in here if m.model and not m.failure})
        engines = dict.fromkeys(m.engine.name for m in here)
        by_engine = {engine: [m for m in here if m.engine.name == engine] for engine in engines}
        peak = _peak(by_engine.get(PEAK.name, []))
        for engine, mine in by_engine.items():
            result.append(_row(workload, engine, mine, by_engine, peak, checks.get(engine)))
    return result


def _row(
    workload: workloads.Workload,
    engine: str,
    mine: list[Measurement],
    by_engine: dict[str, list[Measurement]],
    peak: float | None,
    checked: Check | None,
) -> Row:
    good = [m for m in mine if not m.failure and m.seconds]
    failure = next((m.failure for m in mine if m.failure), None)
    seconds = Spread.of([s for m in good for s in m.seconds])
    if seconds is None:
        return Row(workload.name, engine, mine[0].note, mine[0].versions, failure or "it answered without a figure")
    probe = good[0].flops is not None
    gflops = (good[0].flops or workload.flops_per_round) / seconds.median / 1e9
    return Row(
        workload.name,
        engine,
        good[0].note,
        good[0].versions,
        failure,
        seconds,
        over_naive=None if probe else _ratios(by_engine.get(NAIVE.name, []), good),
        tacit_over=None if probe else _ratios(good, by_engine.get(TACIT.name, [])),
        examples=None if probe else workload.examples_per_round / seconds.median,
        gflops=gflops,
        share=gflops / peak if peak else None,
        ready=median(m.ready for m in good if m.ready is not None),
        check=checked,
        **_load(good),
        **_phases(good),
    )


def _ratios(slow: list[Measurement], fast: list[Measurement]) -> Spread | None:
    """How many times the median round of `slow` takes that of `fast`, within each repetition that has both."""
    times = {m.repetition: median(m.seconds) for m in fast if m.seconds and not m.failure}
    return Spread.of([
        median(m.seconds) / times[m.repetition] for m in slow if m.seconds and not m.failure and m.repetition in times
    ])  # fmt: skip


def _peak(probes: list[Measurement]) -> float | None:
    """1e9 operations per second of the large matrix product on all threads: the median over the run."""
    rates = [m.flops / s / 1e9 for m in probes if m.flops and not m.failure for s in m.seconds]
    return median(rates) if rates else None


def _load(good: list[Measurement]) -> dict[str, Any]:
    loads = [m.load for m in good if m.load]
    if not loads:
        return {}
    return {
        "peak_mb": max(load.peak_mb for load in loads),
        "cores": median(load.cores for load in loads),
        "others": Spread.of([load.others for load in loads]),
    }


def _phases(good: list[Measurement]) -> dict[str, Any]:
    """Median seconds by phase, and the share of each round outside local training."""
    told = [r for m in good for r in m.rounds if "phases" in r]
    if not told:
        return {}
    names = dict.fromkeys(name for r in told for name in r["phases"])
    return {
        "phases": {name: median(r["phases"].get(name, 0.0) for r in told) for name in names},
        "outside": Spread.of([1.0 - r["local"] / r["seconds"] for r in told if "local" in r]),
    }
