"""A run that ends by itself: when the metric stops improving, or when the model stops moving."""

import torch

import tacit

torch.manual_seed(0)
weights = torch.randn(10, 1)


def draw(n):
    x = torch.randn(n, 10)
    return x, x @ weights + 0.5 * torch.randn(n, 1)


clients = tacit.Population.from_arrays({k: draw(40) for k in range(12)})
task, validation = tacit.Task(torch.nn.Linear(10, 1), torch.nn.functional.mse_loss), draw(400)

# The learning rate follows half a cosine over the rounds, after a short warm-up.
rate = tacit.Warmup(then=tacit.Cosine(lr=0.05, rounds=100, final=0.001), rounds=3)
federation = tacit.Federation(task, clients, tacit.FedAvg(tacit.SGD(rate, batch_size=10, epochs=2)))
rules = [
    tacit.Patience("test_loss", rounds=5, min_delta=1e-4),  # no better for five measured rounds
    tacit.Converged(norm=1e-3, rounds=2),  # the model moved less than this, twice in a row
]
run = federation.run(rounds=100, test=validation, until=rules)
print(f"{len(run.history)} of 100 rounds: {run.facts['ended']}")
