"""Chains of stages: order, layouts, state, and which do not go together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tacit
from tacit.aggregation.stage import INTEGER, REAL, Chain, clashes
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


@dataclass(frozen=True)
class Late(Affine):
    """Sends the update of the call before, and remembers this one's; beside it, `more` numbers that count calls."""

    more: int = 0

    def memory(self, layout):
        return 2 + self.more

    def encode(self, report, layout, down, memory):
        sent = report.clone()
        sent[:, :2] = memory[:, :2]
        return sent, torch.cat([report[:, :2], memory[:, 2:] + 1], dim=1)


def test_stages_that_remember_have_memories_of_their_own():
    chain = Chain.of([Late(1.0, more=1), Affine(2.0), Late(1.0)], LAYOUT)
    assert chain.memory == 5
    memory, down = torch.zeros(2, 5), chain.broadcast(chain.init())
    sent = [chain.encode(torch.full((2, 3), float(t)), down, memory).tolist() for t in range(1, 5)]
    assert [rows[0][:2] for rows in sent] == [[0, 0], [0, 0], [2, 2], [4, 4]]  # two calls late, and doubled
    assert sent[0] == [[0, 0, 2]] * 2
    assert memory.tolist() == [[4, 4, 4, 6, 6]] * 2


def test_what_comes_after_a_stage_that_must_be_last_is_refused():
    class Final(Affine):
        last = True

    assert Chain.of([Affine(1.0), Final(1.0)], LAYOUT).layout == LAYOUT
    with pytest.raises(
        IncompatibleOptions, match="Affine comes after Final, which is to be the last: change the order"
    ):
        Chain.of([Final(1.0), Affine(1.0)], LAYOUT)


def test_stages_say_beside_what_they_cannot_stand_and_why():
    class Read(Affine):
        plain = True

    class Alone(Affine):
        unsuited = {"robust": "it does not like company"}

    options = {"aggregation": None, "privacy": None, "robust": tacit.Median()}
    assert list(clashes([Affine(1.0)], **options)) == []
    first, second = clashes([Read(1.0), Alone(1.0)], **options)
    assert "beside robust=Median: a number that a client keeps back is a zero" in first
    assert second.endswith("beside robust=Median: it does not like company")
    assert list(clashes([Read(1.0), Alone(1.0)], aggregation=None, privacy=None, robust=None)) == []


def test_a_report_without_a_form_of_its_own_is_as_long_as_its_numbers():
    assert Chain.of([Affine(1.0), Count()], LAYOUT).encoded_bytes(4) == 16


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
