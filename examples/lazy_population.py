"""A population larger than memory: a client's examples are loaded when it takes part, and let go afterwards."""

import tempfile
from pathlib import Path

import numpy as np
import torch

import tacit


def measure(station):
    """A station's readings, made when they are asked for: x (50, 3), y (50, 1)."""
    rng = np.random.default_rng(int(station))
    x = rng.normal(size=(50, 3)).astype(np.float32)
    return x, x @ np.array([[1.0], [-2.0], [0.5]], dtype=np.float32)


torch.manual_seed(0)
task = tacit.Task(torch.nn.Linear(3, 1), torch.nn.functional.mse_loss)
method = tacit.FedAvg(tacit.SGD(lr=0.1, batch_size=10))

# A function that loads: a hundred thousand stations, of which each round touches twenty.
stations = tacit.Population.from_loader(dict.fromkeys(range(100_000), 50), measure)
run = tacit.Federation(task, stations, method, selection=tacit.Uniform(20)).run(rounds=5)
print(stations, "loss", round(run.history["loss"].iloc[-1], 4))

# A folder with one file a client; only the headers are read beforehand.
with tempfile.TemporaryDirectory() as folder:
    for k in range(30):
        x, y = measure(k)
        np.savez(Path(folder) / f"station-{k}.npz", x=x, y=y)
    stored = tacit.Population.from_folder(folder, cache_bytes=2**20)
    run = tacit.Federation(task, stored, method, selection=tacit.Uniform(20)).run(rounds=5)
    print(stored, "loss", round(run.history["loss"].iloc[-1], 4))
