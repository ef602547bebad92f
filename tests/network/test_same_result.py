"""The same plan and seed between machines and in simulation: the same model, bit for bit, under secure sums."""

import pytest
import torch

from tests.network.house import guests, hosted, plan, simulated

SECURE = {"aggregation": {"name": "SecureSum", "minimum": 4, "most_examples": 64}}
METHODS = {
    "FedAvg": {},
    "FedProx": {"algorithm": {"name": "FedProx", "mu": 0.1}},
    "FedNova": {"algorithm": {"name": "FedNova"}},
    "SCAFFOLD": {"algorithm": {"name": "Scaffold"}},
    "FedAdam": {"algorithm": {"name": "FedAdam", "server_lr": 0.01}},
    "quantised": {"compression": {"name": "Quantise", "bits": 8}},
    "rotated": {"rotation": {"name": "Rotate"}, "compression": {"name": "Quantise", "bits": 4}},
    "uniform": {"selection": {"name": "Uniform", "cohort": 4}, "aggregation": {"minimum": 4}},
    "records": {"record_privacy": {"name": "RecordLevel", "epsilon": 50.0, "clip": 1.0, "insecure_seed": 5}},
    "users": {"privacy": {"name": "UserLevel", "epsilon": 50.0, "clip": 1.0, "insecure_seed": 5, "delta": 0.01}},
    "Skellam": {
        "privacy": {
            "name": "UserLevel",
            "epsilon": 50.0,
            "clip": 1.0,
            "insecure_seed": 5,
            "delta": 0.01,
            "mechanism": "skellam",
        },
        "aggregation": {"protocol": "full"},  # each client draws its own noise; the ideal one draws the sum of it
    },
    "64 bits": {"aggregation": {"bits": 64}},
}


def trained(made, folder, count=4):
    with hosted(made, folder / "coordinator") as host:
        joined = guests(host, count, folder)
        run = host.wait(watched=joined)
        for guest in joined:
            guest.join(20)
        assert [guest.error for guest in joined] == [None] * count
        return run, [guest.ended for guest in joined]


def equal(one, other):
    return {name for name in one.tensors if not torch.equal(one.tensors[name], other.tensors[name])}


@pytest.mark.parametrize("sections", METHODS.values(), ids=METHODS)
def test_a_run_between_machines_ends_with_the_model_of_its_simulation(sections, tmp_path):
    merged = {**SECURE, **sections, "aggregation": SECURE["aggregation"] | sections.get("aggregation", {})}
    made = plan(4, rounds=3, **merged)
    run, ended = trained(made, tmp_path)
    alone = simulated(made)
    assert equal(run, alone) == set()
    assert [one.state for one in ended] == ["finished"] * 4
    for one in ended:
        assert all(torch.equal(one.model[name], run.tensors[name]) for name in run.tensors)
    assert [row["loss"] for row in run.rows] == [row["loss"] for row in alone.rows]
    assert [row["clients"] for row in run.rows] == [row["clients"] for row in alone.rows]


def test_groups_of_a_robust_rule_have_a_secure_sum_each(tmp_path):
    made = plan(
        9,
        rounds=2,
        robust={"name": "Median", "groups": 3},
        aggregation={"name": "SecureSum", "minimum": 3, "most_examples": 64},
    )
    run, _ = trained(made, tmp_path, 9)
    assert equal(run, simulated(made)) == set()


@pytest.mark.parametrize("sections", [{}, {"compression": {"name": "TopK", "share": 0.25}}], ids=["plain", "top-k"])
def test_without_secure_sums_it_agrees_within_the_rounding_of_single_precision(sections, tmp_path):
    made = plan(4, rounds=3, aggregation="none", **sections)
    run, _ = trained_with(made, tmp_path, secure=False)
    alone = simulated(made)
    for name in run.tensors:
        assert torch.allclose(run.tensors[name], alone.tensors[name], atol=1e-6)


def trained_with(made, folder, secure):
    from dataclasses import replace

    from tests.network.house import POLICY

    policy = replace(POLICY, secure=secure)
    with hosted(made, folder / "coordinator") as host:
        joined = guests(host, 4, folder, policy=policy)
        run = host.wait(watched=joined)
        for guest in joined:
            guest.join(20)
        return run, [guest.ended for guest in joined]
