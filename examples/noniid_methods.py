"""Four methods on unlike data: each client knows one of ten classes."""

import pandas
import torch
from torch.nn.functional import cross_entropy

import tacit
from tacit.population.partition import Shards

solver = tacit.SGD(lr=0.1, batch_size=10, epochs=5)
# All clients take equally many steps here, so FedNova has nothing to normalise: it is FedAvg.
methods = [tacit.FedAvg(solver), tacit.FedProx(solver, mu=0.1), tacit.FedNova(solver), tacit.Scaffold(solver)]


def accuracy(output, target):
    return (output.argmax(dim=1) == target).float().mean()


def compare(rounds=20, seed=0):
    """Test accuracy after each round, a column for each method."""
    torch.manual_seed(seed)
    centres = torch.randn(10, 20)

    def draw(n):
        y = torch.randint(10, (n,))
        return centres[y] + 1.2 * torch.randn(n, 20), y

    clients = tacit.Population.partition(*draw(2000), by=Shards(clients=20, per_client=1), seed=seed)
    model = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    task, test = tacit.Task(model, cross_entropy, {"accuracy": accuracy}), draw(2000)
    ways = {type(m).__name__: tacit.Federation(task, clients, m, selection=tacit.Uniform(10)) for m in methods}
    return pandas.DataFrame({name: way.run(rounds, test).history["test_accuracy"] for name, way in ways.items()})


if __name__ == "__main__":
    print(compare().iloc[::3].round(3))
