"""The centralised limit: one model on all clients' examples pooled, as many passes as the clients make.

It does as many examples as a federated round, with one model that never leaves the cache and, at larger batches, with
matrices large enough for the machine. All intra-op threads. It is another algorithm: its model is not compared.
"""

from __future__ import annotations

import argparse

import torch

from benchmarks import models, workloads
from benchmarks.contestant import Channel, Job, drive, enter
from benchmarks.naive import exported


def race(job: Job, channel: Channel) -> None:
    """Trains one model on the pooled data."""
    torch.manual_seed(job.seed)
    workload = job.workload
    batch_size = workload.batch_size * job.options.batch_factor
    model, loss = models.build(workload).to(job.device).train(), models.loss_of(workload)
    x, y = (torch.from_numpy(a).to(job.device) for a in workloads.pooled(workload))
    optimizer = torch.optim.SGD(model.parameters(), lr=workload.lr)
    channel.ready(f"one model on pooled data, batch {batch_size}; {torch.get_num_threads()} intra-op threads", "torch")

    def one_round(_: int) -> None:
        for _ in range(workload.epochs):
            for batch in torch.split(torch.randperm(len(x), device=x.device), batch_size):
                optimizer.zero_grad()
                loss(model(x[batch]), y[batch]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        exported(model.state_dict())

    drive(job, channel, one_round, lambda: exported(model.state_dict()))


def options(parser: argparse.ArgumentParser) -> None:
    """The batch size, as a multiple of the clients'."""
    parser.add_argument("--batch-factor", type=int, default=1, help="batch = this x the clients' batch (default 1)")


if __name__ == "__main__":
    enter(__doc__, race, options)
