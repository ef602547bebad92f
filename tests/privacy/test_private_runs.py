"""Private runs: neighbouring populations, what is hidden, what is refused, and what a crash leaves."""

from __future__ import annotations

import json
import math
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import tacit
import tacit.rounds.loop
from tacit import errors
from tacit.privacy.clip import Clip
from tacit.privacy.event import Gaussian, Truncated
from tacit.privacy.guard import Guard
from tacit.privacy.ledger import Ledger
from tacit.privacy.released import Released
from tacit.privacy.replay import ROUNDING, differences, released, replay
from tacit.selection.cohort import Cohort, Sampling

STEPS = tacit.SGD(lr=0.3, batch_size=4, steps=4)
METHODS = {
    "FedAvg": tacit.FedAvg(STEPS),
    "FedProx": tacit.FedProx(STEPS, mu=0.1),
    "FedNova": tacit.FedNova(STEPS),
    "Scaffold": tacit.Scaffold(STEPS),
    "Scaffold, option 1": tacit.Scaffold(STEPS, option=1),
    "FedAvgM": tacit.FedAvgM(STEPS),
    "FedAdam": tacit.FedAdam(STEPS),
    "FedYogi": tacit.FedYogi(STEPS),
    "FedAdagrad": tacit.FedAdagrad(STEPS),
    "FedDyn": tacit.FedDyn(STEPS),
}
CLIENTS = 12


def arrays(seed=0, clients=CLIENTS):
    draws = torch.Generator().manual_seed(seed)
    return {
        f"c{k}": (torch.randn(8, 5, generator=draws), torch.randint(3, (8,), generator=draws)) for k in range(clients)
    }


def task(width=6):
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(5, width), torch.nn.ReLU(), torch.nn.Linear(width, 3))
    return tacit.Task(model, torch.nn.functional.cross_entropy)


def level(**settings):
    return tacit.UserLevel(**{"epsilon": 4.0, "clip": 0.5, "insecure_seed": 3} | settings)


def federation(data=None, algorithm=None, privacy=None, population=None, **options):
    population = population or tacit.Population.from_arrays(data or arrays())
    return tacit.Federation(
        options.pop("task", None) or task(),
        population,
        algorithm or METHODS["FedAvg"],
        privacy=privacy or level(),
        **{"workers": 1} | options,
    )


class Sums:
    """Every sum before its noise, and the noised one, of the runs made while it watches."""

    def __init__(self, monkeypatch):
        self.before, self.after = [], []
        release = Guard.release

        def spying(guard, round, total, *others):
            self.before.append(total.clone())
            noised = release(guard, round, total, *others)
            self.after.append(noised.clone())
            return noised

        monkeypatch.setattr(Guard, "release", spying)


def without(data, client):
    """The same population, in which training the client fails: its report is one of zeros."""

    def load(name):
        if name == client:
            raise OSError("gone")
        return data[name]

    return tacit.Population.from_loader({name: len(y) for name, (_, y) in data.items()}, load)


@pytest.mark.parametrize("name", METHODS)
def test_neighbouring_populations_differ_by_no_more_than_the_clip_norm_before_the_noise(name):
    """One client's data gone, or replaced by any others; the same coins and noise on both sides."""
    settings, data = level(loss_bound=2.0), arrays()
    one = federation(data, METHODS[name], settings, selection=tacit.Poisson(8))
    assert 0 < replay(one, client=3) <= 1 + ROUNDING, "the client was in a sum"
    other = federation({**data, "c3": arrays(9)["c3"]}, METHODS[name], settings, selection=tacit.Poisson(8))
    there, instead = (released(one, population, 1) for population in (one.population, other.population))
    assert 0 < max(differences(one, there, instead)) <= 2 + ROUNDING


@pytest.mark.parametrize("name", METHODS)
def test_no_report_of_any_round_is_longer_than_its_bound(name, monkeypatch):
    longest, encode = [], Clip.encode

    def spying(stage, report, layout, down):
        integers = encode(stage, report, layout, down)
        for bound in stage.bounds:
            part = integers[:, stage.places[bound.name]].long()
            longest.append(float((part**2).sum(1).max()) / bound.most)
        return integers

    monkeypatch.setattr(Clip, "encode", spying)
    federation(algorithm=METHODS[name], privacy=level(clip=0.05)).run(4)
    assert 0 < max(longest) <= 1
    assert max(longest) > 0.99, "some report was clipped, or this shows nothing"


def test_the_noise_is_of_the_size_that_was_accounted(monkeypatch):
    """Sum of squares over 4 rounds against chi squared; false alarm 1 in 10,000."""
    sums = Sums(monkeypatch)
    settings = tacit.UserLevel(noise_multiplier=1.7, clip=0.3)
    federation(privacy=settings, task=task(400)).run(4)
    clip = federation(privacy=settings, task=task(400)).chain.stages[-1].bounds[0]
    draws = torch.cat([a - b for a, b in zip(sums.after, sums.before, strict=True)]).double() * clip.grid / (1.7 * 0.3)
    low, high = stats.chi2.ppf([5e-5, 1 - 5e-5], len(draws))
    assert low < float((draws**2).sum()) < high
    assert stats.kstest(draws.numpy(), "norm").pvalue > 1e-4


def test_two_runs_of_one_seed_draw_other_noise_and_other_cohorts(monkeypatch):
    sums = Sums(monkeypatch)
    settings = tacit.UserLevel(epsilon=4.0, clip=0.5)
    one, two = (federation(privacy=settings, selection=tacit.Poisson(6), seed=5).run(2) for _ in range(2))
    assert not torch.equal(sums.after[0] - sums.before[0], sums.after[2] - sums.before[2])
    assert any(not torch.equal(one.tensors[name], tensor) for name, tensor in two.tensors.items())


@pytest.mark.parametrize("engine", ["fused", "traced", "eager"])
def test_workers_and_engines_change_no_noise_and_workers_no_bit(engine):
    one, two = (federation(engine=engine, workers=workers).run(3) for workers in (1, 2))
    assert all(torch.equal(one.tensors[name], tensor) for name, tensor in two.tensors.items())


def test_the_mean_is_over_a_public_number_and_an_empty_cohort_is_a_round_of_noise(monkeypatch):
    sums = Sums(monkeypatch)
    run = federation(selection=tacit.Poisson(0.001), privacy=tacit.UserLevel(noise_multiplier=1.0, clip=0.5)).run(2)
    assert all(before.count_nonzero() == 0 for before in sums.before)
    assert run.history["clients"].tolist() == [0.001, 0.001]
    assert (run.history["update_norm"] > 1).all(), "noise, divided by a small number"


def test_nothing_of_the_history_follows_from_data_but_what_was_released():
    """With the same noise, a population with other sizes and a failing client leaves the same columns."""
    data = arrays()
    run = federation(data, selection=tacit.Poisson(8)).run(3)
    x, y = data["c1"]
    others = {**data, "c1": (torch.cat([x, x]), torch.cat([y, y]))}
    other = federation(None, population=without(others, "c2"), selection=tacit.Poisson(8)).run(3)
    timed = [c for c in run.history if "seconds" in c]
    released = ["update_norm"]
    assert run.history.drop(columns=timed + released).equals(other.history.drop(columns=timed + released))
    assert run.history["loss"].isna().all()
    assert run.history["examples"].isna().all()
    told = run.facts
    assert told["population"] is None
    assert told["engine_deviation"] is None


def test_the_training_loss_is_released_with_noise_of_its_own():
    settings = level(epsilon=50.0, loss_bound=2.0)
    run = federation(arrays(clients=200), privacy=settings, selection=tacit.Everyone()).run(2)
    plain = tacit.Federation(task(), tacit.Population.from_arrays(arrays(clients=200)), METHODS["FedAvg"]).run(2)
    assert run.history["loss"].to_numpy() == pytest.approx(plain.history["loss"].to_numpy(), abs=0.2)
    releases = {release["name"]: release for release in run.facts["privacy"]["releases"]}
    z = run.facts["privacy"]["noise_multiplier"]
    together = sum(release["noise_multiplier"] ** -2 for release in releases.values()) ** -0.5
    assert together == pytest.approx(z)


@pytest.mark.parametrize("name", METHODS)
def test_without_noise_to_speak_of_a_private_run_is_a_plain_one(name):
    data, exact = arrays(), tacit.Task(task().model.double(), task().loss)
    wide = tacit.UserLevel(noise_multiplier=1e-7, clip=10.0, insecure_seed=0)
    private = federation(data, METHODS[name], wide, task=exact)
    alike = replace(METHODS[name], weights="uniform")
    one, two = private.run(3), tacit.Federation(exact, tacit.Population.from_arrays(data), alike).run(3)
    for key, tensor in one.tensors.items():
        torch.testing.assert_close(tensor, two.tensors[key], rtol=0, atol=1e-3)


def test_weights_bounded_by_rule():
    data = arrays()
    x, y = data["c0"]
    data["c0"] = x.repeat(50, 1), y.repeat(50)
    settings = tacit.UserLevel(noise_multiplier=1e-7, clip=10.0, most_examples=16, insecure_seed=0)
    run = federation(data, tacit.FedAvg(tacit.SGD(lr=0.1)), settings).run(1)
    weights = np.array([1.0] + [0.5] * (CLIENTS - 1))
    start = dict(task().model.state_dict())
    alone = []
    for name, pair in data.items():
        one = tacit.Federation(task(), tacit.Population.from_arrays({name: pair}), tacit.FedAvg(tacit.SGD(lr=0.1)))
        alone.append({key: tensor - start[key] for key, tensor in one.run(1).tensors.items()})
    for key, tensor in run.tensors.items():
        mean = sum(w * update[key] for w, update in zip(weights, alone, strict=True)) / CLIENTS
        torch.testing.assert_close(tensor - start[key], mean, rtol=0, atol=1e-4)


# What is refused.


class Drifting:
    """Declares one sampling and draws another."""

    def problems(self, clients):
        return []

    def sampling(self, clients):
        return Sampling("poisson", 4, clients, 4 / clients, clients)

    def draw(self, clients, seed, round):
        return Cohort(np.arange(4), Sampling("arbitrary", 4, clients))


class Silent:
    def problems(self, clients):
        return []

    def draw(self, clients, seed, round):
        return Cohort(np.arange(4), Sampling("arbitrary", 4, clients))


def normalised():
    return tacit.Task(
        torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 3)),
        torch.nn.functional.cross_entropy,
    )


@pytest.mark.parametrize(
    ("error", "settings", "options", "said"),
    [
        (errors.ClippingRequired, {"clip": None}, {}, "clip is None"),
        (errors.ClippingRequired, {"clip": math.inf}, {}, "clip is inf"),
        (errors.NoiseRequired, {"epsilon": None}, {}, "there is no epsilon"),
        (errors.NoiseRequired, {"epsilon": 0}, {}, "epsilon is 0"),
        (errors.NoiseRequired, {"noise_multiplier": 0.0}, {}, "without noise epsilon is infinite"),
        (errors.DeltaTooLarge, {"delta": 0.2}, {}, "12 clients"),
        (errors.PrivacyError, {"delta": 2}, {}, "delta is 2"),
        (errors.PrivacyError, {"adjacency": "add-remove"}, {}, "zero-out"),
        (errors.PrivacyError, {"most_examples": 0}, {}, "most_examples is 0"),
        (errors.PrivacyError, {"loss_bound": -1.0}, {}, "loss_bound is -1"),
        (errors.PrivacyError, {"population_budget": "much"}, {}, "population_budget is 'much'"),
        (errors.UnboundedWeights, {}, {"algorithm": tacit.FedAvg(STEPS, weights="examples")}, "most_examples"),
        (errors.UnregisteredRelease, {}, {"algorithm": tacit.FedNova(tacit.SGD(lr=0.1))}, "steps"),
        (errors.BatchNormBuffers, {}, {"task": normalised()}, "GroupNorm"),
        (errors.PrivacyError, {}, {"stages": [tacit.NormBound(1.0)]}, "leave NormBound out"),
        (errors.SamplerMismatch, {}, {"selection": Silent()}, "does not say how it draws"),
    ],
)
def test_what_cannot_be_private_is_refused_before_anything_is_computed(error, settings, options, said):
    with pytest.raises(error, match=said) as caught:
        federation(privacy=level(**settings), **options)
    assert type(caught.value) is error
    assert caught.value.exit_code == 6


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(errors.PrivacyError, match="3 problems") as caught:
        federation(algorithm=tacit.FedAvg(STEPS, weights="examples"), privacy=level(clip=0, epsilon=-1))
    assert all(name in str(caught.value) for name in ("ClippingRequired", "NoiseRequired", "UnboundedWeights"))


def test_a_selection_that_draws_otherwise_than_it_says_ends_the_run():
    with pytest.raises(errors.SamplerMismatch, match="privacy would rest on it"):
        federation(selection=Drifting())


def test_a_cap_that_costs_privacy_is_refused():
    with pytest.raises(errors.CapTooTight, match="leave cap out"):
        federation(
            arrays(clients=400), privacy=level(noise_multiplier=1.0, epsilon=None), selection=tacit.Poisson(20, cap=20)
        ).run(50)


def test_a_noise_multiplier_with_which_the_rounds_cost_too_much_says_how_many_do_not():
    settings = level(epsilon=2.0, noise_multiplier=2.0)
    with pytest.raises(errors.BudgetExceeded, match=r"run (\d+) rounds") as caught:
        federation(privacy=settings).run(50)
    rounds = int(str(caught.value).split("run ")[2].split()[0])
    assert federation(privacy=settings).run(rounds).facts["privacy"]["epsilon_pld"] <= 2.0


def test_training_that_fails_for_everybody_fails_the_run():
    def broken(output, target):
        if torch.is_grad_enabled():
            raise ValueError("a bug")
        return torch.nn.functional.cross_entropy(output, target)

    failing = tacit.Task(task().model, broken)
    with pytest.raises(errors.RoundFailed, match="ValueError") as caught:
        federation(task=failing, engine="eager").run(1)
    assert "a bug" not in str(caught.value), "it may hold somebody's data"


# What is claimed.


def test_the_event_follows_from_the_selection_and_the_claim_from_the_rounds_that_were_run():
    class Stop(tacit.Callback):
        def on_round_end(self, row):
            return row["round"] == 2

    settings = {"selection": tacit.Poisson(20), "privacy": level(insecure_seed=None)}
    whole = federation(arrays(clients=300), **settings).run(6)
    part = federation(arrays(clients=300), **settings).run(6, callbacks=[Stop()])
    told = whole.facts["privacy"], part.facts["privacy"]
    assert told[0]["noise_multiplier"] == told[1]["noise_multiplier"]
    with Ledger() as ledger:
        account, *others = ledger.accounts()
        assert not others
        assert account.charges() == ((Truncated(told[0]["noise_multiplier"], 20 / 300, 300, 43), 8),)


def test_a_claim_holds_its_numbers_together():
    settings = tacit.UserLevel(epsilon=3.0, clip=0.5)
    told = federation(arrays(clients=300), selection=tacit.Poisson(20), privacy=settings).run(10).facts["privacy"]
    assert 2.97 < told["epsilon"] <= 3.0
    assert told["epsilon_pld"] <= told["epsilon_rdp"]
    assert told["epsilon_against_server"] > told["epsilon"]
    assert told["epsilon_population_total"] == told["epsilon"]
    assert told["delta"] == pytest.approx(300**-1.1)
    assert told["unit"] == "user"
    assert told["sampling"] == {"kind": "poisson", "size": 20, "of": 300, "rate": 20 / 300, "cap": 43}
    again = federation(arrays(clients=300), selection=tacit.Poisson(20), privacy=settings).run(10).facts["privacy"]
    assert again["earlier_charges"] == 10
    assert again["epsilon_population_total"] > again["epsilon"]


def test_whoever_knows_the_seed_is_told_that_there_is_no_privacy():
    told = federation(privacy=level()).run(1).facts["privacy"]
    assert told["epsilon"] is None
    assert told["strength"] == "none"


def test_synthetic_data_are_nobody_s_and_need_no_ledger():
    population = tacit.Population.from_arrays(arrays())
    population.synthetic = True
    told = federation(population=population, privacy=tacit.UserLevel(epsilon=4.0, clip=0.5)).run(1).facts["privacy"]
    assert told["synthetic"]
    assert told["epsilon_population_total"] is None


def test_a_population_s_budget_is_over_all_runs():
    settings = level(epsilon=2.0, population_budget=3.0, insecure_seed=None)
    federation(privacy=settings).run(4)
    with pytest.raises(errors.BudgetExceeded, match=r"has spent epsilon (1\.99\d*|2) of its budget of 3") as caught:
        federation(privacy=settings).run(4)
    rounds = int(str(caught.value).split(": ")[1].split()[0])
    assert 0 < rounds < 4, "at the noise of a run of four"
    z = None
    with Ledger() as ledger:
        (account,) = ledger.accounts()
        ((event, count),) = account.charges()
        assert count == 4
        assert isinstance(event, Gaussian)
        z = event.noise
    more = level(epsilon=2.0, noise_multiplier=z, population_budget=3.0, insecure_seed=None)
    federation(privacy=more).run(rounds)
    with pytest.raises(errors.BudgetExceeded):
        federation(privacy=more).run(1)
    federation(arrays(seed=4), privacy=settings).run(4)  # other people's data
    silent = level(epsilon=2.0, noise_multiplier=z, insecure_seed=None)
    with pytest.raises(errors.BudgetExceeded, match="its budget of 3"):
        federation(privacy=silent).run(1)  # the ledger remembers what an earlier run was told


# What a crash leaves.


class Crash(BaseException):
    pass


def crashing(monkeypatch, where, round):
    """Kills the run at a step of a round (from 0)."""
    names = {"reserved": (Guard, "reserve"), "drawn": (Released, "store"), "stored": (Guard, "_commit")}
    holder, name = names.get(where, (tacit.rounds.loop.Server, "step"))
    original, calls = getattr(holder, name), []

    def dying(*args, **kwargs):
        calls.append(name)
        if len(calls) <= round:
            return original(*args, **kwargs)
        if where == "reserved":
            original(*args, **kwargs)
        raise Crash

    monkeypatch.setattr(holder, name, dying)


@pytest.mark.parametrize("method", ["FedAvg", "Scaffold"])
@pytest.mark.parametrize(
    ("where", "lost"), [("reserved", 1), ("drawn", 1), ("stored", 0), ("committed", 0)], ids=lambda v: str(v)
)
def test_a_run_that_is_killed_is_charged_for_what_it_released_and_draws_nothing_twice(
    tmp_path, monkeypatch, where, lost, method
):
    """At every step of round 3 of 4, with a checkpoint after round 2 only if the one at the beginning is not enough."""
    for every in (2, 100):
        folder = tmp_path / str(every)
        monkeypatch.setenv("TACIT_LEDGER", str(folder.with_suffix(".sqlite")))
        options = {"checkpoint": folder, "checkpoint_every": every}
        with monkeypatch.context() as patch:
            crashing(patch, where, 2)
            with pytest.raises(Crash):
                federation(algorithm=METHODS[method]).run(4, **options)
        sums = Sums(monkeypatch)
        run = federation(algorithm=METHODS[method]).run(4, resume=True, **options)
        with Ledger() as ledger:
            (account,) = ledger.accounts()
            assert account.reserved(next(iter(account.entries())).run) == 4
            assert account.head() == account.entries()[-1].digest
        drawn_anew = len(sums.after)
        assert drawn_anew == 1
        assert len(run.rows) == 4 - lost, "what was reserved counts as spent"
        told = run.facts["privacy"]
        assert (told["rounds"], told["rounds_lost"]) == (4 - lost, lost)
        assert told["epsilon_pld"] <= 4.0 * (1 + 1e-3)
        assert ("cut off in 1 rounds" in run.facts["ended"]) == bool(lost)
        whole = federation(algorithm=METHODS[method]).run(4)
        if not lost:
            assert all(torch.equal(run.tensors[n], tensor) for n, tensor in whole.tensors.items())
        assert not list(folder.glob("released-*"))


def test_a_run_goes_on_only_beside_the_ledger_that_it_was_charged_in(tmp_path, monkeypatch):
    class Stop(tacit.Callback):
        def on_round_end(self, row):
            return row["round"] == 2

    federation().run(4, checkpoint=tmp_path / "run", callbacks=[Stop()])
    monkeypatch.setenv("TACIT_LEDGER", str(tmp_path / "another.sqlite"))
    with pytest.raises(errors.LedgerMissing):
        federation().run(4, checkpoint=tmp_path / "run", resume=True)


def test_a_run_is_not_made_longer_than_its_noise_was_made_for(tmp_path):
    federation().run(2, checkpoint=tmp_path)
    with pytest.raises(errors.BudgetExceeded, match="calibrated for 2 rounds"):
        federation().run(3, checkpoint=tmp_path, resume=True)
    with pytest.raises(errors.UsageError, match="another run"):
        federation(privacy=level(epsilon=5.0)).run(2, checkpoint=tmp_path, resume=True)


def test_what_another_run_left_in_the_folder_is_not_taken_for_this_run_s(tmp_path, monkeypatch):
    """Its checkpoints are gone, its stored sums and its key are not: neither may be used again."""
    settings = tacit.UserLevel(epsilon=3.0, clip=0.5, mechanism="bisr")
    made = {"privacy": settings, "selection": tacit.Separated(3)}
    with monkeypatch.context() as patch:
        crashing(patch, "stored", 1)
        with pytest.raises(Crash):
            federation(**made).run(4, checkpoint=tmp_path, checkpoint_every=100)
    key = (tmp_path / "noise.key").read_bytes()
    assert list(tmp_path.glob("released-*"))
    for folder in tmp_path.glob("checkpoint-*"):
        shutil.rmtree(folder)
    sums = Sums(monkeypatch)
    seen = []

    class Looking(tacit.Callback):
        def on_round_end(self, row):
            seen.append((tmp_path / "noise.key").read_bytes())

    run = federation(**made).run(4, checkpoint=tmp_path, callbacks=[Looking()])
    assert len(sums.after) == len(run.rows) == 4
    assert len(set(seen)) == 1
    assert key not in seen


def test_a_checkpoint_that_does_not_say_what_was_spent_is_refused(tmp_path):
    class Stop(tacit.Callback):
        def on_round_end(self, row):
            return row["round"] == 2

    federation().run(4, checkpoint=tmp_path, callbacks=[Stop()])
    (state,) = tmp_path.glob("checkpoint-000002/state.json")
    content = json.loads(state.read_text())
    del content["privacy"]
    state.write_text(json.dumps(content))
    with pytest.raises(errors.StorageError, match="what its run has spent"):
        federation().run(4, checkpoint=tmp_path, resume=True)


def test_noise_that_leaves_the_range_of_the_integers_is_refused():
    with pytest.raises(errors.PrivacyError, match="give at most 100000"):
        federation(privacy=level(epsilon=None, noise_multiplier=1e12)).run(1)
    with pytest.raises(errors.NoiseRequired, match="no noise makes"):
        federation(privacy=level(epsilon=1e-9, delta=1e-12), selection=tacit.Separated(3)).run(2)
    with pytest.raises(errors.ClippingRequired, match="1e-100"):
        federation(privacy=level(clip=1e-300))


def test_the_ledger_knows_data_whatever_numbers_a_model_computes_with():
    exact = tacit.Task(task().model.double(), task().loss)
    federation().run(1)
    federation(task=exact).run(1)
    with Ledger() as ledger:
        assert len(ledger.accounts()) == 1


def test_a_budget_that_is_set_while_a_run_goes_on_holds_for_its_next_round():
    class Setting(tacit.Callback):
        def on_round_end(self, row):
            if row["round"] == 2:
                with Ledger() as ledger:
                    (account,) = ledger.accounts()
                    account.set_limit(0.1, 0.01)

    with pytest.raises(errors.BudgetExceeded, match=r"its budget of 0\.1"):
        federation().run(4, callbacks=[Setting()])


def test_a_population_without_a_budget_is_warned_of_once_a_run():
    secure = level(insecure_seed=None)
    with pytest.warns(errors.TacitWarning, match="no budget over all runs") as caught:
        federation(privacy=secure).run(2)
    assert sum("no budget" in str(warning.message) for warning in caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        federation(privacy=level(insecure_seed=None, population_budget=50.0)).run(1)
        federation(privacy=secure).run(1)  # the ledger remembers


# Metrics that are released.


def accuracy(output, target):
    return (output.argmax(1) == target).double().mean()


def measured_task(**metrics):
    return tacit.Task(task().model, torch.nn.functional.cross_entropy, metrics or {"accuracy": accuracy})


def test_a_metric_is_released_with_noise_and_joint_accounting():
    """The mean over all clients of the accuracy before training, up to its noise: 1 false alarm in 10 000 runs."""
    settings = level(epsilon=200.0, metrics=("accuracy",), insecure_seed=None)
    made = federation(task=measured_task(), privacy=settings)
    people = [made.population.examples(np.array([k])).of(0) for k in range(len(made.population))]
    exact = np.mean([float(accuracy(made.task.model(x), y)) for x, y in people])
    run = made.run(1)
    told = run.facts["privacy"]
    releases = {r["name"]: r for r in told["releases"]}
    z = releases["metrics"]["noise_multiplier"]
    assert releases["metrics"]["norm"] == 1.0
    assert releases["update"]["noise_multiplier"] ** -2 + z**-2 == pytest.approx(told["noise_multiplier"] ** -2)
    assert abs(run.rows[0]["cohort_accuracy"] - exact) < 4 * z / len(people)


def test_a_client_moves_the_released_metrics_by_no_more_than_their_bound(monkeypatch):
    wild = {"far": lambda o, t: o.sum() * 1e9, "nan": lambda o, t: o.sum() * math.nan, "accuracy": accuracy}
    sums = Sums(monkeypatch)
    settings = level(metrics=("far", "nan", "accuracy"))
    run = federation(task=measured_task(**wild), privacy=settings).run(1)
    assert {"cohort_far", "cohort_nan", "cohort_accuracy"} <= set(run.rows[0])
    assert math.isfinite(run.rows[0]["cohort_nan"])
    assert {r["name"]: r["norm"] for r in run.facts["privacy"]["releases"]}["metrics"] == pytest.approx(math.sqrt(3))
    assert len(sums.after) == 1


def test_a_run_may_end_by_a_metric_that_is_released():
    settings = level(metrics=("accuracy",))
    run = federation(task=measured_task(), privacy=settings).run(6, until=tacit.Patience("cohort_accuracy", 1, "max"))
    assert 2 <= len(run.rows) <= 6
    with pytest.raises(errors.UnregisteredRelease, match="cohort_accuracy"):
        federation(privacy=level()).run(2, until=tacit.Patience("test_accuracy", 1, "max"))


@pytest.mark.parametrize(
    ("metrics", "said"),
    [(("f1",), "no metric of the task: it has accuracy"), (("accuracy",) * 2, "once"), (3, "names")],
)
def test_metrics_that_the_task_does_not_have_are_refused(metrics, said):
    with pytest.raises(errors.PrivacyError, match=said):
        federation(task=measured_task(), privacy=level(metrics=metrics))
