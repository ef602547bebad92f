"""Forty phones train one model together. Each knows two of ten classes; no example leaves its phone."""

import torch

import tacit

torch.manual_seed(0)
centres = torch.randn(10, 20)


def examples(classes, n):
    """n noisy points (n, 20) around the centres of some classes, and the class of each (n,)."""
    y = classes[torch.randint(len(classes), (n,))]
    return centres[y] + torch.randn(n, 20), y


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))

    def forward(self, x):
        return self.layers(x)


def accuracy(output, target):
    return (output.argmax(dim=1) == target).float().mean()


phones = {f"phone-{k}": examples(torch.randperm(10)[:2], n=60) for k in range(40)}
run = tacit.Federation(
    tacit.Task(Model(), torch.nn.functional.cross_entropy, metrics={"accuracy": accuracy}),
    tacit.Population.from_arrays(phones),
    tacit.Scaffold(tacit.SGD(lr=0.1, batch_size=10, epochs=2)),
    selection=tacit.Uniform(10),
).run(rounds=30, test=examples(torch.arange(10), n=1000))

print(run.history[["round", "loss", "test_accuracy", "clients", "bytes_up"]].tail(3))
run.report(run.save("runs/first-federation") / "report.html")
