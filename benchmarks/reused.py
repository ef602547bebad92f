"""The bare loop: one reused model whose parameters are views of one flat vector, and a `_foreach` SGD step.

Nothing of a framework is left in it, and nothing of a fused or compiled kernel either: it is what careful eager PyTorch
reaches on one thread.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks import models, workloads
from benchmarks.contestant import Channel, Job, drive, enter
from benchmarks.models import Loss
from benchmarks.naive import exported
from benchmarks.workloads import Workload

NOTE = "one model on a flat vector, autograd.grad, _foreach_add_; 1 intra-op thread"

Client = tuple[Tensor, Tensor]


def flatten(model: nn.Module) -> Tensor:
    """Moves the model's parameters into one vector (d,) and makes them views of it."""
    parameters = list(model.parameters())
    vector = torch.cat([p.detach().flatten() for p in parameters])
    start = 0
    for p in parameters:
        p.data = vector[start : start + p.numel()].view_as(p)
        start += p.numel()
    return vector


def train_client(model: nn.Module, parameters: list[Tensor], client: Client, loss: Loss, workload: Workload) -> None:
    """One client's local epochs, in place."""
    x, y = client
    for _ in range(workload.epochs):
        order = torch.randperm(len(x), device=x.device)
        for batch in torch.split(order, workload.batch_size):
            gradients = torch.autograd.grad(loss(model(x[batch]), y[batch]), parameters)
            with torch.no_grad():
                torch._foreach_add_(parameters, gradients, alpha=-workload.lr)


def race(job: Job, channel: Channel) -> None:
    """Runs the bare loop."""
    torch.set_num_threads(1)
    torch.manual_seed(job.seed)
    workload = job.workload
    model, loss = models.build(workload).to(job.device).train(), models.loss_of(workload)
    clients = [
        (torch.from_numpy(x).to(job.device), torch.from_numpy(y).to(job.device))
        for x, y in workloads.population(workload).values()
    ]
    vector, parameters = flatten(model), list[Tensor](model.parameters())
    start, total = torch.empty_like(vector), torch.empty_like(vector)
    channel.ready(NOTE, "torch")

    def one_round(_: int) -> None:
        start.copy_(vector)
        total.zero_()
        for client in clients:
            vector.copy_(start)
            train_client(model, parameters, client, loss, workload)
            total.add_(vector, alpha=len(client[0]))
        vector.copy_(total).div_(sum(workload.sizes))
        vector.cpu()

    drive(job, channel, one_round, lambda: exported(model.state_dict()))


if __name__ == "__main__":
    enter(__doc__, race)
