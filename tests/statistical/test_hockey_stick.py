"""One release, drawn many times on two neighbouring populations: no set is likelier than was claimed.

The claim says that `P(S) <= e^epsilon Q(S) + delta` for every set S of outcomes, in both directions. What is released
is projected on the direction in which the two worlds differ, and cut into bins. Half of the draws choose the bins that
are too likely in one world; the other half bounds, from below, how likely they are in it, and from above how likely in
the other ([Clopper34] doi:10.1093/biomet/26.4.404, both at 99 %). So a claim that is true and tight is refuted in at
most 4 % of such tests, 2 % in each direction; the draws come from keys chosen here, so what passes once passes always.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import tacit
from tacit import secret_draws
from tacit.learning.batches import Batches, Examples
from tacit.learning.fused.engine import FusedEngine
from tacit.learning.layout import Layout
from tacit.learning.solver import Correction
from tacit.learning.step import LocalRun, Perturbation
from tacit.privacy.accountant import pld_epsilon
from tacit.privacy.clip import clip_of
from tacit.privacy.event import Gaussian, PoissonSampled, charges
from tacit.privacy.guard import Guard
from tacit.privacy.noising import Noising
from tacit.privacy.plan import PrivacyPlan
from tacit.secret_draws import SecretDraws, key_of

DRAWS, BINS, CONFIDENCE = 20_000, 60, 0.99
DELTAS = (0.1, 0.02)
"""Of the claims: small enough to be claims, large enough to be seen in so many draws."""
FEW = 5_000
"""Draws that show a fault."""
CLIP, SIZE, SIDES = 0.5, 3, 100


@pytest.fixture(autouse=True)
def _short_streams(monkeypatch):
    """Few words at a time, for so few draws are taken from each key; they are the same draws."""
    monkeypatch.setattr(secret_draws, "CHUNK", 2 * secret_draws.SPARE)


def refuted(one, other, epsilon, delta):
    """Whether draws of two worlds contradict a claim, by the sets that their first halves choose."""
    return max(least(one, other, epsilon), least(other, one, epsilon)) > delta


def least(one, other, epsilon):
    """A lower bound on `max_S P(S) - e^epsilon Q(S)`."""
    edges = np.quantile(np.concatenate([one[::2], other[::2]]), np.linspace(0, 1, BINS + 1)[1:-1])
    p, q = (np.bincount(np.digitize(draws[::2], edges), minlength=BINS) for draws in (one, other))
    chosen = p / len(one) > np.exp(epsilon) * q / len(other)
    inside = [int(chosen[np.digitize(draws[1::2], edges)].sum()) for draws in (one, other)]
    low = stats.beta.ppf(1 - CONFIDENCE, inside[0], len(one[1::2]) - inside[0] + 1) if inside[0] else 0.0
    high = stats.beta.ppf(CONFIDENCE, inside[1] + 1, len(other[1::2]) - inside[1])
    return float(low - np.exp(epsilon) * high)


# The server's noise.


class Keyed:
    """Noise of a known key for every release, in the place of the operating system's."""

    def __init__(self, world, factor):
        self.world, self.factor = world, factor

    def normal(self, purpose, round, count, coefficients):
        return self.factor * SecretDraws(key_of(bytes(32), self.world, purpose, round)).normal(count)


def sums(rows, selection, level, world, factor=1.0, count=DRAWS):
    """(count, SIZE) noised sums of one round, each with a cohort of its own; `SIDES` are released side by side."""
    reports = torch.from_numpy(np.array(rows, dtype=np.float32))
    clip, wide = (clip_of(level, ("update",), 1.0) for _ in range(2))
    whole = clip.encode(reports, clip.bind(Layout.of(update=(SIZE,))), {}).long()
    wide.bind(Layout.of(update=(SIZE * SIDES,)))
    guard = Guard(PrivacyPlan.of(level, selection.sampling(len(rows)), 1), wide, None, None)
    guard.noising = Noising(guard.plan, Keyed(world, factor))
    nobody, released = torch.empty(0, dtype=torch.int64), []
    for round in range(count // SIDES):
        cohorts = [selection.draw(len(rows), world, SIDES * round + side).clients for side in range(SIDES)]
        total = torch.cat([whole[cohort].sum(0) for cohort in cohorts])
        released.append(guard.release(round, total, None, nobody, nobody, torch.arange(len(rows))))
    return torch.cat(released).view(-1, SIZE).numpy() * clip.bounds[0].grid


EVENTS = {"everyone": (tacit.Everyone(), Gaussian(1.0)), "poisson": (tacit.Poisson(1.2), PoissonSampled(1.0, 0.4))}
LEVEL = tacit.UserLevel(noise_multiplier=1.0, clip=CLIP, insecure_seed=0)
WORLDS = ([[3.0, 4.0, 0.0], [0.1, 0.0, 0.2], [0.0, -7.0, 0.1]], [[0.0] * SIZE, [0.1, 0.0, 0.2], [0.0, -7.0, 0.1]])
"""The reports of three clients; in the other world the first, which is cut to the clip norm, reports nothing."""


def projections(selection, level=LEVEL, factor=1.0, count=DRAWS):
    along = np.array(WORLDS[0][0]) / np.linalg.norm(WORLDS[0][0])
    return [sums(rows, selection, level, world, factor, count) @ along for world, rows in enumerate(WORLDS)]


@pytest.mark.parametrize("name", EVENTS)
def test_the_noised_sum_of_a_round_keeps_to_its_claim_and_half_the_noise_does_not(name):
    selection, event = EVENTS[name]
    sound, faulty = projections(selection), projections(selection, factor=0.5, count=FEW)
    for delta in DELTAS:
        epsilon = pld_epsilon(charges([(event, 1)]), delta)
        assert not refuted(*sound, epsilon, delta)
        assert refuted(*faulty, epsilon, delta)


def test_a_report_that_is_not_cut_is_seen():
    """The noise is as it should be, and the reports are of twice the norm."""
    draws = projections(tacit.Everyone(), replace(LEVEL, clip=2 * CLIP, noise_multiplier=0.5), count=FEW)
    assert refuted(*draws, pld_epsilon(charges([(Gaussian(1.0), 1)]), DELTAS[0]), DELTAS[0])


# The noise of a local step.


def steps(records, world, noise=1.0, count=DRAWS):
    """(count, d) the sum of cut gradients with noise, of one private local step over all `records`."""
    torch.manual_seed(0)
    task = tacit.Task(torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.nn.functional.cross_entropy)
    x, y = (torch.tensor([row[i] for row in records]) for i in (0, 1))
    task = task.settled(x, y)
    start, n = np.zeros(count, dtype=np.int64), len(records)
    order = np.tile(np.arange(n), count)
    batches = Batches(order, np.arange(count + 1) * n, np.arange(count + 1))
    draws = [SecretDraws(key_of(bytes(32), world, k)) for k in range(count)]
    private = Perturbation(CLIP, [noise] * count, [float(len(RECORDS))] * count, draws)
    x0, buffers = task.initial()
    examples = Examples(x, y, start, np.full(count, n))
    job = LocalRun(x0, buffers, examples, batches, Correction(0.0, None), 1.0, tuple(range(count)), private)
    update, loss = torch.zeros(count, task.d), torch.zeros(count)
    FusedEngine(task, tacit.SGD(lr=1.0, steps=1)).run(job, update, torch.zeros(count, 0), loss)
    return update.double().numpy() * -len(RECORDS)


RECORDS = [([30.0, -40.0], 0), ([1.0, 2.0], 0), ([-1.0, 0.5], 1)]
"""Of one client; the first, whose gradient is cut to the clip norm, is not in the other world."""


def test_a_private_local_step_keeps_to_its_claim_and_half_the_noise_does_not():
    worlds = (RECORDS, RECORDS[1:])
    one, other = (steps(records, 0, noise=1e-6, count=1)[0] for records in worlds)
    distance = np.linalg.norm(one - other)
    assert distance == pytest.approx(CLIP, rel=0.01), "the record was cut, or this shows nothing"
    sound, faulty = (
        [steps(records, world, noise, count) @ (one - other) / distance for world, records in enumerate(worlds)]
        for noise, count in ((1.0, DRAWS), (0.5, FEW))
    )
    for delta in DELTAS:
        epsilon = pld_epsilon(charges([(Gaussian(1.0), 1)]), delta)
        assert not refuted(*sound, epsilon, delta)
        assert refuted(*faulty, epsilon, delta)


def test_the_bound_comes_near_the_truth():
    """Two normal distributions at distance 1, of which the truth is known: the bound is below it, and of its size."""
    rng = np.random.default_rng(0)
    one, other = rng.normal(1.0, 1.0, DRAWS), rng.normal(0.0, 1.0, DRAWS)
    truth = stats.norm.cdf(0.5 - 1.0) - np.e * stats.norm.cdf(-0.5 - 1.0)
    assert 0.75 * truth < least(one, other, 1.0) < truth
