"""Every example runs, is short, and shows what it says."""

from __future__ import annotations

import runpy
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs an example in an empty folder, as a script, and gives its names."""
    monkeypatch.chdir(tmp_path)
    return lambda name, run_name="__main__": runpy.run_path(str(EXAMPLES / name), run_name=run_name)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_example_has_at_most_forty_lines_and_says_first_what_it_shows(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 40
    assert lines[0].startswith('"""')


def test_every_example_is_run_below() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    assert not [file.name for file in FILES if f'run("{file.name}"' not in here]


def test_forty_phones_that_know_two_classes_each_learn_all_ten(run: Any, tmp_path: Path) -> None:
    names = run("first_federation.py")
    assert names["run"].history["test_accuracy"].iloc[-1] > 0.9
    assert (tmp_path / "runs" / "first-federation" / "report.html").is_file()


def test_scaffold_learns_and_fednova_is_fedavg_where_steps_are_equal(run: Any) -> None:
    accuracy = run("noniid_methods.py", run_name="example")["compare"](rounds=4)
    assert accuracy["FedNova"].tolist() == pytest.approx(accuracy["FedAvg"].tolist(), abs=0.01)
    assert accuracy["Scaffold"].iloc[-1] > 0.5


def test_a_resumed_run_ends_with_the_same_bits(run: Any) -> None:
    assert run("resume.py")["same"]


def test_a_server_that_chooses_its_step_goes_further_where_clients_agree(
    run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run("custom_algorithm.py")
    losses = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert losses[1] < losses[0] / 2


def test_a_bound_of_ones_own_keeps_an_absurd_client_from_the_model(
    run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run("custom_stage.py")
    unbounded, bounded = (float(line.split()[1]) for line in capsys.readouterr().out.splitlines())
    assert unbounded > 5 > 2 > bounded


def test_populations_that_are_loaded_on_demand_learn(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run("lazy_population.py")
    assert all(float(line.split()[-1]) < 0.1 for line in capsys.readouterr().out.splitlines())


def test_hospitals_out_of_a_table_learn_who_is_ill(run: Any) -> None:
    names = run("from_table.py")
    assert names["hospitals"].classes == ("ill", "well")
    assert names["run"].predict([[80.0, 170.0]]).argmax() == 0
    assert names["run"].predict([[40.0, 100.0]]).argmax() == 1


def test_a_run_ends_by_itself(run: Any) -> None:
    names = run("early_stopping.py")
    assert len(names["run"].history) < 100


def test_slow_phones_need_not_be_waited_for(run: Any) -> None:
    runs = run("slow_phones.py")["runs"]
    waiting, partial, flowing = (runs[name].rows[-1] for name in ("wait for all", "partial work", "buffers of 15"))
    assert min(row["test_accuracy"] for row in (partial, flowing)) > waiting["test_accuracy"] - 0.03
    assert max(row["virtual_hours"] for row in (partial, flowing)) < waiting["virtual_hours"] / 3


def test_five_clinics_learn_over_the_network_by_numpy_alone_and_one_of_them_with_its_flower_client(
    run: Any, tmp_path: Path
) -> None:
    coordinate = run("network_coordinator.py", run_name="example")["coordinate"]
    clinic = run("network_participant.py", run_name="example")["take_part"]
    flower = run("network_flower.py", run_name="example")["take_part"]
    trained = in_background(lambda: coordinate(port=0))
    invitations = tmp_path / "runs" / "clinics" / "invitations.txt"
    until(lambda: trained.done() or (invitations.exists() and len(invitations.read_text().splitlines()) == 5))
    parts = [in_background(lambda k=k: (clinic if k < 4 else flower)(k)) for k in range(5)]
    ended, trained = [one.result(120) for one in parts], trained.result(120)
    assert [one.rounds for one in ended] == [10] * 5
    assert trained.rows[-1]["loss"] < 1.2 < 10 < trained.rows[0]["loss"]
    assert all(torch.equal(one.model["weight"], trained.tensors["weight"]) for one in ended)


def in_background(act: Callable[[], Any]) -> Future[Any]:
    """Does it in a thread that nobody waits for where a test has failed."""
    future: Future[Any] = Future()

    def carry_out() -> None:
        try:
            future.set_result(act())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=carry_out, daemon=True).start()
    return future


def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
