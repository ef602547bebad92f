"""Top-k: the largest coordinates, and error feedback that loses nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.aggregation.compression import TopK
from tacit.aggregation.stage import Chain
from tacit.errors import UsageError
from tests.aggregation.compression.small import layout


def whole(clients: int, d: int, seed: int) -> torch.Tensor:
    """Reports of small whole numbers, so that sums are exact."""
    rows = torch.randint(-50, 51, (clients, d + 3), generator=torch.Generator().manual_seed(seed))
    rows[:, -1] = 1
    return rows.to(torch.float32)


@given(d=st.integers(1, 40), clients=st.integers(1, 4), share=st.floats(0.01, 1.0), rounds=st.integers(1, 6))
def test_what_was_sent_and_what_is_remembered_add_up_to_all_updates_exactly(d, clients, share, rounds):
    chain = Chain.of([TopK(share)], layout(d))
    memory, sent, updates = torch.zeros(clients, chain.memory), torch.zeros(clients, d), torch.zeros(clients, d)
    for t in range(rounds):
        rows = whole(clients, d, t)
        updates += rows[:, :d]
        sent += chain.encode(rows, {}, memory)[:, :d]
    assert torch.equal(sent + memory, updates)


@given(d=st.integers(2, 40), share=st.floats(0.01, 1.0), seed=st.integers(0, 1000))
def test_no_number_that_is_kept_back_is_larger_than_one_that_is_sent(d, share, seed):
    chain, rows = (
        Chain.of([TopK(share)], layout(d)),
        torch.randn(3, d + 3, generator=torch.Generator().manual_seed(seed)),
    )
    memory = torch.zeros(3, d)
    encoded = chain.encode(rows.clone(), {}, memory)
    assert torch.equal(encoded[:, d:], rows[:, d:])
    for sent, kept in zip(encoded[:, :d], memory, strict=True):
        there = sent != 0
        assert 1 <= int(there.sum()) <= -(-share * d // 1)
        assert not bool((there & (kept != 0)).any())
        assert float(kept.abs().max()) <= float(sent[there].abs().min())


def test_a_small_coordinate_is_sent_once_it_has_added_up():
    """An update of (3, 1) in every round, one coordinate a round: by hand, the memory of the second is 1, 2, 3, then
    4, which is larger than 3."""
    chain, memory, sent = Chain.of([TopK(0.5)], layout(2)), torch.zeros(1, 2), []
    for _ in range(5):
        row = torch.tensor([[3.0, 1.0, 0.0, 0.0, 1.0]])
        sent.append(chain.encode(row, {}, memory)[0, :2].tolist())
    assert sent == [[3, 0], [3, 0], [3, 0], [0, 4], [6, 0]]
    assert memory.tolist() == [[0, 1]]


@pytest.mark.parametrize("share", [0, 2, None, float("inf")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(UsageError, match="above 0 and at most 1"):
        TopK(share)
