"""Many rounds on a bad day lose nothing, count nothing twice, and take no more memory than few."""

import json
import os
from pathlib import Path

import pytest

from tests.network.soak import Soak


@pytest.mark.slow
def test_a_few_rounds_with_kills_and_cut_connections_count_everybody_once(tmp_path):
    soak = Soak(tmp_path / "soak", rounds=60, participants=6, groups=2, every=1.0, deaths=(3,), seed=1)
    assert soak.run(limit=120)
    assert soak.check()["faults"]["coordinator killed"] == 1


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_thousand_rounds_with_kills_and_cut_connections_lose_nothing_and_memory_stays_flat(tmp_path):
    soak = Soak(Path(os.environ.get("TACIT_SOAK", tmp_path / "soak")), rounds=1000)
    assert soak.run(limit=2400)
    found = soak.check()
    print(json.dumps(found))
    assert min(found["faults"].values()) >= 3
    for who, memory in found["memory"].items():
        assert memory["high"] < 20.0, f"{who} grows by {memory['slope']:.1f} MB in 1000 rounds"
