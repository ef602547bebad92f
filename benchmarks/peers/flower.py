"""Flower: `ClientApp.train`, `ServerApp.main` and `FedAvg.start` under `flwr.simulation.run_simulation`, on Ray.

One CPU per client actor, one intra-op thread each, no evaluation on clients. A round is what lies between two calls of
the strategy's central `evaluate_fn`, which itself does nothing but read the clock.
"""

from __future__ import annotations

from time import perf_counter

from flwr.app import ArrayRecord, ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from benchmarks import models
from benchmarks.contestant import Channel, Job, enter
from benchmarks.peers.flower_client import app as client_app

NOTE = "Message API (ClientApp, ServerApp, FedAvg.start) under run_simulation: Ray, 1 CPU and 1 thread per client actor"


class Clock:
    """The strategy's `evaluate_fn`: called before round 1 and after every round."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._start = perf_counter()

    def __call__(self, number: int, arrays: ArrayRecord) -> None:
        """Reports round `number` and starts the clock anew."""
        if number > 0:
            seconds = perf_counter() - self._start
            state = arrays.to_torch_state_dict
            self._channel.round(number, seconds, lambda: {k: v.numpy() for k, v in state().items()})
        self._start = perf_counter()


def server_app(job: Job, channel: Channel) -> ServerApp:
    """The server: everyone trains in every round; it waits until all nodes are there."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        everyone = job.workload.clients
        strategy = FedAvg(
            fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=everyone, min_available_nodes=everyone
        )
        config = {"workload": job.workload.name, "quick": job.options.quick, "lr": job.workload.lr}
        strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord(models.build(job.workload).state_dict()),
            num_rounds=job.rounds_in_all,
            train_config=ConfigRecord(config),
            evaluate_fn=Clock(channel),
        )

    return app


def race(job: Job, channel: Channel) -> None:
    """Runs Flower."""
    channel.ready(NOTE, "flwr", "ray", "torch")
    run_simulation(
        server_app=server_app(job, channel),
        client_app=client_app,
        num_supernodes=job.workload.clients,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )


if __name__ == "__main__":
    enter(__doc__, race)
