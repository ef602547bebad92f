"""Clients out of one table: a row an example, and a column that says whose it is."""

import tempfile
from pathlib import Path

import numpy as np
import pandas
import torch

import tacit

rng = np.random.default_rng(0)
n = 600
age, pressure = rng.normal(60, 10, n), rng.normal(130, 15, n)
ill = age / 10 + pressure / 15 + rng.normal(size=n) > 15
table = pandas.DataFrame({"hospital": rng.choice(["north", "south", "west"], n), "age": age, "pressure": pressure})
table["outcome"] = np.where(ill, "ill", "well")

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "patients.csv.gz"
    table.to_csv(path, index=False)
    hospitals = tacit.Population.from_table(path, client="hospital", target="outcome")  # also TSV and Parquet

print(hospitals, "of the classes", hospitals.classes)
mean, deviation = torch.tensor([60.0, 130.0]), torch.tensor([10.0, 15.0])  # public: of the medical literature


class Risk(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 2)

    def forward(self, x):
        return self.linear((x - mean) / deviation)


torch.manual_seed(0)
task = tacit.Task(Risk(), torch.nn.functional.cross_entropy)
run = tacit.Federation(task, hospitals, tacit.FedAvg(tacit.SGD(lr=0.5, batch_size=20))).run(rounds=20)
print("of a patient of 75 years with 160 mmHg:", run.predict([[75.0, 160.0]]).softmax(dim=1))
