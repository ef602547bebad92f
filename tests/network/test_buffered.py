"""Rounds that overlap, between machines: every buffer is exactly those who were done first, each from its own model."""

import time

import numpy as np
import pytest
import torch

import tacit
from tacit.errors import IncompatibleOptions
from tacit.network.coordinator import Coordinator
from tests.network.house import POLICY, Guest, data, hosted, names, plan, schema

PEOPLE, BUFFER = 5, 3


def flat():
    """A model of one number for each participant: what it moves says who was counted."""
    model = torch.nn.Linear(6, 3, bias=False)
    torch.nn.init.zeros_(model.weight)
    return tacit.Task(model, torch.nn.functional.cross_entropy)


def mover(k, pause):
    """Moves the k-th number by one, whatever it starts from; the slower, the larger k."""

    def train(parameters, x, y):
        time.sleep(pause * k)
        moved = parameters["weight"].copy()
        moved.reshape(-1)[k] += 1.0
        return {"weight": moved}, 0.5

    return train


def overlapping(exponent, **sections):
    return plan(
        PEOPLE,
        rounds=8,
        fleet={"name": "Lognormal"},
        closing={"name": "FedBuff", "buffer": BUFFER, "concurrency": PEOPLE, "exponent": exponent},
        **({"aggregation": {"minimum": 3}, "algorithm": {"name": "FedAvg", "weights": "uniform"}} | sections),
    )


def crowd(host, folder, policy=POLICY):
    made = [
        Guest(host, n, data(k, 20), folder / n, task_of=flat, train=mover(k, 0.06), policy=policy)
        for k, n in enumerate(names(PEOPLE))
    ]
    for guest in made:
        guest.start()
    return made


@pytest.mark.parametrize("exponent", [0.0, 0.5])
def test_a_step_is_the_mean_of_the_updates_in_the_buffer_each_scaled_by_its_age(exponent, tmp_path):
    made = overlapping(exponent)
    with hosted(made, tmp_path / "c", task_of=flat) as host:
        joined = crowd(host, tmp_path)
        run = host.wait(watched=joined)
        for guest in joined:
            guest.join(20)
        rounds = [one for one in host.coordinator.journal.rounds() if one.model]
        logs = {n: g.participant._diary.log.entries() for n, g in zip(names(PEOPLE), joined, strict=True)}
    expected, ages = np.zeros(18), []
    for one in rounds:
        assert len(one.facts["counted"]) == BUFFER
        for name in one.facts["counted"]:
            began = version(logs[name], one.round)
            ages.append(one.round - began)
            expected[names(PEOPLE).index(name)] += (1 + one.round - began) ** -exponent / BUFFER
    found = run.tensors["weight"].reshape(-1).numpy()
    assert np.abs(found - expected).max() < 1e-4
    assert max(ages) > 0, "nobody was ever late: the test shows nothing"


def test_every_buffer_is_noised_and_charged(tmp_path):
    level = {"name": "UserLevel", "epsilon": 50.0, "clip": 1.0, "delta": 0.01, "insecure_seed": 1}
    made = overlapping(0.5, privacy=level)
    with hosted(made, tmp_path / "c", task_of=flat) as host:
        joined = crowd(host, tmp_path)
        run = host.wait(watched=joined)
    spent = [row["epsilon"] for row in run.rows]
    assert spent == sorted(spent) and 0 < spent[0] < spent[-1] <= 50.0


def version(log, round):
    """The round from whose model the report in this round's buffer was trained, by the participant's own log."""
    keys = [e for e in log if e.event == "sent" and e.facts["kind"] == "keys" and e.facts["round"] == round]
    before = [e for e in log if e.event == "trained" and e.n < keys[-1].n]
    return before[-1].facts["round"]


def test_what_needs_everybody_to_be_of_one_round_is_refused(tmp_path):
    from tacit.aggregation.secure.identity import Authority

    made = overlapping(0.5, compression={"name": "Quantise", "bits": 8})
    with pytest.raises(IncompatibleOptions, match="rounds cannot overlap here"):
        Coordinator(made, schema(), tmp_path, Authority(lambda n: bytes(range(n))), task=flat())
