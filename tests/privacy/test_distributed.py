"""Noise that clients add under the masks of a secure sum."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import tacit
from tacit import errors
from tacit.learning.layout import Layout
from tacit.privacy import distributed
from tacit.privacy.accountant import rdp_epsilon
from tacit.privacy.bound import Bound
from tacit.privacy.distributed import ClipDiscrete, needed
from tacit.privacy.event import Skellam, charges, event_of, named
from tacit.privacy.plan import PrivacyPlan
from tacit.privacy.shares import Shares, surely_honest
from tacit.selection.cohort import Sampling

LENGTH = 3000
SGD = tacit.SGD(lr=0.1, steps=2, batch_size=4)


def clip(norm: float = 0.5, bits: int = 16, secret: bytes = b"s" * 32) -> ClipDiscrete:
    bound = Bound("update", ("update",), norm, bits)
    made = ClipDiscrete((bound,), shares=distributed.shares(bound, LENGTH, 10, 20, 32), seed=4, secret=secret)
    made.bind(Layout.of(update=(LENGTH,)))
    return made


def encoded(stage: ClipDiscrete, rows: torch.Tensor) -> torch.Tensor:
    layout = Layout.of(update=(LENGTH,))
    return stage.encode(rows.clone(), layout, stage.broadcast(stage.init()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sum_comes_back_as_it_was_but_for_rounding(dtype):
    torch.manual_seed(0)
    stage, layout = clip(), Layout.of(update=(LENGTH,))
    rows = torch.randn(8, LENGTH, dtype=dtype) * 0.004
    assert rows.norm(dim=1).max() < 0.5
    total = encoded(stage, rows).sum(0).to(torch.int64)
    values, _ = stage.decode(total, layout, stage.init())
    error = (values - rows.double().sum(0)).abs().max()
    assert error < 6 * stage.bounds[0].grid * math.sqrt(8 / 4)


def test_no_report_is_longer_than_the_sensitivity_that_is_claimed():
    torch.manual_seed(1)
    stage = clip(bits=10)
    rows = torch.randn(6, LENGTH) * torch.tensor([1e-6, 1e-2, 1.0, 1e6, 1e30, 0.0])[:, None]
    rows[5, 7] = 1e9
    integers = encoded(stage, rows).double()
    assert (integers.norm(dim=1) <= stage.shares.l2).all()
    assert (integers.abs().sum(1) <= stage.shares.l1).all()
    assert integers[3].norm() > 0.9 * stage.bounds[0].norm / stage.bounds[0].grid


def test_what_is_not_finite_becomes_zeros_and_counts():
    rows = torch.ones(3, LENGTH)
    rows[1, 5], rows[2, 5] = float("nan"), float("inf")
    integers = encoded(clip(), rows)
    assert integers[0].abs().sum() > 0 and integers[1:].abs().sum() == 0


def test_rotations_are_new_in_every_round_and_known_to_all():
    stage, layout = clip(), Layout.of(update=(LENGTH,))
    states = [stage.init()]
    for _ in range(3):
        states.append(stage.decode(torch.zeros(LENGTH, dtype=torch.int64), layout, states[-1])[1])
    keys = [tuple(state["rotation"].tolist()) for state in states]
    assert len(set(keys)) == 4
    assert all(torch.equal(state["rotation"].float().double(), state["rotation"]) for state in states)
    assert torch.equal(clip().init()["rotation"], states[0]["rotation"])


def test_the_coins_of_rounding_are_a_secret_and_independent_of_the_block():
    torch.manual_seed(2)
    rows = torch.randn(4, LENGTH)
    together = encoded(clip(), rows)
    for k in range(4):
        assert torch.equal(encoded(clip(), rows[k : k + 1])[0], together[k])
    assert not torch.equal(encoded(clip(secret=b"t" * 32), rows), together)


@pytest.mark.parametrize(
    ("minimum", "most", "corrupt", "honest"), [(50, 100, 0.1, 40), (5, 10, 0.0, 5), (30, 60, 0.5, 0)]
)
def test_the_honest_clients_of_every_sum(minimum, most, corrupt, honest):
    assert surely_honest(minimum, most, corrupt) == honest


@pytest.mark.parametrize("length", [10, 1000, 100_000])
@pytest.mark.parametrize("most", [10, 1000, 20_000])
def test_words_hold_the_sum_and_its_noise(length, most):
    honest = max(1, most // 3)
    bits, fine = distributed.fitting(length, most, honest, None)
    assert needed(2.0 ** (fine + 1), length, most, honest, distributed.LOUDEST) < 2.0 ** (bits - 1)
    assert distributed.COARSEST <= fine <= distributed.FINEST


def test_a_word_that_is_too_short_is_refused():
    with pytest.raises(errors.BitBudgetError, match="take bits=64"):
        distributed.fitting(10, 3_000_000, 10, 32)


def test_an_event_of_several_sums_is_that_many_events():
    event = Shares(1000.0, 30_000.0, 10, 20, 32).event(2.0, 7)
    assert charges([event]) == ((Skellam(2.0, 1000.0, 30_000.0), 7),)
    assert event_of(named(event)) == event
    with pytest.raises(errors.DamagedFile):
        event_of(named(event) | {"times": 0})


def test_the_noise_of_a_plan_costs_its_epsilon_whatever_takes_part():
    sampling, shares = Sampling("everyone", 40, 40), Shares(2**16 * 1.001, 2**16 * 50.0, 12, 40, 32)
    level = tacit.UserLevel(epsilon=4.0, clip=1.0, mechanism="skellam")
    plan = PrivacyPlan.of(level, sampling, 30, 20, shares)
    spent = plan.spent(30)
    assert spent.epsilon == spent.rdp == pytest.approx(4.0, rel=3e-3) and spent.epsilon <= 4.0
    assert rdp_epsilon(charges([(Skellam(plan.noise, shares.l2, shares.l1), 30)]), plan.delta) == pytest.approx(
        spent.rdp
    )
    assert shares.variance(plan.noise) * 12 == pytest.approx((plan.noise * shares.l2) ** 2)


def test_sampling_is_not_credited_but_rounds_without_a_client_are():
    """A client in few rounds pays for few: that is counting, no amplification."""
    shares = Shares(2**16 * 1.001, 2**16 * 50.0, 12, 40, 32)
    level = tacit.UserLevel(epsilon=4.0, clip=1.0, mechanism="skellam", delta=1e-4)
    everyone = PrivacyPlan.of(level, Sampling("everyone", 40, 40), 30, 20, shares)
    drawn = PrivacyPlan.of(level, Sampling("poisson", 40, 1000, 0.04, 70), 30, 20, shares)
    assert drawn.participations(30) < 15
    assert drawn.noise == pytest.approx(everyone_of(level, shares, drawn.participations(30)).noise, rel=1e-6)
    assert drawn.noise < everyone.noise


def everyone_of(level: tacit.UserLevel, shares: Shares, rounds: int) -> PrivacyPlan:
    return PrivacyPlan.of(level, Sampling("everyone", 1000, 1000), rounds, 20, shares)


def federation(protocol: str = "ideal", seed: int | None = None, count: int = 12, **level: object) -> tacit.Federation:
    torch.manual_seed(0)
    people = {k: (torch.zeros(4, 3), torch.zeros(4, 1)) for k in range(count)}  # nothing to learn: what moves is noise
    model = nn.Linear(3, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    how = tacit.SecureSum(protocol=protocol, minimum=8, corrupt=0.0, dropout=0.2, lost=(0.0, 0.0, 0.05, 0.0, 0.0))
    asked = {"noise_multiplier": 2.0, "clip": 0.25, "insecure_seed": seed} | level
    return tacit.Federation(
        tacit.Task(model, nn.functional.mse_loss),
        tacit.Population.from_arrays(people),
        tacit.FedAvg(SGD),
        workers=1,
        privacy=tacit.UserLevel(mechanism="skellam", **asked),  # type: ignore[arg-type]
        aggregation=how,
    )


@pytest.mark.parametrize("protocol", ["ideal", "full"])
def test_the_noise_of_a_round_is_that_of_its_clients(protocol):
    """Chi-square on all coordinates of 40 rounds: a right one is refused with probability 1e-6."""
    squares, count = 0.0, 0
    made = federation(protocol)
    sums: list[tuple[np.ndarray, int]] = []
    from tacit.rounds.server import Server

    step = Server.step

    def watching(server, total, round):
        values, _ = server.chain.decode(total.total, server.stages)
        sums.append((values.numpy().copy(), len(total.sent)))
        return step(server, total, round)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Server, "step", watching)
        run = made.run(40, progress=False)
    stage = made.chain.stages[-1]
    assert isinstance(stage, ClipDiscrete)
    each = math.sqrt(stage.shares.variance(2.0)) * stage.bounds[0].grid
    assert stage.shares.honest == 8
    for values, sent in sums:
        squares, count = squares + float((values**2).sum()) / (each**2 * sent), count + values.size
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], count)
    assert low < squares < high
    assert {sent for _, sent in sums} <= set(range(8, 13)) and len({sent for _, sent in sums}) > 1
    told = run.facts["privacy"]
    assert told["epsilon"] == told["epsilon_against_server"] == told["epsilon_rdp"] and told["epsilon_pld"] is None


def test_a_private_failure_sends_zeros_and_nobody_learns_of_it():
    for protocol in ("ideal", "full"):
        made = federation(protocol)

        def failing(output, target):
            if (target == 7).any():
                raise ValueError("value 4711")
            return nn.functional.mse_loss(output, target)

        people = {k: (torch.zeros(4, 3), torch.full((4, 1), 7.0 if k == 3 else 0.0)) for k in range(12)}
        torch.manual_seed(0)
        made = tacit.Federation(
            tacit.Task(nn.Linear(3, 1), failing),
            tacit.Population.from_arrays(people),
            tacit.FedAvg(SGD),
            workers=1,
            privacy=tacit.UserLevel(mechanism="skellam", noise_multiplier=2.0, clip=0.25),
            aggregation=tacit.SecureSum(protocol=protocol, minimum=12, corrupt=0.0, dropout=0.0),
        )
        run = made.run(1, progress=False)
        assert "4711" not in str(run.rows) + str(run.facts)
        assert run.rows[0]["set_aside"] is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"loss_bound": 1.0}, "loss_bound is 1.0"),
        ({"clip_quantile": 0.5}, "clip_quantile is 0.5"),
        ({"metrics": ("accuracy",)}, "metrics is"),
    ],
)
def test_other_releases_are_refused(settings, said):
    with pytest.raises(errors.PrivacyError, match=said):
        federation(**settings)


def test_without_a_secure_sum_there_are_no_masks_to_add_noise_under():
    torch.manual_seed(0)
    people = {k: (torch.zeros(4, 3), torch.zeros(4, 1)) for k in range(12)}
    for how in (None, tacit.SharedKeySum()):
        with pytest.raises(errors.PrivacyError, match=r"aggregation=SecureSum\(\)"):
            tacit.Federation(
                tacit.Task(nn.Linear(3, 1), nn.functional.mse_loss),
                tacit.Population.from_arrays(people),
                tacit.FedAvg(SGD),
                privacy=tacit.UserLevel(mechanism="skellam", epsilon=4.0, clip=0.25),
                aggregation=how,
            )


def test_a_sum_in_which_nobody_is_sure_to_be_honest_is_refused():
    torch.manual_seed(0)
    people = {k: (torch.zeros(4, 3), torch.zeros(4, 1)) for k in range(12)}
    with pytest.raises(errors.PrivacyError, match="larger minimum"):
        tacit.Federation(
            tacit.Task(nn.Linear(3, 1), nn.functional.mse_loss),
            tacit.Population.from_arrays(people),
            tacit.FedAvg(SGD),
            privacy=tacit.UserLevel(mechanism="skellam", epsilon=4.0, clip=0.25),
            aggregation=tacit.SecureSum(minimum=5, corrupt=0.45),
        )


def test_the_statement_says_on_whom_it_rests():
    told = federation().run(2, progress=False).facts["privacy"]
    assert (told["mechanism"], told["summed_at_least"], told["honest"]) == ("skellam", 8, 8)
    english, chinese = told["text"]["en"], told["text"]["zh"]
    assert "at least 8 reports" in english and "Nobody is to be trusted with adding the noise" in english
    assert "无需信任任何人来加噪声" in chinese
    assert "TRUSTED AGGREGATOR" not in english


@pytest.mark.parametrize(
    ("how", "by", "said"),
    [
        (None, "server", "it gets every single one"),
        (tacit.SecureSum(), "secure aggregation", "TRUSTED AGGREGATOR"),
        (tacit.SecureSum(insecure_unsigned=True), "secure aggregation (insecure)", "it could invent participants"),
        (tacit.SharedKeySum(), "shared key", "any one participant together with the server can read every report"),
    ],
)
def test_the_statement_says_who_adds_reports_where_the_server_adds_the_noise(how, by, said):
    torch.manual_seed(0)
    people = {k: (torch.zeros(4, 3), torch.zeros(4, 1)) for k in range(12)}
    made = tacit.Federation(
        tacit.Task(nn.Linear(3, 1), nn.functional.mse_loss),
        tacit.Population.from_arrays(people),
        tacit.FedAvg(SGD),
        privacy=tacit.UserLevel(epsilon=4.0, clip=0.25),
        aggregation=how,
    )
    told = made.run(1, progress=False).facts["privacy"]
    assert (told["summed_by"], told["honest"]) == (by, None)
    assert told["summed_at_least"] == (None if how is None else how.fewest(made.selection.sampling(12)))
    assert said in told["text"]["en"] and ("no single one" in told["text"]["en"]) == (by == "secure aggregation")


def test_the_ledger_keeps_what_such_a_run_costs(tmp_path, monkeypatch):
    from tacit.privacy.ledger import Ledger

    monkeypatch.setenv("TACIT_LEDGER", str(tmp_path / "ledger.sqlite"))
    run = federation(noise_multiplier=None, epsilon=5.0).run(3, progress=False)
    with Ledger() as ledger:
        (account,) = ledger.accounts()
        ((event, count),) = account.charges()
    told = run.facts["privacy"]
    assert isinstance(event, Skellam) and count == 3
    assert rdp_epsilon(((event, count),), told["delta"]) == pytest.approx(told["epsilon"])
    again = federation(noise_multiplier=None, epsilon=5.0).run(3, progress=False).facts["privacy"]
    assert again["epsilon_population_total"] > 6.0


@pytest.mark.parametrize("level", ["skellam", "local"])
def test_a_round_that_was_lost_is_charged_once(level, tmp_path, monkeypatch):
    """Cut off between charge and release: the round counts, and later ones do not count it again."""
    from tacit.privacy.guard import Guard
    from tacit.privacy.ledger import Ledger

    monkeypatch.setenv("TACIT_LEDGER", str(tmp_path / "ledger.sqlite"))
    release = Guard.release

    def crashing(guard, round, *others):
        if round == 1:
            raise SystemExit
        return release(guard, round, *others)

    def made() -> tacit.Federation:
        if level == "skellam":
            return federation(noise_multiplier=None, epsilon=5.0)
        torch.manual_seed(0)
        people = {k: (torch.zeros(4, 3), torch.zeros(4, 1)) for k in range(12)}
        task = tacit.Task(nn.Linear(3, 1), nn.functional.mse_loss)
        local = tacit.LocalLevel(noise_multiplier=3.0, clip=0.25)
        return tacit.Federation(task, tacit.Population.from_arrays(people), tacit.FedAvg(SGD), privacy=local, workers=1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Guard, "release", crashing)
        with pytest.raises(SystemExit):
            made().run(4, progress=False, checkpoint=tmp_path / "run", checkpoint_every=1)
    run = made().run(4, progress=False, checkpoint=tmp_path / "run", resume=True)
    told = run.facts["privacy"]
    with Ledger() as ledger:
        (account,) = ledger.accounts()
        charged = sum(count for _, count in account.charges())
    assert told["rounds_lost"] == 1
    assert charged == 5 if level == "local" else charged in (4, 5)
    assert told["participations"] == len(run.rows) + 1


@pytest.mark.parametrize("noise", [100.0, 700.0])
def test_loud_noise_is_drawn_or_refused_before_anything_is_charged(noise, tmp_path, monkeypatch):
    from tacit.privacy.ledger import Ledger

    monkeypatch.setenv("TACIT_LEDGER", str(tmp_path / "ledger.sqlite"))
    try:
        run = federation(noise_multiplier=noise).run(1, progress=False)
        assert run.facts["privacy"]["noise_multiplier"] == noise
    except errors.BitBudgetError as error:
        assert "does not fit words" in str(error) or "more than can be drawn" in str(error)
        with Ledger() as ledger:
            assert not any(account.charges() for account in ledger.accounts())


@pytest.mark.parametrize("name", ["insecure_unsigned", "insecure_honest_server"])
def test_sums_that_trust_the_server_are_no_place_for_noise_against_it(name):
    torch.manual_seed(0)
    people = {k: (torch.zeros(4, 3), torch.zeros(4, 1)) for k in range(12)}
    with pytest.raises(errors.PrivacyError, match=name):
        tacit.Federation(
            tacit.Task(nn.Linear(3, 1), nn.functional.mse_loss),
            tacit.Population.from_arrays(people),
            tacit.FedAvg(SGD),
            privacy=tacit.UserLevel(mechanism="skellam", epsilon=4.0, clip=0.25),
            aggregation=tacit.SecureSum(**{name: True}),
        )
