"""Why a round went as it did, told to the operator: who did not answer, at which step, why, and what to do about it.

Takes plain values, wherever they come from, and gives text. It names participants: it is for the coordinator's own
machine, and never for the dashboard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

STEPS = {
    "train": "train, and report or send keys",
    "share": "share secrets",
    "mask": "send the hidden report",
    "confirm": "confirm who survived",
    "unmask": "open the sum",
}
REMEDIES: Mapping[str, str] = {
    "late": "ask whether its machine is slow or its line is; give the round more seconds, or the run a larger dropout",
    "absent": "see that its process runs and reaches this coordinator: `tacit doctor URL` there says what fails",
    "restarted": "nothing: it takes part again from the next attempt; ask why its process ended if this happens often",
    "refused": "its own policy does not allow this: speak with whoever answers for it, and change the plan if need be",
    "data": "its data cannot be learned from as they are: `tacit participant log` on its machine says where",
    "memory": "its machine has too little memory: lower its batch size or its threads, or give it more",
    "session": "it would not go on with this secure sum, which looked unsafe from its side: take its text seriously",
    "unexpected": "a fault of the program there: look at its log, and run it with --debug",
    "revoked": "nothing: you have revoked it",
    "withdrawn": "nothing: it has withdrawn its consent, and must not be asked again",
    "malformed": "its answer was no message of this protocol: see that it runs a tacit of a version that fits",
    "conflict": "it gave two different answers: see that not two processes run with the same key",
}
"""What an operator can do, by cause."""
UNKNOWN_CAUSE = "look at its log"


@dataclass(frozen=True)
class Trouble:
    """Why one participant did not answer at one step.

    Attributes:
        participant: who.
        kind: the step.
        cause: a word, see REMEDIES.
        text: a sentence that it, or the coordinator, gave.
        at: ms since 1970.
    """

    participant: str
    kind: str
    cause: str
    text: str
    at: int


@dataclass(frozen=True)
class Step:
    """One step of an attempt.

    Attributes:
        kind: of what was asked.
        asked: how many were; None where it was not written.
        answered: how many answers were taken.
        first, last, closed: when the first and last of them came and when it was closed, ms since 1970; None: never.
    """

    kind: str
    asked: int | None
    answered: int
    first: int | None = None
    last: int | None = None
    closed: int | None = None


@dataclass(frozen=True)
class Tried:
    """One attempt at a round, as it was.

    Attributes:
        round: from 0.
        attempt: from 0.
        state: "published", "abandoned", or how far it has come.
        reason: why it was abandoned.
        cohort: who was asked.
        survivors: whose reports are in the sum; None where that was not decided.
        opened, moved: ms since 1970.
        model: sha256 of what was published.
        steps: in order.
        troubles: in the order in which they were known.
        events: (ms since 1970, sentence) of what else is known.
    """

    round: int
    attempt: int
    state: str
    reason: str
    cohort: Sequence[str]
    survivors: Sequence[str] | None
    opened: int
    moved: int
    model: str | None = None
    steps: Sequence[Step] = ()
    troubles: Sequence[Trouble] = ()
    events: Sequence[tuple[int, str]] = field(default=())


def explained(round: int, attempts: Sequence[Tried]) -> str:
    """The whole story of a round, for people.

    Args:
        round: from 1, as people count.
        attempts: all of it, in order.
    """
    if not attempts:
        return f"round {round} was not tried: it is later than the run has come, or the run has fewer rounds"
    lines = [_headline(round, attempts)]
    for one in attempts:
        lines += ["", *_attempt(one, len(attempts) > 1)]
    return "\n".join(lines)


def as_values(attempts: Sequence[Tried]) -> list[dict[str, object]]:
    """The same as JSON values, for programs. Rounds and attempts count from 0 there, as on the wire."""
    return [
        {
            **{
                name: getattr(one, name) for name in ("round", "attempt", "state", "reason", "opened", "moved", "model")
            },
            "cohort": list(one.cohort),
            "survivors": None if one.survivors is None else list(one.survivors),
            "steps": [vars(step) for step in one.steps],
            "troubles": [{**vars(trouble), "remedy": remedy(trouble.cause)} for trouble in one.troubles],
        }
        for one in attempts
    ]


def remedy(cause: str) -> str:
    """What to do about a cause."""
    return REMEDIES.get(cause, UNKNOWN_CAUSE)


def _headline(round: int, attempts: Sequence[Tried]) -> str:
    last, count = attempts[-1], len(attempts)
    tries = "1 attempt" if count == 1 else f"{count} attempts"
    if last.state == "published":
        took = _span(last.moved - attempts[0].opened)
        return f"round {round} was published, after {tries}, in {took}"
    if last.state == "abandoned":
        return f"round {round} was not done: {tries}, the last one abandoned: {_clean(last.reason)}"
    return f"round {round} is under way: {tries}, now {last.state}"


def _attempt(one: Tried, several: bool) -> Iterator[str]:
    name = f"attempt {one.attempt + 1}: " if several else ""
    yield f"{name}{one.state}, {_span(one.moved - one.opened)} from {_clock(one.opened)}"
    if one.reason:
        yield f"  why        {_clean(one.reason)}"
    yield f"  asked      {len(one.cohort)}: {_names(one.cohort)}"
    if one.survivors is not None:
        missing = [name for name in one.cohort if name not in set(one.survivors)]
        without = f"; without {_names(missing)}" if missing else ""
        yield f"  in the sum {len(one.survivors)} of {len(one.cohort)}{without}"
    if one.model:
        yield f"  model      {one.model}"
    yield from _steps(one)
    yield from _troubles(one)
    yield from _timeline(one)


def _steps(one: Tried) -> Iterator[str]:
    if one.steps:
        yield "  steps"
    for step in one.steps:
        asked = "" if step.asked is None else f" of {step.asked}"
        failed = sum(trouble.kind == step.kind for trouble in one.troubles)
        lost = f", {failed} did not" if failed else ""
        took = "" if step.last is None else f", the last one {_span(step.last - one.opened)} after the beginning"
        yield f"    {STEPS.get(step.kind, step.kind):<31}{step.answered}{asked} answered{lost}{took}"


def _troubles(one: Tried) -> Iterator[str]:
    if one.troubles:
        yield "  who did not answer, and what to do"
    elif one.state == "abandoned":
        yield "  nobody had failed until then: the reason above is the coordinator's own"
    for trouble in one.troubles:
        step = STEPS.get(trouble.kind, trouble.kind)
        yield f"    {_clean(trouble.participant)}, asked to {step}: {_clean(trouble.cause)}"
        if trouble.text:
            yield f"      it was said  {_clean(trouble.text)}"
        yield f"      to do        {remedy(trouble.cause)}"


def _timeline(one: Tried) -> Iterator[str]:
    moments = [(at, _clean(text)) for at, text in one.events]
    for step in one.steps:
        name = STEPS.get(step.kind, step.kind)
        if step.first is not None:
            moments.append((step.first, f"{name}: the first answer"))
        if step.last is not None and step.answered > 1:
            moments.append((step.last, f"{name}: the last of {step.answered} answers"))
        if step.closed is not None:
            moments.append((step.closed, f"{name}: closed"))
    moments += [(lost.at, f"{_clean(lost.participant)} is lost: {_clean(lost.cause)}") for lost in one.troubles]
    if moments:
        yield "  as it went"
    for at, text in sorted(moments, key=lambda moment: moment[0]):
        yield f"    {'+' + _span(max(at - one.opened, 0)):>9}  {text}"


def _names(names: Sequence[str], most: int = 20) -> str:
    shown = ", ".join(_clean(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _clean(text: str) -> str:
    """Text of a peer on one line, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:2000]


def _span(ms: float) -> str:
    seconds = ms / 1000
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _clock(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
