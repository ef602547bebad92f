"""Fleets by their settings, as plans hold them."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from tacit import fleet
from tacit.errors import DataError
from tacit.fleet.recipe import RECIPES, Lognormal, Phones, Trace

CLIENTS = [f"c{n}" for n in range(30)]
TWO = "id,ms_per_example,down_kbps,up_kbps\nanna,20,8000,1600\nbert,12,40000,9000\n"


@pytest.fixture
def profiles(tmp_path):
    file = tmp_path / "profiles.csv"
    file.write_text(TWO)
    return file


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_what_its_generator_makes_and_has_its_defaults(name):
    generator, recipe = getattr(fleet, name), RECIPES[name]()
    assert recipe.made(CLIENTS, 3).digest == generator(len(CLIENTS), 3).digest
    defaults = {n: p.default for n, p in inspect.signature(generator).parameters.items() if n not in ("count", "seed")}
    assert vars(recipe) == defaults
    assert recipe.problems() == []


def test_settings_reach_the_generator():
    assert Lognormal(sigma=0.0, seconds=0.5).made(CLIENTS, 0).seconds.tolist() == [0.5] * len(CLIENTS)


def test_every_setting_that_the_generator_refuses_is_a_problem():
    found = Phones(seconds=-1.0, days=0, zones=(40.0,)).problems()
    assert [text.split()[0] for text in found] == ["days", "seconds", "zones"]


def test_a_trace_has_the_devices_of_its_files_by_name(profiles, tmp_path):
    sessions = tmp_path / "sessions.csv"
    sessions.write_text("id,on,off\nanna,0,100\n")
    made = Trace(str(profiles), str(sessions), period=1000.0, tiers=2).made(CLIENTS, 0)
    assert made.names is not None and made.names.tolist() == ["anna", "bert"]
    assert made.availability.share_on().tolist() == [0.1, 0.0]
    assert made.tiers == 2


def test_a_settled_trace_is_known_by_its_content_and_refuses_another(profiles, monkeypatch):
    monkeypatch.chdir(profiles.parent)
    settled = Trace(**Trace("profiles.csv").settled())
    assert settled.profiles == str(profiles)
    assert len(settled.made((), 0)) == 2
    assert Trace(**settled.settled()) == settled
    profiles.write_text(TWO + "carl,9,1000,1000\n")
    for again in (settled.settled, lambda: settled.made((), 0)):
        with pytest.raises(DataError, match="does not hold the fleet that the plan was made with"):
            again()


def test_a_trace_that_cannot_be_read_says_so(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv cannot be read"):
        Trace(str(tmp_path / "nowhere.csv")).settled()


def test_all_problems_of_a_trace_are_said_and_nothing_is_read():
    found = Trace("nowhere.json", "other.csv", period=-1.0, tiers=0).problems()
    assert [text.split()[0] for text in found] == ["sessions", "period", "tiers"]
    assert Trace("").problems() == ["profiles is empty: give the path of a .csv, .json or .npz file"]


def test_what_is_fitted_and_what_is_assumed_is_said_of_every_kind(profiles):
    for recipe in (*(kind() for kind in RECIPES.values()),):
        assert recipe.basis.startswith("fitted: ") and "assumed: " in recipe.basis
    assert str(profiles) in Trace(str(profiles)).basis


def test_a_larger_population_keeps_the_devices_it_had():
    few, more = (Phones().made(CLIENTS[:n], 1) for n in (10, 30))
    assert np.array_equal(more.seconds[:10], few.seconds)
