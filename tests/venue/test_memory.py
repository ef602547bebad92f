from __future__ import annotations

import multiprocessing

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.venue.memory import ClientMemory

CLIENTS, SIZE = 6, 3
rounds = st.lists(st.tuples(st.sets(st.integers(0, CLIENTS - 1), min_size=1), st.randoms()), max_size=8)


@given(rounds)
def test_only_counted_clients_take_their_new_memory(history):
    """The law: after any rounds, a client remembers what it staged in the last round in which it was counted."""
    memory, model = ClientMemory(CLIENTS, SIZE, torch.float64), torch.zeros(CLIENTS, SIZE, dtype=torch.float64)
    for number, (cohort, random) in enumerate(history):
        clients = np.array(sorted(cohort))
        counted = np.array([c for c in clients if random.random() < 0.5], dtype=np.int64)
        values = torch.arange(len(clients) * SIZE, dtype=torch.float64).view(-1, SIZE) + 100 * number + 1
        memory.stage(clients, values, memory.slots_of(clients))
        assert torch.equal(memory.load(np.arange(CLIENTS)), model)
        memory.commit(counted)
        for client, value in zip(clients, values, strict=True):
            if client in counted:
                model[client] = value
        assert torch.equal(memory.load(np.arange(CLIENTS)), model)


@given(rounds)
def test_what_is_exported_can_be_restored(history):
    memory = ClientMemory(CLIENTS, SIZE, torch.float32)
    for cohort, random in history:
        clients = np.array(sorted(cohort))
        memory.stage(clients, torch.full((len(clients), SIZE), random.random()), memory.slots_of(clients))
        memory.commit(clients)
    clients, values = memory.export()
    copy = ClientMemory(CLIENTS, SIZE, torch.float32)
    assert copy.fits(clients, values)
    copy.restore(clients, values)
    assert torch.equal(copy.load(np.arange(CLIENTS)), memory.load(np.arange(CLIENTS)))
    assert set(clients) == {c for cohort, _ in history for c in cohort}


def test_a_load_is_a_copy():
    memory = ClientMemory(2, SIZE, torch.float32)
    memory.load(np.array([0])).fill_(9)
    assert memory.load(np.array([0])).abs().sum() == 0


def test_methods_without_memory_have_none():
    memory = ClientMemory(5, 0, torch.float32)
    assert memory.load(np.array([0])) is None
    clients, values = memory.export()
    assert not len(clients) and not len(values)
    memory.restore(clients, values)


@settings(max_examples=5)
@given(st.integers(-3, 9), st.integers(1, 5))
def test_memory_of_unknown_clients_or_of_another_size_does_not_fit(client, size):
    memory = ClientMemory(CLIENTS, SIZE, torch.float32)
    fits = memory.fits(np.array([client]), torch.zeros(1, size))
    assert fits == (0 <= client < CLIENTS and size == SIZE)


def test_what_a_forked_worker_stages_the_parent_commits():
    memory = ClientMemory(3, SIZE, torch.float32)
    who = np.array([1])

    def work():
        memory.stage(who, torch.full((1, SIZE), 5.0), memory.slots_of(who))

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(timeout=30)
    assert memory.load(who).sum() == 0
    memory.commit(who)
    assert memory.load(who).tolist() == [[5.0] * SIZE]
