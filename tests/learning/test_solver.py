"""Local solvers, held against torch's optimisers and against the closed forms of FedNova."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.errors import IncompatibleOptions, UsageError
from tacit.learning.rate import Exponential
from tacit.learning.solver import SGD, Adam, Correction, lr_at, steps_for

SEEDS = st.integers(0, 10_000)


def trajectories(solver, reference, seed, steps=12, dtype=torch.float64):
    """Both points after each step, where our solver and torch's are given the same gradient field."""
    draws = torch.Generator().manual_seed(seed)
    start = torch.randn(7, generator=draws, dtype=dtype)
    noise = torch.randn(steps, 7, generator=draws, dtype=dtype)
    y, slots = start.clone(), torch.zeros(solver.slots(), 7, dtype=dtype)
    parameter = torch.nn.Parameter(start.clone())
    optimiser = reference([parameter])
    for step in range(steps):
        solver.update(y, 0.3 * y + noise[step], slots, solver.lr, step)
        parameter.grad = 0.3 * parameter.detach() + noise[step]
        optimiser.step()
        yield y, parameter.detach()


@settings(max_examples=30)
@given(
    SEEDS,
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from([0.0, 0.5, 0.9]),
    st.sampled_from([0.0, 0.01]),
    st.booleans(),
)
def test_sgd_takes_the_steps_of_torch_bit_for_bit(seed, dtype, momentum, weight_decay, nesterov):
    nesterov = nesterov and momentum > 0
    options = {"momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}

    def reference(parameters):
        return torch.optim.SGD(parameters, lr=0.1, foreach=False, **options)

    for ours, theirs in trajectories(SGD(0.1, **options), reference, seed, dtype=dtype):
        assert torch.equal(ours, theirs)


@settings(max_examples=30)
@given(SEEDS, st.sampled_from([0.0, 0.01]), st.sampled_from([(0.9, 0.999), (0.5, 0.9), (0.0, 0.0)]))
def test_adam_takes_the_steps_of_torch(seed, weight_decay, betas):
    def reference(parameters):
        return torch.optim.Adam(parameters, lr=0.01, betas=betas, eps=1e-6, weight_decay=weight_decay, foreach=False)

    solver = Adam(0.01, beta1=betas[0], beta2=betas[1], eps=1e-6, weight_decay=weight_decay)
    for ours, theirs in trajectories(solver, reference, seed):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@given(SEEDS, st.sampled_from([SGD(0.1), SGD(0.1, momentum=0.9, nesterov=True), Adam(0.1, weight_decay=0.1)]))
def test_a_block_of_clients_takes_the_steps_that_each_would_take_alone(seed, solver):
    draws = torch.Generator().manual_seed(seed)
    start, gradients = torch.randn(3, 5, generator=draws), torch.randn(4, 3, 5, generator=draws)
    block, slots = start.clone(), torch.zeros(solver.slots(), 3, 5)
    for step in range(4):
        solver.update(block, gradients[step].clone(), slots, 0.1, step)
    for k in range(3):
        alone, own = start[k].clone(), torch.zeros(solver.slots(), 5)
        for step in range(4):
            solver.update(alone, gradients[step, k].clone(), own, 0.1, step)
        torch.testing.assert_close(block[k], alone)


STEPS = st.integers(1, 60)
MOMENTUM = st.floats(0.01, 0.99)
PULL = st.floats(1e-3, 0.9)


@given(STEPS, st.floats(1e-4, 10.0))
def test_the_normaliser_of_plain_sgd_is_the_number_of_steps(steps, lr):
    assert SGD(lr).norm(steps, lr, 0.0) == steps
    assert SGD(lr, weight_decay=0.1).norm(steps, lr, 0.0) == steps


@given(STEPS, MOMENTUM)
def test_the_normaliser_of_momentum_is_wangs(steps, rho):
    expected = (steps - rho * (1 - rho**steps) / (1 - rho)) / (1 - rho)
    assert SGD(0.1, momentum=rho).norm(steps, 0.1, 0.0) == pytest.approx(expected, rel=1e-9)


@given(STEPS, st.floats(1e-3, 1.0), PULL)
def test_the_normaliser_of_proximal_sgd_is_wangs(steps, lr, pull):
    expected = (1 - (1 - pull) ** steps) / pull
    assert SGD(lr).norm(steps, lr, pull / lr) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=40)
@given(STEPS, st.sampled_from([0.0, 0.5, 0.9]), st.booleans(), st.floats(0.0, 0.5), SEEDS)
def test_the_normaliser_is_how_far_unit_gradients_carry_the_solver_itself(steps, momentum, nesterov, pull, seed):
    lr = 0.05
    solver = SGD(lr, momentum=momentum, nesterov=nesterov and momentum > 0)
    x = torch.randn(2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    y, slots, correction = x.clone(), torch.zeros(solver.slots(), 2, dtype=torch.float64), Correction(pull / lr)
    for step in range(steps):
        solver.update(y, correction(torch.ones_like(y), y, x), slots, lr, step)
    expected = ((x - y) / lr).tolist()
    assert expected == pytest.approx([solver.norm(steps, lr, pull / lr)] * 2, rel=1e-7, abs=1e-9)


def test_a_round_at_rate_zero_has_a_normaliser_too():
    assert SGD(0.1).norm(5, 0.0, 1.0) == 5.0


def test_adam_has_no_normaliser_and_says_what_to_do():
    with pytest.raises(IncompatibleOptions, match="use SGD on the clients"):
        Adam().norm(3, 0.1, 0.0)


@given(SEEDS, st.floats(0, 2), st.booleans())
def test_a_correction_adds_the_pull_and_the_offset(seed, proximal, with_offset):
    g, y, x, offset = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = g + proximal * (y - x) + (offset if with_offset else 0)
    torch.testing.assert_close(Correction(proximal, offset if with_offset else None)(g.clone(), y, x), expected)


def test_no_correction_leaves_the_gradient_as_it_is():
    g, y, x = torch.randn(3, 5)
    assert torch.equal(Correction()(g.clone(), y, x), g)


@pytest.mark.parametrize(
    ("solver", "examples", "steps"),
    [
        (SGD(0.1), 7, 1),
        (SGD(0.1, epochs=3), 7, 3),
        (SGD(0.1, batch_size=3), 7, 3),
        (SGD(0.1, batch_size=7), 7, 1),
        (SGD(0.1, batch_size=9), 7, 1),
        (SGD(0.1, batch_size=3, epochs=2), 7, 6),
        (SGD(0.1, batch_size=3, steps=5), 7, 5),
        (Adam(steps=5), 7, 5),
    ],
)
def test_the_last_partial_batch_of_an_epoch_is_a_step(solver, examples, steps):
    assert steps_for(solver, examples) == steps


def test_the_rate_may_follow_a_schedule():
    assert lr_at(SGD(0.1), 9) == 0.1
    assert lr_at(SGD(Exponential(1.0, 0.5)), 2) == 0.25


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda: SGD(lr=-1.0, batch_size=0, epochs=2, steps=2, momentum=1.0, weight_decay=-0.1),
            ["5 problems", "lr is -1.0", "batch_size is 0", "both given", "momentum is 1.0", "weight_decay is -0.1"],
        ),
        (lambda: SGD(0.1, nesterov=True), ["nesterov=True needs a momentum above 0"]),
        (lambda: SGD(0.1, batch_size=2.5, steps=1.5), ["batch_size is 2.5", "steps is 1.5"]),
        (lambda: SGD("fast"), ["lr is 'fast'"]),
        (lambda: SGD(float("inf")), ["lr is inf"]),
        (
            lambda: SGD(0.1, momentum=float("nan"), weight_decay=float("nan")),
            ["momentum is nan", "weight_decay is nan"],
        ),
        (
            lambda: Adam(0.0, beta1=1.0, beta2=-0.1, eps=0.0),
            ["lr is 0.0", "beta1 is 1.0", "beta2 is -0.1", "eps is 0.0"],
        ),
        (lambda: Adam(epochs=0, weight_decay=-1), ["epochs is 0", "weight_decay is -1"]),
        (
            lambda: SGD(True, batch_size=True, steps=True, momentum=False, weight_decay=True, nesterov="yes"),
            [
                "6 problems",
                "lr is True",
                "batch_size is True",
                "steps is True",
                "momentum is False",
                "nesterov is 'yes'",
            ],
        ),
        (lambda: SGD(10**400, momentum=10**400), ["lr is 1", "momentum is 1"]),
        (lambda: SGD(Exponential, nesterov=True), ["lr is <class", "needs a momentum"]),
    ],
)
def test_impossible_solvers_are_refused_with_all_their_problems(build, words):
    with pytest.raises(UsageError) as caught:
        build()
    assert all(word in str(caught.value) for word in words)
