"""Work that differs by device tier: weak devices take fewer steps, smaller batches, narrower models."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tacit
from tacit.errors import IncompatibleOptions, UsageError
from tacit.fleet import ByTier, FedBuff, Fleet, WaitForAll
from tests.rounds.test_schedule import N, Recorded, federation, people, same

TIERS = Fleet.of(np.linspace(1.0, 4.0, N), tiers=2)
"""The first half is the faster tier."""


class Net(torch.nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.inner, self.outer = torch.nn.Linear(6, hidden), torch.nn.Linear(hidden, 2)

    def forward(self, x):
        return self.outer(torch.relu(self.inner(x)))


def nets(narrowed=lambda width: Net(max(1, round(4 * width))), **options) -> tacit.Federation:
    torch.manual_seed(1)
    task = tacit.Task(Net(4), torch.nn.functional.cross_entropy, narrowed=narrowed)
    given = {"fleet": TIERS, "closing": WaitForAll(), "workers": 1, **options}
    return tacit.Federation(task, people(), given.pop("algorithm", tacit.FedAvg(tacit.SGD(lr=0.5))), **given)


def model_of(run: tacit.Run) -> dict[str, torch.Tensor]:
    return run.tensors


def test_fewer_steps_are_those_of_a_budget():
    """12 examples, 4 in a step, 2 epochs: 6 steps; a third of them is 2."""
    run = federation(fleet=TIERS, closing=WaitForAll(), by_tier=ByTier(steps=(1.0, 0.3))).run(4)
    budget = np.where(np.arange(N) < N // 2, 6, 2)
    assert same(run, federation(selection=Recorded([(np.arange(N), budget)] * 4)).run(4))
    assert run.rows[-1]["virtual_hours"] * 3600 == pytest.approx(
        4 * max(24 * TIERS.seconds[N // 2 - 1], 8 * 4.0), abs=1e-2
    )


def test_smaller_batches_are_those_of_their_own_solver():
    """The mean of two halves, each trained by a federation of its own."""
    run = federation(fleet=TIERS, closing=WaitForAll(), by_tier=ByTier(batch_size=(4, 3))).run(1)
    halves = [
        federation(
            selection=Recorded([(who, None)]), algorithm=tacit.FedAvg(tacit.SGD(lr=0.1, batch_size=size, epochs=2))
        ).run(1)
        for who, size in ((np.arange(N // 2), 4), (np.arange(N // 2, N), 3))
    ]
    for name, tensor in run.tensors.items():
        torch.testing.assert_close(
            tensor, (halves[0].tensors[name] + halves[1].tensors[name]) / 2, atol=1e-6, rtol=1e-5
        )


def test_each_number_is_averaged_over_those_who_have_it():
    """One step of gradient descent on each client, by hand: weak devices train the first two of four hidden units."""
    run = nets(by_tier=ByTier(width=(1.0, 0.5))).run(1)
    whole = {n: p.detach().clone() for n, p in nets().task.model.named_parameters()}
    sums = {n: torch.zeros_like(p) for n, p in whole.items()}
    counts = {n: torch.zeros_like(p) for n, p in whole.items()}
    for client in range(N):
        net = Net(4 if client < N // 2 else 2)
        places = {n: tuple(slice(s) for s in p.shape) for n, p in net.named_parameters()}
        net.load_state_dict({n: whole[n][place] for n, place in places.items()})
        inputs, labels = people().examples(np.array([client])).of(0)
        torch.nn.functional.cross_entropy(net(inputs.float()), labels).backward()
        for name, parameter in net.named_parameters():
            sums[name][places[name]] -= 0.5 * parameter.grad
            counts[name][places[name]] += 1
    for name, tensor in run.tensors.items():
        torch.testing.assert_close(tensor, whole[name] + sums[name] / counts[name], atol=1e-6, rtol=1e-5)
    assert counts["inner.weight"][0, 0] == N and counts["inner.weight"][3, 0] == N // 2


@pytest.mark.parametrize("aggregation", [tacit.SecureSum(), tacit.SecureSum(protocol="full")], ids=["ideal", "full"])
def test_narrower_models_go_through_secure_sums(aggregation):
    plain = nets(by_tier=ByTier(width=(1.0, 0.5))).run(2)
    secure = nets(by_tier=ByTier(width=(1.0, 0.5)), aggregation=aggregation).run(2)
    for name, tensor in plain.tensors.items():
        torch.testing.assert_close(tensor, secure.tensors[name], atol=1e-3, rtol=1e-3)


def test_what_nobody_has_stays_as_it_is():
    weak = Recorded([(np.arange(N // 2, N), None)] * 2)
    run = nets(by_tier=ByTier(width=(1.0, 0.5)), selection=weak).run(2)
    before = nets().task.model.inner.weight.detach()
    assert torch.equal(run.tensors["inner.weight"][2:], before[2:])
    assert not torch.equal(run.tensors["inner.weight"][:2], before[:2])


def test_narrower_models_are_smaller_on_the_way_and_sooner_done():
    whole, narrow = nets().run(1), nets(by_tier=ByTier(width=(1.0, 0.5))).run(1)
    d, small = 6 * 4 + 4 + 4 * 2 + 2, 6 * 2 + 2 + 2 * 2 + 2
    assert whole.rows[0]["bytes_down"] - narrow.rows[0]["bytes_down"] == 4 * (d - small) * N // 2
    assert narrow.rows[0]["virtual_hours"] < whole.rows[0]["virtual_hours"]


def test_shorter_reports_remember_what_they_do_not_send():
    run = nets(by_tier=ByTier(top_k=(1.0, 0.2))).run(12)
    assert run.rows[0]["bytes_up"] < nets().run(1).rows[0]["bytes_up"]
    assert run.rows[-1]["loss"] < run.rows[0]["loss"]
    assert same(run, nets(by_tier=ByTier(top_k=(1.0, 0.2)), workers=3).run(12))


@pytest.mark.parametrize(
    "how", [ByTier(width=(1.0, 0.5), batch_size=(6, 4)), ByTier(steps=(1.0, 0.5), top_k=(0.5, 0.2))]
)
def test_a_run_that_was_cut_off_goes_on_to_the_same_end(tmp_path, how):
    options = {"by_tier": how, "algorithm": tacit.FedAvg(tacit.SGD(lr=0.2, batch_size=6, epochs=2))}
    whole = nets(**options).run(5)
    nets(**options).run(3, checkpoint=tmp_path, checkpoint_every=1)
    assert same(whole, nets(**options, workers=2).run(5, checkpoint=tmp_path, resume=True))


def test_it_goes_with_buffers():
    run = nets(by_tier=ByTier(width=(1.0, 0.5), steps=(1.0, 0.5)), closing=FedBuff(concurrency=10, buffer=4)).run(20)
    assert run.rows[-1]["loss"] < run.rows[0]["loss"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"by_tier": ByTier(steps=(0.5,)), "fleet": None, "closing": None}, "no tiers without devices"),
        ({"by_tier": 3}, "by_tier is 3"),
        ({"by_tier": ByTier(width=(0.5,))}, "one tier must train the whole model"),
        (
            {"by_tier": ByTier(width=(1.0, 0.5)), "algorithm": tacit.Scaffold(tacit.SGD(lr=0.1))},
            "sends or remembers more",
        ),
        ({"by_tier": ByTier(width=(1.0, 0.5)), "narrowed": None}, "knows no narrower models"),
        ({"by_tier": ByTier(width=(1.0, 0.5)), "narrowed": lambda width: Net(9)}, "no axis may be longer"),
        ({"by_tier": ByTier(width=(1.0, 0.5)), "narrowed": lambda width: 3}, "it is a int"),
        ({"by_tier": ByTier(width=(1.0, 0.5)), "privacy": tacit.UserLevel(4.0, clip=1.0)}, "reports of one kind"),
        ({"by_tier": ByTier(width=(1.0, 0.5)), "robust": tacit.Median()}, "reports of one kind"),
        ({"by_tier": ByTier(top_k=(0.5,)), "aggregation": tacit.SecureSum()}, "aggregation hides them"),
        (
            {"by_tier": ByTier(steps=(0.5,)), "record_privacy": tacit.RecordLevel(4.0, clip=1.0)},
            "accounted for the same steps",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(options, match):
    with pytest.raises((IncompatibleOptions, UsageError), match=match):
        nets(**options)


@pytest.mark.parametrize("wrong", [{"steps": (0.0,)}, {"width": (1.5,)}, {"batch_size": (0,)}, {"top_k": ("a",)}, {}])
def test_lists_that_are_none_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong), "nothing is said")):
        ByTier(**wrong)


def test_a_private_run_may_ask_fewer_steps_of_weak_devices():
    with pytest.warns(tacit.TacitWarning):
        run = nets(
            by_tier=ByTier(steps=(1.0, 0.5)), privacy=tacit.UserLevel(noise_multiplier=1.0, clip=1.0, delta=1e-3)
        ).run(1)
    assert run.facts["privacy"]["epsilon"] > 0
