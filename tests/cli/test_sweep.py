"""`tacit privacy sweep`: points, spread, plot, and what is wrong before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
