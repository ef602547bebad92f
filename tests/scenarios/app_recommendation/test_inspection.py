from pathlib import Path

import pytest

from tacit.plan import Given, Plan, settled
from tacit.scenarios.app_recommendation import inspection
from tacit.scenarios.app_recommendation.inspection import inspect
from tacit.scenarios.app_recommendation.sources import Columns
from tacit.scenarios.scenario import scenario


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """20 users with 10 events each, and one with 9."""
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["who,app", *(f"u{n % 20},a{n % 3}" for n in range(200)), *["few,a"] * 9]))
    return path


def plan(table: Path, cohort: int) -> Plan:
    data = {"source": str(table), "user": "who", "item": "app", "split": {"minimum": 10, "unseen": 0.2}}
    selection = {"name": "Uniform", "cohort": cohort}
    given = {"version": 1, "scenario": "app-recommendation", "data": data, "selection": selection}
    return settled([Given(given)], scenario)


def test_a_cohort_is_held_against_the_users_with_enough_events_who_take_part(table: Path) -> None:
    columns = Columns("who", "app")
    assert inspect(plan(table, 16), table, columns) == []
    (found,) = inspect(plan(table, 17), table, columns)
    assert found.keys[0] == "selection.cohort"
    assert "the cohort is 17 of 16 clients" in found.problem
    assert not found.of_data


def test_the_users_of_a_large_file_are_not_counted(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "COUNTED", table.stat().st_size - 1)
    assert inspect(plan(table, 17), table, Columns("who", "app")) == []


def test_every_column_that_is_missing_or_has_two_meanings_is_found_at_its_own_key(table: Path) -> None:
    found = inspect(plan(table, 5), table, Columns("who", "who", "when", ("where",)))
    assert [conflict.keys[0] for conflict in found] == ["data.time", "data.context", "data.user"]
    assert "mapped more than once" in found[-1].problem


def test_a_file_that_is_no_table_is_a_fault_of_the_data(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    path.write_bytes(b"PAR1 and nothing else")
    (found,) = inspect(plan(path, 5), path, Columns("who", "app"))
    assert found.of_data
    assert "cannot be read" in found.problem
