"""`tacit status`, `tacit explain-round` and `tacit doctor URL`, against a coordinator's surface and its journal."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from tacit.cli.explain import explain
from tacit.cli.status import TOKEN, status
from tacit.errors import TacitError, UsageError
from tacit.network.identity import make_certificates, server_context
from tacit.network.journal import Journal
from tacit.network.office import Kind, Refused
from tacit.network.watch.dashboard import routes
from tests.cli.commands import Tacit
from tests.network.watch import samples
from tests.network.watch.serving import served

SECRET = "a-token-of-the-operator"
app = typer.Typer()
app.command("status")(status)
app.command("explain-round")(explain)


def tacit_(*words: str | Path) -> Result:
    """Runs a verb; its errors are raised."""
    found = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(found.exception, TacitError):
        raise found.exception
    return found


@pytest.fixture(autouse=True)
def _nobody_is_enrolled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACIT_PARTICIPANT", str(tmp_path / "participant"))
    monkeypatch.delenv(TOKEN, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Journal.open(tmp_path / "journal.sqlite", holder="test") as journal:
        journal.open_round(0, 0, ["clinic-a", "clinic-b"], "00" * 32)
        journal.lost(0, 0, "clinic-b", Kind.TRAIN, "data", "column age is missing").result()
        journal.abandon(0, 0, "1 report, 2 are needed")
    return tmp_path


def test_a_run_is_shown_over_tls(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "certs", ["127.0.0.1"])
    with served(routes(samples.training), server_context(made.certificate, made.key)) as url:
        assert "training  app-recommendation, round 37 of 100" in tacit_("status", url, "--ca", made.ca).output
        assert json.loads(tacit_("status", url, "--ca", made.ca, "--json").output) == samples.training()
        with pytest.raises(Refused, match="cannot be reached"):
            tacit_("status", url)


def test_a_coordinator_that_asks_for_a_certificate_is_shown_one(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "certs", ["127.0.0.1"], clients=["mercy"])
    own = ["--cert", made.clients["mercy"][0], "--key", made.clients["mercy"][1]]
    with served(routes(samples.training), server_context(made.certificate, made.key, made.ca)) as url:
        assert "round 37 of 100" in tacit_("status", url, "--ca", made.ca, *own).output
        with pytest.raises(Refused, match="it may ask for a client certificate: give --cert and --key"):
            tacit_("status", url, "--ca", made.ca)
        with pytest.raises(UsageError, match="its certificate is missing"):
            tacit_("status", url, "--ca", made.ca, *own[2:])


def test_the_operators_token_opens_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(routes(samples.training, SECRET)) as url:
        with pytest.raises(Refused, match="does not show its run"):
            tacit_("status", url)
        monkeypatch.setenv(TOKEN, SECRET)
        assert "round 37" in tacit_("status", url).output
    with pytest.raises(UsageError, match="https only"):
        tacit_("status", "http://hospital.example")


def test_watching_ends_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.cli.status.EVERY", 0.01)
    monkeypatch.setattr("tacit.network.watch.dashboard.FRESH", 0.0)
    left = [samples.training(98), samples.training(99), {**samples.training(100), "state": "finished"}]

    def next_one() -> dict[str, Any]:
        return left.pop(0) if len(left) > 1 else left[0]

    with served(routes(next_one)) as url:
        assert "finished" in tacit_("status", url, "--watch").output
    assert len(left) == 1


def test_a_folder_shows_what_its_journal_says(folder: Path) -> None:
    text = tacit_("status", folder).output
    assert "0 published; 1 attempts abandoned" in text
    assert "1 report, 2 are needed" in text
    found = json.loads(tacit_("status", folder, "--json").output)
    assert (found["published"], found["abandoned"], found["last"][0]["state"]) == (0, 1, "abandoned")


def test_a_folder_whose_coordinator_runs_asks_it(folder: Path) -> None:
    with served(routes(samples.training)) as url:
        (folder / "address.json").write_text(json.dumps({"url": url, "authority": "00" * 32, "ca": None}))
        assert "round 37 of 100" in tacit_("status", folder).output
    assert "0 published; 1 attempts abandoned" in tacit_("status", folder).output  # it is gone: the journal says this
    with pytest.raises(Refused, match="cannot be reached"):
        tacit_("status", folder, "--watch")
    (folder / "address.json").write_text("[]")
    assert "0 published" in tacit_("status", folder).output


def test_a_round_is_explained(folder: Path) -> None:
    text = tacit_("explain-round", "1", "--dir", folder).output
    assert "round 1 was not done: 1 attempt, the last one abandoned: 1 report, 2 are needed" in text
    assert "clinic-b, asked to train, and report or send keys: data" in text
    assert "column age is missing" in text
    assert "was not tried" in tacit_("explain-round", "7", "--dir", folder).output
    [found] = json.loads(tacit_("explain-round", "1", "--dir", folder, "--json").output)
    assert found["troubles"][0]["participant"] == "clinic-b"


def test_watching_takes_an_address_and_no_json(folder: Path) -> None:
    for words in (["status", folder, "--watch"], ["status", "http://127.0.0.1", "--watch", "--json"]):
        with pytest.raises(UsageError, match="--watch"):
            tacit_(*words)


def test_a_doctor_says_what_stands_in_the_way_and_ends_with_8(tacit: Tacit) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{free.getsockname()[1]}"
        ended = tacit("doctor", url)
        assert ended.code == 8
        assert "FAIL  route" in ended.out
        assert "to do: nothing listens there" in ended.out
        assert "1 of 3 stand in the way" in ended.out
        found = tacit("doctor", url, "--json")
    assert found.code == 8
    assert [one["level"] for one in found.json] == ["OK", "FAIL", "OK"]
    assert tacit("doctor", "hospital").code == 2
