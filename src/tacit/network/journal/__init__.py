"""The coordinator's memory: registry, nonces, rounds, answers and what happened, safe from crashes at every point.

with Journal.open("run/journal.sqlite", holder="alpha, process 4711") as journal:
    journal.open_round(0, 0, ["a", "b", "c"], digest)
    receipt = journal.answer(0, 0, "a", Kind.TRAIN, sha, size).result()
    journal.close_step(0, 0, Kind.TRAIN).result()
"""

from tacit.network.journal.answers import Answer, Loss
from tacit.network.journal.errors import Fenced, IllegalMove, LeaseHeld
from tacit.network.journal.events import Event
from tacit.network.journal.failpoint import passing
from tacit.network.journal.journal import Journal
from tacit.network.journal.registry import Participant, Standing
from tacit.network.journal.rounds import NEXT, Attempt, State

__all__ = [
    "NEXT",
    "Answer",
    "Attempt",
    "Event",
    "Fenced",
    "IllegalMove",
    "Journal",
    "LeaseHeld",
    "Loss",
    "Participant",
    "Standing",
    "State",
    "passing",
]
