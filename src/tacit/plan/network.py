"""How a run takes place between machines: the table [network] of a plan."""

from __future__ import annotations

from dataclasses import dataclass

from tacit.checks import is_count, is_number, make_plain, truth
from tacit.errors import Problems, UsageError

LONGEST = 30 * 86400.0
"""Most seconds that anything is waited for."""


@dataclass(frozen=True)
class Network:
    """Who takes part, and how long they are waited for. A simulation of the same plan ignores it.

    Attributes:
        participants: N, how many take part: the run begins when so many have approved it. None takes as many as
            clients in the data of the plan.
        patience: seconds for which a client's training is waited for, in every round.
        answer: seconds for which the answer to a message of a secure sum is waited for.
        absence: seconds without a word after which a participant counts as gone.
        partial: a participant too slow for the patience does the whole local steps that fit, and is counted for them.
        attempts: how often a round is tried before the run fails.
        schema: sha256 of the schema of the examples; None takes the one that the scenario makes.
    """

    participants: int | None = None
    patience: float = 600.0
    answer: float = 60.0
    absence: float = 60.0
    partial: bool = True
    attempts: int = 5
    schema: str | None = None

    def __post_init__(self) -> None:
        make_plain(self)
        with Problems("the network cannot be used like this", UsageError) as problems:
            for name in ("participants", "attempts"):
                value = getattr(self, name)
                good = is_count(value) or (name == "participants" and value is None)
                problems.check(good, f"{name} is {value!r}: give a whole number of at least 1")
            for name in ("patience", "answer", "absence"):
                value = getattr(self, name)
                good = is_number(value) and 0 < value <= LONGEST
                problems.check(good, f"{name} is {value!r}: give seconds, above 0 and up to {LONGEST:,.0f}")
            problems.extend(truth("partial", self.partial))
            schema = self.schema
            good = schema is None or (len(schema) == 64 and not set(schema) - set("0123456789abcdef"))
            problems.check(good, f"schema is {schema!r}: give the 64 hexadecimal digits of a sha256, or leave it out")
