"""FedJAX: `fed_avg.federated_averaging` with a `grad_fn` in JAX, all clients drawn each round by its uniform sampler.

Its `jit` backend (the default on a CPU) uses one core. `pmap` uses as many as XLA is told to split the host into
(`XLA_FLAGS=--xla_force_host_platform_device_count=2`).
"""

from __future__ import annotations

import argparse

import fedjax
import jax
from fedjax.algorithms import fed_avg

from benchmarks import workloads
from benchmarks.contestant import Channel, Job, drive, enter
from benchmarks.peers import jax_models
from benchmarks.workloads import Workload


def federated_data(workload: Workload) -> fedjax.FederatedData:
    """Every client's examples in memory."""
    return fedjax.InMemoryFederatedData(
        {
            client.encode(): {"x": jax_models.inputs(workload, x), "y": y}
            for client, (x, y) in workloads.population(workload).items()
        }
    )


def race(job: Job, channel: Channel) -> None:
    """Runs FedJAX."""
    workload, backend = job.workload, job.options.backend
    batches = fedjax.ShuffleRepeatBatchHParams(
        batch_size=workload.batch_size, num_epochs=workload.epochs, drop_remainder=False, seed=job.seed
    )
    # The backend is read where the algorithm is built, not where it is applied.
    with fedjax.for_each_client_backend(backend):
        algorithm = fed_avg.federated_averaging(
            jax.jit(jax.grad(jax_models.loss_of(workload))),
            client_optimizer=fedjax.optimizers.sgd(learning_rate=workload.lr),
            server_optimizer=fedjax.optimizers.sgd(learning_rate=1.0),
            client_batch_hparams=batches,
        )
    sampler = fedjax.client_samplers.UniformGetClientSampler(
        fd=federated_data(workload), num_clients=workload.clients, seed=job.seed
    )
    state = algorithm.init(jax_models.from_torch(workload, workloads.initial(workload)))
    note = f"fed_avg.federated_averaging, `{backend}` backend on {jax.local_device_count()} host device(s)"
    channel.ready(note, "fedjax", "jax", "jaxlib")

    def one_round(_: int) -> None:
        nonlocal state
        state, _diagnostics = algorithm.apply(state, sampler.sample())
        jax.block_until_ready(state.params)

    drive(job, channel, one_round, lambda: jax_models.to_torch(workload, state.params))


def options(parser: argparse.ArgumentParser) -> None:
    """Which of FedJAX's backends."""
    parser.add_argument("--backend", choices=["jit", "pmap"], default="jit", help="for_each_client backend")


if __name__ == "__main__":
    enter(__doc__, race, options)
