"""The minutes of a run: what its rounds write into the journal before they go on, and what is taken up from there."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tacit.network.desk import Answers, Asking
from tacit.network.journal import Attempt, Journal, State, passing
from tacit.network.office import Kind, Outcome

KEPT = 100
"""Attempts that are told of."""
RESTARTED = "the coordinator was started anew: the session's secrets went with the old process"
BLAMED = "it sent a share that its owner had not committed to; the share was left out"
LOST = "the coordinator was started anew, and the sum was not kept"


@dataclass
class Told:
    """What may be told of an attempt: how many, and not who."""

    round: int
    attempt: int
    state: str
    began: int
    ended: int | None = None
    reason: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Minutes:
    """See `networked.Notes`.

    Attributes:
        journal: where it is written.
        recovered: the round whose sum was stored when the coordinator died, if its attempt may still be published.
    """

    journal: Journal
    recovered: Attempt | None = None
    told: list[Told] = field(default_factory=list)
    """The last attempts, for whoever looks."""
    tell: Callable[..., None] = lambda event, **facts: None
    """Told of what happens, by the names of `watch.log`."""
    _moved: Counter[tuple[int, int]] = field(default_factory=Counter)

    def settle(self, rounds: int) -> None:
        """Looks at what an earlier process left: nothing of it goes on, but a sum that is in a checkpoint, or stored.

        Args:
            rounds: how many are in the newest checkpoint.
        """
        for one in self.journal.unfinished():
            if one.state is State.SUMMED and one.round == rounds:
                self.recovered = one
            elif one.state is not State.SUMMED or one.round > rounds:
                self.journal.abandon(one.round, one.attempt, RESTARTED)

    def opened(self, round: int, cohort: Sequence[str], down: str) -> int:
        """Notes a new attempt of a round."""
        earlier = self.journal.attempts(round)
        for before in earlier:
            if not before.state.over:
                self.journal.abandon(round, before.attempt, LOST)
        self.recovered = None
        attempt = len(earlier)
        opening = self.journal.opening(round, attempt, cohort, down)  # both go into one commit
        collecting = self.journal.moving(round, attempt, State.COLLECTING)
        opening.result()
        collecting.result()
        self.told = [*self.told[-KEPT:], Told(round, attempt, "collecting", self._ms())]
        self.tell("round.opened", round=round, attempt=attempt, cohort=len(cohort))
        passing("round.opened")
        return attempt

    def asked(self, asking: Asking, answers: Answers) -> None:
        """Notes that no more answers of this kind are taken, and why some did not come.

        Nobody waits for it: the desk takes none any more, and what follows from them is written after this.
        """
        round, attempt = asking.round, asking.attempt
        if asking.last:
            self.journal.close_step(round, attempt, asking.kind)
        for name, why in answers.failed.items():
            self.journal.lost(round, attempt, name, asking.kind, why.kind, why.text)
            lost = {"participant": name, "kind": str(asking.kind), "cause": why.kind, "text": why.text}
            self.tell("answer.lost", round=round, attempt=attempt, **lost)
        failed = Counter(why.kind for why in answers.failed.values())
        told = {
            "asked": len(asking.payloads),
            "answered": len(answers.answered),
            "failed": dict(failed),
            "seconds": round_to(answers.seconds),
        }
        self.journal.note("step.closed", round=round, attempt=attempt, kind=str(asking.kind), **told)
        self.tell("step.closed", round=round, attempt=attempt, kind=str(asking.kind), **told)
        if self.told:
            self.told[-1].steps.append({"kind": str(asking.kind), **told})
        if asking.kind is Kind.SHARE and not self._moved[round, attempt]:
            self._moved[round, attempt] += 1
            self.journal.moving(round, attempt, State.SHARED)
        passing(f"{asking.kind}.closed")

    def blamed(self, round: int, attempt: int, names: Sequence[str]) -> None:
        """Notes who sent shares that their owners had not committed to: they lie, or those owners do."""
        for name in names:
            self.journal.lost(round, attempt, name, Kind.UNMASK, "session", BLAMED)
            lost = {"participant": name, "kind": str(Kind.UNMASK), "cause": "session", "text": BLAMED}
            self.tell("answer.lost", round=round, attempt=attempt, **lost)

    def survived(self, round: int, attempt: int, names: Sequence[str]) -> None:
        """Notes whose reports are in a sum, before anybody is asked to unmask it."""
        fixing = self.journal.fixing(round, attempt, names)  # both go into one commit
        masked = self.journal.moving(round, attempt, State.MASKED)
        fixing.result()
        masked.result()
        passing("survivors.fixed")

    def summed(self, round: int, attempt: int, counted: Sequence[str]) -> None:
        """Notes that the sum of a round is there."""
        self.journal.move(round, attempt, State.SUMMED, counted=sorted(counted))
        passing("summed")

    def published(self, one: Attempt, model: str) -> dict[str, Outcome]:
        """Notes that the model of a round is out.

        Returns:
            What is told of the round, by participant.
        """
        self.journal.publish(one.round, one.attempt, model)
        self._ended("published")
        passing("published")
        return _outcomes(one)

    def abandoned(self, round: int, reason: str) -> int:
        """Gives the present attempt of a round up.

        Returns:
            How often the round has been tried; restarts of the coordinator do not count.
        """
        for one in self.journal.attempts(round):
            if not one.state.over:
                self.journal.abandon(round, one.attempt, reason)
                self._ended("abandoned", reason)
        return sum(one.reason not in (RESTARTED, LOST) for one in self.journal.attempts(round))

    def _ended(self, state: str, reason: str = "") -> None:
        if self.told:
            last = self.told[-1]
            last.state, last.ended, last.reason = state, self._ms(), reason
            seconds = (last.ended - last.began) / 1000
            self.tell(f"round.{state}", round=last.round, attempt=last.attempt, reason=reason, seconds=seconds)

    def _ms(self) -> int:
        return int(time.time() * 1000)

    def outcomes(self) -> dict[str, Outcome]:
        """For everybody the last round that holds its report."""
        found: dict[str, Outcome] = {}
        for one in self.journal.rounds():
            if one.state is State.PUBLISHED:
                found |= _outcomes(one)
        return found


def _outcomes(one: Attempt) -> dict[str, Outcome]:
    """What is told of a round, to those who are counted in it.

    Nobody else is told: whoever was away must hear of the last round that holds its report, not of one after it.
    """
    return {name: Outcome(one.round, one.attempt, True) for name in one.facts.get("counted", ())}


def round_to(seconds: float) -> float:
    """Seconds as they are written."""
    return float(f"{seconds:.4f}")
