"""The sections [pool], [rotation], [compression] and [by_tier] of a plan, and the selections that look at clients."""

from __future__ import annotations

import pytest

import tacit
from tacit.fleet import ByTier
from tacit.plan import build, read, written
from tacit.plan.parts import PARTS
from tacit.scenarios.scenario import scenario
from tests.plan.test_plan import START, planned, problems

NEW = ("pool", "rotation", "compression", "by_tier")
SETTINGS = {
    "OverSelected": {"cohort": 8},
    "Tiers": {"cohort": 5},
    "Oort": {"cohort": 8},
    "PowerOfChoice": {"cohort": 5, "candidates": 9},
    "Quota": {"cohort": 8},
}
STAGES = {
    "Quantise": {"bits": 4},
    "RandomK": {"share": 0.2},
    "CountSketch": {"rows": 3, "columns": 50, "keep": 20},
    "TopK": {},
}


def test_a_plan_without_them_is_the_plan_that_it_was_before():
    plan = planned()
    assert not set(NEW) & set(plan.document)
    assert plan.hash == planned(*(f"{name}=none" for name in NEW)).hash
    assert (build.stages(plan), build.by_tier(plan)) == ([], None)


@pytest.mark.parametrize("name", SETTINGS)
def test_selections_that_look_at_clients_can_be_written(name):
    plan = planned(f"selection.name={name}", *(f"selection.{key}={value}" for key, value in SETTINGS[name].items()))
    assert build.selection(read(written(plan), scenario)) == getattr(tacit, name)(**SETTINGS[name])


def test_a_pool_stands_around_any_selection():
    plan = planned("selection.name=Uniform", "selection.cohort=5", "pool.memory=2000", "pool.gap=2", "pool.most=9")
    assert read(written(plan), scenario) == plan
    assert build.selection(plan) == tacit.Spaced(tacit.Eligible(tacit.Uniform(5), memory=2000.0), 2, 9)


@pytest.mark.parametrize("name", PARTS["compression"])
def test_compression_comes_after_a_rotation(name):
    settings = (f"compression.{key}={value}" for key, value in STAGES[name].items())
    plan = planned("rotation.name=Rotate", f"compression.name={name}", *settings)
    assert build.stages(read(written(plan), scenario)) == [tacit.Rotate(), getattr(tacit, name)(**STAGES[name])]


def test_work_by_tier_needs_devices():
    plan = planned("fleet.name=Silos", "by_tier.steps=[1, 0.5]", "by_tier.width=[1.0, 0.5, 0.25]")
    assert build.by_tier(read(written(plan), scenario)) == ByTier(steps=(1.0, 0.5), width=(1.0, 0.5, 0.25))
    assert "no tiers without devices" in "; ".join(problems(START, "by_tier.steps=[0.5]"))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("pool.slowest=2", "slowest"),
        ("compression.bits=99", "bits is 99"),
        ("by_tier.width=[2.0]", "width is"),
        ("pool.speed=1", "there is no 'speed' in [pool]"),
    ],
)
def test_what_is_wrong_with_them_is_said(setting, said):
    assert said in "; ".join(problems(START, setting, "fleet.name=Phones"))
