from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tacit.venue.block import BLOCKS, BYTES, FINE, LARGEST, TAPER, cut

cohorts = st.lists(st.integers(0, 10_000), min_size=1, max_size=700, unique=True)


@given(cohorts, st.integers(1, 2**28), st.randoms(use_true_random=False))
def test_a_cut_covers_the_cohort_exactly_once_heaviest_first(clients, report_bytes, random):
    clients = np.array(clients)
    work = np.array([random.randint(1, 50) for _ in clients])
    budget = np.arange(len(clients))
    blocks = cut(clients, work, report_bytes, budget)
    joined = np.concatenate([b.clients for b in blocks])
    assert sorted(joined) == sorted(clients)
    by_client = dict(zip(clients, work, strict=True))
    assert all(a >= b for a, b in zip(*(lambda w: (w, w[1:]))([by_client[c] for c in joined]), strict=False))
    assert np.concatenate([b.budget for b in blocks]).tolist() == [clients.tolist().index(c) for c in joined]


@given(cohorts, st.integers(1, 2**28))
def test_a_block_keeps_its_limits(clients, report_bytes):
    clients = np.array(clients)
    blocks = cut(clients, np.ones(len(clients), dtype=np.int64), report_bytes)
    sizes = [len(b.clients) for b in blocks]
    assert max(sizes) <= LARGEST
    assert max(sizes) == 1 or max(sizes) * report_bytes <= BYTES
    assert max(sizes) == 1 or max(sizes) * BLOCKS <= len(clients)
    assert sizes == sorted(sizes, reverse=True)
    least = max(max(sizes) // FINE, 1)
    left = len(clients) - np.cumsum([0, *sizes[:-1]])
    assert all(size <= max(rest // TAPER, least) for size, rest in zip(sizes, left, strict=True))
    assert min([*sizes[:-1], least]) >= least, "only the last one may be smaller"


def test_engines_that_train_whole_blocks_get_them_as_large_as_they_say():
    clients = np.arange(10)
    sizes = [len(b.clients) for b in cut(clients, clients, 1, most=4)]
    assert sizes == [4, 4, 2]


def test_an_empty_cohort_has_no_blocks():
    nobody = np.arange(0)
    assert cut(nobody, nobody, 1) == cut(nobody, nobody, 1, most=4) == []


@given(cohorts, st.randoms(use_true_random=False))
def test_the_order_of_the_cohort_changes_no_block(clients, random):
    shuffled = list(clients)
    random.shuffle(shuffled)
    work = {c: 1 + c % 7 for c in clients}
    one, other = (cut(np.array(c), np.array([work[i] for i in c]), 1000) for c in (clients, shuffled))
    assert [b.clients.tolist() for b in one] == [b.clients.tolist() for b in other]
