"""What a fresh reader found last, each as the shortest run that shows it: claims beside claims, totals, old ledgers."""

from __future__ import annotations

import shutil
import sqlite3

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import tacit
import tacit.rounds.opening
from tacit import errors
from tacit.learning.dp_sgd.alone import Patient
from tacit.privacy.accountant import spent
from tacit.privacy.event import LocalSteps, charges
from tacit.privacy.record_guard import RecordGuard
from tacit.privacy.record_plan import RecordPlan
from tacit.privacy.statement import weakest
from tests.privacy.test_refuted import Drawing

SGD = tacit.SGD(0.1, batch_size=10, steps=3)


def population(sizes=(40, 40, 40, 40), seed=0, scale=1.0):
    rng = torch.Generator().manual_seed(seed)
    made = {f"h{k}": (scale * torch.randn(n, 3, generator=rng), torch.arange(n) % 2) for k, n in enumerate(sizes)}
    return tacit.Population.from_arrays(made)


def federation(of=None, model=None, solver=SGD, **settings):
    torch.manual_seed(0)
    task = tacit.Task(
        model or nn.Linear(3, 2), functional.cross_entropy, metrics={"share": lambda o, t: t.float().mean()}
    )
    return tacit.Federation(task, of or population(), tacit.FedAvg(solver), **({"workers": 1} | settings))


USER = tacit.UserLevel(epsilon=8.0, clip=0.5)
RECORDS = tacit.RecordLevel(epsilon=4.0, clip=0.5)


# What stands beside a claim on records.


@pytest.mark.parametrize(("name", "value"), [("metrics", ("share",)), ("loss_bound", 2.0)])
def test_what_clients_compute_exactly_from_their_records_is_refused_beside_a_claim_on_records(name, value):
    level = tacit.UserLevel(epsilon=8.0, clip=0.5, **{name: value})
    federation(privacy=level)
    with pytest.raises(errors.UnregisteredRelease, match=f"{name} is .*record_privacy"):
        federation(privacy=level, record_privacy=RECORDS)


# A ledger that is older than the run.


class Killed(Exception):
    pass


class Die(tacit.Callback):
    """Keeps a copy of the ledger as it is before round `kept`, and ends the run after round 3."""

    def __init__(self, ledger, kept):
        self.ledger, self.kept = ledger, kept

    def on_round_start(self, round):
        if round == self.kept:
            old, copy = sqlite3.connect(self.ledger), sqlite3.connect(f"{self.ledger}.old")
            old.backup(copy)
            old.close()
            copy.close()

    def on_round_end(self, row):
        if row["round"] == 3:
            raise Killed


LEVELS = {
    "user": {"privacy": USER},
    "turns": {"privacy": tacit.UserLevel(epsilon=8.0, clip=0.5, mechanism="bisr"), "selection": tacit.Separated(1)},
    "local": {"privacy": tacit.LocalLevel(epsilon=8.0, clip=0.5)},
    "record": {"record_privacy": RECORDS},
    "both": {"privacy": USER, "record_privacy": RECORDS},
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kept", [1, 3])
def test_a_sum_that_was_released_needs_the_ledger_in_which_it_was_charged(level, kept, tmp_path, monkeypatch):
    ledger = tmp_path / "ledger.sqlite"
    monkeypatch.setenv("TACIT_LEDGER", str(ledger))
    options = {"checkpoint": tmp_path / "run", "checkpoint_every": 100}
    with pytest.raises(Killed):
        federation(**LEVELS[level]).run(4, callbacks=[Die(ledger, kept)], **options)
    newest = ledger.read_bytes()
    shutil.copy(f"{ledger}.old", ledger)
    with pytest.raises(errors.LedgerMissing, match=f"no charge for round {kept} "):
        federation(**LEVELS[level]).run(4, resume=True, **options)
    ledger.write_bytes(newest)
    run = federation(**LEVELS[level]).run(4, resume=True, **options)
    for claim in (run.facts["privacy"], run.facts["record_privacy"]):
        assert claim is None or (claim["rounds"], claim.get("rounds_lost", 0)) == (4, 0)


def test_a_client_was_charged_for_every_round_in_which_a_checkpoint_says_that_it_took_part(tmp_path, monkeypatch):
    monkeypatch.setenv("TACIT_LEDGER", str(tmp_path / "ledger.sqlite"))
    people, solver = population(), SGD
    plan = RecordPlan.of(RECORDS, solver, people.sizes, 4, 4)
    guard = RecordGuard(plan, people, None)
    guard.reserve(0, np.arange(4))
    guard.commit(torch.zeros(3))
    saved = guard.state()
    guard.close()
    RecordGuard(plan, people, None, saved).close()
    with pytest.raises(errors.LedgerMissing, match=r"holds 1 charges .* took part 2 times"):
        RecordGuard(plan, people, None, saved | {"taken": saved["taken"] | {"0": 2}})


# The headline of a claim on records.


def test_what_is_claimed_of_records_holds_for_those_of_every_client():
    people = population((10, 11, 400))
    people.synthetic = True
    level, epoch = tacit.RecordLevel(noise_multiplier=4.0, clip=0.5), tacit.SGD(0.1, batch_size=10, epochs=1)
    told = federation(people, solver=epoch, record_privacy=level).run(3).facts["record_privacy"]
    small, larger, _ = told["groups"]
    assert small["delta"] > larger["delta"]
    assert small["epsilon"] < larger["epsilon"], "which takes two steps"
    assert told["epsilon"] == max(group["epsilon"] for group in told["groups"])
    assert told["delta"] == max(group["delta"] for group in told["groups"])
    for group in told["groups"]:
        event = LocalSteps(group["noise_multiplier"], group["rate"], group["steps"])
        cost = spent(charges([(event, group["rounds"])]), told["delta"], told["adjacency"])
        assert cost.epsilon <= told["epsilon"] * (1 + 1e-9)
    for text in told["text"].values():
        assert f"e^{told['epsilon']:.4g}" in text
        assert f"{told['delta']:.3g}" in text


def test_clients_that_never_took_part_are_no_part_of_the_headline():
    people = population((12, 400))
    people.synthetic = True
    told = federation(people, record_privacy=RECORDS, selection=tacit.Uniform(1)).run(1).facts["record_privacy"]
    (drawn,) = [group for group in told["groups"] if group["rounds"]]
    assert (told["epsilon"], told["delta"]) == (drawn["epsilon"], drawn["delta"])


def test_the_label_is_that_of_the_worst_client():
    people = population((4, 400))  # of four records the delta is 1 / 40, which fails too often
    people.synthetic = True
    told = federation(people, record_privacy=RECORDS).run(2).facts["record_privacy"]
    assert told["groups"][0]["delta"] > 0.02
    assert told["strength"] == "weak"
    assert weakest([(0.5, 1e-3), (2.0, 1e-3)]) == "reasonable"
    assert weakest([(0.5, 1e-3), (None, 1e-3)]) == "none"


# Totals over runs.


def test_the_total_of_records_is_that_of_the_client_of_which_it_is_largest_drawn_or_not():
    busy = federation(record_privacy=RECORDS, selection=Drawing([0, 1])).run(3).facts["record_privacy"]
    little = tacit.RecordLevel(epsilon=0.2, clip=0.5)
    quiet = federation(record_privacy=little, selection=Drawing([2])).run(1).facts["record_privacy"]
    assert quiet["epsilon"] < 0.21
    assert quiet["epsilon_population_total"] == pytest.approx(busy["epsilon"], rel=0.01)
    again = federation(record_privacy=little, selection=Drawing([0])).run(1).facts["record_privacy"]
    assert again["epsilon_population_total"] > busy["epsilon"] * 1.001


def test_a_client_that_has_nothing_left_and_was_not_drawn_does_not_end_the_run():
    level = tacit.RecordLevel(epsilon=4.0, clip=0.5, population_budget=4.2)
    federation(record_privacy=level, selection=Drawing([1, 2])).run(2)
    told = federation(record_privacy=RECORDS, selection=Drawing([3])).run(2).facts["record_privacy"]
    assert told["epsilon_population_total"] <= 4.2
    with pytest.raises(errors.BudgetExceeded):
        federation(record_privacy=RECORDS, selection=Drawing([1])).run(2)


def test_each_kind_of_total_names_the_runs_of_the_other_kind():
    both = federation(privacy=USER, record_privacy=RECORDS).run(1).facts
    assert (both["privacy"]["record_runs"], both["record_privacy"]["user_runs"]) == (0, 0)
    users = federation(privacy=USER).run(1).facts["privacy"]
    assert users["record_runs"] == 1
    assert "Not in it: 1 other runs that were charged for single records" in users["text"]["en"]
    records = federation(record_privacy=RECORDS).run(1).facts["record_privacy"]
    assert records["user_runs"] == 2
    assert "Not in it: 2 other runs that were charged for these participants as a whole" in records["text"]["en"]
    other = federation(population(seed=1), privacy=USER).run(1).facts["privacy"]
    assert other["record_runs"] == 0, "other people"


# What a record is.


@pytest.mark.parametrize(
    ("language", "said"), [("en", "A record is a visit, not a patient."), ("zh", "一条记录是一次就诊")]
)
def test_a_statement_says_what_a_record_is(language, said):
    people = population()
    people.synthetic = True
    people.record = {"en": "a visit, not a patient", "zh": "一次就诊，而不是一个病人"}
    told = federation(people, record_privacy=RECORDS).run(1).facts["record_privacy"]
    assert said in told["text"][language]


def test_the_statement_on_records_lists_what_was_made_of_the_data_before():
    people = population()
    people.synthetic = True
    told = federation(people, record_privacy=RECORDS).run(1).facts["record_privacy"]["text"]["en"]
    assert "names of items and categories that a model knows" in told
    assert "What training starts from" in told


# The name of the engine.


class Mixing(nn.Module):
    """Takes ghost norms for what they are not worth, where the mean is small enough."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        return self.out(torch.tanh(x) + 1e-3 * x.mean())


@pytest.mark.parametrize("level", ["user", "record"])
@pytest.mark.parametrize("model", [nn.Linear(3, 2), Mixing()], ids=["chain", "mixing"])
def test_no_number_of_a_participant_decides_which_engine_runs(level, model, monkeypatch):
    seen = []
    choose = tacit.rounds.opening.choose

    def spying(task, solver, examples, *rest):
        seen.append(examples)
        return choose(task, solver, examples, *rest)

    monkeypatch.setattr(tacit.rounds.opening, "choose", spying)
    engines = []
    for people in (population(), population(seed=1, scale=1e6)):
        people.synthetic = True
        facts = federation(people, model, **LEVELS[level]).run(1).facts
        engines.append((facts["engine"], facts["engine_declined"]))
    one, other = seen
    assert torch.equal(one.x, other.x)
    assert torch.equal(one.y, other.y)
    assert engines[0] == engines[1]


def test_a_model_that_takes_no_made_up_examples_is_tried_on_real_ones_and_the_statement_says_so():
    class Names(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Embedding(5, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.out(self.table(x.long()).mean(1))

    people = tacit.Population.from_arrays({f"h{k}": (torch.ones(20, 3) * k, torch.arange(20) % 2) for k in range(4)})
    people.synthetic = True
    facts = federation(people, Names(), record_privacy=RECORDS).run(1).facts
    assert "where the model fails on made-up examples" in facts["record_privacy"]["text"]["en"]


@pytest.mark.parametrize(
    ("inputs", "model"),
    [
        (torch.randint(7, (20, 3)), nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 2))),
        (torch.randint(256, (20, 3)), None),
    ],
)
def test_whole_numbers_are_made_up_from_what_the_model_takes(inputs, model, monkeypatch):
    class Bytes(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(3, 2)

        def forward(self, x):
            return self.out(x.float() / 255)

    seen = []
    choose = tacit.rounds.opening.choose
    monkeypatch.setattr(
        tacit.rounds.opening, "choose", lambda t, s, examples, *r: seen.append(examples) or choose(t, s, examples, *r)
    )
    people = tacit.Population.from_arrays({f"h{k}": (inputs, torch.arange(20) % 2) for k in range(3)})
    people.synthetic = True
    federation(people, model or Bytes(), record_privacy=RECORDS).run(1)
    (examples,) = seen
    assert examples.x.dtype == inputs.dtype
    assert len(examples.x) != 60, "these are not the clients' own"
    assert len(examples.x.unique()) == (2 if model is None else 7)


# Memory that is not enough says nothing of a record.


@pytest.mark.parametrize(
    "error", [MemoryError("x"), RuntimeError("DefaultCPUAllocator: can't allocate memory"), torch.OutOfMemoryError("x")]
)
def test_a_machine_without_memory_ends_the_run_instead_of_leaving_out_records(error):
    def loss(output, target):
        raise error

    patient = Patient(tacit.Task(nn.Linear(3, 2), loss))
    with pytest.raises(type(error)):
        patient.total(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), 1.0)
