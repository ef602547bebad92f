"""A coordinator that is killed at each point of its journal: what it said is done is done, and nothing by halves."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tacit.errors import UsageError
from tacit.network.journal import Attempt, IllegalMove, Journal, LeaseHeld, Standing, State, failpoint
from tacit.network.office import Code, Kind, Refused

from . import life
from .server import Server


def killed(folder: Path, how: str, *wheres: str) -> list[tuple[str, str, list[list[Any]]]]:
    """Point, address, and what was said before it, for each life."""
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    command = [sys.executable, "-m", "tests.network.journal.life", str(folder), how, *wheres]
    subprocess.run(command, check=True, env=environment, cwd=folder)
    found = []
    for number, (point, where, ended) in enumerate(json.loads((folder / "points.json").read_text())):
        assert ended == signal.SIGKILL, point
        said = (folder / f"{number}.said").read_text().splitlines()
        found.append((point, where, [json.loads(line) for line in said]))
    return found


@pytest.mark.parametrize("how", ["each", pytest.param("all", marks=pytest.mark.slow)])
def test_nothing_acknowledged_is_lost_and_nothing_is_done_by_halves_wherever_it_dies(tmp_path: Path, how: str) -> None:
    lives = killed(tmp_path, how, str(tmp_path / "whole.sqlite"))
    writes = "add_token enrol remember settle open_round move fresh answer lost close_step fix_survivors publish note"
    expected = {f"{one}.{when}" for one in [*writes.split(), "withdraw", "revoke"] for when in ("before", "after")}
    assert {point.partition(":")[0] for point, _, _ in lives} == expected
    for point, where, said in lives:
        check(point, where, said)


def test_the_same_holds_with_a_database_server(tmp_path: Path, server: Server) -> None:
    for point, where, said in killed(tmp_path, "all", *(server.database() for _ in range(7))):
        check(point, where, said)


def check(point: str, where: str, said: list[list[Any]]) -> None:
    with reopened(where) as journal:
        journal.verify()
        _only_what_was_written(journal, point, said)
        _answers(journal, said)
        _survivors(journal)
        _standing(journal, said)
        _goes_on(journal)


def reopened(where: str) -> Journal:
    for _ in range(200):  # until a server has seen that the connection is gone
        try:
            return Journal.open(where, holder="next life")
        except LeaseHeld:
            signal.sigtimedwait([], 0.02)
    return Journal.open(where, holder="next life")


def _only_what_was_written(journal: Journal, point: str, said: list[list[Any]]) -> None:
    """Of each kind of write there are as many as were acknowledged, and the one that was cut off after its commit."""
    attempts = journal.rounds()
    answers = [one for at in attempts for one in journal.answers(at.round, at.attempt, Kind.MASK)]
    participants = journal.participants()
    found = {
        "enrol": len(participants),
        "remember": int(journal.recall("run") == "4711"),
        "settle": int(journal.recall("roster") == "a,b,c"),
        "open_round": len(attempts),
        "move": sum(_moves(one) for one in attempts),
        "answer": len(answers),
        "lost": sum(len(journal.losses(one.round, one.attempt)) for one in attempts),
        "fix_survivors": sum(one.survivors is not None for one in attempts),
        "publish": sum(one.state is State.PUBLISHED for one in attempts),
        "withdraw": sum(one.state is Standing.WITHDRAWN for one in participants),
        "revoke": sum(one.state is Standing.REVOKED for one in participants),
        "note": sum(one.event == "said" for one in journal.events()),
    }
    expected = Counter(one[0] for one in said)
    name, when = point.partition(":")[0].split(".")
    expected[name] += when == "after"
    assert found == {kind: expected[kind] for kind in found}, point


def _moves(one: Attempt) -> int:
    if one.state is State.ABANDONED:
        return 2
    return {State.OPEN: 0, State.COLLECTING: 1, State.MASKED: 2, State.SUMMED: 3, State.PUBLISHED: 3}[one.state]


def _answers(journal: Journal, said: list[list[Any]]) -> None:
    """I1: what was acknowledged is there, and what was said to be closed is all there is. No nonce works twice."""
    for kind, *what in said:
        if kind == "answer":
            round, attempt, name = what
            assert journal.answer(round, attempt, name, Kind.MASK, life.digest(name), 7).result().again
        elif kind == "close_step":
            round, attempt, names = what
            assert [one.participant for one in journal.answers(round, attempt, Kind.MASK)] == names == list(life.NAMES)
        elif kind == "fresh":
            assert not journal.fresh(what[0], life.nonce(*what[1:]), life.LATER).result()


def _survivors(journal: Journal) -> None:
    """I3: there is one set, whatever is asked for after the restart."""
    for one in journal.rounds():
        if one.survivors is not None:
            assert journal.fix_survivors(one.round, one.attempt, one.survivors) == one.survivors
            with pytest.raises(IllegalMove):
                journal.fix_survivors(one.round, one.attempt, one.survivors[:1])


def _standing(journal: Journal, said: list[list[Any]]) -> None:
    """I6: who was revoked, or has withdrawn, does not come back."""
    states = {one.name: one for one in journal.participants()}
    for kind, *what in said:
        if kind in ("revoke", "withdraw"):
            assert states[what[0]].state is not Standing.ACTIVE
            with pytest.raises(Refused) as caught:
                journal.enrol(life.TOKEN, what[0], what[0].encode() * 32).result()
            assert caught.value.code is Code.REVOKED


def _goes_on(journal: Journal) -> None:
    """I5: what was published stays, rounds go on after it, and none comes back."""
    published = {one.round: one.model for one in journal.rounds() if one.state is State.PUBLISHED}
    for one in journal.unfinished():
        journal.abandon(one.round, one.attempt, "the coordinator was killed")
    for round in published:
        with pytest.raises(IllegalMove):
            journal.open_round(round, len(journal.attempts(round)), life.NAMES, "down")
    for round in range(max(published, default=-1) + 1, 3):
        attempt = len(journal.attempts(round))
        journal.open_round(round, attempt, life.NAMES, "down")
        for state in (State.COLLECTING, State.SUMMED):
            journal.move(round, attempt, state)
        journal.publish(round, attempt, f"model {round}")
    models = [one.model for one in journal.rounds() if one.state is State.PUBLISHED]
    assert models == ["model 0", "model 1", "model 2"]


def test_a_point_is_passed_without_effect_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(failpoint.VARIABLE, raising=False)
    failpoint.arm()
    failpoint.passing("publish.before")
    for wrong in ("publish.before:x", "publish.before:0", "a:-1"):
        monkeypatch.setenv(failpoint.VARIABLE, wrong)
        with pytest.raises(UsageError, match="count from 1"):
            failpoint.arm()


def test_the_variable_of_a_new_process_kills_it_at_the_point(tmp_path: Path) -> None:
    code = "from tacit.network.journal import passing\nfor n in range(9): print(n, flush=True); passing('x')"
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, env={**os.environ, failpoint.VARIABLE: "x:3"}, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "0\n1\n2\n")
