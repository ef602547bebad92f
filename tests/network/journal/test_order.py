"""What is written together has the outcomes of what is written one after another."""

import random
import time
from pathlib import Path

import pytest

from tacit.network.journal import Journal, State
from tacit.network.office import Kind

COHORT = ["ada", "bob", "cyd"]


def _asked(draw: random.Random) -> list[tuple[str, tuple[object, ...]]]:
    """Nonces that come twice, answers before and after their step is closed, moves that may not be made."""
    found: list[tuple[str, tuple[object, ...]]] = []
    for _ in range(60):
        name, kind = draw.choice([*COHORT, "eve"]), draw.choice([Kind.TRAIN, Kind.SHARE])
        found.append(
            draw.choice(
                [
                    ("fresh", (name, bytes([draw.randrange(4)]) * 16, 2**50)),
                    ("answer", (0, 0, name, kind, bytes([draw.randrange(2)]) * 32, 9)),
                    ("answer", (0, 0, name, kind, bytes(32), 9)),
                    ("note", ("step.closed",)),
                    ("lost", (0, 0, name, kind, "late", "it was late")),
                    ("fixing", (0, 0, draw.sample(COHORT, 2))),
                ]
                + [("close_step", (0, 0, kind)), ("moving", (0, 0, draw.choice([State.COLLECTING, State.SHARED])))]
                * draw.choice([0, 0, 0, 1])
            )
        )
    return found


def _outcome(future: object) -> str:
    try:
        return repr(future.result())  # type: ignore[attr-defined]
    except Exception as error:
        return repr(error)


@pytest.mark.parametrize("seed", range(12))
def test_a_batch_comes_to_the_same_as_its_writes_one_by_one(tmp_path: Path, seed: int) -> None:
    asked = _asked(random.Random(seed))
    told: dict[str, list[str]] = {}
    for how in ("together", "one by one"):
        with Journal.open(tmp_path / f"{how}.sqlite", holder="test", clock=lambda: 1e6) as journal:
            journal.open_round(0, 0, COHORT, "d")
            held = journal._later("hold", lambda _: time.sleep(0.2)) if how == "together" else None
            futures = []
            for what, args in asked:
                futures.append(getattr(journal, what)(*args))
                if held is None:
                    _outcome(futures[-1])
            told[how] = [_outcome(future) for future in futures]
            assert journal.verify()[0] == len(journal.events())
            told[how] += [repr(journal.events()), repr(journal.answers(0, 0, Kind.TRAIN)), repr(journal.rounds())]
    assert told["together"] == told["one by one"]
    assert len(set(told["together"])) > 5
