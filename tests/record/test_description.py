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
from tacit.record.description import code_of, description

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


class Focal:
    """A loss with private settings, that counts."""

    kinds = 2

    def __init__(self, gamma=1.0, weights=()):
        self.gamma, self._weights, self.calls, self._seen = gamma, weights, 0, {}

    @functools.cached_property
    def power(self):
        return self.gamma + 1

    def __call__(self, output, target):
        self.calls += 1
        self._seen[self.calls] = len(output)
        return self.power * F.mse_loss(output, target)


class Noting:
    """A loss that notes in every other way."""

    __slots__ = ("_box", "gamma", "notes")
    count = 0

    def __init__(self):
        self.gamma, self.notes, self._box = 1.0, [], [0]

    def __call__(self, output, target):
        Noting.count += 1
        self.note()
        return self.gamma * F.mse_loss(output, target)

    def note(self):
        notes = self.notes
        notes.append(1)
        self._box[0] += 1


class Holding(nn.Module):
    """A module with settings, that counts."""

    def __init__(self, act=torch.relu, **settings):
        super().__init__()
        self.layer, self.act, self._calls, self.seen = nn.Linear(2, 1), act, 0, []
        nn.init.ones_(self.layer.weight), nn.init.ones_(self.layer.bias)
        vars(self).update(settings)

    def forward(self, x):
        self._calls += 1
        self.seen.append(len(x))
        return self.act(self.layer(x))


class Reading(nn.Module):
    def forward(self, x):
        return x * TABLE[0]


TABLE = [1.0, 2.0]
calls = 0


def by_table(output, target):
    return F.mse_loss(output, target) * TABLE[0]


def by_helper(output, target, helper):
    return helper(output, target)


def count_in_a_global(output, target):
    global calls
    calls += 1
    return F.mse_loss(output, target)


def noting_in_a_default():
    def loss(output, target, seen=[]):  # noqa: B006 - may change
        seen.append(1)
        return F.mse_loss(output, target)

    return loss


def weighted(weights):
    return lambda output, target: F.mse_loss(output, target) * len(weights)


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
        (weighted([1.0, 2.0]), weighted([2.0, 1.0])),
        (weighted({"a": WEIGHTS}), weighted({"a": WEIGHTS + 1})),
        (weighted(list(range(2000))), weighted(list(range(2001)))),
        (weighted(F.mse_loss), weighted(F.l1_loss)),
        (lambda o, t: by_helper(o, t, weighted([1])), lambda o, t: by_helper(o, t, weighted([1]) or 2)),
        (Focal(1.0, [2.0]), Focal(1.0, [3.0])),
        (Holding(act=torch.relu), Holding(act=torch.tanh)),
        (Holding(act=lambda x: x.relu()), Holding(act=lambda x: x.tanh())),
        (Holding(act=weighted(1)), Holding(act=weighted(2))),
        (Holding(act=functools.partial(F.elu, alpha=1.0)), Holding(act=functools.partial(F.elu, alpha=2.0))),
        (Holding(sizes=[1, 2]), Holding(sizes=[1, 3])),
        (Holding(sizes={"a": [1]}), Holding(sizes={"a": [2]})),
        (Holding(_scale=1.0), Holding(_scale=2.0)),
        (Holding(_table=WEIGHTS), Holding(_table=WEIGHTS + 1)),
    ],
)
def test_what_differs_is_described_differently(one, other):
    assert description(one) != description(other)


def test_what_training_writes_to_does_not_count():
    for make in (Focal, lambda: Noting(), noting_in_a_default, lambda: count_in_a_global):
        loss = make()
        before = description(loss), code_of(loss)
        for _ in range(3):
            loss(WEIGHTS, WEIGHTS)
        assert (description(loss), code_of(loss)) == before
    model = Holding()
    before = description(model), code_of(model)
    model(WEIGHTS)
    assert (description(model), code_of(model)) == before


def test_a_module_may_hold_a_function_that_closes_over_it_and_lists_that_hold_each_other():
    model = Holding()
    model.act, model.sizes = lambda x: model.layer(x), []
    model.sizes.append(model.sizes)
    assert "act=" in description(model)


def test_a_global_list_counts_where_code_reads_it_even_in_a_function_that_is_called(monkeypatch):
    before = description(by_table), description(lambda o, t: by_table(o, t)), code_of(Reading())
    monkeypatch.setitem(globals(), "TABLE", [1.0, 3.0])
    after = description(by_table), description(lambda o, t: by_table(o, t)), code_of(Reading())
    assert all(one != other for one, other in zip(before, after, strict=True))


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
