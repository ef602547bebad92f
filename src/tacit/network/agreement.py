"""What a participant agrees to: the terms of a run, looked at by its policy, its ledger and, if asked, its person."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tacit.aggregation.secure.identity import Identity
from tacit.errors import UsageError
from tacit.network.consent.approvals import DAYS, REFUSED, Approvals
from tacit.network.consent.cost import costs
from tacit.network.consent.diary import Diary
from tacit.network.consent.folder import Folder
from tacit.network.consent.policy import Policy
from tacit.network.consent.spending import Spending
from tacit.network.terms import Terms

WAITS = "waits for the approval of a person"


class Refusal(UsageError):
    """This participant does not take part in a run: its policy, or its person, says no."""


class Agreement:
    """A participant's decision about one run.

    Args:
        terms: of the run.
        records: how many examples this participant has.
        folder: of the participant.
        identity: that signs.
        authority: public key of who certified it.
        policy: what it admits.
        diary: where it is noted.
        spending: what was spent of the data's privacy.
        told: called with a sentence for people.
    """

    def __init__(
        self,
        terms: Terms,
        records: int,
        *,
        folder: Folder,
        identity: Identity,
        authority: bytes,
        policy: Policy,
        diary: Diary,
        spending: Spending,
        told: Callable[[str], None],
    ) -> None:
        self.terms, self._records, self._folder = terms, records, folder
        self._identity, self._authority, self._policy = identity, authority, policy
        self._diary, self._spending, self._told = diary, spending, told
        self._approvals = Approvals(folder.approvals, identity.key)
        self._waits = False
        diary.write("seen", terms=terms.hash, run=terms.run, plan=terms.plan.hash)

    def approval(self) -> bytes:
        """The signature that holds now, 64 bytes; empty where none does, which may change at any time."""
        found = self._approvals.in_force(self.terms.hash)
        return b"" if found is None else found.wire

    def decide(self, *, approve: bool) -> str:
        """Decides, once for each call.

        Args:
            approve: approves what the policy admits, without asking a person.

        Returns:
            Why it does not take part yet; empty where it does.

        Raises:
            Refusal: it does not take part.
        """
        if self.approval():
            self._folder.nothing_waits(self.terms.hash)
            return ""
        told = costs(self.terms, records=self._records)
        found = self._policy.admit(self.terms, costs=told, spending=self._spending, authority=self._authority)
        decision = self._approvals.find(self.terms.hash)
        if not found and decision is not None and decision.decision == REFUSED:
            found = [decision.why or "a person refused it"]
        if found:
            self._diary.write("refused", terms=self.terms.hash, run=self.terms.run, why="; ".join(found), by="policy")
            raise Refusal("this participant does not take part:\n" + "\n".join(f"  - {one}" for one in found))
        asks = [] if approve else self._policy.asks(self.terms, told)
        if asks:
            return self._wait(asks)
        until = datetime.now(UTC) + timedelta(days=DAYS)
        self._approvals.approve(self.terms, self._identity, until=until)
        self._diary.write("approved", terms=self.terms.hash, run=self.terms.run, until=until.isoformat(), by="policy")
        return ""

    def _wait(self, asks: list[str]) -> str:
        """Lays the terms down for a person, once."""
        if not self._waits:
            self._waits = True
            self._folder.wait_for(self.terms, self._records)
            self._told(
                f"{WAITS}: {'; '.join(asks)}. Look with `tacit participant show`, then `tacit participant approve` "
                f"(--dir {self._folder.path})"
            )
        return WAITS
