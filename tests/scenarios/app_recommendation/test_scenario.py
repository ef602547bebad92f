import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.plan import Given, Plan, read, setting
from tacit.plan.parts import PARTS
from tacit.scenarios.scenario import scenario

FILMS = ("movielens-latest-small", "movielens-latest-small-2018", "ml-latest-small/ratings.csv")
OWN = ("lsapp", "log.csv")


def planned(*settings: str) -> Plan:
    said = Given.of([(*setting(text), f"--set {text}") for text in settings])
    return read('version = 1\nscenario = "app-recommendation"\n', scenario, settings=said)


@given(st.integers(2, 300), st.floats(0.01, 0.99))
def test_the_default_cohort_is_never_larger_than_the_generated_population(phones: int, unseen: float) -> None:
    plan = planned(f"data.phones={phones}", f"data.split.unseen={unseen}")
    taking_part = phones - max(1, round(unseen * phones))
    assert plan.selection.name == ("Uniform" if taking_part >= plan.selection.fields.get("cohort", 60) else "Everyone")


@pytest.mark.parametrize("source", OWN)
def test_of_a_table_of_unknown_size_everyone_takes_part(source: str) -> None:
    assert planned(f"data.source={source}").selection.name == "Everyone"


@pytest.mark.parametrize("source", FILMS)
def test_films_have_defaults_of_their_own_by_the_name_of_the_data(source: str) -> None:
    films, apps = planned(f"data.source={source}"), planned()
    assert films.solver.fields["batch_size"] is None
    assert films.selection.name == "Uniform"
    assert (films.rounds, films.algorithm, films.solver) != (apps.rounds, apps.algorithm, apps.solver)


@pytest.mark.parametrize("source", ["synthetic", *FILMS, *OWN])
@pytest.mark.parametrize("name", PARTS["algorithm"])
def test_every_algorithm_has_defaults_that_make_a_plan(name: str, source: str) -> None:
    assert planned(f"algorithm.name={name}", f"data.source={source}").algorithm.name == name


def test_what_the_user_says_wins_over_the_defaults() -> None:
    plan = planned("solver.batch_size=7", "rounds=3", "algorithm.tau=0.5", "selection.name=Everyone")
    assert (plan.solver.fields["batch_size"], plan.rounds, plan.algorithm.fields["tau"]) == (7, 3, 0.5)
    assert (plan.selection.name, dict(plan.selection.fields)) == ("Everyone", {})


@pytest.mark.parametrize("source", ["synthetic", FILMS[0]])
def test_the_squared_error_has_larger_local_steps_for_its_smaller_gradients(source: str) -> None:
    mse, classes = (planned(f"data.source={source}", f"model.loss={loss}") for loss in ("mse", "cross_entropy"))
    assert mse.solver.fields["lr"] > classes.solver.fields["lr"]
    assert planned(f"data.source={source}").solver == classes.solver
