"""Fleets from the command line: described, and trained on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tacit.cli.main import main
from tacit.record.result import Result
from tests.cli.commands import TINY, Ended, Tacit
from tests.cli.test_resume import unfinished

FLEET_KEYS = {
    "virtual_hours",
    "device_hours",
    "wasted_fraction",
    "participation_gini",
    "participation_by_tier",
    "failures",
}
SLOW = ["--fleet", "phones", "--set", "fleet.seconds=0.5", "--set", "fleet.hazard=30"]
PROFILES = "id,ms_per_example,down_kbps,up_kbps,hazard\n"


@pytest.fixture(scope="module")
def on_phones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on phones, not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "phones"
    words = ["run", "app-recommendation", *TINY, *SLOW, "--rounds", "2", "--out", str(folder), "--quiet"]
    assert main(words) == 0
    return folder


def result(folder: Path) -> Result:
    return Result.of((folder / "result.json").read_text(), "result.json")


def test_a_run_on_phones_says_what_it_cost_in_virtual_time(on_phones: Path) -> None:
    told = result(on_phones).fleet
    assert told is not None and set(told) >= FLEET_KEYS
    rows = list(csv.DictReader((on_phones / "history.csv").open()))
    hours = [float(row["virtual_hours"]) for row in rows]
    assert hours == sorted(hours) and 0 < told["virtual_hours"] <= hours[-1]
    lost = {reason: sum(int(row[reason]) for row in rows) for reason in ("late", "dropped", "left", "unavailable")}
    if not any(int(row["given_up"]) for row in rows):
        assert lost == {reason: told["failures"][reason] for reason in lost}
    assert sum(told["device_hours_by_phase"].values()) == pytest.approx(told["device_hours"])
    assert sum(told["wasted_hours_by_phase"].values()) == pytest.approx(told["wasted_fraction"] * told["device_hours"])
    assert sum(told["devices_by_tier"]) == pytest.approx(1)


def test_a_run_without_a_fleet_keeps_no_time(finished: Path) -> None:
    assert result(finished).fleet is None
    assert "virtual_hours" not in (finished / "history.csv").read_text()
    assert "On the devices" not in (finished / "report.html").read_text()


def test_the_report_shows_the_devices(on_phones: Path) -> None:
    page = (on_phones / "report.html").read_text()
    for title in ("On the devices", "Against virtual time", "Who took part", "Where the devices", "Whose report"):
        assert title in page
    assert "PartialWork: margin 2.0" in page
    assert "src=" not in page


def test_a_shown_run_says_how_long_it_took_and_who_took_part(tacit: Tacit, on_phones: Path) -> None:
    shown = tacit("show", on_phones).out
    assert "virtual time" in shown and "rounds closed by PartialWork" in shown
    assert "Gini" in shown and "wasted" in shown


@pytest.mark.parametrize("checkpoints", [True, False])
def test_a_resumed_run_ends_with_the_same_bits_and_the_same_books(
    tacit: Tacit, tmp_path: Path, on_phones: Path, checkpoints: bool
) -> None:
    ended = tacit("resume", unfinished(on_phones, tmp_path / "run", checkpoints=checkpoints), "--json")
    assert ended.code == 0, ended.err
    whole = json.loads((on_phones / "result.json").read_text())
    assert ended.json["model_sha256"] == whole["model_sha256"]
    assert ended.json["fleet"] == whole["fleet"]
    assert "virtual time" in ended.err


def test_a_private_run_tells_the_figures_of_a_rehearsal(tacit: Tacit, tmp_path: Path) -> None:
    words = [*SLOW, "--epsilon", "8", "--clients", "5", "--set", "fleet.unmetered=false"]
    ended = tacit.run(tmp_path / "run", *words)
    assert ended.code == 0, ended.err
    told = result(tmp_path / "run").fleet
    assert told is not None and told["rehearsed"]
    assert "rehearsal" in ended.out and "of a rehearsal" in (tmp_path / "run" / "report.html").read_text()
    rows = list(csv.DictReader((tmp_path / "run" / "history.csv").open()))
    assert {row["late"] + row["asked"] for row in rows} == {""}


def refused(tacit: Tacit, tmp_path: Path, *words: str) -> Ended:
    ended = tacit.run(tmp_path / "run", *words)
    assert (ended.code, ended.out) == (2, "")
    assert not (tmp_path / "run").exists()
    return ended


def test_a_fleet_that_is_not_there_is_refused_with_the_nearest(tacit: Tacit, tmp_path: Path) -> None:
    assert "did you mean 'phones'?" in refused(tacit, tmp_path, "--fleet", "phons").err


def test_a_closing_without_a_fleet_is_refused(tacit: Tacit, tmp_path: Path) -> None:
    assert "--fleet phones" in refused(tacit, tmp_path, "--set", "closing.quantile=0.9").err


def test_devices_of_other_people_are_refused_with_the_names_that_lack_one(tacit: Tacit, tmp_path: Path) -> None:
    (tmp_path / "profiles.csv").write_text(PROFILES + "stranger,10,8000,1600,0\n")
    ended = refused(tacit, tmp_path, "--fleet", str(tmp_path / "profiles.csv"))
    assert "the fleet has no device for the clients" in ended.err


def test_devices_from_a_file_are_trained_on_and_the_file_is_known_again(tacit: Tacit, tmp_path: Path) -> None:
    profiles, folder = tmp_path / "profiles.csv", tmp_path / "run"
    names = [f"phone-{n:0{wide}d}" for wide in (2, 3) for n in range(20)]
    profiles.write_text(PROFILES + "".join(f"{name},{10 + n},8000,1600,0\n" for n, name in enumerate(names)))
    assert tacit.run(folder, "--fleet", profiles).code == 0
    told = result(folder)
    assert told.fleet is not None and told.fleet["devices"] == told.clients
    (folder / "result.json").unlink()
    profiles.write_text(profiles.read_text() + "another,10,8000,1600,0\n")
    ended = tacit("resume", folder)
    assert ended.code == 3
    assert "does not hold the fleet that the plan was made with" in ended.err


@pytest.mark.parametrize("kind", ["phones", "lognormal", "silos"])
def test_a_fleet_is_described_in_words_and_as_json(tacit: Tacit, kind: str) -> None:
    words = ("fleet", "describe", kind, "--clients", "60", "--seed", "2")
    told = tacit(*words, "--json").json
    assert (told["devices"], len(told["available_by_hour"])) == (60, 24)
    assert sum(told["devices_by_tier"]) == pytest.approx(1)
    assert told["seconds_by_tier"] == sorted(told["seconds_by_tier"])
    shown = tacit(*words).out
    assert "60 devices" in shown and "assumed" in shown and "available, by hour" in shown
    assert not set("\x1b\r\b\x07") & set(shown)


def test_settings_of_a_fleet_reach_it_and_the_plot_is_drawn(tacit: Tacit, tmp_path: Path) -> None:
    plot = tmp_path / "hours.svg"
    words = ("fleet", "describe", "lognormal", "--clients", "9", "--set", "fleet.sigma=0", "--plot", plot, "--json")
    assert set(tacit(*words).json["seconds"].values()) == {0.01}
    assert plot.read_text().startswith("<svg")


def test_the_sessions_of_a_file_are_shown_by_the_hour(tacit: Tacit, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(PROFILES + "a,10,8000,1600,0\nb,20,8000,1600,0\n")
    (tmp_path / "s.csv").write_text("id,on,off\na,0,7200\nb,3600,86400\n")
    words = ("fleet", "describe", tmp_path / "p.csv", "--set", f"fleet.sessions={tmp_path / 's.csv'}", "--json")
    assert tacit(*words).json["available_by_hour"] == [0.5, 1.0, *[0.5] * 22]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("phons", "did you mean 'phones'?"),
        ("--clients 0", "clients is 0"),
        ("--plot x.png", "ends in .svg"),
        ("silos --set fleet.sigma=2", "there is no 'sigma' in [fleet]"),
        ("--set solver.lr=2", "about fleet alone"),
        ("--set fleet.hazard=-1 --set fleet.days=0", "2 problems"),
    ],
)
def test_a_description_that_cannot_be_made_is_refused(tacit: Tacit, words: str, said: str) -> None:
    ended = tacit("fleet", "describe", *words.split())
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
