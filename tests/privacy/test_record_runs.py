"""Runs whose local steps are private: what they promise, charge, hide and refuse."""

from __future__ import annotations

import dataclasses
import json
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import tacit
import tacit.rounds.loop
from tacit import errors
from tacit.learning.batches import Examples, sampled
from tacit.privacy.accountant import most, pld_epsilon
from tacit.privacy.event import LocalSteps, PoissonSampled, charges, event_of, named
from tacit.privacy.ledger import Ledger
from tacit.privacy.record_plan import GROUPS, RecordPlan
from tacit.secret_draws import SecretDraws

SIZES = {"a": 40, "b": 60, "c": 25}


@pytest.fixture(autouse=True)
def own_ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("TACIT_LEDGER", str(tmp_path / "ledger.sqlite"))


def examples(seed, n):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=rng)
    return x, (x.sum(1) > 0).long()


def population(**sizes):
    return tacit.Population.from_arrays({name: examples(i, n) for i, (name, n) in enumerate((sizes or SIZES).items())})


def task(model=None):
    torch.manual_seed(0)
    return tacit.Task(model or nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), nn.functional.cross_entropy)


def level(**changes):
    return tacit.RecordLevel(**{"epsilon": 3.0, "clip": 0.5, **changes})


SGD = tacit.SGD(0.1, batch_size=10, steps=3)


def federation(algorithm=None, of=None, **settings):
    settings = {"record_privacy": level(), "workers": 1, **settings}
    return tacit.Federation(
        task(settings.pop("model", None)), of or population(), algorithm or tacit.FedAvg(SGD), **settings
    )


def test_every_client_has_the_noise_for_its_own_records():
    run = federation().run(4)
    told = run.facts["record_privacy"]
    assert told["unit"] == "record"
    assert told["epsilon"] <= 3.0
    assert [g["fewest_records"] for g in told["groups"]] == [25, 40, 60]
    for group in told["groups"]:
        assert 2.9 < group["epsilon"] <= 3.0
        assert group["rate"] == pytest.approx(10 / group["fewest_records"])
        each = PoissonSampled(group["noise_multiplier"], group["rate"])
        assert group["epsilon"] == pytest.approx(pld_epsilon(charges([(each, 12)]), group["delta"]), rel=1e-6)
    noises = [g["noise_multiplier"] for g in told["groups"]]
    assert noises == sorted(noises, reverse=True)
    assert run.rows[-1]["epsilon"] == pytest.approx(told["epsilon"], rel=0.01)


def test_what_would_tell_of_records_past_the_noise_is_hidden():
    run = federation().run(2)
    assert all(row["loss"] is None for row in run.rows)
    assert run.facts["population"] is None
    assert run.facts["engine_deviation"] is None
    assert run.rows[0]["examples"] == sum(SIZES.values())


@pytest.mark.parametrize("engine", ["fused", "ghost", "vmapped", "eager"])
def test_every_engine_gives_the_same_run_from_the_same_secret(engine):
    settings = {"record_privacy": level(insecure_seed=5)}
    expected = federation(engine="eager", **settings).run(2).model.state_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = federation(engine=engine, **settings).run(2)
    assert run.engine == engine
    assert run.facts["record_privacy"]["epsilon"] is None
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


def test_workers_change_no_bit():
    settings = {"record_privacy": level(insecure_seed=5), "engine": "ghost"}
    one, two = (federation(workers=n, **settings).run(2).model.state_dict() for n in (1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_two_runs_draw_other_noise():
    one, two = (federation().run(1).model.state_dict() for _ in range(2))
    assert not any(torch.equal(one[name], two[name]) for name in one)


SEED = 10
"""With it the record that differs is read in the first step of the first round."""
METHODS = {
    "FedAvg": tacit.FedAvg(SGD),
    "FedProx": tacit.FedProx(SGD, mu=0.1),
    "FedNova": tacit.FedNova(SGD),
    "Scaffold": tacit.Scaffold(SGD),
    "FedDyn": tacit.FedDyn(SGD),
    "FedAvgM": tacit.FedAvgM(SGD),
    "FedAdam": tacit.FedAdam(SGD),
    "FedYogi": tacit.FedYogi(SGD),
    "FedAdagrad": tacit.FedAdagrad(SGD),
    "local Adam": tacit.FedAvg(tacit.Adam(0.01, batch_size=10, steps=3)),
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_composes_for_what_leaves_a_client_is_computed_from_private_steps(method, monkeypatch):
    """Two worlds that differ in one record, with equal coins and noise: sums before noise differ by at most the clip.

    Every step's sum is caught before its noise; the worlds part after the first step, where the record is read, so the
    first steps are held against each other.
    """
    from tacit.learning.dp_sgd import engine as private

    seen = []
    original = private.perturbed

    def catching(g, noise, scale, expected):
        seen.append((g.copy(), noise.copy(), scale, expected))
        original(g, noise, scale, expected)

    monkeypatch.setattr(private, "perturbed", catching)
    one = {name: examples(i, n) for i, (name, n) in enumerate(SIZES.items())}
    x, y = (t.clone() for t in one["b"])
    x[7], y[7] = 1e4, 1 - y[7]
    worlds = [tacit.Population.from_arrays(one), tacit.Population.from_arrays(one | {"b": (x, y)})]
    caught = []
    for world in worlds:
        seen.clear()
        settings = {"record_privacy": level(insecure_seed=SEED, adjacency="replace-one"), "engine": "ghost"}
        federation(METHODS[method], world, **settings).run(2)
        caught.append([entry for entry in seen if entry[2] > 0])
    assert len(caught[0]) == len(caught[1]) == 2 * 3 * 3
    for (_, noise, *how), (_, same, *also) in zip(*caught, strict=True):
        assert (noise == same).all()
        assert how == also
    first = [np.linalg.norm(g.astype(float) - h) for (g, *_), (h, *_) in zip(*(c[:9] for c in caught), strict=True)]
    begun = [first[k] for k in (0, 3, 6)]
    assert max(begun) <= 2 * 0.5
    assert first[0] == first[1] == first[2] == first[6] == first[7] == first[8] == 0, "others do not notice"
    assert first[3] > 0, "the record was read"


def test_the_exact_gradient_of_scaffold_is_refused():
    with pytest.raises(errors.UnregisteredRelease, match="option=2"):
        federation(tacit.Scaffold(SGD, option=1))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"clip": None}, errors.ClippingRequired, "clip is None"),
        ({"clip": float("inf")}, errors.ClippingRequired, "clip is inf"),
        ({"clip": 1e-40}, errors.ClippingRequired, "1e-10"),
        ({"epsilon": None}, errors.NoiseRequired, "no epsilon"),
        ({"epsilon": 0.0}, errors.NoiseRequired, "epsilon is 0.0"),
        ({"noise_multiplier": 0.0}, errors.NoiseRequired, "noise_multiplier is 0.0"),
        ({"delta": 0.1}, errors.DeltaTooLarge, "25 records"),
        ({"adjacency": "add-remove"}, errors.PrivacyError, "adjacency"),
        ({"population_budget": -1}, errors.PrivacyError, "population_budget"),
        ({"insecure_seed": "x"}, errors.PrivacyError, "insecure_seed"),
    ],
)
def test_settings_that_promise_nothing_are_refused(changes, error, words):
    with pytest.raises(error, match=words):
        federation(record_privacy=level(**changes))


def test_all_problems_are_told_at_once():
    with pytest.raises(errors.PrivacyError, match=r"(?s)clip is None.*delta is 2"):
        federation(record_privacy=level(clip=None, delta=2))


def test_models_that_mix_records_are_refused():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    with pytest.raises(errors.BatchNormBuffers, match="GroupNorm"):
        federation(model=model)


def test_a_record_level_in_the_place_of_a_user_level_is_shown_its_place():
    with pytest.raises(errors.UsageError, match="record_privacy"):
        federation(privacy=level(), record_privacy=None)
    with pytest.raises(errors.UsageError, match="RecordLevel"):
        federation(record_privacy=tacit.UserLevel(epsilon=1.0, clip=1.0))


def test_stopping_by_what_is_hidden_is_refused():
    with pytest.raises(errors.UnregisteredRelease, match="hidden"):
        federation().run(2, until=tacit.Patience("loss", 1))


def test_noise_that_was_given_must_keep_to_the_epsilon_that_was_given():
    with pytest.raises(errors.BudgetExceeded, match="noise_multiplier"):
        federation(record_privacy=level(epsilon=0.5, noise_multiplier=0.5)).run(3)
    told = federation(record_privacy=level(epsilon=None, noise_multiplier=2.0)).run(3).facts["record_privacy"]
    assert {g["noise_multiplier"] for g in told["groups"]} == {2.0}


def test_every_client_has_an_account_of_its_own_over_all_runs():
    federation().run(2)
    federation(of=population(b=60, a=40)).run(1)
    with Ledger() as ledger:
        accounts = ledger.accounts()
        assert [a.unit for a in accounts].count("record") == len(accounts)
        counts = sorted(sum(e.kind == "commit" for e in a.entries()) for a in accounts)
        assert counts == [1, 1, 2, 2, 2], "clients a and b have other records in the second run"
    again = federation().run(1).facts["record_privacy"]
    assert again["epsilon_population_total"] > again["epsilon"] + 0.5


def test_a_budget_holds_over_all_runs_for_each_client():
    settings = {"record_privacy": level(epsilon=1.0, population_budget=1.5)}
    federation(**settings).run(2)
    with pytest.raises(errors.BudgetExceeded, match=r"records of client 'a' have cost epsilon 1\b|epsilon 0\.99"):
        federation(**settings).run(2)


def test_synthetic_data_are_exempt_and_the_statement_says_so():
    made = population()
    made.synthetic = True
    told = federation(of=made).run(1).facts["record_privacy"]
    assert told["synthetic"]
    assert told["epsilon_population_total"] is None
    assert "synthetic" in told["text"]["en"]
    with Ledger() as ledger:
        assert not ledger.accounts()


class Stop(tacit.Callback):
    def __init__(self, at):
        self.at = at

    def on_round_end(self, row):
        return row["round"] == self.at


def test_a_run_is_resumed_and_each_round_is_charged_once(tmp_path):
    federation(tacit.Scaffold(SGD)).run(4, checkpoint=tmp_path / "run", callbacks=[Stop(2)])
    run = federation(tacit.Scaffold(SGD)).run(4, checkpoint=tmp_path / "run", resume=True)
    assert len(run.rows) == 4
    told = run.facts["record_privacy"]
    assert told["participations"] == 4
    with Ledger() as ledger:
        for account in ledger.accounts():
            assert [e.kind for e in account.entries() if e.kind != "begin"] == ["reserve", "commit"] * 4


def test_a_sum_that_was_stored_is_not_made_again(tmp_path, monkeypatch):
    from tacit.privacy.record_guard import RecordGuard

    class Crash(Exception):
        pass

    commit = RecordGuard.commit

    def crashing(self, total):
        if any(entry.round == 1 for _, entry in self._open):
            raise Crash
        commit(self, total)

    with monkeypatch.context() as patch:
        patch.setattr(RecordGuard, "commit", crashing)
        with pytest.raises(Crash):
            federation().run(3, checkpoint=tmp_path / "run", checkpoint_every=100)
    stored = list((tmp_path / "run").glob("released-*"))
    assert len(stored) == 2
    run = federation().run(3, checkpoint=tmp_path / "run", resume=True)
    assert len(run.rows) == 3
    assert not list((tmp_path / "run").glob("released-*"))
    with Ledger() as ledger:
        for account in ledger.accounts():
            assert sum(e.kind == "reserve" for e in account.entries()) == 3
            assert sum(e.kind == "commit" for e in account.entries()) == 3


def test_a_checkpoint_that_does_not_say_what_was_spent_is_refused(tmp_path):
    federation().run(4, checkpoint=tmp_path, callbacks=[Stop(2)])
    (state,) = tmp_path.glob("checkpoint-000002/state.json")
    content = json.loads(state.read_text())
    content["record_privacy"]["taken"] = {"0": -1}
    state.write_text(json.dumps(content))
    with pytest.raises(errors.StorageError, match="what its run has spent"):
        federation().run(4, checkpoint=tmp_path, resume=True)


def test_another_ledger_is_refused(tmp_path, monkeypatch):
    federation().run(4, checkpoint=tmp_path / "run", callbacks=[Stop(2)])
    monkeypatch.setenv("TACIT_LEDGER", str(tmp_path / "other.sqlite"))
    with pytest.raises(errors.LedgerMissing):
        federation().run(4, checkpoint=tmp_path / "run", resume=True)


def test_both_levels_stand_side_by_side():
    run = federation(privacy=tacit.UserLevel(epsilon=8.0, clip=1.0)).run(2)
    assert run.facts["privacy"]["unit"] == "user"
    assert run.facts["record_privacy"]["unit"] == "record"
    with Ledger() as ledger:
        units = sorted(a.unit for a in ledger.accounts())
        assert units == ["record", "record", "record", "user"]
        assert all(a.entries()[-1].kind == "commit" for a in ledger.accounts())


def test_turns_are_credited_to_the_records():
    many = population(**{f"c{k}": 30 for k in range(6)})
    told = federation(of=many, selection=tacit.Separated(2)).run(6).facts["record_privacy"]
    assert told["participations"] == 2
    alone = federation(of=many).run(6).facts["record_privacy"]
    assert told["noise_multiplier"] < alone["noise_multiplier"]


def test_clients_of_many_sizes_are_calibrated_in_groups_that_err_on_the_safe_side():
    sizes = np.arange(20, 220, 3)
    plan = RecordPlan.of(level(), tacit.SGD(0.1, batch_size=16, epochs=2), sizes, 3, 3)
    assert len(plan.groups) <= GROUPS
    for k in range(0, len(sizes), 7):
        n, group = int(sizes[k]), plan.group(k)
        own = LocalSteps(group.noise, plan.rate(k), 2 * -(-n // 16))
        assert most(charges([(own, 3)]), level().delta_for(n)) <= 3.0 * (1 + 1e-3)


def test_local_steps_are_so_many_samples_to_the_accountant():
    event = LocalSteps(1.1, 0.01, 30)
    assert charges([(event, 4)]) == charges([(PoissonSampled(1.1, 0.01), 120)])
    assert event_of(named(event)) == event
    with pytest.raises(errors.DamagedFile):
        event_of(named(event) | {"steps": 0})


def test_records_are_read_by_independent_coins():
    """Marginal and pairwise rates of inclusion over 4000 steps; 1 false alarm in 10 000 runs or fewer."""
    held = Examples(torch.zeros(10, 1), torch.zeros(10), np.array([0, 4]), np.array([4, 6]))
    steps, rates = 4000, (0.3, 0.5)
    batches = sampled(held, rates, (steps, steps), [SecretDraws(np.random.default_rng().bytes(32)) for _ in range(2)])
    seen = np.zeros((2 * steps, 10))
    for s in range(2 * steps):
        seen[s, batches.order[batches.cut[s] : batches.cut[s + 1]]] += 1
    assert seen.max() == 1
    assert not seen[:steps, 4:].any()
    assert not seen[steps:, :4].any()
    for own, rate in ((seen[:steps, :4], 0.3), (seen[steps:, 4:], 0.5)):
        spread = np.sqrt(rate * (1 - rate) / steps)
        assert np.abs(own.mean(0) - rate).max() < 5 * spread
        together = own.T @ own / steps
        off = together[~np.eye(len(together), dtype=bool)]
        assert np.abs(off - rate**2).max() < 5 * np.sqrt(rate**2 * (1 - rate**2) / steps)
        assert np.abs(own[1:] * own[:-1] - rate**2).mean(0).shape == (own.shape[1],)


def test_all_records_are_read_where_there_is_no_batch_size():
    told = federation(tacit.FedAvg(tacit.SGD(0.1, steps=2))).run(2).facts["record_privacy"]
    assert {g["rate"] for g in told["groups"]} == {1.0}


def test_the_settings_are_those_of_the_documentation():
    assert {f.name for f in dataclasses.fields(tacit.RecordLevel)} >= {"epsilon", "clip", "delta", "adjacency"}


def test_a_run_is_not_resumed_for_more_rounds_than_its_noise_was_made_for(tmp_path):
    federation().run(2, checkpoint=tmp_path)
    with pytest.raises(errors.BudgetExceeded, match="calibrated for 2 rounds"):
        federation().run(40, checkpoint=tmp_path, resume=True)
    assert len(federation().run(2, checkpoint=tmp_path, resume=True).rows) == 2


def test_clients_with_equal_data_have_accounts_of_their_own():
    x, y = examples(0, 30)
    twins = tacit.Population.from_arrays({"a": (x, y), "b": (x.clone(), y.clone())})
    told = federation(of=twins).run(2).facts["record_privacy"]
    assert told["participations"] == 2
    with Ledger() as ledger:
        assert len(ledger.accounts()) == 2


def test_a_record_on_which_training_fails_is_no_record_and_nobody_sees_it():
    def strict(output, target):
        if (target == 7).any():
            raise ValueError("value 4711-0815 of a patient")
        return nn.functional.cross_entropy(output, target)

    people = {name: examples(i, n) for i, (name, n) in enumerate(SIZES.items())}
    x, y = (t.clone() for t in people["b"])
    y[5] = 7
    torch.manual_seed(0)
    made = tacit.Task(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 8)), strict)
    clients = tacit.Population.from_arrays(people | {"b": (x, y)})
    level_of = level(insecure_seed=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", errors.TacitWarning)
        run = tacit.Federation(made, clients, tacit.FedAvg(SGD), record_privacy=level_of, workers=1).run(4)
    assert all(row["set_aside"] == 0 and row["clients"] == 3 for row in run.rows)
    assert "4711-0815" not in str(run.rows)


def test_a_recovered_sum_counts_for_both_levels(tmp_path, monkeypatch):
    class Crash(Exception):
        pass

    made = population()
    made.synthetic = True
    settings = {"of": made, "privacy": tacit.UserLevel(epsilon=8.0, clip=1.0)}
    with monkeypatch.context() as patch:
        step = tacit.rounds.loop.Server.step

        def crashing(server, total, round):
            if round == 2:
                raise Crash
            return step(server, total, round)

        patch.setattr(tacit.rounds.loop.Server, "step", crashing)
        with pytest.raises(Crash):
            federation(**settings).run(4, checkpoint=tmp_path / "run", checkpoint_every=100)
    told = federation(**settings).run(4, checkpoint=tmp_path / "run", resume=True).facts["record_privacy"]
    assert told["participations"] == 4


def test_a_budget_is_looked_at_before_the_first_round_and_kept():
    settings = {"record_privacy": level(epsilon=1.0, population_budget=1.5)}
    federation(**settings).run(2)
    with pytest.raises(errors.BudgetExceeded):
        federation(record_privacy=level(epsilon=1.0)).run(2)
    with Ledger() as ledger:
        assert all(account.limit()[0] == 1.5 for account in ledger.accounts())
        assert all(sum(e.kind == "reserve" for e in account.entries()) == 2 for account in ledger.accounts())
