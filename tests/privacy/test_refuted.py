"""What once broke the privacy of runs, each as the shortest run that shows it: cohorts, crashes, the ledger.

The federations are small. Noise comes from the operating system unless a test says otherwise.
"""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from torch.nn import functional

import tacit
from tacit import errors
from tacit.plan import Given, settled
from tacit.privacy.accountant import spent
from tacit.privacy.event import Gaussian, Unbounded
from tacit.privacy.guard import Guard
from tacit.privacy.ledger import Ledger
from tacit.privacy.record_guard import RecordGuard
from tacit.scenarios.scenario import scenario
from tacit.selection.cohort import Cohort, Sampling
from tests.privacy.test_private_runs import STEPS, arrays, federation, task
from tests.privacy.test_private_runs import Crash as Killed

LEVEL = tacit.UserLevel(epsilon=4.0, clip=0.5)
RECORDS = tacit.RecordLevel(epsilon=4.0, clip=0.5)
BOTH = {"user": {"privacy": LEVEL}, "record": {"record_privacy": RECORDS}}


def run_of(level, model=None, loss=functional.cross_entropy, **options):
    """A federation whose clients, or their records, are protected."""
    population = tacit.Population.from_arrays(arrays())
    return tacit.Federation(
        tacit.Task(model or task().model, loss), population, tacit.FedAvg(STEPS), workers=1, **(level | options)
    )


def reserved():
    """How many rounds the only account was charged for, and the epsilon of all of them."""
    with Ledger() as ledger:
        (account,) = ledger.accounts()
        charged, told = account.charges(), [entry.kind for entry in account.entries()]
    return told.count("reserve"), spent(charged, LEVEL.delta_for(len(arrays()))).epsilon


# Selections of the user's own.


class Drawing:
    """Draws `cohort`, which it declares as `kind`."""

    def __init__(self, cohort, kind="arbitrary", **more):
        self.cohort, self.declared = np.array(cohort), (kind, more)

    def problems(self, clients):
        return []

    def sampling(self, clients):
        kind, more = self.declared
        return Sampling(kind, 4, clients, **more)

    def draw(self, clients, seed, round):
        return Cohort(self.cohort, self.sampling(clients))


@pytest.mark.parametrize(("kind", "more"), [("poisson", {"rate": 1 / 3, "cap": 12}), ("uniform", {})])
def test_chance_is_believed_of_tacit_s_own_selections_only(kind, more):
    with pytest.raises(errors.SamplerMismatch, match="privacy would rest on it"):
        federation(privacy=LEVEL, selection=Drawing([0, 1, 2, 3], kind, **more))


class Inheriting(tacit.Poisson):
    """A selection of tacit's with other cohorts."""

    def draw(self, clients, seed, round):
        return Cohort(np.arange(4), self.sampling(clients))


def test_a_selection_that_inherits_from_one_of_tacit_s_is_the_user_s():
    with pytest.raises(errors.SamplerMismatch, match="privacy would rest on it"):
        federation(privacy=LEVEL, selection=Inheriting(4))


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("cohort", "said"),
    [
        ([0, 0, 0, 0], "1 of them different"),
        ([0, 1, 2, 3, 3], "4 of them different"),
        ([*range(12), 0], "13 clients"),
        ([0, 12], "outside of 0 to 11"),
        ([-1, 3], "outside of 0 to 11"),
    ],
)
def test_a_cohort_counts_every_client_once_and_no_others(cohort, said, kind):
    with pytest.raises(errors.SamplerMismatch, match=said):
        run_of(BOTH[kind], selection=Drawing(cohort)).run(2)
    with Ledger() as ledger:
        assert not any(entry.kind == "commit" for account in ledger.accounts() for entry in account.entries())


def test_a_cohort_above_the_cap_is_refused(monkeypatch):
    monkeypatch.setattr(
        tacit.Poisson, "choose", lambda self, table, seed, round: Cohort(np.arange(8), self.sampling(len(table)))
    )
    with pytest.raises(errors.SamplerMismatch, match="8 clients"):
        federation(privacy=tacit.UserLevel(noise_multiplier=2.0, clip=0.5), selection=tacit.Poisson(1, cap=7)).run(1)


# Rounds that are released twice.


class Copying(tacit.Callback):
    """Keeps a copy of the run's folder as it was after a round."""

    def __init__(self, folder, after):
        self.folder, self.after = folder, after

    def on_round_end(self, row):
        if row["round"] == self.after:
            shutil.copytree(self.folder, f"{self.folder}.copy")


def restored(tmp_path, after, **options):
    """A run of six rounds that was finished, and then its folder as it was after a round."""
    folder = tmp_path / "run"
    federation(privacy=LEVEL).run(6, checkpoint=folder, callbacks=[Copying(folder, after)], **options)
    shutil.rmtree(folder)
    (tmp_path / "run.copy").rename(folder)
    return folder


def claims_all_of_it(run):
    """What the run says of itself is what the ledger says of it, and within its epsilon."""
    told, (count, epsilon) = run.facts["privacy"], reserved()
    assert told["epsilon"] == pytest.approx(epsilon)
    assert told["epsilon_population_total"] == pytest.approx(epsilon)
    assert told["rounds"] + told["rounds_lost"] == count
    assert epsilon <= 4.0 * (1 + 1e-3)
    return told


def test_a_folder_restored_from_a_backup_does_not_release_more_than_was_claimed(tmp_path):
    folder = restored(tmp_path, after=5, checkpoint_every=2)
    run = federation(privacy=LEVEL).run(6, checkpoint=folder, resume=True)
    told = claims_all_of_it(run)
    assert told["rounds_lost"] >= 1
    assert "cut off" in run.facts["ended"]
    assert len(run.rows) < 6


def test_a_run_whose_newest_checkpoint_is_gone_ends_early(tmp_path):
    class Stop(tacit.Callback):
        def on_round_end(self, row):
            return row["round"] == 4

    folder = tmp_path / "run"
    federation(privacy=LEVEL).run(6, checkpoint=folder, checkpoint_every=2, callbacks=[Stop()])
    shutil.rmtree(folder / "checkpoint-000004")
    run = federation(privacy=LEVEL).run(6, checkpoint=folder, resume=True)
    told = claims_all_of_it(run)
    assert (told["rounds"], told["rounds_lost"]) == (4, 2)


def die(monkeypatch, where, round, folder, rounds=6, level=LEVEL):
    """Kills the run, or its continuation, in a round (from 0)."""
    with monkeypatch.context() as patch:
        crashing_in(patch, where, round)
        with pytest.raises(Killed):
            federation(privacy=level).run(rounds, checkpoint=folder, checkpoint_every=100, resume=folder.exists())


def crashing_in(patch, where, round):
    """As `crashing`, whatever the rounds before needed."""
    release, commit = Guard.release, Guard._commit

    def before_the_noise(guard, at, *more):
        if at == round:
            raise Killed
        return release(guard, at, *more)

    def before_the_commit(guard, entry, total):
        if entry is not None and entry.round == round:
            raise Killed
        return commit(guard, entry, total)

    if where == "reserved":
        patch.setattr(Guard, "release", before_the_noise)
    else:
        patch.setattr(Guard, "_commit", before_the_commit)


def test_kills_after_the_charge_count_and_end_the_run_before_its_epsilon_does(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    for _ in range(3):
        die(monkeypatch, "reserved", 2, folder)
    run = federation(privacy=LEVEL).run(6, checkpoint=folder, resume=True)
    told = claims_all_of_it(run)
    assert (told["rounds"], told["rounds_lost"]) == (3, 3)
    assert "3 rounds" in run.facts["ended"]
    assert run.rows[-1]["epsilon"] == pytest.approx(told["epsilon"], rel=0.01)


@pytest.mark.parametrize("later", ["reserved", "stored"])
def test_a_run_that_was_killed_in_two_rounds_goes_on(tmp_path, monkeypatch, later):
    """Of a round that was begun twice the newer sum was released: the older charge stays open."""
    folder = tmp_path / "run"
    for where, round in (("reserved", 1), (later, 3), ("reserved", 4)):
        die(monkeypatch, where, round, folder, rounds=8)
    run = federation(privacy=LEVEL).run(8, checkpoint=folder, checkpoint_every=100, resume=True)
    told = claims_all_of_it(run)
    assert told["rounds_lost"] == (3 if later == "reserved" else 2)


def test_records_that_were_protected_in_a_run_killed_in_two_rounds_are_charged_for_all_of_it(tmp_path, monkeypatch):
    release, folder = RecordGuard.release, tmp_path / "run"
    for last in (1, 3, 4, None):

        def dying(guard, round, *more, last=last):
            if round == last:
                raise Killed
            return release(guard, round, *more)

        monkeypatch.setattr(RecordGuard, "release", dying)
        with pytest.raises(Killed) if last is not None else nullcontext():
            run = run_of(BOTH["record"]).run(8, checkpoint=folder, checkpoint_every=100, resume=folder.exists())
    told = run.facts["record_privacy"]
    assert (len(run.rows), told["participations"]) == (5, 8)
    assert told["epsilon"] <= 4.0
    assert told["epsilon_population_total"] == pytest.approx(told["epsilon"])


def test_what_another_run_is_charged_meanwhile_is_in_the_total():
    class Meanwhile(tacit.Callback):
        def on_round_end(self, row):
            if row["round"] == 2:
                with Ledger() as ledger:
                    (account,) = ledger.accounts()
                    account.reserve("another", 0, Gaussian(3.0), "", lambda charges: None)

    told = federation(privacy=LEVEL).run(3, callbacks=[Meanwhile()]).facts["privacy"]
    assert told["earlier_charges"] == 1
    assert told["epsilon_population_total"] == pytest.approx(reserved()[1])
    assert told["epsilon_population_total"] > told["epsilon"]


# The ledger.


def test_a_run_that_never_wrote_a_checkpoint_after_its_first_needs_its_ledger_too(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    die(monkeypatch, "reserved", 2, folder)
    assert sorted(f.name for f in folder.glob("checkpoint-*")) == ["checkpoint-000000"]
    monkeypatch.setenv("TACIT_LEDGER", str(tmp_path / "another.sqlite"))
    with pytest.raises(errors.LedgerMissing, match="it is older, or another one"):
        federation(privacy=LEVEL).run(6, checkpoint=folder, resume=True)


def test_a_ledger_that_depends_on_the_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TACIT_LEDGER", "ledger.sqlite")
    with pytest.raises(errors.UsageError, match="another file in every folder"):
        federation(privacy=LEVEL).run(1)
    assert not (tmp_path / "ledger.sqlite").exists()


@pytest.mark.parametrize("kind", BOTH)
def test_people_have_one_account_whatever_is_made_of_their_data(kind):
    for seed, known in ((0, "the same people"), (1, "the same people"), (2, None)):
        population = tacit.Population.from_arrays(arrays(seed))
        population.known_as = known
        tacit.Federation(task(), population, tacit.FedAvg(STEPS), workers=1, **BOTH[kind]).run(1)
    with Ledger() as ledger:
        charges = sorted(account.reserved(run) for account in ledger.accounts() for run in runs(account))
        accounts = len(ledger.accounts())
    each = 1 if kind == "user" else len(arrays())
    assert accounts == 2 * each
    assert charges == [1] * (3 * each)


def test_a_log_of_people_has_one_account_whatever_features_are_made_of_it(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("\n".join(["who,app", *(f"u{n % 20},a{n % 3}" for n in range(400))]))
    found = []
    for changed in ({}, {"features": {"scale": 3}}, {"split": {"minimum": 6, "unseen": 0.1}}):
        data = {"source": str(log), "user": "who", "item": "app", "split": {"minimum": 5, "unseen": 0.2}, **changed}
        plan = settled([Given({"version": 1, "scenario": "app-recommendation", "data": data})], scenario)
        phones = scenario("app-recommendation")
        found.append(phones.prepare(phones.settle(plan)).population)
    assert len({population.fingerprint() for population in found}) == 3
    assert {population.known_as for population in found} == {f"sha256:{sha256(log.read_bytes()).hexdigest()}"}


def runs(account):
    return {entry.run for entry in account.entries() if entry.kind == "reserve"}


def test_after_a_run_with_a_seed_that_somebody_knows_no_total_is_finite():
    federation(privacy=replace(LEVEL, insecure_seed=7)).run(1)
    with Ledger() as ledger:
        (account,) = ledger.accounts()
        assert [type(event) for event, _ in account.charges()] == [Unbounded]
    told = federation(privacy=LEVEL).run(1).facts["privacy"]
    assert told["epsilon"] <= 4.0
    assert told["epsilon_population_total"] is None
    with pytest.raises(errors.BudgetExceeded):
        federation(privacy=replace(LEVEL, population_budget=100.0)).run(1)
