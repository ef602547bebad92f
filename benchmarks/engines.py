"""Every contestant by name: which program it is, in which environment it runs, with how many threads."""

from __future__ import annotations

import os
from dataclasses import dataclass

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Engine:
    """One contestant.

    Attributes:
        module: its program, run as `python -m module`.
        arguments: its own options.
        threads: what OMP_NUM_THREADS and its kin are set to; None: left as the user's environment has them.
        peer: the environment of `peers/environment.py` that it runs in; None: tacit's own.
        processes: started by torchrun in so many processes, where that is more than one.
        variables: further environment variables.
        federated: whether it computes the same round, so that its model must agree with the naive loop's.
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    threads: int | None = 1
    peer: str | None = None
    processes: int = 1
    variables: tuple[tuple[str, str], ...] = ()
    federated: bool = True

    def command(self, python: str) -> list[str]:
        """How it is started by the interpreter `python`."""
        if self.processes == 1:
            return [python, "-m", self.module, *self.arguments]
        torchrun = [python, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(self.processes)]
        return [*torchrun, "-m", self.module, *self.arguments]

    def environment(self) -> dict[str, str]:
        """The environment variables it is started with."""
        variables = {**os.environ, **dict(self.variables), "PYTHONUNBUFFERED": "1"}
        if self.threads is not None:
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
                variables[name] = str(self.threads)
        return variables


def _centralised(factor: int) -> Engine:
    arguments = ("--batch-factor", str(factor))
    return Engine(f"centralised-x{factor}", "benchmarks.centralised", arguments, threads=None, federated=False)


NAIVE = Engine("naive", "benchmarks.naive")
TACIT = Engine("tacit", "benchmarks.federation", threads=None)
PEAK = Engine("gemm", "benchmarks.gemm", threads=None, federated=False)

OWN = (
    TACIT,
    Engine("tacit-watched", "benchmarks.federation", ("--watch",), threads=None),
    Engine("tacit-private", "benchmarks.federation", ("--private",), threads=None),
    NAIVE,
    Engine("reused", "benchmarks.reused"),
    _centralised(1),
    _centralised(10),
    _centralised(100),
    Engine("gemm-1", "benchmarks.gemm", ("--threads", "1"), federated=False),
    PEAK,
)

_TWO_DEVICES = (("XLA_FLAGS", f"--xla_force_host_platform_device_count={CORES}"), ("JAX_PLATFORMS", "cpu"))

PEERS = (
    TACIT,
    NAIVE,
    Engine("pfl", "benchmarks.peers.pfl", peer="pfl"),
    Engine(f"pfl-{max(CORES, 2)}proc", "benchmarks.peers.pfl", peer="pfl", processes=max(CORES, 2)),
    Engine("fedjax-jit", "benchmarks.peers.fedjax", peer="fedjax", threads=None, variables=(("JAX_PLATFORMS", "cpu"),)),
    Engine("fedjax-pmap", "benchmarks.peers.fedjax", ("--backend", "pmap"), threads=None, peer="fedjax",
           variables=_TWO_DEVICES),
    Engine("flower", "benchmarks.peers.flower", peer="flower",
           variables=(("FLWR_TELEMETRY_ENABLED", "0"), ("RAY_USAGE_STATS_ENABLED", "0"))),
    PEAK,
)  # fmt: skip


def named(names: str, among: tuple[Engine, ...]) -> list[Engine]:
    """The engines in the comma-separated `names` ("all": each of them), with the naive loop and the peak always.

    Raises:
        ValueError: a name is unknown.
    """
    known = {engine.name: engine for engine in among}
    wanted = list(known) if names == "all" else [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"unknown engine(s) {', '.join(unknown)}: choose from {', '.join(known)}")
    return [engine for engine in among if engine.name in {*wanted, NAIVE.name, PEAK.name}]
