"""The life of a coordinator, as far as its journal sees it: everything that is written, and every kind of it.

Run as a program, it lives once to find the points at which it can be killed, and then once for each of them, in a
process of its own that dies there. What it was told is done it says in a file, so that nobody has to believe it later.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tacit.network.journal import Journal, State, failpoint, writer
from tacit.network.office import Kind

TOKEN = b"t" * 32
NAMES = ("a", "b", "c")
LATER = 2**50
AT_ONCE = 6


def live(where: str, say: Callable[..., None]) -> None:
    """Enrols, runs two rounds of which the second is abandoned once, sends one participant away and lets one go."""
    with Journal.open(where, holder="one life", lease_seconds=600) as journal:
        journal.add_token(TOKEN, uses=3, expires_ms=LATER)
        say("add_token")
        for name in NAMES:
            journal.enrol(TOKEN, name, name.encode() * 32).result()
            say("enrol", name)
        journal.remember("run", "4711")
        say("remember")
        journal.settle("roster", "a,b,c")
        say("settle")
        collect(journal, 0, 0, say)
        finish(journal, 0, 0, NAMES, say)
        collect(journal, 1, 0, say)
        journal.abandon(1, 0, "c was lost")
        say("move", 1, 0, "abandoned")
        journal.withdraw("c").result()
        say("withdraw", "c")
        journal.revoke("b", "its key was stolen")
        say("revoke", "b")
        collect(journal, 1, 1, say)
        finish(journal, 1, 1, ("a", "b"), say)


def collect(journal: Journal, round: int, attempt: int, say: Callable[..., None]) -> None:
    journal.open_round(round, attempt, NAMES, f"down {round}")
    say("open_round", round, attempt)
    journal.move(round, attempt, State.COLLECTING)
    say("move", round, attempt, "collecting")
    for name in NAMES:
        assert journal.fresh(name, nonce(round, attempt), LATER).result()
        say("fresh", name, round, attempt)
        journal.answer(round, attempt, name, Kind.MASK, digest(name), 7).result()
        say("answer", round, attempt, name)
    journal.lost(round, attempt, "c", Kind.UNMASK, "deadline", "too slow").result()
    say("lost", round, attempt)
    journal.close_step(round, attempt, Kind.MASK).result()
    taken = journal.answers(round, attempt, Kind.MASK)
    say("close_step", round, attempt, [one.participant for one in taken])


def finish(journal: Journal, round: int, attempt: int, names: tuple[str, ...], say: Callable[..., None]) -> None:
    journal.fix_survivors(round, attempt, names)
    say("fix_survivors", round, attempt, list(names))
    journal.move(round, attempt, State.MASKED)
    say("move", round, attempt, "masked")
    journal.move(round, attempt, State.SUMMED)
    say("move", round, attempt, "summed")
    journal.publish(round, attempt, f"model {round}")
    say("publish", round, attempt)
    journal.note("said", round=round).result()
    say("note", round)


def nonce(round: int, attempt: int) -> bytes:
    return bytes([round, attempt]) * 8


def digest(name: str) -> bytes:
    return name.encode() * 32


def _points(where: str) -> list[str]:
    passed: list[str] = []
    writer.passing = passed.append  # type: ignore[attr-defined]
    live(where, lambda *_: None)
    return [f"{name}:{passed[:place].count(name) + 1}" for place, name in enumerate(passed)]


def _die(where: str, said: str, point: str) -> None:
    os.environ[failpoint.VARIABLE] = point
    failpoint.arm()
    handle = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    live(where, lambda *what: os.write(handle, json.dumps(what).encode() + b"\n"))


def _each(points: list[str]) -> list[str]:
    """Of each write the first time before its commit, and the last time after it."""
    first = {point.partition(":")[0]: point for point in reversed(points) if ".before" in point}
    last = {point.partition(":")[0]: point for point in points if ".after" in point}
    return [*first.values(), *last.values()]


def main(folder: Path, how: str, wheres: list[str]) -> None:
    """Writes points.json into the folder, and what each life said into a file of its own: for all points, or some.

    The first address is for the life that is not killed. If there are fewer than there are points, the points are
    taken from all over its course.
    """
    ways = folder / "ways"
    if not os.fork():  # the writer's thread belongs to a process of its own
        ways.write_text(json.dumps(_points(wheres[0])))
        os._exit(0)
    os.wait()
    points = json.loads(ways.read_text())
    points = points if how == "all" else _each(points)
    lives = wheres[1:] or [str(folder / f"{number}.sqlite") for number in range(len(points))]
    points = [points[number * len(points) // len(lives)] for number in range(len(lives))]
    ended: list[int] = []
    children: list[int] = []
    for number, (where, point) in enumerate(zip(lives, points, strict=True)):
        children.append(os.fork())
        if not children[-1]:
            _die(where, str(folder / f"{number}.said"), point)
            os._exit(0)
        if len(children) == AT_ONCE or number == len(lives) - 1:
            ended += [os.waitpid(child, 0)[1] for child in children]
            children = []
    (folder / "points.json").write_text(json.dumps(list(zip(points, lives, ended, strict=True))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
