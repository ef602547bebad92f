"""Record-level privacy from a plan, end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import Tacit

SMALL = ("--clients", "30", "--rounds", "2", "--set", "record_privacy.epsilon=8", "--set", "record_privacy.clip=0.1")


@pytest.mark.slow  # with its twins, half a minute
def test_a_plan_that_protects_records_says_so_everywhere(tacit: Tacit, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = tacit("run", "app-recommendation", *SMALL, "--out", str(run), "--json")
    assert ended.code == 0, ended.err
    claim = ended.json["record_privacy"]
    assert ended.json["privacy"] is None
    assert claim["unit"] == "record"
    assert claim["epsilon"] <= 8
    assert ended.json["loss"] is None
    assert ended.json["data"]["fingerprint"] == ""
    assert ended.json["comparison"]["federated_private"] == ended.json["metrics"]
    assert ended.json["comparison"]["federated"] is not None, "its twin without privacy"
    assert "every single record" in (run / "report.html").read_text()
    assert "[record_privacy]" in (run / "plan.toml").read_text()
    told = tacit("privacy", "statement", str(run))
    assert "every single record of each of" in told.out
    assert "every record of a client" in tacit("show", str(run)).out


def test_both_levels_go_together_in_a_plan(tacit: Tacit, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = tacit("run", "app-recommendation", *SMALL, "--epsilon", "4", "--no-compare", "--out", str(run), "--json")
    assert ended.code == 0, ended.err
    assert ended.json["privacy"]["unit"] == "user"
    assert ended.json["record_privacy"]["unit"] == "record"
    told = tacit("privacy", "statement", str(run)).out
    assert "everything that one participant ever sends" in told
    assert "every single record" in told


def test_a_plan_that_protects_nothing_is_refused(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit("run", "app-recommendation", "--set", "record_privacy.epsilon=8", "--out", str(tmp_path / "run"))
    assert ended.code == 6
    assert "clip is None" in ended.err
