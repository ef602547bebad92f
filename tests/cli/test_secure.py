"""Secure aggregation from the command line: what it costs, and a run of the main job with it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tacit.aggregation.secure.config import Config
from tacit.aggregation.secure.traffic import traffic
from tests.cli.commands import Tacit, settings

KEYS = {
    "neighbours",
    "threshold",
    "sigma",
    "bits",
    "bytes_up",
    "bytes_down",
    "seconds_client",
    "seconds_server",
}
PHONES = settings(["data.phones=40", "data.apps=20", "data.days=10", "data.most_events=60", "model.hidden=8"])
QUICK = ["--engine", "eager", "--workers", "1", "--no-compare"]


def test_an_estimate_says_what_a_session_costs(tacit: Tacit) -> None:
    words = ("secure", "estimate", "--clients", "200", "--parameters", "5000", "--dropout", "0.1", "--corrupt", "0.1")
    found = tacit(*words, "--json").json
    assert set(found) >= KEYS
    config = Config(run=bytes(16), round=0, length=5000, bits=32, minimum=3, layout=bytes(32))
    assert (found["neighbours"], found["threshold"]) == config.degree(200)
    up, down = traffic(config, 200)
    assert (found["bytes_up"], found["bytes_down"]) == (sum(up.values()), sum(down.values()))
    assert found["seconds_client"] > 0 and found["seconds_server"] > 0
    fewer = tacit(*words, "--semi-honest", "--json").json
    assert fewer["neighbours"] < found["neighbours"]
    assert f"{found['neighbours']} neighbours" in tacit(*words).out


def test_up_to_a_hundred_clients_are_all_neighbours(tacit: Tacit) -> None:
    found = tacit("secure", "estimate", "--clients", "61", "--parameters", "1000", "--json").json
    assert (found["neighbours"], found["threshold"]) == (60, 41)
    assert "everybody with everybody" in tacit("secure", "estimate", "--clients", "61", "--parameters", "1000").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--clients 2", "clients is 2"),
        ("--bits 20 --corrupt 2", "corrupt is 2.0"),
        ("--parameters 0", "parameters is 0"),
        ("--clients 200 --corrupt 0.5 --dropout 0.49", "lower"),
        ("--sigma 1000", "sigma is 1000"),
    ],
)
def test_an_estimate_that_cannot_be_made_is_refused(tacit: Tacit, words: str, said: str) -> None:
    ended = tacit("secure", "estimate", *words.split())
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def run(tacit: Tacit, folder: Path, *more: str) -> dict[str, object]:
    ended = tacit("run", "app-recommendation", *PHONES, *QUICK, "--rounds", "2", "--out", folder, "--json", *more)
    assert ended.code == 0, ended.err
    found: dict[str, object] = json.loads(ended.out)
    return found


def test_the_main_job_sums_securely_by_default_and_the_whole_protocol_gives_the_same(
    tacit: Tacit, tmp_path: Path
) -> None:
    ideal = run(tacit, tmp_path / "ideal")
    full = run(tacit, tmp_path / "full", "--set", "aggregation.protocol=full")
    assert ideal["metrics"] == full["metrics"] and ideal["model_sha256"] == full["model_sha256"]
    told, whole = ideal["secure_aggregation"], full["secure_aggregation"]
    assert isinstance(told, dict) and isinstance(whole, dict)
    assert (told["protocol"], whole["protocol"]) == ("ideal", "full")
    assert told["minimum"] >= 5 and told["lost"] == [0.02] * 5
    rows = list(csv.DictReader((tmp_path / "ideal" / "history.csv").open()))
    assert all(int(row["clients"]) + int(row["lost"]) == int(rows[0]["clients"]) + int(rows[0]["lost"]) for row in rows)
    page = (tmp_path / "full" / "report.html").read_text()
    for message in ("advertise", "shares", "masked", "unmask"):
        assert f"<td>{message}</td>" in page
    assert "message by message" in page
    plain = run(tacit, tmp_path / "plain", "--set", "aggregation=none")
    assert plain["secure_aggregation"] is None
    assert "which the server can read" in (tmp_path / "plain" / "report.html").read_text()


def test_a_cohort_that_is_too_small_to_hide_in_is_refused(tacit: Tacit, tmp_path: Path) -> None:
    words = ["--set", "selection.name=Uniform", "--set", "selection.cohort=4"]
    ended = tacit("run", "app-recommendation", *PHONES, *words, "--rounds", "1", "--out", tmp_path / "run")
    assert ended.code == 2
    assert "sums are of 5 clients or more, and a cohort has 4" in ended.err
    assert "aggregation=None" in ended.err or 'aggregation="none"' in ended.err
