"""Chains of stages: order, layouts, state, and which do not go together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tacit
from tacit.aggregation.stage import INTEGER, REAL, Chain
from tacit.errors import IncompatibleOptions
from tacit.learning.layout import Layout

LAYOUT = Layout.of(update=(2,), weight=())


@dataclass(frozen=True)
class Affine:
    """Report -> scale * report; the state counts the rounds and goes down."""

    scale: float
    takes: str = REAL
    gives: str = REAL
    additive: bool = True

    def bind(self, layout):
        return layout

    def init(self):
        return {"rounds": torch.zeros(())}

    def broadcast(self, state):
        return {"factor": self.scale + 0 * state["rounds"]}

    def encode(self, report, layout, down):
        return report * down["factor"]

    def decode(self, total, layout, state):
        return total / self.scale, {"rounds": state["rounds"] + 1}


@dataclass(frozen=True)
class Count:
    """Adds one column of ones, so that the total tells how many reports it holds."""

    takes: str = REAL
    gives: str = REAL
    additive: bool = True

    def bind(self, layout):
        return layout.extend("count")

    def init(self):
        return {"seen": torch.zeros((), dtype=torch.float64)}

    def broadcast(self, state):
        return {}

    def encode(self, report, layout, down):
        return torch.cat([report, torch.ones(len(report), 1, dtype=report.dtype)], dim=1)

    def decode(self, total, layout, state):
        assert len(total) == layout.size + 1
        return total[: layout.size], {"seen": total[-1]}


@given(st.lists(st.sampled_from([2.0, 4.0, 0.5, "count"]), max_size=5), st.integers(1, 6))
def test_decoding_the_sum_of_what_was_encoded_is_the_sum_of_the_reports(kinds, clients):
    counted = False
    stages = []
    for kind in kinds:
        if kind == "count":
            stages += [] if counted else [Count()]
            counted = True
        else:
            stages.append(Affine(kind))
    chain = Chain.of(stages, LAYOUT)
    states = chain.init()
    reports = torch.arange(3.0 * clients, dtype=torch.float64).view(clients, 3)
    total = chain.encode(reports.clone(), chain.broadcast(states)).sum(0)
    assert len(total) == chain.layout.size == 3 + counted
    decoded, renewed = chain.decode(total, states)
    assert torch.equal(decoded, reports.sum(0))
    for stage, state in zip(stages, renewed, strict=True):
        if isinstance(stage, Affine):
            assert state["rounds"] == 1


def test_an_empty_chain_passes_reports_through():
    chain = Chain.of([], LAYOUT)
    report = torch.ones(2, 3)
    assert torch.equal(chain.encode(report, {}), report)
    assert chain.layout == LAYOUT


def test_stages_of_one_kind_do_not_read_each_others_broadcast():
    chain = Chain.of([Affine(2.0), Affine(8.0)], LAYOUT)
    down = chain.broadcast(chain.init())
    assert {name: float(v) for name, v in down.items()} == {"stage0.factor": 2.0, "stage1.factor": 8.0}
    assert torch.equal(chain.encode(torch.ones(1, 3), down), torch.full((1, 3), 16.0))


def test_stages_whose_numbers_do_not_fit_are_refused_with_the_reason():
    with pytest.raises(IncompatibleOptions, match="Affine takes real numbers, but gets integer ones"):
        Chain.of([Affine(1.0, gives=INTEGER), Affine(1.0)], LAYOUT)
    with pytest.raises(IncompatibleOptions, match="Affine is not additive"):
        Chain.of([Affine(1.0, additive=False)], LAYOUT)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_with_stages_of_powers_of_two_is_the_run_without_bit_for_bit(workers):
    """Scaling by powers of two is exact, so encode, sum and decode must cancel in a whole run, states included."""
    rng = np.random.default_rng(0)
    data = {k: (rng.normal(size=(4 + k, 3)), rng.normal(size=(4 + k, 1))) for k in range(5)}

    def weights(stages):
        torch.manual_seed(0)
        task = tacit.Task(torch.nn.Linear(3, 1).double(), torch.nn.functional.mse_loss)
        fed = tacit.Federation(
            task,
            tacit.Population.from_arrays(data),
            tacit.Scaffold(tacit.SGD(lr=0.1, batch_size=3)),
            stages=stages,
            engine="eager",
            workers=workers,
        )
        return torch.cat([t.flatten() for t in fed.run(3, progress=False).tensors.values()])

    assert torch.equal(weights([Affine(4.0), Count(), Affine(0.5)]), weights([]))
