"""`tacit privacy attack`: a table, a page, pictures and numbers from one command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import tacit.cli.attack as verb
from tests.cli.commands import PHONES, QUICK, Tacit, settings

SMALL = [*settings(PHONES), *settings([word for word in QUICK if "=" in word]), "--workers", "1", "--quiet"]
WORDS = ["privacy", "attack", "app-recommendation", *SMALL, "--quick", "--rounds", "2", "--shadows", "4"]


@pytest.fixture(autouse=True)
def few_drawn_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(verb, "IMAGE_CLIENTS", 20)
    monkeypatch.setenv("TACIT_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TACIT_LEDGER", str(tmp_path / "ledger.sqlite"))


def test_both_attacks_end_in_a_page_that_stands_alone(tacit: Tacit, tmp_path: Path) -> None:
    out = tmp_path / "attack"
    ended = tacit(*WORDS, "--clients", "1", "--out", out, "--json")
    assert ended.code == 0, ended.err
    assert ended.err == ""
    assert ended.json == json.loads((out / "attack.json").read_text())
    rows = {(row["material"], row["work"], row["method"], row["setting"]): row for row in ended.json["inversion"]}
    exact = rows["app-recommendation: features", "one step, 1 example", "analytic", "no DP"]
    assert exact["mean"]["cosine"] > 0.999
    assert exact["tries"] == 1
    images = "digits drawn by matplotlib: perceptron", "one step, 1 example", "analytic"
    assert rows[(*images, "no DP")]["mean"]["psnr"] > rows[(*images, "DP")]["mean"]["psnr"] + 20
    assert {setting for *_, setting in rows} == {"no DP", "clip only", "DP"}
    membership = ended.json["membership"]
    assert membership["shadows"] == 4
    assert 0 <= membership["DP"]["auc_95"][0] <= membership["DP"]["auc_95"][1] <= 1
    page = (out / "attack.html").read_text()
    assert page.count("data:image/png;base64,") == len(list(out.glob("*.png"))) == 5
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    assert "not a bound" in page
    assert not (tmp_path / "ledger.sqlite").exists()


def test_one_attack_alone_is_a_table_for_people(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit(*WORDS, "--kind", "membership", "--out", tmp_path / "attack")
    assert ended.code == 0, ended.err
    assert "TPR at FPR 0.01" in ended.out
    assert "DP allows at most" in ended.out
    assert "not a bound" in ended.out
    assert [path.name for path in (tmp_path / "attack").glob("*.png")] == ["membership.png"]


def test_what_is_wrong_is_said_at_once_before_anything_runs(tacit: Tacit, tmp_path: Path) -> None:
    words = ["--kind", "guessing", "--clients", "0", "--shadows", "2", "--out", tmp_path / "attack"]
    ended = tacit("privacy", "attack", "app-recommendation", *words)
    assert ended.code == 2
    for said in ("'guessing'", "--clients is 0", "--shadows is 2"):
        assert said in ended.err
    assert not (tmp_path / "attack").exists()


def test_a_folder_that_cannot_be_made_ends_with_5(tacit: Tacit, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = tacit(*WORDS, "--out", tmp_path / "file" / "attack")
    assert ended.code == 5
    assert "cannot be made" in ended.err
