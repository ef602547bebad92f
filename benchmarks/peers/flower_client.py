"""Flower's client: a `ClientApp` of the Message API, written as its PyTorch tutorial does.

It is a module of its own so that Ray's actors import it; a function of `__main__` would be sent with every message.
"""

from __future__ import annotations

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import models, workloads
from benchmarks.workloads import Workload

app = ClientApp()


def load_data(workload: Workload, partition: int) -> DataLoader[tuple[torch.Tensor, ...]]:
    """The loader of one partition. The population is cached in each actor, as the tutorial caches its data set."""
    population = workloads.population(workload)
    x, y = population[list(population)[partition]]
    return DataLoader(
        TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), batch_size=workload.batch_size, shuffle=True
    )


def fit(model: nn.Module, loader: DataLoader[tuple[torch.Tensor, ...]], workload: Workload, lr: float) -> float:
    """Local epochs, in place. Returns the mean loss of the batches."""
    criterion = models.loss_of(workload)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    model.train()
    running = 0.0
    for _ in range(workload.epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            running += loss.item()
    return running / (workload.epochs * len(loader))


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Trains the received model on this node's partition and replies with it."""
    config = msg.content["config"]
    workload = workloads.find(str(config["workload"]), bool(config["quick"]))
    model = models.architecture(workload)
    model.load_state_dict(msg.content["arrays"].to_torch_state_dict())
    loader = load_data(workload, int(context.node_config["partition-id"]))
    loss = fit(model, loader, workload, float(config["lr"]))
    metrics = MetricRecord({"train_loss": loss, "num-examples": len(loader.dataset)})
    return Message(RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics}), reply_to=msg)
