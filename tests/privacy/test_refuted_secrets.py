"""What once told more than was released, each as the shortest run that shows it: state, masks, keys, the history."""

from __future__ import annotations

import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import tacit
import tacit.venue.work
from tacit import errors
from tacit.record.plots import participation
from tests.privacy.test_private_runs import Sums, arrays, federation, task, without
from tests.privacy.test_refuted import BOTH, LEVEL, run_of

# State that no report carries.


class Kept(nn.Module):
    """Keeps a running scale in an attribute."""

    def __init__(self):
        super().__init__()
        self.layer, self.scale = nn.Linear(5, 3), 1.0

    def forward(self, x):
        if self.training:
            self.scale = 0.9 * self.scale + 0.1 * float(x.detach().abs().mean())
        return self.layer(x / self.scale)


class Global(nn.Module):
    """Draws from numpy's global generator."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x):
        drawn = float(np.random.standard_normal())  # noqa: NPY002 - it is what must be refused
        return self.layer(x + drawn if self.training else x)


class Own(nn.Module):
    """Draws from a generator of its own, which its copies share."""

    def __init__(self, generator=None):
        super().__init__()
        self.layer, self.draws = nn.Linear(5, 3), generator or torch.Generator()

    def __deepcopy__(self, memo):
        other = Own(self.draws)
        other.load_state_dict(self.state_dict())
        return other

    def forward(self, x):
        return self.layer(x + torch.randn(x.shape, generator=self.draws) if self.training else x)


class Running:
    """A loss in units of its own running mean."""

    def __init__(self):
        self.mean = 1.0

    def __call__(self, output, target):
        losses = functional.cross_entropy(output, target)
        self.mean = 0.9 * self.mean + 0.1 * float(losses.detach())
        return losses / self.mean


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: {"model": Kept()}, "scale"),
        (lambda: {"model": Global()}, "numpy"),
        (lambda: {"model": Own()}, "draws"),
        (lambda: {"loss": Running()}, "loss"),
    ],
    ids=["attribute", "numpy.random", "own generator", "loss"],
)
def test_state_that_goes_on_from_client_to_client_is_refused(made, said, kind):
    with pytest.raises(errors.UnboundedState, match=f"(?s){said}.*change the reports of others"):
        run_of(BOTH[kind], **made()).run(1)


# Chance inside the model.


def dropping():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


@pytest.mark.parametrize("engine", ["vmapped", "traced", "eager"])
def test_nobody_can_repeat_the_masks_of_dropout_but_who_chose_an_insecure_seed(engine, monkeypatch):
    """The public seed is the same on both sides; without dropout nothing before the noise differs."""
    sums = Sums(monkeypatch)
    for model, level, alike in (
        (dropping(), LEVEL, False),
        (dropping(), replace(LEVEL, insecure_seed=3), True),
        (task().model, LEVEL, True),
    ):
        for _ in range(2):
            run_of({"privacy": level}, model, engine=engine).run(1)
        assert torch.equal(*sums.before[-2:]) == alike


@pytest.mark.parametrize("kind", BOTH)
def test_the_seed_of_a_model_s_draws_is_secret(kind, monkeypatch):
    seeds, drawn = [], tacit.venue.work.keys.torch_seeds

    def watching(seed, *purpose, **each):
        seeds.append(seed)
        return drawn(seed, *purpose, **each)

    monkeypatch.setattr(tacit.venue.work, "keys", SimpleNamespace(torch_seeds=watching))
    for _ in range(2):
        run_of(BOTH[kind], seed=5).run(2)
    first, second = set(seeds[: len(seeds) // 2]), set(seeds[len(seeds) // 2 :])
    assert len(first) == len(second) == 1, "one for a run"
    assert first != second
    assert min(first | second) > 2**64, "not the public one"


# Secrets and what the history tells.


def test_the_key_of_the_noise_is_gone_when_the_run_has_ended(tmp_path):
    class Looking(tacit.Callback):
        def on_round_end(self, row):
            assert (tmp_path / "noise.key").stat().st_mode & 0o077 == 0, "its owner's only"

    level = replace(LEVEL, mechanism="bisr")
    federation(privacy=level, selection=tacit.Separated(3)).run(4, checkpoint=tmp_path, callbacks=[Looking()])
    assert not (tmp_path / "noise.key").exists()
    assert list(tmp_path.glob("checkpoint-*"))


def test_how_long_a_round_took_is_told_of_the_whole_run_only():
    run = federation(privacy=LEVEL, selection=tacit.Poisson(6)).run(3)
    timed = [name for name in run.history if "seconds" in name]
    assert "worker_seconds" in timed
    assert "seconds" in timed
    assert run.history[timed].isna().all(axis=None)
    assert set(run.facts["elapsed"]) == set(timed)
    assert run.facts["elapsed"]["seconds"] > 0


def test_who_was_set_aside_is_hidden_and_the_plot_says_what_is_expected():
    run = federation(None, population=without(arrays(), "c2"), privacy=LEVEL, selection=tacit.Poisson(8)).run(2)
    assert run.history["set_aside"].isna().all()
    assert set(run.history["set_aside_reasons"]) == {""}
    drawn = participation(run.history)
    assert "expected" in drawn
    assert "set aside" not in drawn


class Curious:
    """A stopping rule of the user's own, which looks at all that it is shown."""

    def __init__(self):
        self.shown = set()

    def done(self, rows):
        self.shown |= {name for row in rows for name in row}


@pytest.mark.parametrize("kind", BOTH)
def test_a_stopping_rule_of_the_user_s_sees_what_is_released(kind):
    for public in (False, True):
        rule = Curious()
        level = {name: replace(value, public_evaluation=public) for name, value in BOTH[kind].items()}
        population = tacit.Population.from_arrays(arrays())
        run_of(level).run(3, test=population, until=rule)
        assert {"round", "update_norm"} <= rule.shown
        assert not {"loss", "examples", "set_aside", "worker_seconds", "seconds_train"} & rule.shown
        assert ("test_loss" in rule.shown) == public


@pytest.mark.parametrize("metric", ["loss", "test_loss", "examples", "worker_seconds", "set_aside"])
@pytest.mark.parametrize("kind", BOTH)
def test_a_rule_that_waits_for_what_is_hidden_is_refused(kind, metric):
    with pytest.raises(errors.UnregisteredRelease, match=metric):
        run_of(BOTH[kind]).run(3, until=tacit.Patience(metric=metric, rounds=2))


def broken(output, target):
    if torch.is_grad_enabled():
        raise ValueError(f"secret {int(target[0])}")
    return functional.cross_entropy(output, target)


def test_a_round_that_fails_for_all_tells_nothing_of_their_data():
    fails = federation(privacy=LEVEL, task=tacit.Task(task().model, broken), engine="eager")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(errors.RoundFailed) as caught:
            fails.run(1)
    said = [str(caught.value), *(str(one.message) for one in told)]
    assert not any("secret" in text or "c0" in text for text in said)
    assert "ValueError" in said[0]
