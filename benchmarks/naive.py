"""The naive loop: federated averaging as a first script writes it. Every ratio of the benchmark is against this one.

For each client: a deep copy of the model, `load_state_dict`, a shuffling `DataLoader`, `optim.SGD`. One intra-op
thread, which is the faster choice at these batch sizes.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import models, workloads
from benchmarks.contestant import Channel, Job, Parameters, drive, enter
from benchmarks.models import Loss
from benchmarks.workloads import Workload

NOTE = "deepcopy, load_state_dict, DataLoader, optim.SGD; 1 intra-op thread"


def train_client(model: nn.Module, data: TensorDataset, loss: Loss, workload: Workload) -> None:
    """One client's local epochs, in place."""
    loader = DataLoader(data, batch_size=workload.batch_size, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=workload.lr)
    model.train()
    for _ in range(workload.epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def train_round(model: nn.Module, clients: list[TensorDataset], loss: Loss, workload: Workload) -> None:
    """One round over all clients: `model` becomes the mean of the local models, weighted by their examples."""
    state = model.state_dict()
    total = {name: torch.zeros_like(value) for name, value in state.items()}
    for data in clients:
        local = copy.deepcopy(model)
        local.load_state_dict(state)
        train_client(local, data, loss, workload)
        for name, value in local.state_dict().items():
            total[name] += len(data) * value
    examples = sum(len(data) for data in clients)
    model.load_state_dict({name: value / examples for name, value in total.items()})


def datasets(job: Job) -> list[TensorDataset]:
    """Every client's examples on the job's device."""
    population = workloads.population(job.workload).values()
    return [TensorDataset(*(torch.from_numpy(a).to(job.device) for a in examples)) for examples in population]


def exported(state: dict[str, Tensor]) -> Parameters:
    """A `state_dict` as NumPy arrays."""
    return {name: value.detach().cpu().numpy() for name, value in state.items()}


def race(job: Job, channel: Channel) -> None:
    """Runs the naive loop."""
    torch.set_num_threads(1)
    torch.manual_seed(job.seed)
    model, loss, clients = models.build(job.workload).to(job.device), models.loss_of(job.workload), datasets(job)
    channel.ready(NOTE, "torch")

    def one_round(_: int) -> None:
        train_round(model, clients, loss, job.workload)
        exported(model.state_dict())

    drive(job, channel, one_round, lambda: exported(model.state_dict()))


if __name__ == "__main__":
    enter(__doc__, race)
