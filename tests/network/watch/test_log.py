"""Logs: one line per event, names that stay, and no secrets."""

from __future__ import annotations

import ast
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tacit.network
from tacit.errors import StorageError, UsageError
from tacit.network.watch import log
from tacit.network.watch.log import EVENTS, REFUSED, Log, allowed, opened
from tacit.network.watch.rarely import KINDS, Rarely


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    logger = logging.getLogger(log.NAME)
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line() -> None:
    stream = io.StringIO()
    opened(stream)
    Log()("round.opened", round=3, attempt=1, cohort=5)
    Log()("request", route="answer")  # not of interest at this level
    [line] = lines(stream)
    assert str(line.pop("at")).endswith("Z")
    assert line == {"level": "info", "event": "round.opened", "round": 3, "attempt": 1, "cohort": 5}


def test_what_libraries_say_is_a_line_too_with_its_traceback() -> None:
    stream = io.StringIO()
    opened(stream)
    try:
        raise ValueError("of a library")
    except ValueError:
        logging.getLogger("tacit.network.http").exception("it went\nwrong: %s", "x")
    [line] = lines(stream)
    assert (line["event"], line["level"], line["text"]) == ("message", "error", "it went\nwrong: x")
    assert "ValueError: of a library" in str(line["traceback"])


@pytest.mark.parametrize("name", ["token", "private_key", "secret", "signature", "Nonce", "api_keys", "Authorization"])
def test_fields_that_would_hold_a_secret_are_refused(name: str) -> None:
    assert allowed({name: "s3cr3t", "within": {name: "s3cr3t"}}) == {name: REFUSED, "within": {name: REFUSED}}


def test_fields_that_only_sound_alike_are_kept() -> None:
    facts = {"monkey": 1, "keyboard": 2, "round": 3}
    assert allowed(facts) == facts


@given(st.dictionaries(st.text(), st.text() | st.floats() | st.binary() | st.none() | st.lists(st.text())))
def test_whatever_the_facts_are_it_is_one_line(facts: dict[str, object]) -> None:
    for human in (False, True):
        stream = io.StringIO()
        opened(stream, human=human)
        logging.getLogger("tacit.network").info(
            "%s", "x", extra={"tacit_event": "message", "tacit_facts": allowed(facts)}
        )
        text = stream.getvalue()
        assert len(text.splitlines()) == 1
        if not human:
            assert json.loads(text)["event"] == "message"


def test_people_read_a_line_without_control_characters() -> None:
    stream = io.StringIO()
    opened(stream, human=True)
    Log()("participant.declined", participant="a", reason="\x1b[31mred\nline")
    assert "WARNING participant.declined" in stream.getvalue()
    assert r"reason=\x1b[31mred\nline" in stream.getvalue()


def test_a_file_is_put_aside_when_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "BYTES", 1000)
    handler = opened(tmp_path / "deep" / "events.jsonl")
    for round in range(100):
        Log()("round.opened", round=round)
    handler.close()
    assert {file.name for file in (tmp_path / "deep").iterdir()} >= {"events.jsonl", "events.jsonl.1", "events.jsonl.5"}
    assert len(list((tmp_path / "deep").iterdir())) == 6


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        opened(tmp_path / "file" / "events.jsonl")


def test_an_event_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no event 'round.begun'"):
        Log()("round.begun")


def test_a_server_tells_of_requests_and_refusals() -> None:
    stream = io.StringIO()
    opened(stream, level=logging.DEBUG)
    Log().observe("request", route="time", code="")
    Log().observe("request", route="answer", code="gone")
    Log().observe("connection", refused="full")
    assert [line["event"] for line in lines(stream)] == ["request", "request.refused", "connection.refused"]


def test_every_event_has_a_meaning() -> None:
    for name, (level, meaning) in EVENTS.items():
        assert name == name.lower()
        assert level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
        assert meaning.endswith(".")


def test_no_line_of_the_package_hands_a_secret_to_a_log() -> None:
    package = Path(tacit.network.__file__).parent
    for file in package.rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and _logs(call.func):
                named = {name.arg for name in call.keywords if name.arg}
                inner = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)}
                inner |= {node.attr for node in ast.walk(call) if isinstance(node, ast.Attribute)}
                assert not {name for name in named | inner if log.SECRET.search(name.lower())}, (file, call.lineno)


def _logs(called: ast.expr) -> bool:
    if isinstance(called, ast.Attribute):
        holder = called.value
        return isinstance(holder, ast.Name) and holder.id.lower() in ("log", "logger", "logging")
    return isinstance(called, ast.Name) and called.id in ("Log", "LOG")


def test_what_strangers_can_cause_is_told_once_in_a_while_with_how_often_it_was() -> None:
    now, stream = [0.0], io.StringIO()
    opened(stream)
    log = Log(rarely=Rarely(1.0, lambda: now[0]))
    for at in (0.0, 0.1, 0.9, 1.0, 1.5, 9.0):
        now[0] = at
        log.observe("malformed", status=400)
    log.observe("malformed", status=413)
    log.observe("connection", refused="full")
    told = [(line["event"], line.get("status", line.get("refused")), line["times"]) for line in lines(stream)]
    malformed = "request.malformed"
    assert told == [
        (malformed, 400, 1), (malformed, 400, 3), (malformed, 400, 2), (malformed, 413, 1),
        ("connection.refused", "full", 1),
    ]  # fmt: skip


def test_of_many_different_things_few_are_kept_apart() -> None:
    rarely = Rarely(1.0, lambda: 0.0)
    assert sum(rarely.times("kind", number) for number in range(10_000)) == KINDS + 1
