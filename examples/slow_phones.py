"""Two hundred phones, some of them a hundred times slower: what waiting for all of them costs, and what does not."""

import numpy as np
import torch

import tacit
from tacit import fleet

rng = np.random.default_rng(0)
direction = rng.normal(size=(20, 5))


def phone(classes):
    x = rng.normal(size=(60, 20)).astype("f4") + direction[:, classes].mean(1).astype("f4")
    return x, (x @ direction).argmax(1)


population = tacit.Population.from_arrays({f"phone-{k}": phone(rng.choice(5, 2, replace=False)) for k in range(200)})
devices = fleet.lognormal(200, seed=1)
rules = {
    "wait for all": (fleet.WaitForAll(), tacit.Uniform(30), 20),
    "partial work": (fleet.PartialWork(quantile=0.8), tacit.Uniform(30), 20),
    "buffers of 15": (fleet.FedBuff(concurrency=30, buffer=15), None, 40),
}
runs = {}
for name, (closing, selection, rounds) in rules.items():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, 5))
    accuracy = {"accuracy": lambda output, y: (output.argmax(1) == y).float().mean()}
    federation = tacit.Federation(
        tacit.Task(model, torch.nn.functional.cross_entropy, accuracy),
        population,
        tacit.FedProx(tacit.SGD(lr=0.1, batch_size=10, epochs=3), mu=0.01),
        selection=selection,
        fleet=devices,
        closing=closing,
    )
    runs[name] = run = federation.run(rounds, population, evaluate_every=5)
    print(f"{name}: {run.rows[-1]['test_accuracy']:.3f} after {60 * run.rows[-1]['virtual_hours']:.1f} minutes")
