"""A participant that is slow does the local steps that fit into its own time, by its own pace."""

import os

import pytest
import torch

from tacit.aggregation.secure.identity import Authority
from tacit.network.consent.diary import Diary
from tacit.network.consent.log import Log
from tacit.network.consent.policy import Policy
from tacit.network.deployment import task_digest
from tacit.network.desk import Asking, Desk
from tacit.network.duties import Duties
from tacit.network.office import Assignment, Kind
from tacit.network.order import Order
from tacit.network.terms import Terms
from tests.network.house import data, names, plan, schema, task
from tests.network.test_lying_coordinator import model_of

PEOPLE, STEPS = 5, 12
AUTHORITY = Authority(os.urandom)


@pytest.fixture
def trained(tmp_path):
    """Makes a participant, and gives a function by which it trains; it says how many steps it took."""
    opened = []

    def participant(**network):
        made = plan(PEOPLE, rounds=9, network=network, solver={"epochs": 4})
        terms = Terms("ab" * 16, made, schema(), PEOPLE, task_digest(task()), AUTHORITY.key.hex(), True)
        policy = Policy(without="admit", insecure_loopback=True)
        opened.append(policy.spending(tmp_path / "ledger.db"))
        kept = Log(tmp_path / "log.jsonl")
        duties = Duties(
            terms,
            tuple(map(torch.tensor, data(0))),
            identity=AUTHORITY.identity(names(PEOPLE)[0], os.urandom),
            authority=AUTHORITY.key,
            policy=policy,
            memory=tmp_path / "memory",
            diary=Diary(kept, None),
            spending=opened[-1],
            task=task(),
            train=None,
        )
        down, order = model_of(terms), Order(0, PEOPLE).encode()

        def train(round, seconds, pace=None):
            if pace is not None:
                duties._pace = pace
            duties.answer(Assignment("0" * 32, Kind.TRAIN, round, 0, seconds, 10**7, order, {}), {"down": down})
            return [entry.facts["steps"] for entry in kept.entries() if entry.event == "trained"][-1]

        return train

    yield participant
    for spending in opened:
        spending.close()


def test_of_a_training_as_much_is_done_as_fits_into_the_time_that_is_left(trained):
    train = trained()
    assert train(0, 0.001) == STEPS  # its pace is not known yet
    assert train(1, 10.0, pace=1.0) == 7  # seven tenths of the time are for steps
    assert train(2, 5.0, pace=1.0) == 3
    assert train(3, 0.5, pace=1.0) == 1  # one at least
    assert train(4, 18.0, pace=1.0) == STEPS


def test_the_pace_is_that_of_the_round_before(trained):
    train = trained()
    assert train(0, 1.0, pace=1.0) == 1
    assert train(1, 600.0) == STEPS


def test_without_partial_work_all_steps_are_done(trained):
    train = trained(partial=False)
    train(0, 1.0)
    assert train(1, 1.0, pace=1.0) == STEPS


def test_who_asks_late_is_told_the_time_that_is_left():
    now = [100.0]
    desk = Desk(lambda names: None, lambda name: "a process", lambda *taken: None, lambda: now[0])
    desk.post(Asking(Kind.TRAIN, 0, 0, 30.0, 10**7, {"prompt": b"", "late": b""}, lambda name, body: None, {}))
    (prompt,) = desk.open_for("prompt")
    now[0] += 25.0
    (late,) = desk.open_for("late")
    assert (prompt.seconds, late.seconds) == (30.0, 5.0)
    now[0] += 25.0
    (over,) = desk.open_for("late")
    assert 0 < over.seconds < 0.01
