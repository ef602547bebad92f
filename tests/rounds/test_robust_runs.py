"""Robust rules in whole runs: alone, on random groups, and on the sums that secure aggregation gives of these."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tacit
from tacit.errors import IncompatibleOptions, RoundFailed, UsageError
from tacit.plan import build, read, written
from tacit.rounds.grouping import Grouping
from tacit.scenarios.scenario import scenario
from tests.faults.scenes import SOLVER, clean, federation, model, quietly, weights

RULES = (tacit.Median(), tacit.TrimmedMean(0.2), tacit.GeometricMedian(), tacit.Krum(0.1), tacit.Krum(0.1, keep=3))
SECURE = tacit.SecureSum(minimum=3)


def many(clients):
    """{id: (x, y)} of clients with 4 to 8 examples, who agree on what is to be learned."""
    rng, found = np.random.default_rng(0), {}
    for k in range(clients):
        x = rng.normal(size=(4 + k % 5, 3)).astype(np.float32)
        found[f"c{k:02d}"] = (x, x.sum(axis=1, keepdims=True).astype(np.float32))
    return found


def trained(data, rounds=2, **options):
    return weights(federation(data, **options).run(rounds, progress=False))


def updates(data):
    """What every client's local run changes in the first round."""
    before = torch.cat([t.detach().flatten() for t in model().state_dict().values()])
    return before, torch.stack([trained({name: own}, 1) - before for name, own in data.items()]).double()


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_the_server_steps_by_what_the_rule_makes_of_every_clients_update(rule):
    before, rows = updates(many(11))
    expected = before + rule.combine(rows)
    assert torch.allclose(trained(many(11), 1, robust=rule).double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_one_false_client_moves_the_mean_as_far_as_it_likes_and_no_rule(rule):
    data, false = many(11), many(11)
    false["c03"] = (false["c03"][0], 1e5 * false["c03"][1])

    def moved(robust):
        honest, poisoned = (trained(one, 3, robust=robust) for one in (data, false))
        return float((honest - poisoned).norm())

    assert moved(None) > 100
    assert moved(rule) < 1


def test_the_rule_acts_on_the_weighted_means_of_random_groups():
    data, rule = many(10), tacit.Median(groups=3)
    before, rows = updates(data)
    sizes = torch.tensor([len(y) for _, y in data.values()], dtype=torch.float64)
    grouping = Grouping(rule, federation(data).chain, 0)
    means = [
        (rows[g] * sizes[g, None]).sum(dim=0) / sizes[g].sum()
        for g in map(torch.from_numpy, grouping.split(np.arange(10), 0))
    ]
    expected = before + rule.combine(torch.stack(means))
    assert torch.allclose(trained(data, 1, robust=rule).double(), expected, rtol=0, atol=1e-6)


@given(st.integers(1, 60), st.integers(3, 12), st.integers(0, 5))
def test_groups_share_out_the_cohort_evenly_and_anew_in_every_round(clients, groups, round):
    grouping = Grouping(tacit.Median(groups=groups), federation(clean()).chain, 7)
    cohort = 3 * np.arange(clients)
    found = grouping.split(cohort, round)
    assert sorted(np.concatenate(found)) == cohort.tolist()
    assert max(map(len, found)) - min(map(len, found)) <= 1 and len(found) == min(groups, clients)
    assert all((np.diff(group) > 0).all() for group in found)
    if clients >= 20:
        assert [g.tolist() for g in found] != [g.tolist() for g in grouping.split(cohort, round + 1)]


@pytest.mark.parametrize("lost", [(), (0.02,) * 5])
def test_groups_of_the_whole_protocol_give_the_bits_of_the_ideal_ones(lost):
    def run(protocol):
        secure = tacit.SecureSum(minimum=3, protocol=protocol, lost=lost)
        return federation(many(24), robust=tacit.Median(groups=3), aggregation=secure).run(3, progress=False)

    ideal, full = run("ideal"), run("full")
    assert torch.equal(weights(ideal), weights(full))
    assert ideal.history["clients"].tolist() == full.history["clients"].tolist()
    assert ideal.history["lost"].tolist() == full.history["lost"].tolist()
    assert bool(lost) == (ideal.history["lost"].sum() > 0)


def test_groups_under_secure_aggregation_are_those_without_it_but_for_the_grid():
    plain, secure = (trained(many(12), robust=tacit.Median(groups=4), aggregation=how) for how in (None, SECURE))
    assert torch.allclose(plain, secure, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("rule", "secure"),
    [(tacit.Median(), None), (tacit.TrimmedMean(groups=5), None), (tacit.Krum(0.1, keep=2, groups=5), SECURE)],
)
def test_workers_and_venues_change_no_bit(rule, secure):
    runs = [
        federation(many(16), robust=rule, aggregation=secure, workers=workers).run(2, progress=False)
        for workers in (1, 3)
    ]
    assert [run.facts["venue"] for run in runs] == ["threads", "processes"]
    assert torch.equal(*map(weights, runs))


def test_loss_examples_and_clients_stay_those_of_all_groups():
    plain, robust = (federation(many(9), robust=rule).run(1, progress=False) for rule in (None, tacit.Median()))
    for column in ("clients", "examples", "set_aside"):
        assert plain.history[column].tolist() == robust.history[column].tolist()
    assert robust.history["loss"][0] == pytest.approx(plain.history["loss"][0], rel=1e-6)
    assert (plain.facts["robust"], robust.facts["robust"]) == (None, "Median(groups=None)")


def test_buffers_go_through_the_rule_too():
    false = many(9)
    false["c02"] = (1e3 * false["c02"][0], false["c02"][1])

    def mean(robust):
        net = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))
        run = federation(false, tacit.FedAvg(tacit.SGD(lr=0.01)), net=net, robust=robust).run(1, progress=False)
        return float(run.tensors["0.running_mean"].abs().max())

    assert mean(None) > 10 * mean(tacit.Median())


def test_a_client_that_is_set_aside_is_no_row():
    data = many(9)
    data["c04"] = (np.full_like(data["c04"][0], 1e30), data["c04"][1])
    left = {name: own for name, own in data.items() if name != "c04"}
    found = quietly(federation(data, robust=tacit.Median()), 1)
    assert torch.allclose(weights(found), trained(left, 1, robust=tacit.Median()), rtol=0, atol=1e-7)


def test_too_few_rows_that_are_left_fail_the_round_with_the_reason():
    data = many(5)
    for name in ("c00", "c01", "c02"):
        data[name] = (np.full_like(data[name][0], 1e30), data[name][1])
    with pytest.raises(RoundFailed, match=r"round 1: 2 reports were counted.*at least 3 rows"):
        quietly(federation(data, robust=tacit.Median(), minimum=0.1), 1)


def test_a_group_that_loses_too_many_clients_is_one_row_less():
    secure = tacit.SecureSum(minimum=4, lost=(0.0, 0.0, 0.03, 0.0, 0.0), attempts=1)
    found = []
    for protocol in ("ideal", "full"):
        options = {"robust": tacit.Median(groups=5), "aggregation": replace(secure, protocol=protocol)}
        with pytest.warns(tacit.TacitWarning, match="a group was left out of round"):
            found.append(federation(many(20), **options).run(3, progress=False))
    assert torch.equal(*map(weights, found))
    clients, lost = (found[0].history[name].to_numpy() for name in ("clients", "lost"))
    assert (clients + lost == 20).all() and (clients % 4 == 0).all() and 0 < lost.sum() < 20


def test_where_too_few_groups_are_left_the_round_fails():
    secure = tacit.SecureSum(minimum=4, lost=0.3, attempts=2)
    with pytest.raises(RoundFailed, match="round 1: "):
        quietly(federation(many(12), robust=tacit.Median(groups=3), aggregation=secure, minimum=0.0), 1)


@pytest.mark.parametrize("algorithm", [tacit.FedProx(SOLVER), tacit.FedAdam(SOLVER), tacit.FedDyn(SOLVER)], ids=repr)
def test_methods_that_step_by_their_update_alone_go_with_every_rule(algorithm):
    for rule in RULES:
        assert torch.isfinite(trained(many(9), algorithm=algorithm, robust=rule)).all()


def test_norms_are_bounded_before_the_rule_sees_them():
    false = many(9)
    false["c03"] = (false["c03"][0], 1e4 * false["c03"][1])
    bound = tacit.NormBound(1e-3)
    before, rows = updates(false)
    rows *= torch.clamp(1e-3 / rows.norm(dim=1, keepdim=True), max=1)
    found = trained(false, 1, robust=tacit.TrimmedMean(0.1), stages=[bound])
    assert torch.allclose(found.double(), before + tacit.TrimmedMean(0.1).combine(rows), rtol=0, atol=1e-7)


def test_private_records_go_with_a_rule():
    level = tacit.RecordLevel(noise_multiplier=1.0, clip=1.0, insecure_seed=3)
    options = {"robust": tacit.Median(groups=3), "aggregation": SECURE, "record_privacy": level}
    run = quietly(federation(clean(9), tacit.FedAvg(tacit.SGD(lr=0.05, batch_size=3, steps=1)), **options), 1)
    assert run.facts["record_privacy"] is not None and torch.isfinite(weights(run)).all()


REFUSED = [
    ({"robust": tacit.Median(), "aggregation": SECURE}, "with SecureSum nobody sees one: give groups="),
    (
        {"robust": tacit.Median(groups=5), "aggregation": SECURE},
        "5 groups, with at least 3 .* need 15 .*: take 4 groups",
    ),
    ({"robust": tacit.Median(groups=3), "aggregation": tacit.SecureSum()}, "at least 5 clients .* need 15 .*: take 2"),
    ({"robust": tacit.Median(groups=13)}, "groups is 13, and a cohort has 12"),
    ({"robust": tacit.Median(), "selection": tacit.Uniform(2)}, "at least 3 rows and gets 2"),
    ({"robust": tacit.Median(), "selection": tacit.Poisson(4)}, "on 0 rows .now and then.: it needs at least 3"),
    ({"robust": tacit.Krum(groups=4), "aggregation": SECURE}, "more than 4 rows to stand 1"),
    ({"robust": tacit.Median(), "privacy": tacit.UserLevel(epsilon=4.0, clip=1.0)}, "is accounted for one sum"),
    ({"robust": tacit.Median(), "privacy": tacit.LocalLevel(epsilon=4.0, clip=1.0)}, "noise on every report"),
    ({"robust": tacit.Median(groups=3), "aggregation": tacit.SharedKeySum()}, "SharedKeySum makes one of the whole"),
    ({"robust": tacit.Median(), "algorithm": tacit.FedNova(SOLVER)}, "FedNova steps by a, single numbers"),
    ({"robust": tacit.Median(), "algorithm": tacit.Scaffold(SOLVER)}, "Scaffold keeps on the server the mean"),
    (
        {"robust": tacit.Median(groups=3), "aggregation": SECURE, "selection": tacit.Poisson(10)},
        "a cohort has 10 on average, and .* now and then",
    ),
]


@pytest.mark.parametrize(("options", "why"), REFUSED)
def test_what_does_not_go_together_is_refused_before_the_run_with_the_reason(options, why):
    with pytest.raises(IncompatibleOptions, match=why):
        federation(many(12), **options)


def test_all_reasons_are_told_at_once():
    options = {"privacy": tacit.UserLevel(epsilon=4.0, clip=1.0), "algorithm": tacit.FedNova(SOLVER)}
    with pytest.raises(IncompatibleOptions, match="3 problems"):
        federation(many(12), robust=tacit.Median(groups=40), **options)


@pytest.mark.parametrize(
    ("rule", "words"), [(3, "robust is 3"), (tacit.Median, "robust is"), (tacit.Krum(2.0), "corrupt")]
)
def test_what_is_no_rule_or_a_wrong_one_is_refused(rule, words):
    with pytest.raises(UsageError, match=words):
        federation(many(12), robust=rule)


def test_a_checkpoint_goes_on_with_the_same_bits_and_with_no_other_rule(tmp_path):
    options = {"robust": tacit.Median(groups=3), "aggregation": SECURE}
    whole = trained(many(12), 4, **options)
    federation(many(12), **options).run(2, checkpoint=tmp_path, progress=False)
    resumed = federation(many(12), **options).run(4, checkpoint=tmp_path, resume=True, progress=False)
    assert torch.equal(weights(resumed), whole)
    other = federation(many(12), **(options | {"robust": tacit.Median(groups=4)}))
    with pytest.raises(UsageError, match="robust"):
        other.run(5, checkpoint=tmp_path, resume=True, progress=False)


PLAN = 'version = 1\nscenario = "app-recommendation"\n'


def test_a_plan_names_the_rule_in_a_table_that_it_need_not_have():
    plan = read(PLAN + '[robust]\nname = "Krum"\nkeep = 3\ngroups = 9\n', scenario)
    assert build.robust(plan) == tacit.Krum(0.2, keep=3, groups=9)
    assert read(written(plan), scenario) == plan
    without = read(PLAN, scenario)
    assert build.robust(without) is None and "robust" not in written(without)
    assert plan.hash != without.hash
    assert build.robust(read(PLAN + "[robust]\n", scenario)) == tacit.Median()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('name = "Mode"', "line 4: there is no robust called"),
        ('name = "TrimmedMean"\nshare = 0.6', "line 5: robust: share is 0.6"),
        ("groups = 1", "line 4: robust: groups is 1"),
        ('name = "Krum"\nkeeps = 2', "line 5: there is no 'keeps'"),
    ],
)
def test_what_is_wrong_with_the_rule_of_a_plan_is_told_with_its_line(lines, words):
    with pytest.raises(UsageError, match=words):
        read(f"{PLAN}[robust]\n{lines}\n", scenario)
