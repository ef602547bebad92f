"""A clinic of `network_coordinator.py` that brings its Flower client as it is: python network_flower.py 4"""

import sys
from pathlib import Path

import numpy as np
import torch

import tacit
from tacit.network.flower import from_numpy_client


class Client:
    """What was written for Flower: with flwr.client.NumPyClient as its base, or without it."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def fit(self, parameters, config):
        weight, bias = parameters
        for _ in range(config["local_steps"]):
            error = self.x @ weight.T + bias - self.y
            weight, bias = weight - 0.2 * error.T @ self.x / len(self.x), bias - 0.2 * error.mean(axis=0)
        return [weight, bias], len(self.y), {"loss": float(np.square(error).mean())}


def take_part(k, folder=Path("runs/clinics")):
    """Enrols the first time, and trains until the run has ended. What it admits is in its own policy.toml."""
    draw = np.random.default_rng(k)
    x = draw.normal(loc=k / 5, size=(60, 4)).astype("float32")
    y = (x @ [[1.0], [-2.0], [0.5], [0.0]] + 3 + draw.normal(size=(60, 1))).astype("float32")
    invitation = (folder / "invitations.txt").read_text().splitlines()[k]
    task = tacit.Task(torch.nn.Linear(4, 1), torch.nn.functional.mse_loss)
    given = {"folder": Path("clinics", f"{k}"), "task": task, "train": from_numpy_client(Client(x, y)), "approve": True}
    return tacit.Participant(invitation, (x, y), name=f"clinic-{k}", told=print, **given).run()


if __name__ == "__main__":
    print(take_part(int(sys.argv[1])))
