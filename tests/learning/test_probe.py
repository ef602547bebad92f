"""What a forward pass is seen to do besides giving an output."""

# ruff: noqa: NPY002 - NumPy's global generator is what is looked at
from __future__ import annotations

import functools
import itertools
import random
from hashlib import blake2b

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import tacit
from tacit.learning.frozen import BYTES, frozen
from tacit.learning.probe import probe

X = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
Y = torch.zeros(8, 1)


class Layered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls, self.cache, self.seen = nn.Linear(3, 1), 0, None, []


class Counting(Layered):
    def forward(self, x):
        self.calls += 1
        return self.layer(x) * (1 if self.calls % 100 else 2)


class Appending(Layered):
    def forward(self, x):
        self.seen.append(len(x))
        return self.layer(x)


class Remembering(Layered):
    def forward(self, x):
        before, self.cache = self.cache, self.layer(x).detach()
        return self.layer(x) + (0 if before is None else before.mean())


class Caching(Layered):
    def forward(self, x):
        if self.cache is None:
            self.cache = torch.arange(3.0)
        return self.layer(x * self.cache)


class Chancy(Layered):
    def forward(self, x):
        return self.layer(x) * (2 if random.random() < 0.001 else 1)


class NumpyChancy(Layered):
    def forward(self, x):
        return self.layer(x) * (2 if np.random.rand() < 0.001 else 1)


class Starting(Layered):
    """Sets a parameter by the first batch it sees, as ActNorm does."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        if self.cache is None:
            self.cache = True
            self.scale.data.copy_(x.std())
        return self.layer(x) * self.scale


class Registering(Layered):
    """Registers a buffer with what the first batch holds."""

    def forward(self, x):
        if "centre" not in self._buffers:
            self.register_buffer("centre", x.mean(0))
        return self.layer(x - self.centre)


class Box:
    n = 0


class Boxed(Layered):
    def __init__(self) -> None:
        super().__init__()
        self.box = Box()

    def forward(self, x):
        self.box.n += 1
        return self.layer(x) * self.box.n


class Own(Layered):
    """Draws from a generator of its own."""

    def __init__(self, generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x):
        drawn = getattr(self.generator, "random", None)
        return self.layer(x) * (drawn() if drawn else torch.rand(1, generator=self.generator))


class Growing:
    """A loss that counts."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, output, target):
        self.steps += 1
        return mse_loss(output, target) * self.steps


class Turning(Layered):
    def __init__(self) -> None:
        super().__init__()
        self.turns = itertools.count()

    def forward(self, x):
        return self.layer(x) * (next(self.turns) % 7)


class Shared(Layered):
    n = 0

    def forward(self, x):
        Shared.n += 1
        return self.layer(x) * Shared.n


class Slots:
    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n = 0

    def up(self):
        self.n += 1
        return self.n


class Slotted:
    def __init__(self) -> None:
        self.slots = Slots()

    def __call__(self, output, target):
        return mse_loss(output, target) * self.slots.up()


class Iterating:
    def __init__(self) -> None:
        self.turns = itertools.count()

    def __call__(self, output, target):
        return mse_loss(output, target) * next(self.turns)


class OfClass:
    n = 0

    def __call__(self, output, target):
        OfClass.n += 1
        return mse_loss(output, target) * OfClass.n


class Settled:
    """A loss with settings of every kind, and a setting that it works out once."""

    weight = 2.0

    @functools.cached_property
    def scale(self):
        return torch.ones(1) * self.weight

    def __call__(self, output, target, margin=(0.1, 0.2)):
        return mse_loss(output, target) * self.scale + margin[0]


calls, memory = 0, {}
RNG = np.random.default_rng(0)
GENERATOR = torch.Generator().manual_seed(0)
TURNS = itertools.cycle([1.0, 2.0])
NUMBERS = (n / 7 for n in range(1000))
HELD = Slots()
TEACHER = nn.BatchNorm1d(1)
LARGE = torch.ones(BYTES // 4 + 100)
TABLE = pd.DataFrame({"a": [1.0, 2.0]})


def count_in_a_global(output, target):
    global calls
    calls += 1
    return mse_loss(output, target) * (1 + calls % 7)


def count_in_a_default(output, target, count=[0]):  # noqa: B006 - is what is looked for
    count[0] += 1
    return mse_loss(output, target) * (1 + count[0] % 7)


def remembered(size):
    return memory.setdefault(size, 1 / size)


@pytest.mark.parametrize(
    ("model", "effect"),
    [
        (Starting, "changes scale"),
        (Registering, "changes centre"),
        (Boxed, "changes box"),
        (lambda: Own(np.random.default_rng(0)), "changes generator"),
        (lambda: Own(random.Random(0)), "changes generator"),
        (Counting, "changes calls"),
        (Appending, "changes seen"),
        (Remembering, "changes cache"),
        (Chancy, "draws from random"),
        (NumpyChancy, "draws from numpy.random"),
        (Turning, "changes turns"),
        (Shared, "changes Shared.n"),
    ],
)
def test_state_and_chance_of_python_are_seen(model, effect):
    effects = probe(nn.Sequential(model()), mse_loss, X, Y).effects
    assert effects is not None
    assert effect.split()[-1] in effects
    assert effect.split()[0] in effects


@pytest.mark.parametrize(
    ("loss", "effect"),
    [
        (Growing(), "changes loss"),
        (lambda o, t: mse_loss(o, t) * random.random(), "draws from random"),
        (lambda o, t, seen=[]: seen.append(1) or mse_loss(o, t), "changes loss"),
        (count_in_a_global, "changes calls"),
        (lambda o, t: count_in_a_global(o, t), "changes calls"),
        (torch.enable_grad()(count_in_a_global), "changes calls"),
        (functools.partial(count_in_a_global), "changes calls"),
        (functools.cache(lambda o, t: count_in_a_global(o, t)), "changes calls"),
        (count_in_a_default, "changes loss"),
        (lambda o, t, *, seen={"n": 0}: seen.update(n=seen["n"] + 1) or mse_loss(o, t), "changes loss"),
        (lambda o, t: mse_loss(o, t) * sum(RNG.random() for _ in range(1)), "changes RNG"),
        (lambda o, t: mse_loss(o, t) * torch.rand((), generator=GENERATOR), "changes GENERATOR"),
        (lambda o, t: mse_loss(o, t) * next(TURNS), "changes TURNS"),
        (lambda o, t: mse_loss(o, t) * next(NUMBERS), "changes NUMBERS"),
        (lambda o, t: mse_loss(o, t) * HELD.up(), "changes HELD"),
        (lambda o, t: TEACHER(o) * mse_loss(o, t), "changes TEACHER"),
        (lambda o, t: LARGE.add_(1) is None or mse_loss(o, t), "changes LARGE"),
        (Slotted(), "changes loss"),
        (Iterating(), "changes loss"),
        (OfClass(), "changes OfClass.n"),
    ],
)
def test_the_state_of_a_loss_is_seen_too(loss, effect):
    effects = probe(nn.Linear(3, 1), loss, X, Y).effects
    assert effects is not None
    assert effect in effects


def test_looking_at_an_iterator_does_not_move_it():
    cycle = itertools.cycle("abc")
    next(cycle)
    kept = (itertools.count(3), cycle, iter([1, 2]), iter({1: 2}), map(int, "12"), enumerate("ab"), (n for n in (7,)))
    first = [frozen(value) for value in kept]
    assert first == [frozen(value) for value in kept]
    assert [next(value) for value in kept] == [3, "b", 1, 1, 1, (0, "a"), 7]
    assert all(before != frozen(value) for before, value in zip(first, kept, strict=True))


@pytest.mark.parametrize(
    "loss",
    [
        lambda o, t: mse_loss(o, t) * LARGE[0] * float(TABLE["a"][0]),
        lambda o, t: mse_loss(o, t) * remembered(len(o)),
        Settled(),
    ],
)
def test_what_a_loss_only_reads_or_works_out_once_is_no_state(loss):
    assert probe(nn.Linear(3, 1), loss, X, Y).effects is None


def test_of_what_is_large_only_a_part_is_looked_at(monkeypatch):
    hashed = []
    monkeypatch.setattr(
        "tacit.learning.frozen.blake2b", lambda data: hashed.append(memoryview(data).nbytes) or blake2b(data)
    )
    for value in (LARGE, LARGE[:, None].expand(-1, 2), LARGE.numpy(), {k: LARGE[k:] for k in range(9)}):
        before = frozen(value)
        assert frozen(value) == before
    assert max(hashed) < 1e5
    assert len(frozen(list(range(100_000)))) == 2


class Averaging(nn.Module):
    """Keeps a moving average of its weight, which at first is the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.register_buffer("mean", self.layer.weight.detach().clone())
        self.register_buffer("most", torch.ones(()))

    def forward(self, x):
        if self.training:
            self.mean.lerp_(self.layer.weight.detach(), 0.1)
            self.most = torch.maximum(self.most, x.max())
        return self.layer(x)


def test_a_buffer_that_is_written_with_what_it_holds_travels_as_well():
    assert probe(Averaging(), mse_loss, X / 100, Y).buffers == {"mean", "most"}
    clients = {k: (np.full((4, 3), float(k), dtype="f4"), np.ones((4, 1), dtype="f4")) for k in range(4)}
    model = Averaging()
    method = tacit.FedAvg(tacit.SGD(lr=0.05, batch_size=2, epochs=3))
    task, population = tacit.Task(model, mse_loss), tacit.Population.from_arrays(clients)
    run = tacit.Federation(task, population, method).run(rounds=5)
    assert not torch.equal(run.tensors["mean"], model.mean)
    assert run.tensors["most"] > 1


def test_a_normalised_weight_has_norm_one_at_the_end_too():
    torch.manual_seed(0)
    model = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 1))
    clients = {k: (X.numpy() + k, Y.numpy() + k) for k in range(4)}
    task = tacit.Task(model, mse_loss)
    method = tacit.FedAvg(tacit.SGD(lr=0.05, batch_size=4))
    run = tacit.Federation(task, tacit.Population.from_arrays(clients), method).run(rounds=30)
    assert run.model.weight.norm().item() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("model", [Caching(), nn.Linear(3, 1), nn.Sequential(nn.Linear(3, 1), nn.Dropout(0.5))])
def test_a_cache_made_once_and_torchs_own_chance_are_no_state(model):
    assert probe(model, mse_loss, X, Y).effects is None


def test_generators_and_the_model_are_left_as_they_were():
    model = nn.Sequential(nn.BatchNorm1d(3), Chancy(), NumpyChancy(), nn.Dropout(0.5))
    before = random.getstate(), np.random.get_state()[2], torch.get_rng_state(), model[0].running_mean.clone()
    assert probe(model, mse_loss, X, Y).buffers == {"0.running_mean", "0.running_var", "0.num_batches_tracked"}
    assert random.getstate() == before[0]
    assert np.random.get_state()[2] == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert torch.equal(model[0].running_mean, before[3])


def test_where_too_few_examples_are_there_every_buffer_may_move():
    model = nn.BatchNorm1d(3)
    assert probe(model, mse_loss, X[:1], Y[:1]).buffers == {name for name, _ in model.named_buffers()}


def test_a_model_with_state_runs_eagerly_in_one_worker_and_says_so():
    torch.manual_seed(0)
    clients = {k: (np.ones((4, 3), dtype="f4") * k, np.ones((4, 1), dtype="f4")) for k in range(4)}
    method = tacit.FedAvg(tacit.SGD(lr=0.01, batch_size=2))
    model = Counting()

    def run(workers):
        task = tacit.Task(model, mse_loss)
        with pytest.warns(tacit.errors.TacitWarning, match="changes calls"):
            return tacit.Federation(task, tacit.Population.from_arrays(clients), method, workers=workers).run(rounds=60)

    one, two = run(1), run(2)
    assert one.engine == two.engine == "eager"
    assert "changes calls" in one.facts["engine_declined"]["fused"]
    assert all(torch.equal(one.tensors[n], t) for n, t in two.tensors.items())


class Unknown(Layered):
    """Holds a number that is none."""

    def __init__(self) -> None:
        super().__init__()
        self.limit = float("nan")

    def forward(self, x):
        return self.layer(x)


def test_an_attribute_that_is_nan_is_no_change():
    assert probe(Unknown(), mse_loss, X, Y).effects is None
