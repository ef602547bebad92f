"""pfl-research: `FederatedAveraging.run` on a `SimulatedBackend`, weighted by data points, without evaluation.

One process, or several of its own (`torch.distributed` with gloo), started as its documentation says:
`torchrun --nproc_per_node 2 -m benchmarks.peers.pfl`. Users are sorted by size between processes
(`user_id_to_weight`). pfl does not shuffle: its batches are the same in every epoch.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByDatapoints
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.pytorch import PyTorchTensorDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam import NNTrainHyperParams
from pfl.internal.ops.selector import get_framework_module
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel
from torch import Tensor, nn

from benchmarks import models, workloads
from benchmarks.contestant import Channel, Job, enter
from benchmarks.workloads import Workload


class Trained(nn.Module):
    """The workload's model with the two methods that pfl asks for."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        self.net = models.build(workload)
        self._loss = models.loss_of(workload)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean loss of a batch."""
        self.train()
        return self._loss(self.net(x), y)

    def metrics(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """None: nothing is evaluated."""
        return {}


class Clock(TrainingProcessCallback):
    """Reports each central iteration's time."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._start = perf_counter()

    def on_train_begin(self, *, model: PyTorchModel) -> Metrics:
        """Starts the clock."""
        self._start = perf_counter()
        return Metrics()

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        """Reports and starts the clock anew."""
        seconds = perf_counter() - self._start
        state = model.pytorch_model.net.state_dict()
        self._channel.round(central_iteration + 1, seconds, lambda: {k: v.numpy() for k, v in state.items()})
        self._start = perf_counter()
        return False, Metrics()


def federated_dataset(workload: Workload) -> FederatedDataset:
    """Every client's examples; a cohort of everyone goes through all of them."""
    data = {
        client: PyTorchTensorDataset((torch.from_numpy(x), torch.from_numpy(y)), user_id=client)
        for client, (x, y) in workloads.population(workload).items()
    }
    sizes = {client: len(dataset) for client, dataset in data.items()}
    sampler = get_user_sampler("minimize_reuse", list(data))
    return FederatedDataset(data.__getitem__, sampler, user_id_to_weight=sizes)


def race(job: Job, channel: Channel) -> None:
    """Runs pfl."""
    workload = job.workload
    np.random.seed(job.seed)  # noqa: NPY002 - the generator that pfl draws from, alike in all processes
    torch.manual_seed(job.seed)
    module = Trained(workload)
    model = PyTorchModel(module, torch.optim.SGD, central_optimizer=torch.optim.SGD(module.parameters(), lr=1.0))
    distributed = get_framework_module().distributed
    if distributed.global_rank != 0:
        channel.mute()
    backend = SimulatedBackend(
        training_data=federated_dataset(workload), val_data=None, postprocessors=[WeightByDatapoints()]
    )
    channel.ready(
        f"FederatedAveraging + SimulatedBackend; processes: {distributed.world_size}, "
        f"{torch.get_num_threads()} intra-op thread each; no shuffling",
        "pfl",
        "torch",
    )
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=job.rounds_in_all,
            # Evaluation happens in iterations divisible by the frequency: the first one cannot be avoided.
            evaluation_frequency=job.rounds_in_all + 1,
            train_cohort_size=workload.clients,
            val_cohort_size=None,
        ),
        backend=backend,
        model=model,
        model_train_params=NNTrainHyperParams(
            local_batch_size=workload.batch_size, local_num_epochs=workload.epochs, local_learning_rate=workload.lr
        ),
        callbacks=[Clock(channel)],
    )


if __name__ == "__main__":
    enter(__doc__, race)
