"""Runs whose reports nobody sees: the same as the whole protocol, exact means, and nothing in the clear."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import tacit
from tacit import errors
from tacit.aggregation.fixed_point import FixedPoint
from tacit.rounds.securing import _Full

SGD = tacit.SGD(lr=0.1, epochs=2, batch_size=5)


def people(count: int = 14, seed: int = 0) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(seed)
    return {f"p{k}": (torch.randn(4 + k, 3), torch.randn(4 + k, 1)) for k in range(count)}


def federation(
    data: dict[str, tuple[torch.Tensor, torch.Tensor]] | None = None,
    algorithm: tacit.Algorithm | None = None,
    model: nn.Module | None = None,
    **settings: object,
) -> tacit.Federation:
    torch.manual_seed(1)
    task = tacit.Task(model or nn.Linear(3, 1), nn.functional.mse_loss)
    population = tacit.Population.from_arrays(data or people())
    return tacit.Federation(task, population, algorithm or tacit.FedAvg(SGD), workers=1, **settings)  # type: ignore[arg-type]


def trained(rounds: int = 2, **settings: object) -> tacit.Run:
    return federation(**settings).run(rounds, progress=False)  # type: ignore[arg-type]


def same(one: tacit.Run, other: tacit.Run) -> bool:
    return all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


ALGORITHMS = [
    tacit.FedAvg(SGD),
    tacit.FedAvg(SGD, weights="uniform"),
    tacit.FedProx(SGD, mu=0.1),
    tacit.FedNova(SGD),
    tacit.Scaffold(SGD),
    tacit.FedAdam(SGD),
    tacit.FedDyn(SGD, alpha=0.1),
]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("more", [{}, {"stages": [tacit.NormBound(0.3)]}], ids=["plain", "bounded"])
def test_the_ideal_sum_is_that_of_the_whole_protocol_bit_for_bit(algorithm, more):
    runs = [
        trained(algorithm=algorithm, aggregation=tacit.SecureSum(protocol=protocol, lost=0.04), **more)
        for protocol in ("ideal", "full")
    ]
    assert same(*runs)
    columns = ["round", "clients", "examples", "lost", "loss", "bytes_up"]
    assert runs[0].history[columns].equals(runs[1].history[columns])
    assert [run.facts["aggregation"]["protocol"] for run in runs] == ["ideal", "full"]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(5, 12),
    st.integers(0, 2**31),
    st.tuples(*[st.sampled_from([0.0, 0.0, 0.1, 0.3])] * 5),
    st.sampled_from([32, 64]),
)
def test_they_agree_or_refuse_together_whoever_is_lost(count, seed, lost, bits):
    ended = []
    for protocol in ("ideal", "full"):
        how = tacit.SecureSum(protocol=protocol, minimum=3, lost=lost, bits=bits, attempts=1)
        cohort = federation(people(count, seed), aggregation=how, seed=seed, minimum=0.0)
        try:
            ended.append(cohort.run(2, progress=False))
        except errors.InsufficientSurvivors as error:
            ended.append(str(error))
    if isinstance(ended[0], str):
        assert ended[0] == ended[1]
    else:
        assert same(*ended)


@pytest.mark.parametrize("mechanism", ["gaussian", "bisr"])
def test_private_sums_agree_too(mechanism, monkeypatch, tmp_path):
    selection = tacit.Separated(7) if mechanism == "bisr" else tacit.Everyone()
    level = tacit.UserLevel(epsilon=50.0, clip=0.5, mechanism=mechanism, insecure_seed=3)
    runs = []
    for protocol in ("ideal", "full"):
        monkeypatch.setenv("TACIT_LEDGER", str(tmp_path / protocol))
        how = tacit.SecureSum(protocol=protocol, minimum=3)
        runs.append(trained(privacy=level, selection=selection, aggregation=how))
    assert same(*runs)
    assert all(run.facts["aggregation"]["bits"] == 32 for run in runs)


def test_the_mean_is_the_exact_weighted_mean_of_what_clients_rounded():
    """One full step on a linear model: a closed form."""
    data, rate = people(9), 0.5
    sgd = tacit.SGD(lr=rate, steps=1, batch_size=None)
    run = trained(1, data=data, algorithm=tacit.FedAvg(sgd), aggregation=tacit.SecureSum())
    torch.manual_seed(1)
    start = nn.Linear(3, 1)
    rows, weights = [], []
    for x, y in data.values():
        model = nn.Linear(3, 1)
        model.load_state_dict(start.state_dict())
        nn.functional.mse_loss(model(x), y).backward()
        rows.append(torch.cat([-rate * p.grad.flatten() for p in model.parameters()]))
        weights.append(float(len(y)))
    step = FixedPoint.fitting(4.0, 16.0, 9, None).step
    moved = torch.cat([(run.tensors[n] - start.state_dict()[n]).flatten() for n in ("weight", "bias")])
    mean = sum(w * row for w, row in zip(weights, rows, strict=True)) / sum(weights)
    assert torch.allclose(moved, mean, atol=9 * step / sum(weights) + 1e-6)
    assert run.history["examples"].tolist() == [sum(weights)]


def test_workers_change_no_bit():
    how = tacit.SecureSum(lost=0.05)
    assert same(trained(aggregation=how), federation_of(2, how))


def federation_of(workers: int, how: tacit.SecureSum) -> tacit.Run:
    torch.manual_seed(1)
    task = tacit.Task(nn.Linear(3, 1), nn.functional.mse_loss)
    made = tacit.Federation(
        task, tacit.Population.from_arrays(people()), tacit.FedAvg(SGD), workers=workers, aggregation=how
    )
    return made.run(2, progress=False)


@pytest.mark.parametrize("protocol", ["ideal", "full"])
def test_a_report_beyond_the_range_stays_with_its_client_who_is_told_nothing_of_by_value(protocol):
    data = people()
    data["p3"] = (torch.full((7, 3), 300.0), torch.randn(7, 1))
    with pytest.warns(tacit.TacitWarning, match="range from -4 to 4"):
        run = trained(data=data, aggregation=tacit.SecureSum(protocol=protocol))
    assert run.history["clients"].tolist() == [13, 13] and run.history["set_aside"].tolist() == [1, 1]
    reasons = run.history["set_aside_reasons"].iloc[0]
    assert reasons.startswith("p3") and "norm is" not in reasons
    without = {name: pair for name, pair in data.items() if name != "p3"}
    grid = tacit.SecureSum(protocol=protocol, most_examples=17)
    assert trained(data=without, aggregation=grid).history["loss"].tolist() == pytest.approx(
        run.history["loss"].tolist(), rel=1e-3
    )


def test_a_larger_range_lets_it_pass():
    data = people()
    data["p3"] = (torch.full((7, 3), 0.5), torch.full((7, 1), 9.0))
    tight, wide = ({"data": data, "aggregation": tacit.SecureSum(range=r)} for r in (0.5, 64.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tacit.TacitWarning)
        assert trained(**tight).history["set_aside"].sum() > 0
    assert trained(**wide).history["set_aside"].sum() == 0


def test_most_examples_bounds_the_weight_of_a_client():
    capped = trained(aggregation=tacit.SecureSum(most_examples=1))
    uniform = trained(algorithm=tacit.FedAvg(SGD, weights="uniform"), aggregation=tacit.SecureSum())
    for name in capped.tensors:
        assert torch.allclose(capped.tensors[name], uniform.tensors[name], atol=1e-5)
    assert capped.history["examples"].tolist() == uniform.history["examples"].tolist()


@pytest.mark.parametrize("protocol", ["ideal", "full"])
def test_too_many_losses_fail_the_round_and_say_what_was_left(protocol):
    how = tacit.SecureSum(protocol=protocol, lost=(0.0, 0.0, 0.9, 0.0, 0.0))
    with pytest.raises(tacit.RoundFailed, match=r"round 1: secure aggregation, uploading: \d clients were left"):
        trained(aggregation=how)


def test_a_round_that_loses_too_many_is_begun_anew():
    """With so many lost, one attempt of three fails now and then; twenty do not."""
    lost = (0.0, 0.0, 0.0, 0.0, 0.25)
    with pytest.raises(errors.InsufficientSurvivors):
        trained(20, aggregation=tacit.SecureSum(lost=lost, attempts=1, minimum=3))
    assert len(trained(20, aggregation=tacit.SecureSum(lost=lost, attempts=20, minimum=3)).rows) == 20


@pytest.mark.parametrize("protocol", ["ideal", "full"])
def test_a_resumed_run_is_the_same(protocol, tmp_path):
    how = tacit.SecureSum(protocol=protocol, lost=0.03)
    settings = {"algorithm": tacit.Scaffold(SGD), "aggregation": how}
    whole = trained(4, **settings)
    federation(**settings).run(2, progress=False, checkpoint=tmp_path)
    assert same(whole, federation(**settings).run(4, progress=False, checkpoint=tmp_path, resume=True))
    with pytest.raises(tacit.UsageError, match="another run"):
        federation(algorithm=tacit.Scaffold(SGD)).run(4, progress=False, checkpoint=tmp_path, resume=True)


def test_a_client_that_was_lost_keeps_what_it_remembered():
    """SCAFFOLD's control variates change only with a sum that they are part of."""
    how = tacit.SecureSum(lost=(0.0, 0.0, 0.3, 0.0, 0.0), minimum=3, attempts=10)
    made = federation(algorithm=tacit.Scaffold(SGD), aggregation=how, minimum=0.0)
    seen: dict[str, list[int]] = {"counted": []}
    from tacit.rounds.server import Server

    step = Server.step

    def watching(server, total, round):
        before = server.memory.load(np.arange(14)).clone()
        done = step(server, total, round)
        after = server.memory.load(np.arange(14))
        changed = torch.nonzero((before != after).any(dim=1)).flatten().tolist()
        assert set(changed) <= set(total.counted.tolist())
        seen["counted"].append(len(total.counted))
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Server, "step", watching)
        made.run(3, progress=False)
    assert min(seen["counted"]) < 14


def test_nothing_of_a_report_is_in_the_clear():
    """In what the server gets there is no word of the vector, and no number of examples."""
    sent: list[tuple[bytes, np.ndarray]] = []
    upload = _Full.take

    def spying(self, clients, integers):
        server = self.rehearsal.server
        take = server.take_masked
        server.take_masked = lambda name, data: (sent.append((bytes(data), row)), take(name, data))[1]
        for client, row in zip(clients, integers.numpy().copy(), strict=True):
            upload(self, np.array([client]), torch.from_numpy(row)[None])
        server.take_masked = take

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Full, "take", spying)
        trained(1, aggregation=tacit.SecureSum(protocol="full", bits=64))
    assert len(sent) == 14
    assert len({len(data) for data, _ in sent}) == 1, "no size depends on a client"
    for data, row in sent:
        for word in row[np.abs(row) > 2**16]:
            assert int(word).to_bytes(8, "little", signed=True) not in data


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"minimum": 2}, "minimum is 2"),
        ({"minimum": 15}, "a cohort has 14"),
        ({"range": -1.0}, "range is -1.0"),
        ({"protocol": "fast"}, "protocol is 'fast'"),
        ({"bits": 16}, "bits is 16"),
        ({"corrupt": 1.0, "dropout": -0.1}, "dropout is -0.1"),
        ({"lost": (0.1, 0.2)}, "lost is (0.1, 0.2)"),
        ({"most_examples": 0}, "most_examples is 0"),
        ({"sigma": 0}, "sigma is 0"),
        ({"attempts": 0}, "attempts is 0"),
        ({"insecure_unsigned": "yes"}, "insecure_unsigned is 'yes'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(tacit.UsageError) as raised:
        federation(aggregation=tacit.SecureSum(**settings))
    assert said in str(raised.value)


def test_what_is_no_secure_sum_is_refused():
    with pytest.raises(tacit.UsageError, match=r"give tacit.SecureSum\(\)"):
        federation(aggregation="secure")


def test_cohorts_of_chance_that_are_often_too_small_are_refused_before_the_run():
    with pytest.raises(tacit.UsageError, match=r"a cohort has fewer in 0\.\d+ of the rounds"):
        federation(selection=tacit.Poisson(8), aggregation=tacit.SecureSum())


def test_sums_that_could_overflow_are_refused_before_any_key_is_made():
    data = people() | {"giant": (torch.zeros(300_000, 3), torch.zeros(300_000, 1))}
    with pytest.raises(errors.BitBudgetError, match="more bits than a word of 32"):
        federation(data, aggregation=tacit.SecureSum(bits=32, range=100.0))
    federation(data, aggregation=tacit.SecureSum(bits=32, range=100.0, most_examples=10))


def test_the_bytes_of_a_row_are_those_of_the_messages():
    run = trained(aggregation=tacit.SecureSum())
    sent = run.facts["aggregation"]["bytes_up"]
    assert set(sent) == {"advertise", "shares", "masked", "confirm", "unmask"}
    assert run.facts["bytes_up_per_client"] == sum(sent.values())
    assert run.history["bytes_up"].tolist() == [14 * sum(sent.values())] * 2


@pytest.mark.parametrize("protocol", ["ideal", "full"])
def test_what_training_raises_stays_with_the_client(protocol):
    def failing(output, target):
        if (target == 77.25).any():
            raise ValueError("diagnosis code 77.25 unknown")
        return nn.functional.mse_loss(output, target)

    data = people()
    data["p3"] = (data["p3"][0], torch.full((7, 1), 77.25))
    torch.manual_seed(1)
    made = tacit.Federation(
        tacit.Task(nn.Linear(3, 1), failing),
        tacit.Population.from_arrays(data),
        tacit.FedAvg(SGD),
        workers=1,
        aggregation=tacit.SecureSum(protocol=protocol),
    )
    with pytest.warns(tacit.TacitWarning, match="ValueError, whose text stays") as caught:
        run = made.run(1, progress=False)
    assert len(caught) == 1, "said once"
    assert "77.25" not in str(run.rows) + str(run.facts) + "".join(str(one.message) for one in caught)


def test_the_grid_tells_no_number_of_examples():
    """It is known to all: the largest weight is rounded up to a power of two."""
    grids = []
    for most in (33, 50, 64):
        data = people() | {"large": (torch.zeros(most, 3), torch.zeros(most, 1))}
        grids.append(federation(data, aggregation=tacit.SecureSum()).chain.grid)
    assert grids[0] == grids[1] == grids[2]


def test_above_a_hundred_clients_a_whole_session_that_would_fail_is_begun_anew_before_anybody_trains():
    """The graph follows from the clients' keys; of many attempts some would lose a neighbourhood."""
    data = people(104)
    lost = (0.0, 0.06, 0.06, 0.0, 0.06)  # about four of ten attempts fail: not all of sixty
    how = {"lost": lost, "minimum": 3, "attempts": 60, "insecure_unsigned": True}
    for protocol in ("ideal", "full"):
        run = federation(data, aggregation=tacit.SecureSum(protocol=protocol, **how), minimum=0.0).run(
            1, progress=False
        )
        assert 70 < run.rows[0]["clients"] < 104


def test_a_session_that_fails_in_the_whole_protocol_says_so_itself():
    """Without the look ahead: the same refusal, by the server."""
    from tacit.aggregation.secure.ideal import Ideal

    how = tacit.SecureSum(protocol="full", minimum=3, lost=(0.0, 0.0, 0.0, 0.0, 0.6), attempts=1)
    said = []
    for blind in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            if blind:
                patch.setattr(Ideal, "counted", lambda self, clients, lost: list(clients))
            with pytest.raises(errors.InsufficientSurvivors) as raised:
                trained(1, aggregation=how)
            said.append((raised.value.phase, raised.value.have, raised.value.need))
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"corrupt": 0.6, "dropout": 0.5}, "leave no honest client"), ({"range": 1e-320}, "range is 1e-320")],
)
def test_settings_for_which_there_is_no_session_are_refused(settings, said):
    with pytest.raises(tacit.UsageError, match=said):
        federation(aggregation=tacit.SecureSum(**settings))
    assert any(said in problem for problem in tacit.SecureSum(**settings).problems())


def test_what_is_received_holds_the_messages_too():
    run = trained(aggregation=tacit.SecureSum())
    plain = trained()
    more = sum(run.facts["aggregation"]["bytes_down"].values())
    assert run.facts["bytes_down_per_client"] == plain.facts["bytes_down_per_client"] + more
    assert run.history["bytes_down"].iloc[0] == 14 * run.facts["bytes_down_per_client"]
