"""`make bench`: tacit beside a naive loop, a bare loop, centralised training and the machine's peak."""

from __future__ import annotations

import typer

from benchmarks import engines, race

HELP = """Measures seconds per round of tacit and of what it is to be compared with on this machine.

Engines: tacit (through its public interface), tacit-watched (the same, counting the seconds in local steps: what share
of a round is anything else?), naive (deepcopy, DataLoader, optim.SGD; every ratio is against it), reused (a bare loop
on one model), centralised-x1/x10/x100 (one model on the pooled data, at 1, 10 and 100 times the clients' batch), gemm-1
and gemm (a large matrix product on one thread and on all: the peak). naive and gemm always run.

Every engine is a process of its own; the engines take turns, --repeats times; each process runs one round that is not
counted and then --rounds that are. Shown are medians with the smallest and largest value, ratios within repetitions,
and the processors that other programs kept busy meanwhile: trust a figure when that is near 0. A model that does not
agree with the naive loop's after round 1 is marked (!) and gets no ratio.

It writes benchmarks/results/engines.json and .png (engines-quick with --quick). Logs: .bench/logs.

Examples:

  python -m benchmarks.run --quick                       does everything work?

  python -m benchmarks.run                               all workloads

  python -m benchmarks.run -w A -e tacit,reused          only what matters now

  python -m benchmarks.workloads                         what the workloads are
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(help=HELP)
def main(
    workloads: race.Workloads = "A,A2,A-residual,B,C",
    names: race.Engines = "all",
    repeats: race.Repeats = 3,
    rounds: race.Rounds = 2,
    quick: race.Quick = False,
    device: race.Device = "cpu",
    limit: race.Limit = 1200.0,
    out: race.Out = "",
) -> None:
    """Runs the benchmark."""
    race.run(engines.OWN, names, race.schedule(workloads, repeats, rounds, quick, device, limit), out or "engines")


if __name__ == "__main__":
    app()
