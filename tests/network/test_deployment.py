"""Which plans go between machines, and how a participant that is slow does what fits."""

from __future__ import annotations

import pytest

from tacit.network.deployment import unfit
from tests.network.house import plan

FLEET = {"fleet": {"name": "Lognormal"}}


@pytest.mark.parametrize(
    ("network", "closing", "said"),
    [
        (
            {"patience": 30.0},
            {"seconds": 120.0},
            "gives a round 120 seconds, and between machines a training is waited for 30:",
        ),
        ({"partial": False}, {"quantile": 0.8}, "partial = false in [network] leaves out who is slow"),
    ],
)
def test_a_plan_that_closes_rounds_otherwise_in_virtual_time_is_refused(network, closing, said):
    made = plan(5, network=network, closing={"name": "PartialWork", **closing}, **FLEET)
    (problem,) = unfit(made)
    assert said in problem


@pytest.mark.parametrize("closing", [{"seconds": 30.0}, {"quantile": 0.8}, {}])
def test_a_plan_that_closes_rounds_alike_goes_between_machines(closing):
    assert list(unfit(plan(5, closing={"name": "PartialWork", **closing}, **FLEET))) == []


@pytest.mark.parametrize("name", ["Deadline", "FirstArrivals", "WaitForAll"])
def test_who_is_slow_does_what_fits_or_is_left_out_by_the_table_of_the_network(name):
    (problem,) = unfit(plan(5, closing={"name": name}, **FLEET))
    assert f"[closing] is {name}: between machines take PartialWork or FedBuff" in problem
