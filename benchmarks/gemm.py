"""The machine's peak: a large single-precision matrix product, on one thread or on all.

Its rate is what the share of peak in the results refers to. A "round" is one product of two square matrices; the
workload only names the run.
"""

from __future__ import annotations

import argparse

import torch

from benchmarks.contestant import Channel, Job, drive, enter

SIZE = 3072
PRODUCTS = 8


def race(job: Job, channel: Channel) -> None:
    """Multiplies matrices: `PRODUCTS` timed ones for each round asked for."""
    if job.options.threads:
        torch.set_num_threads(job.options.threads)
    size = 8 * SIZE if job.device == "cuda" else SIZE
    a, b = torch.randn(size, size, device=job.device), torch.randn(size, size, device=job.device)
    out = torch.empty_like(a)
    where = job.device if job.device == "cuda" else f"{torch.get_num_threads()} threads"
    channel.ready(f"fp32 product of {size} x {size} matrices, {where}", "torch", flops_per_round=2 * size**3)

    def one_round(_: int) -> None:
        torch.mm(a, b, out=out)
        out[0, 0].item()

    many = Job(job.workload, PRODUCTS * job.rounds, job.seed, None, job.device, job.options)
    drive(many, channel, one_round, dict)


def options(parser: argparse.ArgumentParser) -> None:
    """How many threads."""
    parser.add_argument("--threads", type=int, default=0, help="intra-op threads (default: all)")


if __name__ == "__main__":
    enter(__doc__, race, options)
