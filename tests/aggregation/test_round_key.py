"""Round keys: one after another, through single precision unharmed."""

from __future__ import annotations

import torch

from tacit.aggregation import round_key


def test_keys_differ_by_purpose_seed_and_round():
    keys = [round_key.first(purpose, seed) for purpose in ("a", "b") for seed in (0, 1)]
    keys += [round_key.following(key) for key in keys]
    assert len({tuple(key.tolist()) for key in keys}) == 8


def test_a_key_is_the_same_after_it_travelled_in_single_precision():
    key = round_key.first("travel", 3)
    for _ in range(20):
        key = round_key.following(key)
        assert round_key.octets(key.to(torch.float32)) == round_key.octets(key)
        assert len(round_key.octets(key)) == 32
