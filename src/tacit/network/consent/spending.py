"""What a participant has spent of its own data's privacy: by dataset, over all runs and coordinators, within a year.

It is a ledger like that of a coordinator, with accounts for the participant's datasets, and nobody else writes to it.
Every report is charged before it leaves. A report that was charged and then did not leave counts as one that did, since
nobody can know how far it came; a charge that survives a restart is not made twice for the same attempt of a round.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from math import inf
from pathlib import Path
from types import TracebackType

from tacit.errors import BudgetExceeded
from tacit.network.consent.cost import RECORD, USER, Cost
from tacit.privacy.account import Account
from tacit.privacy.accountant import ZERO_OUT, most
from tacit.privacy.chain import Entry
from tacit.privacy.event import Charges, charges
from tacit.privacy.ledger import Ledger
from tacit.privacy.saying import Say

YEAR = timedelta(days=365)
"""So long a charge counts: any 365 days, and no calendar's year."""
DELTA = 1e-5
"""At which epsilon is told where no cap says another."""


class Spending:
    """What is spent of one dataset. A context manager that closes the file.

    The cap is over any 365 days, and holds for each unit of protection (see `Cost`) by itself: what a run tells of all
    that the participant sends, and of each of its records. Charges of a run without differential privacy are unbounded:
    for a year nothing fits under a cap.

    Args:
        ledger: path of the file.
        dataset: names the data; the same data must have the same name in every run.
        epsilon, delta: the cap; no cap where epsilon is None.
        adjacency: what the cap compares: "zero-out" or "replace-one".

    Raises:
        StorageError: the file cannot be made, opened or written.
        LedgerTampered: it is no ledger, or damaged.
    """

    def __init__(
        self,
        ledger: Path,
        dataset: str,
        *,
        epsilon: float | None = None,
        delta: float = DELTA,
        adjacency: str = ZERO_OUT,
    ) -> None:
        self.dataset, self.cap, self.delta, self.adjacency = dataset, epsilon, delta, adjacency
        self._ledger = Ledger(ledger)
        name = sha256(b"tacit dataset\n" + dataset.encode("utf-8", "surrogatepass")).hexdigest()
        self._accounts = {unit: self._ledger.account(name, unit) for unit in (USER, RECORD)}
        self._granted: dict[tuple[str, str], Charges] = {}
        self._known: dict[str, tuple[str, list[Entry]]] = {unit: ("", []) for unit in self._accounts}

    def reserve(
        self, cost: Cost, *, run: str, plan: str, round: int, attempt: int, now: datetime | None = None
    ) -> Entry:
        """Charges one report, before it leaves. It is on disk when this returns.

        Args:
            cost: of the run's reports.
            run, plan: of the terms: their run, and the hash of their plan.
            round, attempt: of which the report is.
            now: the time; of this machine's clock where it is not given.

        Returns:
            The charge: an earlier one where this very attempt was charged before.

        Raises:
            BudgetExceeded: the cap does not allow it; nothing was charged.
            StorageError, LedgerTampered: the ledger cannot be used.
        """
        account, note = self._accounts[cost.unit], f"attempt {attempt}"
        mine = [entry for entry in self._entries(account) if entry.run == run and entry.kind == "reserve"]
        for entry in mine:
            if (entry.round, entry.note) == (round, note):
                return entry
        event = cost.event
        if event is None:
            raise BudgetExceeded(
                f"what a report of run {run} costs is not known: give the costs with the model's noise, costs(terms, "
                "shares=..., records=...)"
            )
        paid = cost.at_once and bool(mine)

        def allow(_: Charges) -> None:
            self._entries(account)  # as they are while nobody else can write
            if not paid:
                self._allow(account, cost, run, len(mine) + 1, now or datetime.now(UTC))

        entry = account.reserve(run, round, None if paid else event, plan, allow, note, self.delta)
        self._known[cost.unit] = entry.digest, [*self._known[cost.unit][1], entry]
        return entry

    def epsilon(self, unit: str = USER, now: datetime | None = None) -> float:
        """What was spent in the last 365 days, at the cap's delta; 0 where nothing was."""
        return self._epsilon(self._recent(self._accounts[unit], now or datetime.now(UTC)))

    def after(self, cost: Cost, now: datetime | None = None, run: str = "") -> float:
        """What will have been spent when all reports of a run have left, on top of the last 365 days.

        Where the plan's noise is not known before its model is, its own claim is added to what was spent (basic
        composition); infinite where it makes none.

        Args:
            cost: of the run.
            now: the time; of this machine's clock where it is not given.
            run: whose earlier charges are left out, as they are part of `cost`.
        """
        before = self._recent(self._accounts[cost.unit], now or datetime.now(UTC), without=run)
        if cost.event is not None:
            already = self.epsilon(cost.unit, now) if run else 0.0
            return max(already, self._epsilon(charges([*before, *cost.whole])))
        if cost.promised is None or cost.promised[1] > self.delta or (before and cost.promised[1] == self.delta):
            return inf
        rest = most(before, self.delta - cost.promised[1], self.adjacency) if before else 0.0
        return rest + cost.promised[0]

    def refusal(
        self, cost: Cost, now: datetime | None = None, run: str = "", say: Say = lambda en, zh: en
    ) -> str | None:
        """Why the cap does not allow a run as a whole, with what to do; None where it does, or there is none.

        Args:
            cost, now, run: as for `after`.
            say: chooses the language.
        """
        if self.cap is None:
            return None
        after = self.after(cost, now, run)
        if after <= self.cap:
            return None
        if cost.event is None and cost.promised is None:
            return say(
                f"this participant has a cap of epsilon {self.cap:g}, and what the run costs follows from its model or "
                "from the number of records here: give the costs with these, or let the plan state an epsilon",
                f"本参与方的 epsilon 上限为 {self.cap:g}，而这次运行的代价取决于模型或本机的记录数："
                "请据此给出代价，或让计划写明 epsilon",
            )
        spent = self.epsilon(cost.unit, now)
        return say(
            f"the run would bring {self.dataset!r} to epsilon {after:.4g} (delta {self.delta:g}, {cost.unit}) within "
            f"365 days, of which {spent:.4g} is spent, and the cap is {self.cap:g}: ask for fewer rounds or more "
            "noise, wait until earlier runs are a year old, or raise privacy.epsilon in the policy",
            f"这次运行会使 {self.dataset!r} 在 365 天内达到 epsilon {after:.4g}（delta {self.delta:g}，{cost.unit}），"
            f"其中已用 {spent:.4g}，上限为 {self.cap:g}：请要求更少的轮数或更多的噪声，等较早的运行满一年，"
            "或提高策略中的 privacy.epsilon",
        )

    def close(self) -> None:
        """Closes the file."""
        self._ledger.close()

    def __enter__(self) -> Spending:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _allow(self, account: Account, cost: Cost, run: str, count: int, now: datetime) -> None:
        """Whether one more report fits under the cap. A run that fits as a whole is looked at once."""
        if self.cap is None:
            return
        others, key = account.charges(without_run=run), (run, cost.unit)
        if count <= cost.reports and self._granted.get(key) == others:
            return
        before = self._recent(account, now, without=run)
        if count <= cost.reports and self._epsilon(charges([*before, *cost.whole])) <= self.cap:
            self._granted[key] = others
            return
        mine = self._recent(account, now)
        assert cost.event is not None
        if (epsilon := self._epsilon(charges([*mine, cost.event]))) > self.cap:
            raise BudgetExceeded(
                f"with one more report {self.dataset!r} would have spent epsilon {epsilon:.4g} (delta {self.delta:g}, "
                f"{cost.unit}) within 365 days, and this participant's cap is {self.cap:g}: nothing was sent. Wait "
                "until earlier runs are a year old, or raise privacy.epsilon in the policy"
            )

    def _epsilon(self, spent: Charges) -> float:
        return most(spent, self.delta, self.adjacency) if spent else 0.0

    def _entries(self, account: Account) -> list[Entry]:
        """All of an account, read anew where it has changed."""
        head, known = self._known[account.unit]
        if (now := account.head()) != head:
            self._known[account.unit] = now, (known := account.entries())
        return known

    def _recent(self, account: Account, now: datetime, without: str = "") -> Charges:
        """The charges of the last 365 days; those from after `now`, of a clock that was set back, count as well."""
        since = now - YEAR
        entries = (entry for entry in self._entries(account) if entry.run != without)
        return charges([entry.event for entry in entries if entry.event is not None and _time(entry) > since])


def _time(entry: Entry) -> datetime:
    return datetime.fromisoformat(entry.at)
