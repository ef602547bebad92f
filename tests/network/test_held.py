"""Not all can be held: beyond a number participants are told when to come again, and nobody is left out for it."""

import torch

from tests.network.house import guests, hosted, plan, simulated


def test_those_who_are_not_held_come_again_and_the_run_ends_with_the_model_of_its_simulation(tmp_path):
    sections = {"aggregation": {"name": "SecureSum", "most_examples": 64}, "network": {"absence": 3.0}}
    made, later = plan(5, rounds=2, **sections), []
    with hosted(made, tmp_path / "c") as host:
        host.coordinator.waiting.most = 2
        told = host.coordinator._next

        def noted(participant, wait, working, **more):
            later.append(more.get("later", False))
            return told(participant, wait, working, **more)

        host.coordinator._next = noted
        joined = guests(host, 5, tmp_path)
        run = host.wait(watched=joined)
    assert any(later)
    alone = simulated(made)
    assert all(torch.equal(run.tensors[name], alone.tensors[name]) for name in alone.tensors)
