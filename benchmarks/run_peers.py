"""`make bench-peers`: tacit beside Flower, pfl-research and FedJAX, each in an environment of its own."""

from __future__ import annotations

import typer

from benchmarks import engines, race

HELP = f"""Measures seconds per round of tacit and of other frameworks on this machine, on the same data and work.

Peers: flower (Message API under run_simulation: Ray, one CPU per client actor), pfl (one process) and
{engines.PEERS[3].name} (its own multi-process mode: torchrun, gloo), fedjax-jit and fedjax-pmap. Beside them: tacit,
naive (every ratio is against it) and gemm (the machine's peak); naive and gemm always run.

The first run makes one virtual environment for each peer from the package registry, under .bench/ (about 3 GB;
TACIT_BENCH_CACHE moves it). A peer that cannot be installed on this Python keeps its row, with the reason.

Otherwise as `python -m benchmarks.run --help` says: turns, repetitions, a first round that is not counted, a check of
each model after round 1 against the naive loop's.

It writes benchmarks/results/peers.json and .png (peers-quick with --quick). Logs: .bench/logs.

Examples:

  python -m benchmarks.peers.environment                 only make the environments, and print versions

  python -m benchmarks.run_peers --quick                 does everything work?

  python -m benchmarks.run_peers                         A and B: takes long, Flower most of it

  python -m benchmarks.run_peers -w B -e tacit,pfl-2proc
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(help=HELP)
def main(
    workloads: race.Workloads = "A,B",
    names: race.Engines = "all",
    repeats: race.Repeats = 3,
    rounds: race.Rounds = 2,
    quick: race.Quick = False,
    limit: race.Limit = 1200.0,
    out: race.Out = "",
) -> None:
    """Runs the benchmark."""
    race.run(engines.PEERS, names, race.schedule(workloads, repeats, rounds, quick, "cpu", limit), out or "peers")


if __name__ == "__main__":
    app()
