"""Private runs on the command line: what they say of themselves, and what stands beside them."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.cli.commands import QUICK, Tacit

ROUNDS = 25


def test_a_private_run_says_what_it_promises(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit.run(tmp_path / "run", "--epsilon", "4", "--json")
    assert ended.code == 0, ended.err
    claim = ended.json["privacy"]
    assert 3.9 < claim["epsilon"] <= 4
    assert claim["unit"] == "user"
    assert claim["synthetic"]
    assert claim["epsilon_population_total"] is None
    assert ended.json["loss"] is None
    assert ended.json["data"]["fingerprint"] == ""
    assert ended.json["comparison"]["federated"] is None
    assert ended.json["comparison"]["federated_private"] == ended.json["metrics"]
    assert "epsilon" in ended.err.splitlines()[-2]
    rows = list(csv.DictReader((tmp_path / "run" / "history.csv").open()))
    assert [row["loss"] for row in rows] == ["", ""]
    assert float(rows[0]["epsilon"]) < float(rows[1]["epsilon"]) <= 4
    shown = tacit("show", tmp_path / "run").out
    assert f"epsilon {claim['epsilon']:.3g}" in shown
    assert "against a server that sees who takes part" in shown


def test_a_run_without_privacy_says_so_once(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit.run(tmp_path / "run")
    assert ended.out.count("no formal privacy") == 1
    assert "gives no formal privacy" in (tmp_path / "run" / "report.html").read_text()


def test_its_twin_stands_beside_every_run(tacit: Tacit, tmp_path: Path) -> None:
    plain = tacit.run(tmp_path / "plain", "--compare", "--json").json
    private = tacit.run(tmp_path / "private", "--compare", "--json", "--epsilon", "4").json
    for result in (plain, private):
        assert result["comparison"]["federated"] is not None
        assert result["comparison"]["federated_private"] is not None
        assert {"federated", "federated_private"} <= set(result["intervals"])
    assert plain["comparison"]["federated"] == plain["metrics"]
    assert private["comparison"]["federated_private"] == private["metrics"]
    assert any("epsilon 4" in note for note in plain["notes"])
    assert any("its claim does not cover them" in note for note in private["notes"])


def test_a_method_that_cannot_be_private_has_no_private_twin_and_says_why(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit.run(tmp_path / "run", "--compare", "--json", "--algorithm", "FedNova")
    assert ended.code == 0, ended.err
    assert ended.json["comparison"]["federated_private"] is None
    assert any("no private twin" in note and "steps" in note for note in ended.json["notes"])


def test_early_stopping_on_the_people_s_own_data_is_refused(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit.run(tmp_path / "run", "--epsilon", "4", "--set", "stop.patience.metric=test_HR@10")
    assert ended.code == 6
    assert "public_evaluation" in ended.err


def test_a_private_run_that_was_killed_goes_on_and_is_charged_for_each_round_once(tmp_path: Path) -> None:
    table = tmp_path / "log.csv"
    lines = ["who,what,when", *(f"u{n % 9},a{(n * n) % 7},{1_700_000_000 + 977 * n}" for n in range(400))]
    table.write_text("\n".join(lines))
    run = tmp_path / "run"
    columns = ["--data", str(table), "--user", "who", "--item", "what", "--time", "when"]
    begun = [sys.executable, "-m", "tacit", "run", "app-recommendation", *columns, *QUICK, "--out", str(run)]
    begun += ["--rounds", str(ROUNDS), "--epsilon", "4", "--clients", "5"]
    environment = {**os.environ, "TACIT_LEDGER": str(tmp_path / "ledger.sqlite")}
    process = subprocess.Popen(begun, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    checkpoints = run / "checkpoints"
    while process.poll() is None and len(list(checkpoints.glob("checkpoint-*"))) < 2:
        time.sleep(0.01)
    assert process.poll() is None, "it was to be killed before its end"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = subprocess.run(
        [sys.executable, "-m", "tacit", "resume", str(run), "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    from tacit.privacy.ledger import Ledger

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        (account,) = ledger.accounts()
        ((_, charged),) = account.charges()
        kinds = [entry.kind for entry in account.entries()]
    assert charged == ROUNDS
    assert kinds.count("commit") in (ROUNDS, ROUNDS - 1), "one round may have been charged and lost"
