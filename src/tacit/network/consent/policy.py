"""The policy of a participant: what it admits, set where the data are. No coordinator can weaken it.

Every default is the careful one that still lets a person work: sums must be secure and of five or more, a person
approves each plan, and connections without TLS are refused. A plan without differential privacy is neither admitted nor
refused by default (`without = "ask"`): most runs between institutions have none and rest on secure sums, so refusing
them all would teach people to switch the rule off; but nobody should take part in one unknowingly, so a person must
approve it even where the policy approves all else. Under a cap on epsilon such plans are refused, for no cap bounds
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tacit.aggregation.secure.config import Policy as SumPolicy
from tacit.checks import is_count, is_number, is_whole
from tacit.errors import Problems, UsageError
from tacit.network.consent.clock import Span, Today, zone_of
from tacit.privacy.accountant import REPLACE_ONE, ZERO_OUT
from tacit.privacy.saying import chooser

if TYPE_CHECKING:
    from tacit.network.consent.cost import Cost
    from tacit.network.consent.spending import Spending
    from tacit.network.terms import Terms

ASK, BY_POLICY = "ask", "policy"
REFUSE, ADMIT = "refuse", "admit"
FEWEST = 3
"""In a sum, whatever anybody says: of two each can subtract its own report."""
COUNTS = ("rounds", "minutes", "sent", "memory", "threads")


@dataclass(frozen=True)
class Policy:
    """What a participant admits. `consent.reading.read` reads one from a file.

    Attributes:
        approval: "ask": a person approves every plan; "policy": what this policy admits is approved.
        expires: from this day on nothing is admitted; None for never.
        tasks: names of scenarios; None for any that is installed here.
        plans: hashes of plans; where there are any, nothing else is admitted.
        authorities: public keys, 64 hexadecimal digits each; empty for the one that it is enrolled with.
        insecure_loopback: takes part without TLS, on one machine.
        secure: sums must be secure ones, so that nobody sees a single report.
        minimum: fewest participants in a sum.
        corrupt: share of the participants that may work against this one, at least.
        sigma: the chance that a sum does not hide it is below `2^-sigma`.
        insecure_unsigned, insecure_honest_server: see `aggregation.secure.config.Policy`.
        mixed_models: takes part where rounds overlap (FedBuff): sums then hold reports of several models, and a server
            that sends out models made for it may tell one report from the others.
        without: a plan without differential privacy is refused ("refuse"), needs a person's approval ("ask"), or is
            like any other ("admit").
        dataset: names the data of this participant, for its ledger: the same data, the same name, in every run.
        epsilon, delta: what all runs on one dataset may cost within 365 days, together; no cap where epsilon is None.
        adjacency: in what this cap compares: "zero-out" or "replace-one".
        hours: parts of the day in which it trains, "22:00-06:00"; empty for always.
        zone: time zone of its days and hours, "Europe/Berlin"; "local" for the machine's own.
        rounds: most rounds of a plan.
        minutes: of training in a day, at most.
        sent: bytes in a day, at most.
        memory: bytes of this process, at most.
        threads: of this process's computing, at most.
    """

    approval: str = ASK
    expires: date | None = None
    tasks: tuple[str, ...] | None = None
    plans: tuple[str, ...] = ()
    authorities: tuple[str, ...] = ()
    insecure_loopback: bool = False
    secure: bool = True
    minimum: int = 5
    corrupt: float = 0.1
    sigma: int = 40
    insecure_unsigned: bool = False
    insecure_honest_server: bool = False
    mixed_models: bool = False
    without: str = ASK
    dataset: str = "own"
    epsilon: float | None = None
    delta: float = 1e-5
    adjacency: str = ZERO_OUT
    hours: tuple[str, ...] = ()
    zone: str = "local"
    rounds: int | None = None
    minutes: int | None = None
    sent: int | None = None
    memory: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        with Problems("the policy cannot be kept", UsageError) as problems:
            problems.extend(problem for _, problem in self.problems())

    def problems(self) -> Iterator[tuple[str, str]]:
        """Everything that is wrong with it: the name of a field, and what."""
        given: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        choices = {
            "approval": (ASK, BY_POLICY),
            "without": (REFUSE, ASK, ADMIT),
            "adjacency": (ZERO_OUT, REPLACE_ONE),
        }
        for name, known in choices.items():
            if given[name] not in known:
                yield name, f"{name} is {given[name]!r}: give {' or '.join(map(repr, known))}"
        for name in (name for name, value in given.items() if type(getattr(Policy, name)) is bool):
            if type(given[name]) is not bool:
                yield name, f"{name} is {given[name]!r}: give true or false"
        for name in COUNTS:
            if given[name] is not None and not is_count(given[name]):
                yield name, f"{name} is {given[name]!r}: give a whole number from 1, or leave it out for no limit"
        yield from self._of_numbers()
        yield from self._of_names(given)
        expires: object = self.expires
        if expires is not None and (not isinstance(expires, date) or isinstance(expires, datetime)):
            yield "expires", f"expires is {expires!r}: give a day, 2030-12-31"

    def _of_numbers(self) -> Iterator[tuple[str, str]]:
        if not is_whole(self.minimum, FEWEST):
            yield "minimum", f"minimum is {self.minimum!r}: give {FEWEST} or more, of two each can subtract its own"
        if not is_number(self.corrupt) or not 0 <= self.corrupt < 1:
            yield "corrupt", f"corrupt is {self.corrupt!r}: give a share from 0 to below 1"
        if not is_whole(self.sigma, 1) or self.sigma > 128:
            yield "sigma", f"sigma is {self.sigma!r}: give 1 to 128 bits"
        if self.epsilon is not None and (not is_number(self.epsilon) or self.epsilon <= 0):
            yield "epsilon", f"epsilon is {self.epsilon!r}: give a number above 0, or leave it out for no cap"
        if not is_number(self.delta) or not 0 < self.delta < 1:
            yield "delta", f"delta is {self.delta!r}: give a number between 0 and 1, 1e-6, say"

    def _of_names(self, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for name in ("tasks", "plans", "authorities", "hours"):
            listed = given[name]
            if name == "tasks" and listed is None:
                continue
            if not isinstance(listed, tuple) or not all(isinstance(entry, str) for entry in listed):
                yield name, f"{name} is {listed!r}: give a list of texts"
                continue
            for entry in listed:
                if name in ("plans", "authorities") and not _is_hash(entry):
                    yield name, f"{name} has {entry!r}: give 64 hexadecimal digits"
                if name == "hours" and Span.of(entry) is None:
                    yield name, f'{name} has {entry!r}: give two times of the day that differ, "22:00-06:00"'
        if not isinstance(given["dataset"], str) or not self.dataset:
            yield "dataset", f"dataset is {self.dataset!r}: give a name"
        try:
            zone_of(self.zone)
        except (ValueError, TypeError):
            yield "zone", f'zone is {self.zone!r}: give "local", or a name as "Europe/Berlin" that this system knows'

    def admit(
        self,
        terms: Terms,
        *,
        costs: tuple[Cost, ...] | None = None,
        spending: Spending | None = None,
        authority: bytes | None = None,
        now: datetime | None = None,
        language: str = "en",
    ) -> list[str]:
        """Every reason for which terms are refused, each with the value and what to do; none where they are admitted.

        Args:
            terms: of the run.
            costs: what they cost; from the terms alone where they are not given.
            spending: of the dataset, with this policy's cap (`spending`); nothing of it is charged here.
            authority: public key (32 bytes) that this participant is enrolled with.
            now: the time, with its zone; of this machine's clock where it is not given.
            language: "en" or "zh".

        Raises:
            UsageError: there is no such language.
        """
        from tacit.network.consent.admission import reasons

        say = chooser(language)
        return list(reasons(self, terms, costs, spending, authority, now or datetime.now(UTC), say))

    def asks(self, terms: Terms, costs: tuple[Cost, ...] | None = None, language: str = "en") -> list[str]:
        """Why a person must approve terms that are admitted; nothing where the policy approves them.

        Args:
            terms: of the run.
            costs: as for `admit`.
            language: "en" or "zh".

        Raises:
            UsageError: there is no such language.
        """
        from tacit.network.consent.cost import costs as costs_of

        say, found = chooser(language), []
        if self.approval == ASK:
            found.append(
                say(
                    "the policy leaves every plan to a person (approval = 'ask')",
                    "策略规定每个计划都由人批准（approval = 'ask'）",
                )
            )
        if self.without == ASK and not all(cost.private for cost in costs or costs_of(terms)):
            found.append(
                say(
                    "the plan has no differential privacy (privacy.without = 'ask')",
                    "计划没有差分隐私（privacy.without = 'ask'）",
                )
            )
        return found

    def may_train(self, now: datetime, today: Today) -> str | None:
        """Why it does not train now, with when it will; None where it may.

        Args:
            now: the time, with its zone.
            today: what was done on this day.
        """
        if self.expires is not None and now.astimezone(self.time_zone).date() >= self.expires:
            return f"the policy expired on {self.expires}: renew it"
        spans = [span for text in self.hours if (span := Span.of(text))]
        clock = now.astimezone(self.time_zone).time()
        if spans and not any(span.holds(clock) for span in spans):
            return f"it is {clock:%H:%M} ({self.zone}), and this participant trains {', '.join(self.hours)}"
        today = today.at(now, self.time_zone)
        if self.minutes is not None and today.seconds >= 60 * self.minutes:
            return f"it has trained for {today.seconds / 60:.0f} of {self.minutes} minutes today: it goes on tomorrow"
        if self.sent is not None and today.sent >= self.sent:
            return f"it has sent {today.sent:,} of {self.sent:,} bytes today: it goes on tomorrow"
        return None

    def for_sums(self, authority: bytes | None = None) -> SumPolicy:
        """What it demands of the sessions of secure sums.

        Args:
            authority: public key (32 bytes) that this participant is enrolled with.
        """
        return SumPolicy(
            minimum=self.minimum,
            corrupt=self.corrupt,
            sigma=self.sigma,
            authorities=self.accepted(authority),
            insecure_unsigned=self.insecure_unsigned,
            insecure_honest_server=self.insecure_honest_server,
        )

    def accepted(self, authority: bytes | None = None) -> tuple[bytes, ...]:
        """The public keys of those whose word for a participant's identity it takes."""
        if self.authorities:
            return tuple(bytes.fromhex(key) for key in self.authorities)
        return () if authority is None else (authority,)

    def spending(self, ledger: Path, dataset: str | None = None) -> Spending:
        """The ledger of a dataset, of this policy's where none is named, with the cap of this policy. To be closed."""
        from tacit.network.consent.spending import Spending

        name = self.dataset if dataset is None else dataset
        return Spending(ledger, name, epsilon=self.epsilon, delta=self.delta, adjacency=self.adjacency)

    def today(self, entries: Any, now: datetime) -> Today:
        """What the entries of a log say of this day."""
        return Today.of(entries, now, self.time_zone)

    @property
    def time_zone(self) -> tzinfo | None:
        """Of its days and hours; None for the machine's own."""
        return zone_of(self.zone)


def _is_hash(text: str) -> bool:
    return len(text) == 64 and not set(text) - set("0123456789abcdef")
