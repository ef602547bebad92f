"""Runs on a fleet: who counts is decided first, and what is learned is what a real round would have learned."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

import tacit
from tacit.errors import IncompatibleOptions, PrivacyError, RoundFailed, TacitWarning, UsageError
from tacit.fleet import Availability, Deadline, FirstArrivals, Fleet, PartialWork, WaitForAll, lognormal
from tacit.privacy.ledger import Ledger
from tacit.selection.cohort import Cohort, Sampling
from tacit.selection.table import CLIENT_LOSSES, ClientTable

N = 40
HOURS = ("virtual_hours", "asked", "late", "dropped", "left", "unavailable", "given_up")


def people(clients: int = N, examples: int = 12) -> tacit.Population:
    rng = np.random.default_rng(3)
    make = lambda: rng.normal(size=(examples, 6)).astype(np.float32)  # noqa: E731
    return tacit.Population.from_arrays(
        {f"c{k:02d}": (x := make(), (x[:, 0] > 0).astype(np.int64)) for k in range(clients)}
    )


def federation(population=None, **options) -> tacit.Federation:
    torch.manual_seed(0)
    task = tacit.Task(torch.nn.Linear(6, 2), torch.nn.functional.cross_entropy)
    given = {"algorithm": tacit.FedAvg(tacit.SGD(lr=0.1, batch_size=4, epochs=2)), "seed": 5, "workers": 1, **options}
    return tacit.Federation(task, population or people(), given.pop("algorithm"), **given)


def weights(run: tacit.Run) -> list[np.ndarray]:
    return [tensor.numpy() for tensor in run.tensors.values()]


def same(one: tacit.Run, other: tacit.Run) -> bool:
    return all((a == b).all() for a, b in zip(weights(one), weights(other), strict=True))


@dataclass(frozen=True)
class Recorded:
    """Cohorts that were written down, with their budgets."""

    cohorts: list = field(default_factory=list)

    def problems(self, clients):
        return []

    def sampling(self, clients):
        return Sampling("arbitrary", clients, clients)

    def draw(self, clients, seed, round):
        who, budget = self.cohorts[round]
        return Cohort(who, self.sampling(clients), budget)


@dataclass(frozen=True)
class Watched(tacit.Uniform):
    """A uniform draw that writes down what it saw and whom it drew."""

    seen: list = field(default_factory=list, compare=False, repr=False)

    def choose(self, table, seed, round):
        cohort = super().choose(table, seed, round)
        self.seen.append((table, cohort))
        return cohort


def scheduled(closing, **options):
    """A run on a fleet, and who counted in each of its rounds with which budget."""
    from tacit.rounds.schedule import Schedule

    counted = []
    done = Schedule.done

    def noting(self, call, round, *more):
        keep = np.isin(call.cohort.clients, call.reporting)
        budget = call.cohort.budget
        counted.append((call.reporting, None if budget is None else budget[keep]))
        return done(self, call, round, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Schedule, "done", noting)
        run = federation(selection=tacit.Uniform(15), closing=closing, **options).run(6)
    return run, counted


@pytest.mark.parametrize("closing", [WaitForAll(), Deadline(), PartialWork(), FirstArrivals(9)], ids=repr)
def test_a_scheduled_run_learns_what_a_run_of_those_who_count_learns(closing):
    run, counted = scheduled(closing, fleet=lognormal(N, 2, dropout=0.2))
    assert same(run, federation(selection=Recorded(counted)).run(6))


def test_training_everyone_and_discarding_those_who_are_late_gives_the_same_model():
    """By hand: every client's own update from runs of it alone, averaged over those who counted."""
    devices, population = lognormal(N, 4, dropout=0.1), people()
    run, counted = scheduled(Deadline(), fleet=devices)
    model = federation().task.initial()[0].numpy().astype(np.float64)
    for round, (who, _) in enumerate(counted):
        updates = {}
        for client in range(N):  # everyone is trained
            alone = [(np.array([client]), None)] * (round + 1)
            start = dict(federation().task.layout.unpack(torch.tensor(model, dtype=torch.float32)))
            trained = _one_round(population, alone, round, start)
            updates[client] = trained - model.astype(np.float32)
        model = model + np.mean([updates[c] for c in who], axis=0)
    mine = torch.cat([t.flatten() for t in run.tensors.values()]).numpy()
    np.testing.assert_allclose(mine, model, atol=2e-5)


def _one_round(population, cohorts, round, start):
    """The model after `round` alone, with that round's batches."""
    from tacit.rounds.loop import Loop

    one = federation(population, selection=Recorded(cohorts))
    loop = Loop(one, round + 1, None, 1, [], [])
    loop.server.start_from(start)
    loop.rows = [{"round": k + 1} for k in range(round)]
    loop.rounds = round + 1
    run = loop.run("eager", None, 10)
    return torch.cat([t.flatten() for t in run.tensors.values()]).numpy()


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    one, two, other = (
        federation(selection=tacit.Uniform(15), fleet=lognormal(N, 2), closing=PartialWork(), seed=seed).run(4)
        for seed in (5, 5, 6)
    )
    told = [[row[name] for name in HOURS] for row in one.rows]
    assert told == [[row[name] for name in HOURS] for row in two.rows] and same(one, two)
    assert one.facts["fleet"] == two.facts["fleet"]
    assert told != [[row[name] for name in HOURS] for row in other.rows]


def test_a_run_that_was_cut_off_goes_on_to_the_same_end(tmp_path):
    options = {"selection": tacit.Uniform(15), "fleet": lognormal(N, 2), "closing": Deadline(quantile=0.7, pace=0.3)}
    whole = federation(**options).run(7)
    federation(**options).run(4, checkpoint=tmp_path, checkpoint_every=2)
    resumed = federation(**options).run(7, checkpoint=tmp_path, resume=True)
    assert same(whole, resumed) and whole.facts["fleet"] == resumed.facts["fleet"]
    assert [row["virtual_hours"] for row in whole.rows] == [row["virtual_hours"] for row in resumed.rows]


def test_another_fleet_is_another_run(tmp_path):
    federation(fleet=lognormal(N, 2)).run(1, checkpoint=tmp_path)
    with pytest.raises(UsageError, match="fleet was"):
        federation(fleet=lognormal(N, 3)).run(2, checkpoint=tmp_path, resume=True)


def coming_and_going(seed: int = 0) -> Fleet:
    """Each device is there for a third of every hour."""
    rng = np.random.default_rng(seed)
    starts = rng.uniform(0, 2400, N)
    there = Availability.of_intervals(N, np.arange(N), starts, starts + 1200, 3600.0)
    return Fleet.of(np.exp(rng.normal(size=N)), availability=there)


def test_only_those_who_are_there_are_asked():
    watched, devices = Watched(8), coming_and_going()
    federation(selection=watched, fleet=devices, closing=Deadline(600.0), minimum=0.0).run(12)
    assert len(watched.seen) >= 12
    for table, cohort in watched.seen:
        assert (table.pool == devices.availability.available(None, table.now)).all()
        assert table.pool[cohort.clients].all() and len(cohort.clients) == min(8, table.pool.sum())


def test_what_a_selection_knows_is_what_happened():
    watched = Watched(15)
    run = federation(selection=watched, fleet=lognormal(N, 2, dropout=0.3), closing=WaitForAll()).run(5)
    table = watched.seen[-1][0]
    assert table.asked.sum() == 5 * 15 and table.counted.sum() == sum(row["clients"] for row in run.rows)
    assert table.dropout == pytest.approx(1 - table.counted.sum() / 75)
    assert (table.last[watched.seen[-1][1].clients] == 4).all()
    assert np.isnan(table.loss).all()  # nobody asked for losses


def test_rounds_that_wait_for_all_last_as_long_as_their_slowest_client():
    devices = Fleet.of(np.linspace(0.1, 4.0, N), down=1e9, up=1e9)
    run = federation(fleet=devices, closing=WaitForAll()).run(3)
    slowest = 12 * 2 * 4.0
    assert [row["virtual_hours"] * 3600 for row in run.rows] == pytest.approx(
        [slowest, 2 * slowest, 3 * slowest], abs=1e-3
    )


def test_a_deadline_lies_at_its_quantile_of_the_devices():
    devices = Fleet.of(np.linspace(1.0, 2.0, N), down=1e12, up=1e12)
    run = federation(fleet=devices, closing=Deadline(quantile=0.5)).run(1)
    assert run.facts["fleet"]["limit_seconds"] == pytest.approx(12 * 2 * 1.5)
    assert run.rows[0]["clients"] == N // 2 and run.rows[0]["late"] == N // 2


def test_a_paced_deadline_finds_its_quantile_from_who_was_in_time():
    """It begins too short, for what is known of the devices is wrong: most transfers take longer than in the median."""
    rng = np.random.default_rng(1)
    devices = Fleet.of(np.exp(rng.normal(size=N)), jitter=0.8, down=1e3, up=1e3)
    paced = federation(fleet=devices, closing=Deadline(quantile=0.9, pace=0.5), minimum=0.0).run(60)
    share = np.mean([row["clients"] / N for row in paced.rows[-30:]])
    assert share == pytest.approx(0.9, abs=0.04)


def test_partial_work_lets_slow_devices_do_what_fits():
    devices = Fleet.of([1.0] * (N - 1) + [3.0], down=1e12, up=1e12)
    run, counted = scheduled(PartialWork(24.5), fleet=devices)
    for who, budget in counted:
        assert len(who) == 15
        if N - 1 in who:
            assert budget[who == N - 1].tolist() == [2]  # 24 seconds are 8 examples, 4 in a step
    assert any(N - 1 in who for who, _ in counted) and run.facts["fleet"]["failures"]["late"] == 0


@pytest.mark.parametrize("aggregation", [None, tacit.SecureSum(), tacit.SecureSum(protocol="full")], ids=str)
def test_secure_sums_on_a_fleet_are_those_of_the_clients_who_are_done(aggregation):
    plain = federation(selection=tacit.Uniform(15), fleet=lognormal(N, 2, dropout=0.2), closing=Deadline()).run(2)
    secure = federation(
        selection=tacit.Uniform(15), fleet=lognormal(N, 2, dropout=0.2), closing=Deadline(), aggregation=aggregation
    ).run(2)
    assert [row["clients"] for row in plain.rows] == [row["clients"] for row in secure.rows]
    for one, other in zip(weights(plain), weights(secure), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_a_fleet_in_which_nobody_is_ever_there_fails_with_its_reason():
    never = Availability.of_intervals(N, [], [], [], 3600.0)
    with pytest.raises(RoundFailed, match="round 1: no device of the fleet is ever there"):
        federation(fleet=Fleet.of(np.ones(N), availability=never)).run(1)


def test_a_night_in_which_nobody_is_there_passes():
    day = Availability.of_intervals(N, np.arange(N), np.full(N, 30000.0), np.full(N, 60000.0), 86400.0)
    run = federation(fleet=Fleet.of(np.ones(N), availability=day), closing=WaitForAll()).run(1)
    assert run.rows[0]["clients"] == N and run.rows[0]["virtual_hours"] > 30000 / 3600


def test_a_round_begins_when_enough_devices_are_there():
    """A dozen at first; from 2400 seconds on, all."""
    at = np.where(np.arange(N) < 12, 0.0, 2400.0)
    fleet = Fleet.of(
        np.ones(N), availability=Availability.of_intervals(N, np.arange(N), at, np.full(N, 7200.0), 7200.0)
    )
    few = federation(fleet=fleet, selection=tacit.Uniform(10), closing=WaitForAll()).run(1)
    many = federation(fleet=fleet, selection=tacit.Uniform(20), closing=WaitForAll()).run(1)
    assert few.rows[0]["virtual_hours"] * 3600 == pytest.approx(24, abs=0.01) and few.rows[0]["clients"] == 10
    assert many.rows[0]["virtual_hours"] * 3600 == pytest.approx(2400 + 24, abs=0.01) and many.rows[0]["clients"] == 20


def test_a_cohort_that_is_never_there_at_once_is_as_large_as_it_gets():
    half = np.where(np.arange(N) < 25, 0.0, 3600.0)
    fleet = Fleet.of(np.ones(N), availability=Availability.of_intervals(N, np.arange(N), half, half + 1800, 7200.0))
    run = federation(fleet=fleet, selection=tacit.Uniform(30), closing=WaitForAll()).run(1)
    assert run.rows[0]["clients"] == 25


def test_clients_may_be_waited_for():
    half = np.where(np.arange(N) < 25, 0.0, 3600.0)
    fleet = Fleet.of(np.ones(N), availability=Availability.of_intervals(N, np.arange(N), half, half + 1800, 7200.0))
    run = federation(fleet=fleet, closing=WaitForAll(patience=7200.0)).run(1)
    assert run.rows[0]["clients"] == N and run.rows[0]["virtual_hours"] * 3600 == pytest.approx(3624, abs=0.01)
    limited = federation(fleet=fleet, closing=PartialWork(quantile=0.5, patience=7200.0)).run(1)
    assert limited.facts["fleet"]["limit_seconds"] == pytest.approx(7224, abs=0.01) and limited.rows[0]["clients"] == N


def test_a_deadline_that_nobody_meets_is_tried_again_and_then_fails_with_its_reason():
    with warnings.catch_warnings(record=True) as told, pytest.raises(RoundFailed) as error:
        warnings.simplefilter("always")
        federation(fleet=Fleet.of(np.full(N, 5.0)), closing=Deadline(1.0)).run(1)
    assert "0 of 40 clients would report, and 20 are needed (minimum=0.5): 40 late" in str(error.value)
    assert sum("Given up, and tried again" in str(one.message) for one in told) == 9


def leaving() -> Fleet:
    """All are there for three seconds, in which nobody can be done, and again from 200 seconds on; every two hours."""
    who = np.repeat(np.arange(N), 2)
    on, off = np.tile([0.0, 200.0], N), np.tile([3.0, 7200.0], N)
    return Fleet.of(np.ones(N), availability=Availability.of_intervals(N, who, on, off, 7201.0))


def test_a_round_that_is_given_up_costs_time_and_nothing_else():
    with pytest.warns(TacitWarning, match="40 left. Given up, and tried again 5 minutes"):
        run = federation(fleet=leaving(), closing=WaitForAll(), aggregation=tacit.SecureSum(minimum=10)).run(1)
    books = run.facts["fleet"]
    assert run.rows[0]["given_up"] == 1 and run.rows[0]["clients"] == N
    assert books["rounds_abandoned"] == {"too few reports": 1}
    assert books["wasted_fraction"] == pytest.approx(3 / 27, rel=1e-2) and books["failures"]["left"] == N
    assert run.rows[0]["virtual_hours"] * 3600 == pytest.approx(3 + 300 + 24, abs=0.1)


def test_nothing_is_charged_for_a_round_that_is_given_up():
    private = federation(
        selection=tacit.Uniform(20),
        fleet=leaving(),
        closing=Deadline(300.0),
        aggregation=tacit.SecureSum(minimum=5),
        privacy=tacit.UserLevel(noise_multiplier=1.0, clip=1.0, delta=1e-3),
    )
    with pytest.warns(TacitWarning, match="Given up"):
        run = private.run(3)
    ledger = Ledger()
    kinds = [entry.kind for entry in ledger.account(private.given.name, "user").entries()]
    ledger.close()
    assert run.facts["fleet"]["rounds_abandoned"], "the rehearsal gives none up"
    assert kinds.count("reserve") == kinds.count("commit") == 3


def test_a_private_run_hides_what_follows_from_who_took_part_and_rounds_of_a_fixed_length_do_not():
    options = {
        "selection": tacit.Poisson(20),
        "fleet": lognormal(N, 2),
        "privacy": tacit.UserLevel(4.0, clip=1.0, delta=1e-3),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fixed = federation(closing=Deadline(50.0), **options).run(2)
        waiting = federation(closing=WaitForAll(), **options).run(2)
    assert [row["virtual_hours"] * 3600 for row in fixed.rows] == [50.0, 100.0]
    for row in waiting.rows:
        assert all(row[name] is None for name in HOURS)
    assert all(row[name] is None for row in fixed.rows for name in HOURS[1:])


@pytest.mark.parametrize(
    ("selection", "closing", "there", "kind"),
    [
        (tacit.Poisson(20), PartialWork(), True, "poisson"),
        (tacit.Poisson(20), PartialWork(), False, "poisson"),
        (tacit.Uniform(20), Deadline(), True, "uniform"),
        (tacit.Uniform(20), Deadline(), False, "arbitrary"),
        (tacit.Poisson(20), FirstArrivals(10), True, "arbitrary"),
        (tacit.Uniform(20), FirstArrivals(10), True, "arbitrary"),
        (tacit.Poisson(20), Deadline(quantile=0.8, pace=0.1), True, "arbitrary"),
        (tacit.Poisson(20), tacit.fleet.FedBuff(8, 4), True, "arbitrary"),
    ],
    ids=repr,
)
def test_chance_is_claimed_only_where_devices_do_not_decide(selection, closing, there, kind):
    fleet = lognormal(N, 2) if there else coming_and_going()
    claimed = federation(selection=selection, fleet=fleet, closing=closing).sampling
    assert claimed.kind == kind
    private = federation(
        selection=selection,
        fleet=fleet,
        closing=closing,
        privacy=tacit.UserLevel(noise_multiplier=1.0, clip=1.0, delta=1e-3),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = private.run(1).facts["privacy"]
    assert (told["sampling"]["kind"] == "everyone" or kind in str(told["sampling"])) or kind == "arbitrary"


def test_losses_of_single_clients_are_told_only_to_a_selection_that_asks_and_never_in_a_private_run():
    @dataclass(frozen=True)
    class Asking(Watched):
        @property
        def uses(self):
            return (CLIENT_LOSSES,)

        def sampling(self, clients):
            return Sampling("arbitrary", self.cohort, clients)

    asking = Asking(15)
    run = federation(selection=asking, fleet=lognormal(N, 2, dropout=0.3), closing=WaitForAll()).run(4)
    table: ClientTable = asking.seen[-1][0]
    known = table.counted > 0
    assert np.isfinite(table.loss[known]).all() and np.isnan(table.loss[~known]).all()
    last = table.loss_round == 3
    assert table.loss[last].mean() == pytest.approx(run.rows[-1]["loss"], rel=1e-5)
    with pytest.raises(PrivacyError, match="asks each client for its loss"):
        federation(selection=asking, privacy=tacit.UserLevel(4.0, clip=1.0))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"fleet": lognormal(N + 1, 0)}, "41 devices, and the population 40 clients"),
        ({"fleet": 3}, "fleet is a int"),
        ({"closing": PartialWork()}, "no time without devices"),
        ({"fleet": lognormal(N, 0), "closing": 3}, "closing is 3"),
        ({"fleet": lognormal(N, 0), "closing": Deadline(5.0, 0.5)}, "both given"),
        ({"fleet": Fleet.of(np.ones(2), names=["c00", "x"])}, "no device for the clients"),
    ],
)
def test_devices_that_do_not_fit_are_refused_before_anything_is_computed(options, match):
    with pytest.raises(UsageError, match=match):
        federation(**options)


def test_devices_with_names_belong_to_the_clients_of_those_names():
    names = [f"c{k:02d}" for k in reversed(range(N))]
    devices = Fleet.of(np.arange(1.0, N + 1), names=names)
    assert federation(fleet=devices).fleet.seconds.tolist() == list(range(N, 0, -1))
    with pytest.raises(IncompatibleOptions):
        federation(fleet=devices, closing=tacit.fleet.FedBuff(buffer=N + 1))


def test_the_books_of_a_private_run_are_those_of_a_rehearsal():
    """Nothing in them follows from the coins of the run: two runs, each with secret coins of its own, have the same."""
    options = {
        "selection": tacit.Poisson(20),
        "fleet": lognormal(N, 2),
        "privacy": tacit.UserLevel(4.0, clip=1.0, delta=1e-3),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, two = (federation(closing=Deadline(), **options).run(4) for _ in range(2))
    assert not same(one, two), "the noise is the same"
    assert one.facts["fleet"] == two.facts["fleet"] and one.facts["fleet"]["rehearsed"]
    assert sum(one.facts["fleet"]["participation_by_tier"]) == pytest.approx(1.0)
