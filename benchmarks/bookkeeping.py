"""What it costs to keep a million phones: who is there, who is drawn, who reports, and the books, for each round.

python -m benchmarks.bookkeeping
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

import tacit
from benchmarks import machine
from tacit.fleet import phones
from tacit.rounds.opening import examples_read
from tacit.rounds.schedule import Schedule
from tacit.selection.cohort import Selection

RESULT = Path(__file__).parent / "results" / "bookkeeping.json"
COHORT, ROUNDS = 1000, 50
RULES: dict[str, Selection] = {
    "Uniform": tacit.Uniform(COHORT),
    "Poisson": tacit.Poisson(COHORT),
    "Eligible(Uniform)": tacit.Eligible(tacit.Uniform(COHORT), memory=1500, unmetered=True),
    "Spaced(Uniform)": tacit.Spaced(tacit.Uniform(COHORT), gap=10),
    "Oort": tacit.Oort(COHORT),
}


def federation(clients: int, rule: Selection, devices: tacit.fleet.Fleet) -> tacit.Federation:
    """A run of so many clients whose examples are made when they are asked for."""
    example = np.zeros((20, 4), np.float32), np.zeros(20, np.int64)
    population = tacit.Population.from_loader(dict.fromkeys(range(clients), 20), lambda client: example)
    task = tacit.Task(torch.nn.Linear(4, 2), torch.nn.functional.cross_entropy)
    return tacit.Federation(
        task, population, tacit.FedAvg(tacit.SGD(lr=0.1, batch_size=10)), selection=rule, fleet=devices, workers=1
    )


def milliseconds(made: tacit.Federation) -> list[float]:
    """Of each round: drawn, timed, closed and booked; nobody trains."""
    schedule, found = Schedule(made, examples_read(made.algorithm, made.population), 4_000_000, 4_000_000), []
    for round in range(ROUNDS):
        start = perf_counter()
        call = schedule.call(round, 0, lambda who: np.zeros(len(who)))
        schedule.done(call, round, call.reporting, 1.0, np.ones(len(call.reporting)))
        found.append(1000 * (perf_counter() - start))
    return found


def main() -> None:
    """Measures, prints, and writes benchmarks/results/bookkeeping.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    devices, rows = phones(given.clients, seed=0), {}
    for name, rule in RULES.items():
        times = milliseconds(federation(given.clients, rule, devices))
        rows[name] = {
            "median_ms": round(float(np.median(times)), 1),
            "p95_ms": round(float(np.percentile(times, 95)), 1),
        }
        print(f"{name:20} median {rows[name]['median_ms']:6.1f} ms   95 % {rows[name]['p95_ms']:6.1f} ms", flush=True)
    content = {
        "machine": machine.describe(),
        "clients": given.clients,
        "cohort": COHORT,
        "rounds": ROUNDS,
        "rules": rows,
    }
    given.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
