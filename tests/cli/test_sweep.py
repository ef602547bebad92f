"""`tacit privacy sweep`: points, spread, plot, and what is wrong before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tacit.privacy.accountant import most
from tacit.privacy.event import charges
from tacit.privacy.ledger import Ledger
from tests.cli.commands import PHONES, QUICK, Tacit, settings

SMALL = [*settings(PHONES), *settings([word for word in QUICK if "=" in word])]
WORDS = ["privacy", "sweep", "app-recommendation", *SMALL, "--rounds", "2", "--seeds", "2", "--epsilons", "100,1"]


def test_a_sweep_has_a_point_for_every_epsilon_and_one_without(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit(*WORDS, "--out", tmp_path / "sweep", "--json")
    assert ended.code == 0, ended.err
    assert ended.json == json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    points = ended.json["points"]
    assert [point["epsilon"] for point in points] == [None, 1.0, 100.0]
    assert points[0]["noise_multiplier"] is None
    assert points[1]["noise_multiplier"] > points[2]["noise_multiplier"]
    for point in points:
        assert len(point["values"]) == 2
        assert point["mean"] == pytest.approx(sum(point["values"]) / 2)
        assert point["spread"] == pytest.approx(abs(point["values"][0] - point["values"][1]) / 2**0.5)
    assert ended.err.count("HR@10") == 6
    assert ended.json["ledger"] is None, "synthetic data are nobody's"
    assert (tmp_path / "sweep" / "sweep.svg").read_text().startswith("<svg")


def test_a_sweep_is_a_table_for_people(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit(*WORDS, "--out", tmp_path / "sweep", "--quiet")
    assert ended.code == 0
    assert ended.err == ""
    assert "without privacy" in ended.out
    assert "sweep.svg" in ended.out


def test_what_is_wrong_is_said_before_anything_runs(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit("privacy", "sweep", "app-recommendation", "--epsilons", "1,much,-2", "--out", tmp_path / "sweep")
    assert ended.code == 2
    assert "'much'" in ended.err
    assert "-2" in ended.err
    assert not (tmp_path / "sweep").exists()
    assert tacit("privacy", "sweep", "app-recommendation", "--set", "solver.lr=-1").code == 2


def test_what_a_sweep_varies_cannot_be_fixed(tacit: Tacit, tmp_path: Path) -> None:
    for setting, said in (
        ("privacy.epsilon=3", "give --epsilons"),
        ("seed=3", "give --seeds"),
        ("privacy.noise_multiplier=1", "noise_multiplier at 1.0"),
    ):
        ended = tacit(*WORDS, "--set", setting, "--out", tmp_path / "sweep")
        assert (ended.code, ended.out) == (2, "")
        assert said in ended.err
    assert not (tmp_path / "sweep").exists()


def test_the_row_without_privacy_of_a_private_plan_has_none(tacit: Tacit, tmp_path: Path) -> None:
    """Its values are those of the same plan run without privacy."""
    plan = tmp_path / "plan.toml"
    plan.write_text('version = 1\nscenario = "app-recommendation"\nrounds = 2\n[privacy]\nepsilon = 4.0\nclip = 0.03\n')
    words = [*SMALL, "--seeds", "1", "--epsilons", "2", "--out", tmp_path / "sweep", "--json"]
    ended = tacit("privacy", "sweep", plan, *words, "--set", "privacy.clip=0.5")
    assert ended.code == 0, ended.err
    plain, private = ended.json["points"]
    assert (plain["epsilon"], plain["noise_multiplier"], plain["delta"]) == (None, None, None)
    assert private["noise_multiplier"] > 0
    alone = tacit.run(tmp_path / "run", "--json").json
    assert plain["values"] == [alone["comparison"]["federated"]["HR@10"]]


def test_settings_of_a_private_selection_do_not_keep_the_row_without_privacy_from_being_trained(
    tacit: Tacit, tmp_path: Path
) -> None:
    chosen = settings(["privacy.clip=0.5", "selection.name=Poisson", "selection.expected=8"])
    ended = tacit(*WORDS, *chosen, "--out", tmp_path / "sweep", "--json")
    assert ended.code == 0, ended.err
    assert [point["epsilon"] for point in ended.json["points"]] == [None, 1.0, 100.0]


def test_an_earlier_sweep_is_replaced_only_where_that_is_said(tacit: Tacit, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    words = [*WORDS[:-4], "--seeds", "1", "--epsilons", "5", "--out", out]
    assert tacit(*words).code == 0
    before = (out / "sweep.json").read_text()
    ended = tacit(*words)
    assert ended.code == 2
    assert "--overwrite" in ended.err and "HR@10" not in ended.err
    assert (out / "sweep.json").read_text() == before
    (out / "sweep.json").write_text("{}")
    assert tacit(*words, "--overwrite").code == 0
    plain, again = (json.loads(text)["points"][0] for text in (before, (out / "sweep.json").read_text()))
    assert plain == again, "and only the noise is another"
    (out / "thesis.txt").write_text("mine")
    ended = tacit(*words, "--overwrite")
    assert ended.code == 2 and "other files" in ended.err
    assert (out / "thesis.txt").read_text() == "mine"
    assert tacit(*words[:-1], out / "thesis.txt").code == 2


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of nine people, beside a ledger of its own."""
    monkeypatch.setenv("TACIT_LEDGER", str(tmp_path / "ledger.sqlite"))
    path = tmp_path / "log.csv"
    lines = ["who,what,when", *(f"u{n % 9},a{(n * n) % 7},{1_700_000_000 + 977 * n}" for n in range(400))]
    path.write_text("\n".join(lines))
    return path


COLUMNS = ["--user", "who", "--item", "what", "--time", "when", "--workers", "1", "--set", "model.hidden=8"]
ON_TABLE = ["--set", "aggregation=none", *COLUMNS, "--rounds", "2", "--seeds", "2", "--epsilons", "1,2"]


def test_on_people_s_data_a_sweep_says_what_all_its_runs_have_cost(tacit: Tacit, tmp_path: Path, table: Path) -> None:
    """Runs without privacy are not charged, and runs on another split of the same people are added to the others."""
    words = ["privacy", "sweep", "app-recommendation", "--data", table, *ON_TABLE, "--set", "selection.expected=5"]
    told = tacit(*words, "--out", tmp_path / "sweep", "--json").json
    with Ledger() as ledger:
        accounts = ledger.accounts()
        together = charges(charge for account in accounts for charge in account.charges())
    assert sum(count for _, count in together) == 2 * 2 * 2
    assert sorted(account.population for account in accounts) == told["ledger"]["populations"]
    assert told["ledger"]["epsilon"] == pytest.approx(most(together, told["ledger"]["delta"]))
    assert told["ledger"]["epsilon"] > 2
    assert "charged to the ledger: epsilon" in tacit(*words, "--out", tmp_path / "again").out


def test_of_a_plan_that_protects_records_alone_their_epsilon_varies(tacit: Tacit, tmp_path: Path, table: Path) -> None:
    records = ["--set", "record_privacy.clip=0.5", "--set", "solver.batch_size=10"]
    words = ["privacy", "sweep", "app-recommendation", "--data", table, *ON_TABLE[:-4], *records, "--seeds", "1"]
    told = tacit(*words, "--epsilons", "2,8", "--out", tmp_path / "sweep", "--json").json
    plain, much, little = told["points"]
    assert plain["noise_multiplier"] is None
    assert much["noise_multiplier"] > little["noise_multiplier"] > 0
    assert told["ledger"]["unit"] == "record"
    assert told["ledger"]["epsilon"] > 8, "what one of them cost, and the other"


def test_cohorts_that_nobody_can_fill_are_refused_before_anything_is_trained(
    tacit: Tacit, tmp_path: Path, table: Path
) -> None:
    words = ["privacy", "sweep", "app-recommendation", "--data", table, *ON_TABLE, "--set", "selection.expected=50"]
    ended = tacit(*words, "--out", tmp_path / "sweep")
    assert ended.code == 2
    assert "expected is 50.0 of" in ended.err and "HR@10" not in ended.err
    assert not (tmp_path / "sweep").exists()
