from __future__ import annotations

import multiprocessing

import torch

from tacit.venue.processes import Sheets, available
from tests.faults.scenes import clean, federation, weights


def test_sheets_are_used_again_and_never_run_out():
    sheets = Sheets(2, 3)
    first, second = sheets.take(), sheets.take()
    sheets[first].fill_(1.0)
    sheets[second].fill_(2.0)
    copy = sheets.lift(first)  # no other is free: it is copied, and the sheet can be written at once
    assert sheets.take() == first
    sheets[first].fill_(9.0)
    assert torch.equal(copy, torch.ones(3, dtype=torch.float64))
    sheets.put(copy)  # not a sheet: nothing to give back
    sheets.put(sheets[second])
    assert sheets.take() == second
    sheets.clear()
    assert {sheets.take(), sheets.take()} == {0, 1}


def train(workers):
    """A run in a worker of a pool, which may have no children of its own."""
    run = federation(clean(), workers=workers).run(1, progress=False)
    return run.facts["venue"], weights(run)


def test_in_a_daemonic_process_threads_take_the_place_of_processes():
    torch.set_num_threads(1)  # torch's thread pool does not survive a fork
    assert available()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        venue, found = pool.apply(train, (2,))
    assert venue == "threads"
    here, expected = train(2)
    assert here == "processes"
    assert torch.equal(found, expected)
