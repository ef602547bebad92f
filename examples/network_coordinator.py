"""A coordinator for five clinics: it adds masked reports over TLS, and sees no single one of them."""

from pathlib import Path

import torch

import tacit
from tacit.network.identity import make_certificates, new_authority
from tacit.network.operator_box import invite
from tacit.network.serving import Listening, served
from tacit.plan import read
from tacit.population.schema import Schema
from tacit.scenarios.scenario import scenario

PLAN = """
version = 1
scenario = "own"  # task and data are given in Python, on every machine
rounds = 10
solver = {name = "SGD", lr = 0.1}
aggregation = {name = "SecureSum", minimum = 5, most_examples = 100}
network = {participants = 5}
"""


def coordinate(folder=Path("runs/clinics"), port=8443):
    """Serves until the model is trained; lines to hand over to the clinics are in invitations.txt."""
    files = make_certificates(folder / "certs", ["127.0.0.1"])
    task = tacit.Task(torch.nn.Linear(4, 1), torch.nn.functional.mse_loss)
    schema = Schema.of(torch.zeros(1, 4), torch.zeros(1, 1), inputs=("age", "bmi", "dose", "days"))
    authority, plan = new_authority(folder / "authority.pem"), read(PLAN, scenario)
    listening = Listening("127.0.0.1", port, files.certificate, files.key, files.ca)

    def started(url, coordinator):
        (folder / "invitations.txt").write_text("\n".join(invite(folder).text for _ in range(5)))

    return served(lambda: tacit.Coordinator(plan, schema, folder, authority, task=task), listening, started=started)


if __name__ == "__main__":
    print(coordinate().history[["round", "loss", "clients"]])
