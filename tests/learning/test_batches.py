"""Which examples each local step reads."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tacit.learning.batches import Examples, draw
from tacit.learning.solver import SGD

SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=5)
BATCH = st.none() | st.integers(1, 15)


def block(sizes, gap=0):
    """Examples of a block whose clients lie `gap` rows apart."""
    start = np.cumsum([0, *[n + gap for n in sizes[:-1]]]).astype(np.int64)
    rows = int(start[-1]) + sizes[-1]
    return Examples(torch.arange(rows), torch.arange(rows), start, np.array(sizes, dtype=np.int64))


def names(sizes):
    return [f"c{k}" for k in range(len(sizes))]


def batches_of(batches, k):
    """The k-th client's batches, each a list of rows."""
    first, last = batches.client[k], batches.client[k + 1]
    return [batches.order[batches.cut[s] : batches.cut[s + 1]].tolist() for s in range(first, last)]


@given(SIZES, BATCH, st.integers(1, 4), st.integers(0, 3))
def test_each_epoch_reads_every_example_of_the_client_exactly_once(sizes, batch_size, epochs, gap):
    examples = block(sizes, gap)
    batches = draw(SGD(0.1, batch_size, epochs=epochs), examples, names(sizes), seed=1, round=2)
    for k, n in enumerate(sizes):
        rows = [row for batch in batches_of(batches, k) for row in batch]
        own = list(range(examples.start[k], examples.start[k] + n))
        assert len(rows) == epochs * n
        for epoch in range(epochs):
            assert sorted(rows[epoch * n : (epoch + 1) * n]) == own


@given(SIZES, BATCH, st.integers(1, 3))
def test_all_batches_are_full_but_the_last_of_an_epoch(sizes, batch_size, epochs):
    batches = draw(SGD(0.1, batch_size, epochs=epochs), block(sizes), names(sizes), seed=1, round=2)
    for k, n in enumerate(sizes):
        size = min(batch_size or n, n)
        full, tail = divmod(n, size)
        epoch = [size] * full + ([tail] if tail else [])
        assert [len(batch) for batch in batches_of(batches, k)] == epoch * epochs


@given(SIZES, BATCH, st.integers(1, 30))
def test_steps_count_batches_and_go_on_through_as_many_epochs_as_needed(sizes, batch_size, steps):
    few = draw(SGD(0.1, batch_size, steps=steps), block(sizes), names(sizes), seed=1, round=2)
    many = draw(SGD(0.1, batch_size, epochs=steps), block(sizes), names(sizes), seed=1, round=2)
    assert few.steps.tolist() == [steps] * len(sizes)
    for k in range(len(sizes)):
        assert batches_of(few, k) == batches_of(many, k)[:steps]


@given(SIZES, BATCH, st.data())
def test_a_budget_keeps_the_first_steps_and_drops_the_rest(sizes, batch_size, data):
    budget = data.draw(st.lists(st.none() | st.integers(0, 12), min_size=len(sizes), max_size=len(sizes)))
    solver = SGD(0.1, batch_size, epochs=2)
    whole = draw(solver, block(sizes), names(sizes), seed=1, round=2)
    part = draw(solver, block(sizes), names(sizes), seed=1, round=2, budget=budget)
    for k in range(len(sizes)):
        assert batches_of(part, k) == batches_of(whole, k)[: budget[k]]


@given(SIZES, BATCH)
def test_counts_describe_the_batches(sizes, batch_size):
    batches = draw(SGD(0.1, batch_size, epochs=2), block(sizes), names(sizes), seed=1, round=2)
    all_batches = [batch for k in range(len(sizes)) for batch in batches_of(batches, k)]
    assert batches.lengths.tolist() == [len(batch) for batch in all_batches]
    assert batches.steps.tolist() == [len(batches_of(batches, k)) for k in range(len(sizes))]
    assert batches.visited.tolist() == [2 * n for n in sizes]
    assert batches.cut[-1] == len(batches.order) == sum(batches.visited)


@given(SIZES, BATCH)
def test_a_client_draws_the_same_batches_in_any_block(sizes, batch_size):
    solver, together = SGD(0.1, batch_size, epochs=2), block(sizes)
    batches = draw(solver, together, names(sizes), seed=1, round=2)
    for k, n in enumerate(sizes):
        alone = draw(solver, block([n]), [f"c{k}"], seed=1, round=2)
        shifted = [[row - together.start[k] for row in batch] for batch in batches_of(batches, k)]
        assert shifted == batches_of(alone, 0)


def test_every_epoch_round_client_and_seed_has_an_order_of_its_own():
    n, solver = 30, SGD(0.1, batch_size=7, epochs=2)
    orders = []
    for seed, round, client in [(1, 2, "a"), (1, 3, "a"), (1, 2, "b"), (2, 2, "a")]:
        order = draw(solver, block([n]), [client], seed, round).order.tolist()
        orders += [tuple(order[:n]), tuple(order[n:])]
    assert len(set(orders)) == 8
    assert draw(solver, block([n]), ["a"], 1, 2).order.tolist()[:n] == list(orders[0])


@pytest.mark.parametrize("batch_size", [None, 5, 99])
def test_full_batches_take_all_examples_in_their_order(batch_size):
    batches = draw(SGD(0.1, batch_size, epochs=3), block([5]), ["a"], seed=1, round=2)
    assert batches_of(batches, 0) == [[0, 1, 2, 3, 4]] * 3


def test_every_order_of_three_examples_is_equally_likely():
    # Fails for one set of keys in a million where the shuffle is uniform.
    solver, sizes = SGD(0.1, batch_size=1), [3] * 3000
    order = draw(solver, block(sizes), names(sizes), seed=5, round=0).order.reshape(-1, 3) % 3
    _, counts = np.unique(order, axis=0, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-6


def test_the_examples_of_a_block_are_views_of_its_columns():
    examples = block([2, 3], gap=1)
    x, y = examples.of(1)
    assert x.tolist() == y.tolist() == [3, 4, 5]
    x[0] = -1
    assert examples.x[3] == -1
