"""The degree is the least that holds; the graph is regular, and all clients see the same one."""

from __future__ import annotations

from hashlib import sha256
from math import floor, perm

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from tacit.aggregation.secure import graph
from tacit.aggregation.secure.graph import Degree, degree, neighbours, ring
from tacit.errors import IncompatibleOptions, UsageError

SEEDS = st.binary(min_size=32, max_size=32)
COLUMNS = [(0.05, 0.05), (0.1, 0.1), (0.2, 0.1), (0.33, 0.1), (0.1, 0.3)]
HONEST = {
    50: [(6, 3), (12, 6), (16, 11), (22, 17), (22, 6)],
    100: [(12, 6), (20, 11), (30, 21), (40, 31), (32, 11)],
    200: [(20, 11), (32, 19), (46, 30), (64, 47), (54, 21)],
    500: [(26, 16), (42, 24), (60, 39), (90, 64), (76, 31)],
    1_000: [(28, 17), (46, 27), (68, 44), (102, 72), (88, 36)],
    2_000: [(30, 18), (50, 28), (70, 45), (112, 79), (98, 40)],
    5_000: [(32, 19), (52, 30), (78, 50), (120, 84), (106, 43)],
    10_000: [(34, 20), (54, 31), (80, 51), (126, 88), (108, 44)],
}
"""(k, t) against a server that follows the protocol, for each share of corrupt and lost clients in COLUMNS."""
SEMI_MALICIOUS = {
    50: [(10, 9), (22, 18)],
    100: [(22, 18), (40, 31)],
    200: [(38, 29), (68, 50)],
    500: [(50, 37), (92, 66)],
    1_000: [(60, 44), (108, 77)],
    2_000: [(64, 47), (118, 84)],
    5_000: [(66, 48), (130, 92)],
    10_000: [(72, 52), (136, 96)],
}
"""The same against one that is honest only while keys are exchanged."""
BLIND = {200: [(30, 21), (54, 38)], 1_000: [(52, 37), (98, 69)], 5_000: [(62, 44), (116, 81)]}
"""What would do against such a server that did not know the ring: it could not choose the two windows that cut it."""


def least(clients, corrupt, dropout, semi_malicious, knows_ring=True, sigma=40, eta=20):
    """The least degree by its definition, in floating point and with nothing passed over."""
    bad, lost = floor(corrupt * clients + 1e-9), floor(dropout * clients + 1e-9)
    for k in range(2, clients - 1, 2):
        if clients * (clients - k - 1) * perm(bad + lost, k) * 2**sigma >= perm(clients, k):
            continue
        tails = hypergeom(clients - 1, bad, k).sf(np.arange(k + 1))
        quantile = int(np.argmax(clients * tails < 2.0 ** -(sigma + 1)))
        t = max(quantile + 1, 2)
        while semi_malicious and 2 * t <= k + 1 + quantile:
            t += 1
        if semi_malicious and knows_ring:
            t = max(t, k // 2 + worst_window(clients, bad, k, sigma) + 2)
        if t <= k and clients * hypergeom(clients - 1, min(clients - lost, clients - 1), k).cdf(t - 1) < 2.0**-eta:
            return k, t
    return None


def worst_window(clients, bad, k, sigma):
    """The most corrupt clients that the less corrupt of two windows of k / 2 places has, but for 2^-(sigma + 1)."""
    tails = hypergeom(clients, bad, k // 2).sf(np.arange(k // 2 + 1))
    return int(np.argmax(clients * (clients - k) / 2 * tails**2 < 2.0 ** -(sigma + 1)))


@pytest.fixture
def sparse(monkeypatch):
    """`degree` without the rule that few clients make a complete graph."""
    monkeypatch.setattr(graph, "COMPLETE", 0)
    return degree.__wrapped__


@pytest.mark.parametrize("clients", HONEST)
def test_degrees_against_an_honest_server(sparse, clients):
    found = [sparse(clients, corrupt, dropout, semi_malicious=False) for corrupt, dropout in COLUMNS]
    assert found == HONEST[clients]


@pytest.mark.parametrize("clients", SEMI_MALICIOUS)
def test_degrees_against_a_server_that_is_honest_about_keys_only(sparse, clients):
    assert [sparse(clients, corrupt, dropout) for corrupt, dropout in COLUMNS[:2]] == SEMI_MALICIOUS[clients]


@pytest.mark.parametrize("clients", BLIND)
def test_that_the_server_knows_the_ring_takes_more_neighbours(clients):
    for column, blind in enumerate(BLIND[clients]):
        assert least(clients, *COLUMNS[column], True, knows_ring=False) == blind
        assert least(clients, *COLUMNS[column], True) == SEMI_MALICIOUS[clients][column]
        assert SEMI_MALICIOUS[clients][column] > blind


@given(SEEDS, st.integers(101, 400), st.integers(0, 400), st.data())
@settings(max_examples=20)
def test_the_clients_beside_a_window_refuse_unless_more_of_it_is_corrupt_than_the_threshold_allows_for(
    seed, clients, start, data
):
    """The server forgets the honest clients in k / 2 places; whoever is corrupt among them goes on."""
    k, t = degree(clients)
    half, (_, order) = k // 2, ring(seed, clients)
    window = [order[(start + place) % clients] for place in range(half)]
    shuffled = data.draw(st.permutations(window))
    beside = order[(start - 1) % clients], order[(start + half) % clients]
    assert beside[1] not in neighbours(seed, clients, k, beside[0])
    for corrupt, enough in ((t - 2 - half, False), (t - 1 - half, True)):
        forgotten = set(shuffled[corrupt:])
        for client in beside:
            left = {client, *neighbours(seed, clients, k, client)} - forgotten
            assert (len(left) >= t) == enough


@pytest.mark.parametrize("semi_malicious", [True, False])
@pytest.mark.parametrize(("corrupt", "dropout"), [(0.0, 0.0), (0.0, 0.2), (0.2, 0.0), (0.05, 0.33), (0.3, 0.2)])
@pytest.mark.parametrize("clients", [101, 256, 700])
def test_no_smaller_degree_and_no_smaller_threshold_would_do(clients, corrupt, dropout, semi_malicious):
    expected = least(clients, corrupt, dropout, semi_malicious)
    assert expected is not None
    assert degree(clients, corrupt, dropout, semi_malicious=semi_malicious) == expected


@pytest.mark.parametrize("clients", range(3, 101))
def test_up_to_a_hundred_clients_everybody_is_everybodys_neighbour(clients):
    k, t = degree(clients)
    assert (k, t) == (clients - 1, 2 * clients // 3 + 1)
    assert 2 * t > clients + floor(clients / 10)


def test_a_complete_graph_gives_way_to_losses_as_far_as_it_is_safe():
    assert degree(20, 0.1, 0.4) == Degree(19, 12)
    assert degree(10, 0.4, 0.1) == Degree(9, 8)
    assert degree(10, 0.3, 0.5, semi_malicious=False) == Degree(9, 5)


def test_where_no_smaller_degree_will_do_the_graph_is_complete():
    assert least(131, 0.33, 0.33, True) is None
    assert degree(131, 0.33, 0.33) == Degree(130, 88)
    assert least(101, 0.3, 0.25, True, knows_ring=False) == (80, 56)
    assert least(101, 0.3, 0.25, True) is None
    assert degree(101, 0.3, 0.25) == Degree(100, 68)


@given(st.integers(101, 3000), st.floats(0, 0.2), st.floats(0, 0.2), st.booleans())
@settings(max_examples=30)
def test_more_corrupt_or_lost_clients_never_take_fewer_neighbours(clients, corrupt, dropout, semi_malicious):
    k, t = degree(clients, corrupt, dropout, semi_malicious=semi_malicious)
    assert 1 <= t <= k < clients
    assert k % 2 == 0 or k == clients - 1
    assert k <= degree(clients, corrupt + 0.02, dropout, semi_malicious=semi_malicious).neighbours
    assert k <= degree(clients, corrupt, dropout + 0.02, semi_malicious=semi_malicious).neighbours


def test_more_bits_take_more_neighbours():
    assert degree(1000, sigma=20, eta=10).neighbours < degree(1000).neighbours < degree(1000, sigma=80).neighbours
    assert degree(1000).neighbours < degree(1000, eta=60).neighbours


@pytest.mark.parametrize(
    ("clients", "corrupt", "dropout", "said"),
    [
        (2, 0.1, 0.1, "clients is 2: give at least 3, for of two clients each can subtract its own"),
        (0, 0.1, 0.1, "clients is 0"),
        (2**32, 0.1, 0.1, "clients is 4294967296: give less than"),
        (100.0, 0.1, 0.1, "clients is 100.0"),
        (100, -0.1, 0.1, "corrupt is -0.1: give a share from 0 to below 1"),
        (100, 1.0, 0.1, "corrupt is 1.0"),
        (100, 0.1, 1, "dropout is 1"),
        (100, float("nan"), 0.1, "corrupt is nan"),
        (100, 0.5, 0.5, "leave no honest client"),
        (5, 0.4, 0.4, "of 5 clients one alone could be left and honest"),
        (2, 2, -1, "3 problems"),
    ],
)
def test_what_no_graph_can_be_chosen_for_is_named(clients, corrupt, dropout, said):
    with pytest.raises(UsageError, match=said):
        degree(clients, corrupt, dropout)


@pytest.mark.parametrize("bits", [0, 129, 2.5])
def test_bits_beyond_reason_are_refused(bits):
    with pytest.raises(UsageError, match=r"sigma is .*\n.*eta is"):
        degree(100, sigma=bits, eta=bits)


@pytest.mark.parametrize("clients", [10, 10_000, 10**6])
def test_shares_that_no_graph_survives_are_told_with_what_to_do(clients):
    with pytest.raises(IncompatibleOptions, match=r"lower corrupt \(0.3\) or dropout \(0.4\), or trust the server"):
        degree(clients, 0.3, 0.4)
    with pytest.raises(IncompatibleOptions, match=r"of up to 2000 neighbours .* lower corrupt \(0.45\) or dropout"):
        degree(100_000, 0.45, 0.45, semi_malicious=False)


@given(SEEDS, st.integers(3, 200))
def test_the_ring_is_the_order_of_hashes(seed, clients):
    positions, order = ring(seed, clients)
    assert sorted(order) == list(range(clients))
    assert [positions[index] for index in order] == list(range(clients))
    digests = [sha256(seed + index.to_bytes(4, "big")).digest() for index in order]
    assert digests == sorted(digests)


@given(st.data(), SEEDS, st.integers(3, 40))
def test_the_graph_is_regular_symmetric_and_without_loops_and_everybody_sees_the_same(data, seed, clients):
    k = data.draw(st.sampled_from([*range(2, clients, 2), clients - 1]))
    adjacency = np.zeros((clients, clients), bool)
    for index in range(clients):
        adjacency[index, list(neighbours(seed, clients, k, index))] = True
    assert (adjacency.sum(axis=1) == k).all()
    assert (adjacency == adjacency.T).all()
    assert not adjacency.diagonal().any()
    _, order = ring(seed, clients)
    apart = np.abs(np.subtract.outer(np.arange(clients), np.arange(clients)))
    dense = np.zeros_like(adjacency)
    dense[np.ix_(order, order)] = np.minimum(apart, clients - apart) <= (clients // 2 if k == clients - 1 else k // 2)
    np.fill_diagonal(dense, False)
    np.testing.assert_array_equal(adjacency, dense)


@given(st.data(), SEEDS, st.integers(3, 40))
def test_neighbours_are_told_in_ascending_order(data, seed, clients):
    k = data.draw(st.sampled_from([*range(2, clients, 2), clients - 1]))
    found = neighbours(seed, clients, k, data.draw(st.integers(0, clients - 1)))
    assert list(found) == sorted(set(found))


def test_another_seed_gives_another_ring():
    assert ring(bytes(32), 50) != ring(b"\1" * 32, 50)


@pytest.mark.parametrize(
    ("clients", "k", "index", "said"),
    [
        (10, 3, 0, "k is 3: give an even number below 10, or 9 for all others"),
        (10, 10, 0, "k is 10"),
        (10, 0, 0, "k is 0"),
        (10, 4, 10, "client 10 is not among 10: give 0 to 9"),
        (10, 4, -1, "client -1"),
        (2, 1, 0, "clients is 2: give at least 3"),
        (10, -2, 11, "2 problems"),
    ],
)
def test_neighbours_that_cannot_be_are_refused(clients, k, index, said):
    with pytest.raises(UsageError, match=said):
        neighbours(bytes(32), clients, k, index)


def test_a_seed_of_another_length_is_refused():
    with pytest.raises(UsageError, match="the seed is not 32 bytes"):
        ring(bytes(31), 10)
