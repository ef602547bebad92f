from __future__ import annotations

import functools
import subprocess
import sys
from dataclasses import dataclass
from threading import Lock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tacit
from tacit.errors import UsageError
from tacit.record.description import description

WEIGHTS = torch.tensor([1.0, 2.0])


class Halving:
    """A schedule without a text of its own."""

    def __init__(self, first):
        self.first, self._asked = first, 0

    def at(self, round):
        self._asked += 1
        return self.first / 2**round


class Told(Halving):
    def __repr__(self):
        return f"Told({self.first})"


@dataclass
class Holder:
    inner: object


def scaled(by):
    return lambda output, target: by * F.mse_loss(output, target)


def test_stock_objects_are_described_as_they_print():
    for value in (tacit.SGD(0.1), tacit.Uniform(3), tacit.FedAdam(tacit.SGD(tacit.Cosine(0.1, 9))), [1, 2.5], ("a",)):
        assert description(value).replace(",)", ")") == repr(value).replace(",)", ")")


def test_no_address_gets_into_it_and_private_notes_do_not_count():
    first, second = Halving(0.5), Halving(0.5)
    first.at(3)
    assert description(first) == description(second) == "Halving(first=0.5)"
    assert description(Holder(first)) == "Holder(inner=Halving(first=0.5))"
    assert description(Told(1)) == "Told(1)"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Halving(0.5), Halving(0.25)),
        (Holder([1]), Holder((1,))),
        (F.mse_loss, F.l1_loss),
        (lambda o, t: F.mse_loss(o, t), lambda o, t: F.l1_loss(o, t)),
        (lambda o, t: F.mse_loss(o, t), lambda o, t: 2 * F.mse_loss(o, t)),
        (lambda o, t, by=1: by, lambda o, t, by=2: by),
        (lambda o, t: [by * o for by in (1, 2)], lambda o, t: [by * o for by in (1, 3)]),
        (scaled(1.0), scaled(2.0)),
        (scaled(WEIGHTS), scaled(WEIGHTS + 1)),
        (functools.partial(F.huber_loss, delta=1.0), functools.partial(F.huber_loss, delta=2.0)),
        (nn.HuberLoss(delta=1.0), nn.HuberLoss(delta=2.0)),
        (nn.CrossEntropyLoss(weight=WEIGHTS), nn.CrossEntropyLoss(weight=WEIGHTS + 1)),
        (WEIGHTS, WEIGHTS.double()),
        (np.arange(3), np.arange(3)[::-1]),
        (tacit.Uniform, tacit.Everyone),
        (Halving(1).at, Halving(2).at),
    ],
)
def test_what_differs_is_described_differently(one, other):
    assert description(one) != description(other)


def test_the_same_lines_are_the_same_function():
    assert description(scaled(2.0)) == description(scaled(2.0))
    assert description(scaled(WEIGHTS)) == description(scaled(WEIGHTS.clone()))


def test_what_a_function_notes_in_a_list_does_not_count():
    def noting(notes):
        return lambda output, target: notes.append(1) or F.mse_loss(output, target)

    assert description(noting([])) == description(noting([1, 2]))


def test_what_has_no_text_is_refused_with_where_it_is_and_what_to_define():
    with pytest.raises(UsageError, match=r"in a Holder: <unlocked .*give lock a __repr__ that says what it is"):
        description(Holder(Lock()))
    ring = Holder(None)
    ring.inner = [ring]
    with pytest.raises(UsageError, match="more than 12 levels: give its class a __repr__"):
        description(ring)


def various():
    return [{"a", "b", "c", "d"}, scaled(WEIGHTS), Halving(1), lambda o: o in ("x", {"a", "b", "c"})]


def test_another_process_gives_the_same_text():
    """Sets of text come in another order in every process, and objects lie at other addresses."""
    script = "from tests.record.test_description import *; print(description(various()))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.strip() == description(various())
