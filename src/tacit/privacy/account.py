"""Accounts of a privacy ledger: the entries of one population and unit, what they cost, and who may add to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from tacit.checks import is_number, is_whole
from tacit.errors import (
    DamagedFile,
    InsecureRandomness,
    LedgerForked,
    LedgerMissing,
    LedgerTampered,
    PrivacyError,
    Problems,
    UnregisteredRelease,
    UsageError,
)
from tacit.privacy.chain import Chain, Entry, Tally, as_text, read_event
from tacit.privacy.event import EVENTS, Charges, Event, Unbounded
from tacit.privacy.place import VARIABLE
from tacit.privacy.store import ENTRIES

RIGHT_ONE = f"Give the ledger that the run was recorded in (by {VARIABLE}), or begin a new run"


class Account:
    """The entries of one population and unit in a ledger; see `Ledger.account`.

    Every method raises LedgerTampered where the chain is broken, and StorageError where the file cannot be used.
    """

    def __init__(self, chain: Chain, population: str, unit: str) -> None:
        with Problems("the account is not named", UsageError) as problems:
            problems.extend(_text("population", population) + _text("unit", unit))
        self.population = population
        self.unit = unit
        self._chain = chain
        self._mine = (ENTRIES.c.population == population, ENTRIES.c.unit == unit)

    def entries(self) -> list[Entry]:
        """All entries, oldest first."""
        with self._chain.held() as connection:
            return self._chain.entries(connection, *self._mine)

    def charges(self, without_run: str | None = None) -> Charges:
        """Every reserve, committed or not, over all runs.

        Args:
            without_run: a run that is left out.
        """
        with self._chain.held():
            return self._tally.charges(without=without_run)

    def head(self) -> str:
        """The digest of the last entry, "" when there is none: what a checkpoint keeps for `require`."""
        with self._chain.held():
            return self._tally.head

    def last(self, run: str) -> Entry | None:
        """The run's last entry."""
        with self._chain.held():
            return self._tally.last.get(run)

    def open_rounds(self, run: str) -> list[Entry]:
        """The run's reserves without a commit, oldest first: rounds whose noise may have been drawn, or seen."""
        with self._chain.held():
            return [entry for entry in self._tally.open.values() if entry.run == run]

    def open_reserve(self, run: str, round: int, fingerprint: str) -> Entry | None:
        """The reserve of a round whose sum a run has stored; None where that sum was committed.

        Raises:
            LedgerMissing: there is none: the ledger is older than the sum, or another one.
        """
        with self._chain.held():
            released = fingerprint in self._tally.released
            mine = [entry for entry in self._tally.open.values() if (entry.run, entry.round) == (run, round)]
        if not released and not mine:
            raise LedgerMissing(
                f"the ledger {self._chain.place} holds no charge for round {round + 1} of run {run!r}, whose sum the "
                f"run has stored: it is older, or another one. {RIGHT_ONE}"
            )
        return None if released else mine[-1]  # the sum is that of the last attempt

    def runs(self) -> set[str]:
        """All runs that were charged."""
        with self._chain.held():
            return set(self._tally.spent)

    def record_runs(self) -> set[str]:
        """All runs that were charged for single records of this population, in the accounts of its clients."""
        with self._chain.held() as connection:
            about = (ENTRIES.c.unit == "record", ENTRIES.c.kind == "begin", ENTRIES.c.note == self.population)
            begun = {entry.run for entry in self._chain.entries(connection, *about)}
            return begun & self._chain.charged("record")

    def begin(self, run: str, plan: str, note: str = "") -> Entry:
        """Notes that a run begins. It costs nothing; what the run keeps of it ties the run to this ledger.

        Args:
            run: which run.
            plan: a digest of its plan.
            note: free text; of a run that protects records, the population of which the account holds one client.
        """
        with Problems("the run cannot begin", UsageError) as problems:
            problems.extend(_text("run", run) + _text("plan", plan, 0) + _text("note", note, 0))
        with self._chain.held(write=True) as connection:
            return self._append(connection, "begin", run=run, plan=plan, note=note)

    def reserved(self, run: str) -> int:
        """How many events of a run were reserved, committed or not."""
        with self._chain.held():
            return sum(self._tally.spent.get(run, {}).values())

    def reserve(
        self,
        run: str,
        round: int,
        event: Event | None,
        plan: str,
        allow: Callable[[Charges], None],
        note: str = "",
        delta: float | None = None,
    ) -> Entry:
        """Charges the account for a release, before its noise is drawn. It is on disk when this returns.

        Nobody else can write to the ledger while `allow` decides, so that it decides on what is true. It may read this
        account (its limit, say); it must not write to it.

        Args:
            run: which run.
            round: of the run.
            event: what the release costs; None where an earlier reserve of the run has paid for it.
            plan: a digest of the plan of the run.
            allow: gets the account's charges, the new one among them, and raises to refuse.
            note: free text.
            delta: of the claim of the run, where it has one.

        Returns:
            The entry, for `commit`.

        Raises:
            Exception: what `allow` raised; the ledger is then as it was.
            UnregisteredRelease: `event` is None, and the run has reserved no event before.
            UsageError: an argument is not what it should be.
        """
        event = _checked(run, round, event, plan, note)
        with self._chain.held(write=True) as connection:
            if event is None and not self._tally.spent.get(run):
                raise UnregisteredRelease(
                    f"round {round} of run {run!r} is to be released without an event, and no earlier reserve of that "
                    "run has paid for it: reserve it with the event of its sampling and noise"
                )
            allow(self._tally.charges(*([event] if event else [])))
            values = {"run": run, "round": int(round), "plan": plan, "note": note, "delta": delta}
            return self._append(connection, "reserve", event=event, **values)

    def commit(self, reserved: Entry, fingerprint: str) -> Entry:
        """Records that what `reserve` charged for was released.

        Args:
            reserved: what `reserve` returned, or one of `open_rounds`.
            fingerprint: a digest of what was released, or of the noise in it.

        Raises:
            LedgerForked: it was committed before, or is no reserve of this account.
            InsecureRandomness: the very same was released before.
        """
        with Problems("the commit is not as it should be", UsageError) as problems:
            problems.extend(_text("fingerprint", fingerprint))
            problems.check(isinstance(reserved, Entry), f"reserved is {reserved!r}: give what reserve() returned")
        with self._chain.held(write=True) as connection:
            if self._tally.open.get(reserved.number) != reserved:
                raise self._not_open(connection, reserved)
            if fingerprint in self._tally.released and not isinstance(reserved.event, Unbounded):
                raise InsecureRandomness(
                    f"round {reserved.round} of run {reserved.run!r} came out just as one before: its noise is not "
                    "new, and the difference of two such rounds would have none. Is this machine a copy of "
                    "another, with the same state of its random numbers?"
                )
            values = {"run": reserved.run, "round": reserved.round, "plan": reserved.plan}
            return self._append(connection, "commit", reserve=reserved.number, fingerprint=fingerprint, **values)

    def require(self, head: str, run: str) -> None:
        """Whether a run can go on with this ledger from a checkpoint. Checks every entry of the file again.

        A run commits each round once, one after the other. Commits after `head` that do not go on so from those before
        it come from two continuations of one run.

        Args:
            head: what `head()` gave when the checkpoint was written.
            run: the run to be resumed.

        Raises:
            LedgerMissing: the ledger does not hold that entry: it is older, or another one.
            LedgerForked: the chain is broken, or the run was continued twice.
        """
        try:
            with self._chain.held(afresh=True) as connection:
                entries = self._chain.entries(connection, *self._mine)
        except LedgerTampered as error:
            raise LedgerForked(f"run {run!r} cannot go on with this ledger: {error}") from error
        numbers = {entry.digest: entry.number for entry in entries}
        if head and head not in numbers:
            raise LedgerMissing(
                f"the ledger {self._chain.place} does not hold entry {head[:12]}..., the last one when the checkpoint "
                f"of run {run!r} was written: it is older, or another one. {RIGHT_ONE}"
            )
        self._refuse_two_continuations(run, [e for e in entries if e.run == run], numbers.get(head, 0))

    def limit(self) -> tuple[float, float] | None:
        """The budget of the population over all runs, (epsilon, delta); None when none was set."""
        with self._chain.held():
            entry = self._tally.limit
        return None if entry is None else entry.budget

    def set_limit(self, epsilon: float, delta: float, *, raise_limit: bool = False) -> Entry:
        """Sets the budget of the population over all runs. It is an entry of the chain, as all else.

        Nothing is compared with it here: `allow` of `reserve` does that.

        Args:
            epsilon: above 0.
            delta: in [0, 1).
            raise_limit: also where one of them is above what it was.

        Returns:
            The entry; where the limit is that already, the one that set it.

        Raises:
            PrivacyError: the limit is lower now, and `raise_limit` is False.
            UsageError: an argument is out of range.
        """
        with Problems("the limit cannot be set", UsageError) as problems:
            problems.check(is_number(epsilon) and epsilon > 0, f"epsilon is {epsilon!r}: give a number above 0")
            problems.check(is_number(delta) and 0 <= delta < 1, f"delta is {delta!r}: give a number in [0, 1)")
        with self._chain.held(write=True) as connection:
            old = self._tally.limit
            was = None if old is None else old.budget
            if old is not None and was == (epsilon, delta):
                return old
            if was is not None and not raise_limit and (epsilon > was[0] or delta > was[1]):
                raise PrivacyError(
                    f"the budget of this population is epsilon {was[0]:g} at delta {was[1]:g}, and epsilon {epsilon:g} "
                    f"at delta {delta:g} was asked for: keep to it, or raise it with raise_limit=True, which stays "
                    "visible in the ledger"
                )
            return self._append(connection, "limit", epsilon=float(epsilon), delta=float(delta))

    @property
    def _tally(self) -> Tally:
        return self._chain.tally(self.population, self.unit)

    def _append(self, connection: Connection, kind: str, **values: Any) -> Entry:
        return self._chain.append(connection, population=self.population, unit=self.unit, kind=kind, **values)

    def _not_open(self, connection: Connection, reserved: Entry) -> LedgerForked:
        what = f"round {reserved.round} of run {reserved.run!r}"
        for done in self._chain.entries(connection, *self._mine, ENTRIES.c.reserve == reserved.number):
            if reserved in self._chain.entries(connection, ENTRIES.c.number == reserved.number):
                return LedgerForked(
                    f"{what} was committed before, as entry {done.number} at {done.at}: two processes go on with one "
                    "run. End one of them; a round that is computed again is reserved again"
                )
        return LedgerForked(
            f"{what} was not reserved in this account of the ledger {self._chain.place}: commit it in the ledger and "
            "account that it was reserved in"
        )

    def _refuse_two_continuations(self, run: str, entries: list[Entry], since: int) -> None:
        done = -1
        for entry in (e for e in entries if e.kind == "commit"):
            if entry.number > since and entry.round <= done:
                raise LedgerForked(
                    f"run {run!r} committed round {entry.round} in entry {entry.number} of the ledger "
                    f"{self._chain.place} when round {done} was done: it was continued twice from one checkpoint. Go "
                    "on from a later checkpoint, or begin a new run"
                )
            done = entry.round


def _checked(run: object, round: object, event: Event | None, plan: object, note: object) -> Event | None:
    """The event with Python's own numbers, as it will be read back.

    Raises:
        UsageError: an argument is not what it should be.
    """
    with Problems("the release cannot be reserved", UsageError) as problems:
        problems.extend(_text("run", run) + _text("plan", plan, 0) + _text("note", note, 0))
        problems.check(is_whole(round, 0), f"round is {round!r}: give a whole number from 0")
        if event is not None:
            known = isinstance(event, tuple(EVENTS.values()))
            problems.check(known, f"event is {event!r}: give one of tacit.privacy.event, or None")
    try:
        return None if event is None else read_event(as_text(event))
    except (DamagedFile, TypeError, ValueError) as error:
        raise UsageError(f"event is {event!r}: {error}") from None


def _text(name: str, value: object, least: int = 1) -> list[str]:
    """Text that can be written."""
    good = isinstance(value, str) and len(value) >= least and not any("\ud800" <= c <= "\udfff" for c in value)
    return [] if good else [f"{name} is {value!r}: give {'text that is not empty' if least else 'text'}"]
