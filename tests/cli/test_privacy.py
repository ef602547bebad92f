"""`tacit privacy`: answers without a run, calibration, statements and the ledger."""

from __future__ import annotations

import json
import math
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import tacit as framework
from tacit.cli import privacy
from tacit.privacy.accountant import most
from tacit.privacy.event import FixedSize, Gaussian, LocalSteps, PoissonSampled, Truncated, charges
from tacit.privacy.ledger import Ledger
from tacit.privacy.plan import PrivacyPlan
from tacit.privacy.settings import LOUDEST
from tacit.privacy.statement import statement
from tacit.privacy.user_level import UserLevel
from tacit.record.result import DataFacts, Result
from tacit.selection.cohort import Poisson
from tests.cli.commands import Tacit

ASK = ("--rounds", "1000", "--delta", "1e-5", "--json")
SMALL = ("--epsilon", "2", "--population", "2000", "--cohort", "50", "--rounds", "20")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with the result of a private run."""
    level = UserLevel(epsilon=3.0, clip=1.0)
    told = statement(PrivacyPlan.of(level, Poisson(40).sampling(400), 5), 5, 0, (), True, True, 1e-3)
    result = Result(
        **dict.fromkeys(("tacit", "scenario", "plan_hash", "ended", "engine", "dtype", "interval_metric"), "x"),
        **dict.fromkeys(("seed", "rounds", "rounds_planned", "clients", "parameters", "workers", "set_aside"), 1),
        **dict.fromkeys(("bytes_down_per_client", "bytes_up_per_client", "bytes_down", "bytes_up"), 1),
        **{key: {} for key in ("seconds_by_phase", "metrics", "validation", "comparison", "intervals", "cold_start")},
        cold_start_intervals={},
        notes=[],
        model_sha256="x",
        seconds=1.0,
        loss=None,
        data=DataFacts(source="x", synthetic=True, fingerprint="x", notes=[]),
        privacy=told,
    )
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "plan.toml").write_text("")
    (tmp_path / "run" / "result.json").write_text(result.json_text, encoding="utf-8")
    return tmp_path / "run"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the ledger lies in this test."""
    path = tmp_path / "ledger.sqlite"
    monkeypatch.setenv("TACIT_LEDGER", str(path))
    return path


def test_every_verb_has_a_help_with_an_example(tacit: Tacit) -> None:
    assert "calibrate" in tacit("privacy", "--help").out
    for verb in ("epsilon", "calibrate", "statement", "ledger"):
        ended = tacit("privacy", verb, "--help")
        assert ended.code == 0
        assert "Example" in ended.out and f"tacit privacy {verb}" in ended.out


def test_help_imports_no_accounting() -> None:
    code = """
import sys
from tacit.cli.main import main
assert main(["privacy", "--help"]) == 0
assert not {"torch", "numpy", "scipy", "dp_accounting", "sqlalchemy"} & set(sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_numbers_are_answered_without_importing_torch() -> None:
    code = """
import sys
from tacit.cli.main import main
assert main(["privacy", "calibrate", "--epsilon", "2", "--population", "500", "--cohort", "50", "--rounds", "1"]) == 0
assert "torch" not in sys.modules
"""
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "\x1b" not in ended.stdout


def test_the_epsilon_of_poisson_sampling_comes_with_both_accountants(tacit: Tacit) -> None:
    words = ("privacy", "epsilon", "--sampling", "poisson", "--rate", "0.01", "--noise", "1.0", *ASK)
    found = tacit(*words).json
    expected = most(charges([(PoissonSampled(1.0, 0.01), 1000)]), 1e-5)
    assert found["epsilon"] == found["epsilon_pld"] == pytest.approx(expected, rel=0.005)
    assert found["epsilon_rdp"] > found["epsilon_pld"]
    same = {
        "accountant": "pld",
        "adjacency": "zero-out",
        "sampling": "poisson",
        "rounds": 1000,
        "noise_multiplier": 1.0,
    }
    assert found | same == found
    renyi = tacit(*words, "--accountant", "rdp").json
    assert (renyi["epsilon"], renyi["accountant"]) == (found["epsilon_rdp"], "rdp")


def test_a_cap_is_part_of_the_answer(tacit: Tacit) -> None:
    words = ("privacy", "epsilon", "--sampling", "poisson", "--cohort", "100", "--population", "3400", "--noise", "1")
    more = ("--rounds", "1000", "--delta", "1e-4", "--json")
    tight, safe, plain = (tacit(*words, *cap, *more).json for cap in (("--cap", "120"), ("--cap", "150"), ()))
    assert (tight["event"], plain["event"]) == ("truncated", "poisson")
    assert tight["epsilon"] == pytest.approx(8.4, rel=0.02)
    assert safe["epsilon"] == pytest.approx(plain["epsilon"], rel=1e-3) == pytest.approx(5.15, rel=0.01)


def test_a_fixed_size_is_answered_by_the_accountant_that_knows_it(tacit: Tacit) -> None:
    words = ("privacy", "epsilon", "--sampling", "fixed", "--cohort", "100", "--population", "3400", "--noise", "4")
    found = tacit(*words, "--rounds", "1000", "--delta", "1e-4", "--json").json
    assert found["accountant"] == "rdp"
    assert found["epsilon"] == found["epsilon_rdp"] == pytest.approx(4.24, rel=0.01)
    assert any("no credit for sampling" in note for note in found["notes"])


def test_everyone_and_a_schedule_are_gaussian_releases(tacit: Tacit) -> None:
    every = tacit("privacy", "epsilon", "--sampling", "everyone", "--noise", "40", *ASK).json
    assert every["epsilon"] == pytest.approx(most(charges([(Gaussian(40.0), 1000)]), 1e-5))
    words = ("privacy", "epsilon", "--sampling", "separated", "--participations", "10", "--noise", "4")
    apart = tacit(*words, *ASK).json
    assert apart["epsilon"] == pytest.approx(most(charges([(Gaussian(4.0), 10)]), 1e-5))
    assert apart["participations"] == 10


def test_noise_too_small_for_any_promise_is_answered_with_null(tacit: Tacit) -> None:
    found = tacit("privacy", "epsilon", "--sampling", "poisson", "--rate", "0.5", "--noise", "1e-5", *ASK).json
    assert found["epsilon"] is None
    shown = tacit("privacy", "epsilon", "--sampling", "poisson", "--rate", "0.5", "--noise", "1e-5", *ASK[:-1])
    assert "epsilon      no bound" in shown.out


@pytest.mark.parametrize("sampling", ["poisson --rate 0.01", "everyone", "fixed --cohort 10 --population 100"])
def test_noise_beyond_what_a_run_may_add_is_refused_and_the_most_is_told(tacit: Tacit, sampling: str) -> None:
    ended = tacit("privacy", "epsilon", "--sampling", *sampling.split(), "--noise", "1e300", *ASK)
    assert (ended.code, ended.out) == (2, "")
    assert f"--noise is 1e+300, more than any run of tacit adds: give at most {LOUDEST:g}" in ended.err
    most_of_all = tacit("privacy", "epsilon", "--sampling", *sampling.split(), "--noise", f"{LOUDEST}", *ASK)
    assert most_of_all.json["epsilon"] < 0.1


def test_an_epsilon_that_is_hardly_above_nothing_is_calibrated_or_refused_with_a_reason(tacit: Tacit) -> None:
    words = ("privacy", "calibrate", "--population", "3400", "--cohort", "100")
    found = tacit(*words, "--epsilon", "1e-6", "--rounds", "1", "--json").json
    assert all(row["epsilon"] <= 1e-6 for row in found["comparison"])
    ended = tacit(*words, "--epsilon", "1e-9", "--rounds", "1000")
    assert ended.code == 6
    assert "epsilon 1e-09" in ended.err and "a larger epsilon" in ended.err


def test_everything_wrong_with_a_setting_is_said_at_once(tacit: Tacit) -> None:
    words = ("--rate", "2", "--cap", "0", "--noise", "-1", "--rounds", "0", "--participations", "3")
    ended = tacit("privacy", "epsilon", "--sampling", "poisson", *words, "--accountant", "prv", "--adjacency", "swap")
    assert (ended.code, ended.out) == (2, "")
    for said in (
        "--rate is 2.0: give a number above 0",
        "--cap is 0: give a whole number",
        "--cap is 0 of how many clients? Give --population",
        "--noise is -1.0: give",
        "--rounds is 0: give",
        "--delta is missing: give",
        "--participations is 3, unknown to --sampling poisson",
        "--accountant is 'prv': give pld or rdp",
        "--adjacency is 'swap': give zero-out",
    ):
        assert said in ended.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--sampling poison --rate 0.1", "give poisson, fixed, everyone, separated"),
        ("--sampling fixed", "--cohort is missing"),
        ("--sampling fixed --cohort 10 --population 100 --adjacency add-remove", "take zero-out or replace-one"),
        ("--sampling fixed --cohort 10 --population 5", "--cohort is 10 of 5 clients"),
        ("--sampling poisson --rate 0.1 --cohort 3 --population 30", "give one of them"),
        ("--sampling poisson --rate 0.1 --adjacency replace-one --accountant rdp", "take pld"),
        ("--sampling poisson --rate 0.1 --population 1000 --cap 101 --accountant rdp", "from 150 on: take pld"),
        ("--sampling separated", "--participations is missing"),
        ("--sampling separated --participations 2000", "of 1000 rounds: give at most 1000"),
        ("--sampling separated --participations 10 --cohort 100 --population 3400", "Give at least 30"),
        ("--sampling everyone --cap 3", "--cap is 3, unknown to --sampling everyone: leave it out, or take poisson"),
    ],
)
def test_settings_that_make_no_sense_say_what_would(tacit: Tacit, words: str, said: str) -> None:
    ended = tacit("privacy", "epsilon", *words.split(), "--noise", "1", *ASK)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_the_noise_of_a_calibration_costs_what_was_asked_for(tacit: Tacit) -> None:
    found = tacit("privacy", "calibrate", *SMALL, "--parameters", "10000", "--json").json
    event = Truncated(found["noise_multiplier"], 50 / 2000, 2000, found["cap"])
    assert 0.99 * 2 <= most(charges([(event, 20)]), found["delta"]) <= 2
    assert found["delta"] == pytest.approx(2000**-1.1)
    assert found["noise_on_mean"] == pytest.approx(found["noise_multiplier"] / 50)
    assert found["noise_norm"] == pytest.approx(100 * found["noise_on_mean"])
    assert found["loss"]["factor"] == pytest.approx(math.sqrt(1.01))
    assert found["metrics"]["epsilon"] > 2
    assert found["epsilon_against_server"] > 2
    rows = {row["sampling"]: row for row in found["comparison"]}
    assert list(rows) == ["poisson", "fixed", "separated", "everyone"]
    assert all(1.98 <= row["epsilon"] <= 2 for row in rows.values())
    assert rows["poisson"]["noise_multiplier"] < rows["fixed"]["noise_multiplier"]
    assert rows["everyone"]["noise_multiplier"] > rows["fixed"]["noise_multiplier"]
    assert rows["everyone"]["cohort"] == 2000
    for row in rows.values():
        assert row["noise_on_mean"] == pytest.approx(row["noise_multiplier"] / row["cohort"])
        if row["mechanism"] == "gaussian":
            assert row["noise_on_way"] == pytest.approx(row["noise_on_mean"] * math.sqrt(10.5)), "mean of 1 to 20"
    assert rows["separated"]["mechanism"] == "bisr"


def test_a_cohort_that_is_too_small_is_told_the_smallest_that_would_do(tacit: Tacit) -> None:
    found = tacit("privacy", "calibrate", *SMALL, "--json").json
    assert not found["harmless"]
    cohort, delta = found["smallest_cohort"], found["delta"]
    assert 50 < cohort <= 2000

    def cost(clients: int) -> float:
        return most(charges([(PoissonSampled(0.01 * clients, clients / 2000), 20)]), delta)

    assert cost(cohort) <= 2 < cost(int(0.97 * cohort))


def test_a_population_without_such_a_cohort_is_told_how_large_it_would_have_to_be(tacit: Tacit) -> None:
    words = ("--epsilon", "2", "--population", "100", "--cohort", "50", "--rounds", "20")
    found = tacit("privacy", "calibrate", *words, "--json").json
    assert found["smallest_cohort"] is None
    everyone = found["comparison"][-1]["noise_multiplier"]
    assert found["smallest_population"] == pytest.approx(100 * everyone, abs=1)
    assert f"about {found['smallest_population']:,} clients" in tacit("privacy", "calibrate", *words).out


def test_everything_wrong_with_a_calibration_is_said_at_once(tacit: Tacit) -> None:
    words = ("--epsilon", "-1", "--population", "10", "--cohort", "20", "--rounds", "0", "--delta", "0.5")
    ended = tacit("privacy", "calibrate", *words, "--adjacency", "add-remove", "--parameters", "0")
    assert (ended.code, ended.out) == (2, "")
    for said in (
        "epsilon is -1.0",
        "--cohort is 20 of 10",
        "--rounds is 0",
        "delta is 0.5",
        "adjacency is",
        "--parameters",
    ):
        assert said in ended.err


def test_a_run_states_what_it_protects(tacit: Tacit, run: Path) -> None:
    told = json.loads((run / "result.json").read_text())["privacy"]
    assert tacit("privacy", "statement", run, "--json").json == told
    assert f"e^{told['epsilon']:.4g}" in tacit("privacy", "statement", run).out
    assert "承诺" in tacit("privacy", "statement", run, "--language", "zh").out
    ended = tacit("privacy", "statement", run, "--language", "fr")
    assert (ended.code, ended.out) == (2, "")


def test_a_run_without_privacy_says_so(tacit: Tacit, run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(result | {"privacy": None}))
    assert "no formal privacy" in tacit("privacy", "statement", run).out
    assert tacit("privacy", "statement", run, "--json").json is None


def test_an_unfinished_run_and_a_damaged_statement_have_none(tacit: Tacit, run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(result | {"privacy": {"epsilon": 3}}))
    ended = tacit("privacy", "statement", run)
    assert (ended.code, ended.out) == (5, "")
    assert "delta is missing" in ended.err
    (run / "result.json").unlink()
    ended = tacit("privacy", "statement", run)
    assert (ended.code, ended.out) == (5, "")
    assert "tacit resume" in ended.err


def test_a_ledger_that_is_not_there_is_not_made_by_looking(tacit: Tacit, place: Path) -> None:
    assert tacit("privacy", "ledger", "--json").json["accounts"] == []
    assert str(place) in tacit("privacy", "ledger").out
    assert not place.exists()


def test_the_ledger_is_listed_with_what_was_spent(tacit: Tacit, place: Path) -> None:
    with Ledger() as ledger:
        account = ledger.account("ab12", "user")
        event = Truncated(1.0, 0.05, 1000, 90)
        for run, rounds in (("one", 3), ("two", 2)):
            for number in range(rounds):
                reserved = account.reserve(run, number, event, "plan", lambda charges: None)
                if run == "one":
                    account.commit(reserved, f"f{number}")
        account.set_limit(6.0, 1e-6)
        ledger.account("cd34", "user").reserve("three", 0, Gaussian(5.0), "plan", lambda charges: None)
    first, second = tacit("privacy", "ledger", "--json").json["accounts"]
    assert (first["population"], first["runs"], first["rounds"], first["open"]) == ("ab12", 2, 5, 2)
    assert first["limit"] == {"epsilon": 6.0, "delta": 1e-6}
    assert (first["epsilon"], first["delta"]) == (pytest.approx(most(charges([(event, 5)]), 1e-6)), 1e-6)
    assert (first["delta_by"], second["delta_by"]) == ("limit", "default")
    assert (second["epsilon"], second["delta"]) == (pytest.approx(most(charges([Gaussian(5.0)]), 1e-5)), 1e-5)
    given = tacit("privacy", "ledger", "--delta", "1e-4", "--verify", "--json").json
    assert given["verified"]
    assert given["accounts"][1]["epsilon"] == pytest.approx(most(charges([Gaussian(5.0)]), 1e-4))
    shown = tacit("privacy", "ledger", "--verify")
    assert "every entry is as it was written" in shown.out
    assert f"{second['epsilon']:.4g}   1e-05" in shown.out
    assert "--delta says it" in shown.err


def test_the_accounts_of_a_run_s_clients_are_one_line_of_the_ledger(tacit: Tacit, place: Path) -> None:
    people = {f"h{k}": (torch.randn(n, 3), torch.arange(n) % 2) for k, n in enumerate((20, 40, 60))}
    torch.manual_seed(0)
    task = framework.Task(torch.nn.Linear(3, 2), torch.nn.functional.cross_entropy)
    solver = framework.SGD(0.1, batch_size=10, steps=2)
    level = framework.RecordLevel(epsilon=4.0, clip=0.5)
    population = framework.Population.from_arrays(people)
    population.known_as = "three hospitals"
    federation = framework.Federation(task, population, framework.FedAvg(solver), record_privacy=level, workers=1)
    told = federation.run(2, progress=False).facts["record_privacy"]
    accounts = tacit("privacy", "ledger", "--json").json["accounts"]
    assert [account["client_of"] for account in accounts] == ["three hospitals"] * 3
    assert [account["delta"] for account in accounts] == pytest.approx([group["delta"] for group in told["groups"]])
    assert {account["delta_by"] for account in accounts} == {"claim"}
    shown = tacit("privacy", "ledger").out
    assert shown.count("three hospitals, 3 clients") == 1
    assert f"{max(account['epsilon'] for account in accounts):.4g}" in shown
    assert len([line for line in shown.splitlines() if " record " in line]) == 1


def test_small_cohorts_and_one_record_s_steps_have_an_epsilon_in_the_ledger(tacit: Tacit, place: Path) -> None:
    """Their events do not tell how many units there are, by which delta would be known."""
    with Ledger() as ledger:
        ledger.account("ab12", "user").reserve("one", 0, PoissonSampled(2.0, 0.5), "plan", lambda charges: None)
        ledger.account("cd34", "record").reserve("two", 0, LocalSteps(2.0, 0.1, 5), "plan", lambda charges: None)
    small, records = tacit("privacy", "ledger", "--json").json["accounts"]
    assert small["epsilon"] == pytest.approx(most(charges([PoissonSampled(2.0, 0.5)]), 1e-5))
    assert records["epsilon"] == pytest.approx(most(charges([(PoissonSampled(2.0, 0.1), 5)]), 1e-5))
    assert (small["delta"], records["delta"]) == (1e-5, 1e-5)


def test_where_no_number_is_known_the_ledger_says_so_and_why(tacit: Tacit, place: Path) -> None:
    with Ledger() as ledger:
        ledger.account("ab12", "user").reserve("one", 0, Gaussian(1e-9), "plan", lambda charges: None)
        ledger.account("cd34", "user").reserve("two", 0, FixedSize(5.0, 10, 100), "plan", lambda charges: None)
    shown = tacit("privacy", "ledger", "--adjacency", "add-remove")
    assert shown.out.count("no bound") == 2
    assert "sampling of a fixed size" in shown.err
    without, unknown = tacit("privacy", "ledger", "--adjacency", "add-remove", "--json").json["accounts"]
    assert (without["epsilon"], without["problem"]) == (None, None)
    assert unknown["epsilon"] is None and "zero-out" in unknown["problem"]


def test_a_ledger_that_was_edited_is_refused(tacit: Tacit, place: Path) -> None:
    with Ledger() as ledger:
        ledger.account("ab12", "user").reserve("one", 0, Gaussian(5.0), "plan", lambda charges: None)
    with sqlite3.connect(place) as file:
        file.execute("update entries set plan = 'other'")
    file.close()
    ended = tacit("privacy", "ledger", "--verify")
    assert (ended.code, ended.out) == (6, "")
    assert "entry 1" in ended.err


def test_wrong_options_of_the_ledger_are_said_at_once(tacit: Tacit, place: Path) -> None:
    ended = tacit("privacy", "ledger", "--delta", "2", "--adjacency", "swap")
    assert (ended.code, ended.out) == (2, "")
    assert "--delta is 2.0" in ended.err and "--adjacency is 'swap'" in ended.err
    assert privacy.LEDGER_EXAMPLES.startswith("\b\nExample")
