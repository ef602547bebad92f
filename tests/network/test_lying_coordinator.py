"""A coordinator that says otherwise than the terms: a participant holds it to what was approved, by its own count."""

import os

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from tacit.aggregation.secure.identity import Authority
from tacit.network.consent.diary import Diary
from tacit.network.consent.log import Log
from tacit.network.consent.policy import Policy
from tacit.network.deployment import task_digest
from tacit.network.duties import ATTEMPTS, Duties, Unwilling
from tacit.network.office import READY, Assignment, Kind
from tacit.network.order import Order
from tacit.network.terms import Terms
from tacit.network.training import Standing, Training, written_parts
from tacit.rounds.server import Server
from tests.network.house import data, names, plan, schema, task

PEOPLE = 5
SUM = {"aggregation": {"name": "SecureSum", "minimum": 5, "most_examples": 64}}
RECORDS = {"record_privacy": {"name": "RecordLevel", "epsilon": 1.0, "clip": 1.0}}
BUFFER = {
    "fleet": {"name": "Lognormal"},
    "closing": {"name": "FedBuff", "buffer": 5, "concurrency": 5, "exponent": 0.5, "most_stale": 3},
}
AUTHORITY = Authority(os.urandom)


@pytest.fixture
def asked(tmp_path):
    """Makes a participant of a plan, and gives a function by which it is asked."""
    opened = []

    def participant(**sections):
        terms = Terms(
            "ab" * 16, plan(PEOPLE, rounds=2, **SUM, **sections), schema(), PEOPLE, task_digest(task()),
            AUTHORITY.key.hex(), True,
        )  # fmt: skip
        policy = Policy(without="admit", insecure_loopback=True, mixed_models="closing" in sections)
        assert policy.admit(terms, authority=AUTHORITY.key) == []
        spending = policy.spending(tmp_path / "ledger.db")
        opened.append(spending)
        duties = Duties(
            terms,
            tuple(map(torch.tensor, data(0))),
            identity=AUTHORITY.identity(names(PEOPLE)[0], os.urandom),
            authority=AUTHORITY.key,
            policy=policy,
            memory=tmp_path / "memory",
            diary=Diary(Log(tmp_path / "log.jsonl"), None),
            spending=spending,
            task=task(),
            train=None,
        )
        return duties, model_of(terms)

    yield participant
    for spending in opened:
        spending.close()


def model_of(terms):
    federation = Training(
        terms, Standing(names(PEOPLE)[0], 0, PEOPLE), tuple(map(torch.tensor, data(0))), task()
    ).federation
    layout, down = Server(federation.task, federation.algorithm, federation.chain, PEOPLE, remembers=False).broadcast()
    return written_parts(down, layout)


def moved(down, by):
    return save({name: part + by if name == "x" else part for name, part in load(down).items()})


def ask(duties, kind, round, attempt=0, order=None, **blobs):
    order = order or Order(0, PEOPLE)
    return duties.answer(Assignment("0" * 32, kind, round, attempt, 60.0, 10**7, order.encode(), {}), blobs)


def test_no_round_beyond_those_that_were_approved_is_trained(asked):
    duties, down = asked()
    ask(duties, Kind.TRAIN, 1, down=down)
    with pytest.raises(Unwilling, match="round 3 was asked for, and 2 rounds were approved"):
        ask(duties, Kind.TRAIN, 2, down=down)
    with pytest.raises(Unwilling, match=f"was tried {ATTEMPTS} times"):
        ask(duties, Kind.TRAIN, 1, ATTEMPTS, down=down)


@pytest.mark.parametrize("count", [4, 6, 10**7])
def test_another_number_of_participants_than_was_approved_is_refused(asked, count):
    duties, down = asked()
    with pytest.raises(Unwilling, match=f"{count} participants are said to be in this run: 5 were"):
        ask(duties, Kind.TRAIN, 0, order=Order(0, count), down=down)


def test_a_participant_stands_where_it_stood(asked):
    duties, down = asked()
    ask(duties, Kind.TRAIN, 0, down=down)
    with pytest.raises(Unwilling, match="stand elsewhere"):
        ask(duties, Kind.TRAIN, 0, 1, order=Order(1, PEOPLE), down=down)


def test_of_one_round_one_model_is_trained_from(asked):
    duties, down = asked()
    ask(duties, Kind.TRAIN, 0, down=down)
    ask(duties, Kind.TRAIN, 0, 1, down=down)
    with pytest.raises(Unwilling, match="began with another model"):
        ask(duties, Kind.TRAIN, 0, 2, down=moved(down, 1e-3))


def test_two_models_have_no_noise_in_common(asked):
    duties, down = asked(**RECORDS)
    ask(duties, Kind.TRAIN, 0, down=down)
    first = duties._sessions._open[0, 0].report.astype(float)
    ask(duties, Kind.TRAIN, 0, 1, down=down)
    again = duties._sessions._open[0, 1].report.astype(float)
    assert np.array_equal(first, again)  # the same report tells nothing new
    duties._models.clear()  # as if the participant had been started anew with the same secret
    ask(duties, Kind.TRAIN, 0, 2, down=moved(down, 1e-6))
    other = duties._sessions._open[0, 2].report.astype(float)
    assert np.linalg.norm(first - other) > np.linalg.norm(first) / 2


@pytest.mark.parametrize("stale", [1, 3, 10**30])
def test_how_stale_a_report_is_is_counted_by_who_made_it(asked, stale):
    duties, down = asked(**BUFFER)
    assert ask(duties, Kind.TRAIN, 0, order=Order(0, PEOPLE, waits=True), down=down) == READY
    with pytest.raises(Unwilling, match="0 versions old is asked for"):
        ask(duties, Kind.KEYS, 0, order=Order(0, PEOPLE, stale=stale))
    assert ask(duties, Kind.KEYS, 1, order=Order(0, PEOPLE, stale=1))


def test_whether_rounds_overlap_is_for_the_terms_to_say(asked):
    duties, down = asked()
    with pytest.raises(Unwilling, match="whether rounds overlap"):
        ask(duties, Kind.TRAIN, 0, order=Order(0, PEOPLE, waits=True), down=down)


def test_models_that_are_mixed_in_one_sum_are_refused_unless_the_policy_lets_them(asked):
    made = plan(PEOPLE, rounds=2, **SUM, **BUFFER)
    terms = Terms("ab" * 16, made, schema(), PEOPLE, task_digest(task()), AUTHORITY.key.hex(), True)
    policy = Policy(without="admit", insecure_loopback=True)
    (why,) = policy.admit(terms, authority=AUTHORITY.key)
    assert "mixed_models" in why
