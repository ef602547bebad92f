"""What a fresh reader found that did not hold on a fleet, each as the reader showed it."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
import torch

import tacit
from tacit import fleet
from tacit.errors import RoundFailed, SamplerMismatch, UsageError
from tacit.fleet import (
    Availability,
    ByTier,
    Deadline,
    FedBuff,
    FirstArrivals,
    Fleet,
    PartialWork,
    WaitForAll,
    lognormal,
)
from tacit.privacy.guard import Guard
from tacit.selection.cohort import Cohort, Sampling
from tacit.selection.eligible import Eligible
from tacit.selection.overselected import OverSelected
from tacit.selection.spaced import Spaced
from tests.rounds.test_differing import Net, nets
from tests.rounds.test_schedule import Recorded, federation

LEVEL = tacit.UserLevel(noise_multiplier=1.0, clip=1.0, delta=1e-3)


def of_sizes(sizes) -> tacit.Population:
    rng = np.random.default_rng(0)
    data = {
        f"c{k:03d}": (rng.normal(size=(n, 6)).astype(np.float32), rng.integers(0, 2, n)) for k, n in enumerate(sizes)
    }
    return tacit.Population.from_arrays(data)


def sums(rounds: int, **options) -> tuple[list[list[int]], tacit.Run]:
    """Who was in each released sum of a private run, and the run."""
    seen, release = [], Guard.release

    def noting(self, round, total, entry, clients, memory, cohort):
        seen.append(cohort.tolist())
        return release(self, round, total, entry, clients, memory, cohort)

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(Guard, "release", noting)
        run = federation(**{"privacy": LEVEL, **options}).run(rounds)
    return seen, run


@pytest.mark.parametrize(
    "closing", [Deadline(quantile=0.5), PartialWork(), FirstArrivals(20), FedBuff(30, 10), Deadline(15.0)]
)
def test_the_examples_of_one_client_decide_on_nobody_elses_report(closing):
    devices = Fleet.of(np.ones(100), down=1e12, up=1e12)
    found = []
    for own in (10, 20):
        population = of_sizes([own] + [10] * 49 + [20] * 50)
        level = dataclasses.replace(LEVEL, insecure_seed=1)  # the same coins in both runs
        options = {"selection": tacit.Everyone(), "fleet": devices, "closing": closing, "privacy": level}
        cohorts, run = sums(3, population=population, **options)
        found.append(([[c for c in cohort if c] for cohort in cohorts], run.facts["fleet"]))
    assert found[0] == found[1]


def test_a_private_round_in_which_nobody_reports_is_released_as_noise():
    """It was drawn anew before, until client 99, who alone reports, was in it."""
    failing = np.ones(100)
    failing[99] = 0
    devices = dataclasses.replace(lognormal(100, 1), dropout=failing)
    population = of_sizes([8] * 100)
    cohorts, _ = sums(60, population=population, selection=tacit.Poisson(30), fleet=devices, closing=Deadline(1e6))
    taken = sum(99 in cohort for cohort in cohorts)
    assert 5 <= taken <= 33  # 60 rounds at rate 0.3: 18 on average, a right sampler leaves this with chance 1e-4


def test_a_private_cohort_that_is_too_small_for_a_secure_sum_is_not_drawn_anew():
    devices = dataclasses.replace(lognormal(40, 1), dropout=np.full(40, 0.9))
    options = {
        "selection": tacit.Poisson(20),
        "fleet": devices,
        "aggregation": tacit.SecureSum(minimum=8),
        "privacy": LEVEL,
    }
    with warnings.catch_warnings(record=True) as told, pytest.raises(RoundFailed) as error:
        warnings.simplefilter("always")
        federation(closing=Deadline(1e6), **options).run(1)
    assert "how many is hidden" in str(error.value) and not any("Given up" in str(one.message) for one in told)


def test_time_that_follows_from_secret_coins_takes_the_claim_away():
    """Some devices are there by day only, and a round that waits for a slow client lasts until the night."""
    on = np.where(np.arange(40) < 36, 43200.0, 86400.0)
    there = Availability.of_intervals(40, np.arange(40), np.zeros(40), on, 86400.0)
    devices = Fleet.of(np.ones(40), availability=there)
    for closing, kind in ((WaitForAll(), "arbitrary"), (Deadline(np.inf), "arbitrary"), (Deadline(60.0), "poisson")):
        assert federation(selection=tacit.Poisson(20), fleet=devices, closing=closing).sampling.kind == kind
    assert (
        federation(selection=tacit.Poisson(20), fleet=lognormal(40, 1), closing=WaitForAll()).sampling.kind == "poisson"
    )


@dataclasses.dataclass(frozen=True)
class Mine:
    """Says that it throws coins, and takes the first ones."""

    taken: int = 5

    def problems(self, clients):
        return []

    def sampling(self, clients):
        return tacit.Poisson(5.0).sampling(clients)

    def draw(self, clients, seed, round):
        return Cohort(np.arange(self.taken), self.sampling(clients))


@pytest.mark.parametrize("rule", [Mine(), Eligible(Mine()), Eligible(Eligible(Mine()))])
def test_chance_is_believed_of_tacits_own_selections_only_whatever_is_around_them(rule):
    with pytest.raises(SamplerMismatch, match="says that it draws cohorts by chance"):
        federation(selection=rule, fleet=lognormal(40, 1), privacy=LEVEL)


def test_a_closing_of_ones_own_takes_the_claim_away():
    class Fastest(WaitForAll):
        def close(self, arrival, settled, start):
            counted = np.zeros(len(arrival), bool)
            counted[np.argsort(arrival)[:5]] = True
            return float(np.sort(arrival)[:5].max(initial=start)), counted & np.isfinite(arrival)

    assert (
        federation(selection=tacit.Poisson(20), fleet=lognormal(40, 1), closing=Fastest()).sampling.kind == "arbitrary"
    )


@pytest.mark.parametrize("level", [None, LEVEL])
def test_buffers_are_filled_though_coins_often_draw_nobody(level):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(3):
            run = federation(
                selection=tacit.Poisson(1.0), fleet=lognormal(40, 2), closing=FedBuff(4, 2), privacy=level, seed=seed
            ).run(8)
            assert len(run.rows) == 8 and run.facts["fleet"] is not None


def test_a_sum_of_more_clients_than_its_words_have_room_for_is_refused():
    class Many(Mine):
        def sampling(self, clients):
            return Sampling("arbitrary", 5, clients)

    with pytest.raises(SamplerMismatch, match=r"30 clients are to be in one sum.*declares 5 at most"):
        federation(selection=Many(30), aggregation=tacit.SecureSum(minimum=3)).run(1)


def test_which_model_was_trained_needs_room_on_the_grid():
    with pytest.raises(UsageError, match=r"state a range from 1"):
        nets(by_tier=ByTier(width=(1.0, 0.5)), aggregation=tacit.SecureSum(range=0.5))


def test_layers_that_are_packed_into_one_parameter_are_not_cut():
    class Recurrent(torch.nn.Module):
        def __init__(self, hidden):
            super().__init__()
            self.inner, self.outer = torch.nn.LSTM(6, hidden, batch_first=True), torch.nn.Linear(hidden, 2)

        def forward(self, x):
            return self.outer(self.inner(x[:, None])[0][:, -1])

    with pytest.raises(UsageError, match="hold several layers in one parameter"):
        tacit.Federation(
            tacit.Task(
                Recurrent(8), torch.nn.functional.cross_entropy, narrowed=lambda width: Recurrent(int(8 * width))
            ),
            of_sizes([8] * 40),
            tacit.FedAvg(tacit.SGD(lr=0.1)),
            fleet=lognormal(40, 1),
            by_tier=ByTier(width=(1.0, 0.5)),
        )


@pytest.mark.parametrize("method", [tacit.FedAvgM, tacit.FedAdam])
def test_no_momentum_of_the_server_moves_what_nobody_has(method):
    both, weak = np.arange(40), np.arange(20, 40)
    options = {"by_tier": ByTier(width=(1.0, 0.5)), "algorithm": method(tacit.SGD(lr=0.5))}
    one = nets(selection=Recorded([(both, None)]), **options).run(1)
    two = nets(selection=Recorded([(both, None), (weak, None)]), **options).run(2)
    assert torch.equal(one.tensors["inner.weight"][2:], two.tensors["inner.weight"][2:])
    assert not torch.equal(one.tensors["inner.weight"][:2], two.tensors["inner.weight"][:2])
    assert Net(4)


def test_spaced_coins_are_tossed_anew_when_a_round_is_tried_again():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(3):
            run = federation(
                selection=Spaced(tacit.Poisson(8), gap=3),
                fleet=lognormal(40, 1, dropout=0.5),
                closing=Deadline(1e6),
                seed=seed,
            ).run(4)
            assert len(run.rows) == 4


def test_turns_wait_for_those_whose_turn_it_is():
    """Half of the devices are there in the first half of an hour, the others in the second."""
    half = np.where(np.arange(40) % 2, 0.0, 1800.0)
    there = Availability.of_intervals(40, np.arange(40), half, half + 1800, 3600.0)
    run = federation(selection=tacit.Separated(10), fleet=Fleet.of(np.ones(40), availability=there), minimum=0.1).run(6)
    assert all(row["clients"] >= 1 for row in run.rows)


@pytest.mark.parametrize("rule", [tacit.Separated(10), tacit.PowerOfChoice(5, 10)])
def test_rules_that_need_rounds_are_refused_where_there_are_none(rule):
    with pytest.raises(UsageError, match="at any time"):
        federation(selection=rule, fleet=lognormal(40, 1), closing=FedBuff(10, 4))


def test_a_sum_that_was_found_stored_is_no_failure_of_its_clients(tmp_path, monkeypatch):
    options = {
        "selection": OverSelected(20),
        "fleet": lognormal(40, 1, dropout=0.0),
        "closing": WaitForAll(),
        "privacy": LEVEL,
    }
    from tacit.rounds.loop import Server

    step = Server.step

    def crashing(self, total, round):
        if round == 3:
            raise KeyboardInterrupt
        return step(self, total, round)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with monkeypatch.context() as patch:
            patch.setattr(Server, "step", crashing)
            with pytest.raises(KeyboardInterrupt):
                federation(**options).run(6, checkpoint=tmp_path, checkpoint_every=1)
        from tacit.rounds.schedule import Schedule

        tables, done = [], Schedule.done

        def noting(self, *more):
            tables.append(self.table.dropout)
            return done(self, *more)

        monkeypatch.setattr(Schedule, "done", noting)
        federation(**options).run(6, checkpoint=tmp_path, resume=True)
    assert max(tables) < 0.2  # 20 of the 22 that were asked count


def test_no_longer_is_waited_than_a_round_lasts():
    at = np.where(np.arange(40) < 20, 0.0, 3600.0)
    there = Availability.of_intervals(40, np.arange(40), at, np.full(40, 7200.0), 86400.0)
    run = federation(fleet=Fleet.of(np.ones(40), availability=there), closing=Deadline(60.0, patience=7200.0)).run(1)
    assert run.rows[0]["unavailable"] == 0 and run.rows[0]["asked"] == 20


def test_what_a_selection_uses_is_told():
    uses = federation(selection=tacit.Oort(10)).run(1).facts["selection_uses"]
    assert sorted(uses) == ["client losses", "participation", "system"]
    assert fleet.FedBuff and federation().run(1).facts["selection_uses"] == []


@pytest.mark.parametrize("devices", [None, lognormal(40, 1)], ids=["without a fleet", "fleet"])
@pytest.mark.parametrize("crash", [0, 1, 2, 4])
def test_a_record_private_run_with_memory_goes_on_with_the_memory_that_it_had(tmp_path, monkeypatch, crash, devices):
    from tacit.rounds.server import Server

    options = {
        "population": of_sizes([12] * 40),
        "selection": tacit.Uniform(15),
        "fleet": devices,
        "algorithm": tacit.Scaffold(tacit.SGD(lr=0.1, batch_size=4, epochs=1)),
        "record_privacy": tacit.RecordLevel(epsilon=50.0, clip=1.0, insecure_seed=1),
    }
    step = Server.step

    def crashing(self, total, round):
        if round == crash:
            raise KeyboardInterrupt
        return step(self, total, round)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = federation(**options).run(6)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Server, "step", crashing)
            federation(**options).run(6, checkpoint=tmp_path, checkpoint_every=1)
        resumed = federation(**options).run(6, checkpoint=tmp_path, resume=True)
    assert all(torch.equal(whole.tensors[name], resumed.tensors[name]) for name in whole.tensors)


def test_a_little_patience_is_no_worse_than_none():
    """All are there from the second hour on."""
    on = Availability.of_intervals(40, np.arange(40), np.full(40, 7200.0), np.full(40, 80000.0), 86400.0)
    devices = Fleet.of(np.ones(40), availability=on)
    for patience in (0.0, 60.0):
        cohorts, _ = sums(2, selection=tacit.Poisson(20), fleet=devices, closing=Deadline(600.0, patience=patience))
        assert all(len(cohort) > 5 for cohort in cohorts)


def test_clients_that_are_lost_in_a_secure_sum_are_no_reports_in_the_books():
    run = federation(
        selection=tacit.Uniform(30),
        fleet=lognormal(40, 1, dropout=0.0),
        aggregation=tacit.SecureSum(lost=0.02, dropout=0.3),
    ).run(4)
    lost = sum(row["lost"] for row in run.rows)
    books = run.facts["fleet"]
    assert lost > 0 and books["failures"]["dropped"] == sum(30 - row["clients"] for row in run.rows)
    assert books["wasted_fraction"] > 0


def test_virtual_hours_are_the_same_in_the_history_and_in_the_books():
    half = np.where(np.arange(40) % 2, 1000.0, 1800.0)
    there = Availability.of_intervals(40, np.arange(40), half, half + 1800, 7200.0)
    run = federation(fleet=Fleet.of(np.ones(40), availability=there), selection=tacit.Uniform(10)).run(3)
    assert run.facts["fleet"]["virtual_hours"] == pytest.approx(run.rows[-1]["virtual_hours"])


def test_a_pool_that_nobody_meets_is_said_at_once():
    with pytest.raises(RoundFailed, match=r"at no time of the day is a device there that Eligible"):
        federation(selection=Eligible(tacit.Uniform(5), memory=1e9), fleet=lognormal(40, 1)).run(1)


def test_the_quantile_of_partial_work_counts_the_margin_that_clients_leave_for_their_transfers():
    """All take the same time, and one step is all of their work: without the margin nobody could do it in time."""
    devices = Fleet.of(np.ones(40), up=10.0, jitter=0.4)
    run = federation(fleet=devices, closing=PartialWork(), algorithm=tacit.FedAvg(tacit.SGD(lr=0.1))).run(3)
    assert sum(row["late"] for row in run.rows) <= 20  # about 2.3 % of uploads, and as many downloads, take longer
