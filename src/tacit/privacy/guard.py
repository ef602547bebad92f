"""The guard of a private run: no sum of reports gets past it without being charged first and noised, exactly once.

A round goes: reserve in the ledger, train and sum, draw the noise, store the noised sum durably, commit in the ledger,
publish. Whatever kills the run in between, nothing is released that was not charged: a reserve without a commit counts
as spent, and a noised sum that was stored is completed on resuming, without a new charge and without new noise.
"""

from __future__ import annotations

import hashlib
import json
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tacit.checks import MOST
from tacit.errors import (
    BudgetExceeded,
    Exhausted,
    LedgerForked,
    PrivacyError,
    SamplerMismatch,
    StorageError,
    TacitWarning,
)
from tacit.privacy.accountant import COARSE, FINE, Curve, most
from tacit.privacy.bound import Bound
from tacit.privacy.clip import Clip
from tacit.privacy.correlated import Int, Turns
from tacit.privacy.event import Charges, Event, Reports, Skellam, Unbounded, charges
from tacit.privacy.ledger import Account, Entry, Ledger
from tacit.privacy.noise import NoiseSource
from tacit.privacy.noising import Noising
from tacit.privacy.plan import PrivacyPlan, require_cohort
from tacit.privacy.promised import promised
from tacit.privacy.released import Released
from tacit.privacy.saying import LANGUAGES
from tacit.privacy.statement import statement
from tacit.privacy.wording import text

if TYPE_CHECKING:
    from tacit.federation import Federation
    from tacit.selection.cohort import Cohort

UNLIMITED = (
    "this population has no budget over all runs: what is spent is recorded, and nothing refuses more of it. Set one, "
    "population_budget=8.0, say"
)
SECRET = "noise.key"
"""File of the secret of a run whose noise combines draws of several rounds."""


class Guard:
    """Charges, noises, stores and commits the sums of one run.

    Args:
        plan: what the run promises.
        clip: the stage that bounded the reports.
        account: of the population in the ledger; None where the data are synthetic.
        folder: where noised sums are kept until a checkpoint holds what follows from them; None keeps none.
        saved: what `state` gave, of the run that is resumed.
        close: lets the ledger go.
    """

    def __init__(
        self,
        plan: PrivacyPlan,
        clip: Clip,
        account: Account | None,
        folder: Path | None,
        saved: Mapping[str, Any] | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.plan, self._clip, self._account = plan, clip, account
        self.released = Released(folder)
        self.bounds: Callable[[], Sequence[Bound]] = lambda: clip.bounds
        """Of the round that is to be released: they change where the clip norm adapts."""
        self.close, self.partner = close, ""
        """The same run in the accounts of single records, where these are protected too."""
        self.run = str(saved["run"]) if saved else uuid.uuid4().hex
        self._kept = folder / SECRET if folder is not None and plan.bands > 1 else None
        if saved is None:  # what another run left in the folder is neither this one's noise nor its sums
            self.forget()
        self._lacking = saved is not None and self._kept is not None and not self._kept.is_file()
        self.source = NoiseSource(plan.level.insecure_seed, None if self._lacking else self._kept)
        self.noising = Noising(plan, self.source)
        self._turns = None if plan.sampling.gap is None else Turns(plan.sampling.gap)
        self._head = str(saved["head"]) if saved else ""
        mine: list[Entry] = []
        if account is not None:
            if saved is None:
                self._head = account.begin(self.run, self.digest).digest
            else:
                account.require(self._head, self.run)
            mine = [entry for entry in account.entries() if entry.run == self.run]
        self._charged = sum(entry.event is not None for entry in mine)
        self._reserved = sum(entry.kind == "reserve" for entry in mine)
        self._taken: Counter[int] = Counter({int(k): n for k, n in saved["taken"].items()} if saved else {})
        self._committed = {entry.round for entry in mine if entry.kind == "commit"}
        self.epsilon: Callable[[int], float] = plan.most
        if not plan.at_once:
            self.epsilon = Curve(plan.event, plan.rounds, plan.delta, plan.level.adjacency)
        self._set_budget()
        self._agreed, self._begun = self._limits(), self.before
        if account is not None and saved is None and not self._agreed and self.source.secure:
            warnings.warn(UNLIMITED, TacitWarning, stacklevel=2)
        self._require_budget()

    def so_far(self, rounds: int) -> float:
        """Epsilon after so many rounds of the run, with those that were cut off."""
        lost = self._lost(rounds)
        return self.plan.most(rounds, lost=lost) if self.plan.at_once else self.epsilon(rounds + lost)

    def seed(self, public: int) -> int:
        """For the coins of the selection. Nobody else knows it: sampling protects only while cohorts are secret.

        Turns are no secret, and must stay the same when a run is resumed: those are drawn from the `public` seed.
        """
        return public if self.plan.at_once else self.source.seed()

    def take_turns(self, round: int, clients: Int, earlier: Callable[[int], Int]) -> None:
        """Holds the cohort of `round`, and those that it must be apart from, against the separation that is claimed.

        Args:
            round: from 0.
            clients: (K,) its cohort.
            earlier: who took part in a round before; asked for where the run goes on from there.

        Raises:
            MinSeparationViolated: somebody takes part too soon.
        """
        if self._turns is None:
            return
        if not self._turns.begun:
            for before in range(max(round - self._turns.gap + 1, 0), round):
                self._turns.take(before, earlier(before))
        self._turns.take(round, clients)

    @property
    def before(self) -> Charges:
        """What other runs on the population were charged, until now."""
        return () if self._account is None else self._account.charges(without_run=self.run)

    def _others(self) -> int:
        """How many runs were charged for single records of the population, beside this one."""
        return 0 if self._account is None else len(self._account.record_runs() - {self.partner})

    def require_declared(self, cohort: Cohort) -> None:
        """Holds a cohort against what the accounting assumes.

        Raises:
            SamplerMismatch: the selection drew otherwise than it declares.
        """
        declared, clients = self.plan.sampling, cohort.clients
        if cohort.sampling != declared:
            raise SamplerMismatch(f"a cohort was drawn as {cohort.sampling!r}, and {declared!r} was declared")
        require_cohort(clients, declared, cohort.sampling.cap if declared.kind == "poisson" else None)

    def take(self, clients: Int) -> None:
        """Notes who takes part in a round that is about to be charged.

        Raises:
            Exhausted: a client would do so more often than was said.
        """
        if self.plan.by_clients:
            self._taken.update(clients.tolist())
            if max(self._taken.values(), default=0) > self.plan.participations(self.plan.rounds):
                raise Exhausted("a client was drawn in more rounds than its noise was calibrated for")

    def statement(self, rounds: int, *, final: bool = True) -> dict[str, Any]:
        """What the first `rounds` rounds of the run promise; sooner, and a little less exactly, where not `final`."""
        interval = FINE if final else COARSE
        lost = self._lost(rounds) if final else 0
        standing = (self.before, self._account is None, self.source.secure, interval, self._others())
        told = statement(self.plan, rounds, lost, *standing)
        return told | {"text": {language: text(told, language) for language in LANGUAGES}}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as JSON values."""
        taken = {str(k): n for k, n in self._taken.items()}
        told = {"noise": self.plan.noise, "rounds": self.plan.rounds, "taken": taken}
        return {"run": self.run, "head": self._head, **told}

    def reserve(self, round: int) -> Entry | None:
        """Charges a round before anything of it is computed.

        Raises:
            BudgetExceeded: the population's budget, or the run's number of rounds, does not allow it.
        """
        if round >= self.plan.rounds:
            raise BudgetExceeded(beyond(self.plan.rounds))
        if self._lacking:
            raise StorageError(f"{self._kept} is gone, without which the noise of earlier rounds cannot be continued")
        if self._account is None:
            return None
        if self.plan.at_once and round in self._committed:
            raise LedgerForked(
                f"round {round + 1} was released before, and its clients would take part in it once more, or with the "
                "same noise. Go on from the newest checkpoint, or begin the run anew"
            )
        limit, lost = self.plan.level.epsilon, self._lost(round)
        if limit is not None and lost and self.plan.most(round + 1, lost=lost) > limit * (1 + 1e-3):
            raise Exhausted(f"the run's epsilon of {limit:g} is spent: it was cut off in {lost} rounds, which count")
        event = None if self.plan.at_once and self._charged else self._event
        if self.plan.by_clients and 0 < self._charged <= lost:  # once more than was charged at the beginning
            event = replace(self._event, times=1) if isinstance(self._event, Reports | Skellam) else self._event
        entry = self._account.reserve(self.run, round, event, self.digest, self._allow, delta=self.plan.delta)
        self._head, self._charged = entry.digest, self._charged + (event is not None)
        self._reserved += 1
        return entry

    @property
    def _event(self) -> Event:
        """What a release costs; noise that can be foreseen bounds nothing."""
        return self.plan.event if self.source.secure else Unbounded()

    def _lost(self, rounds: int) -> int:
        """For how many rounds the run was charged beside the first `rounds`: those that were cut off."""
        if self._account is None or (self.plan.at_once and not self.plan.by_clients):
            return 0
        return max((self._reserved if self.plan.by_clients else self._charged) - rounds, 0)

    def release(
        self, round: int, total: Tensor, entry: Entry | None, clients: Tensor, memory: Tensor, cohort: Tensor
    ) -> Tensor:
        """Adds the noise of `round` to a sum of integers, once, and makes the result durable before anybody sees it.

        Args:
            round: from 0.
            total: (m,) int64, overwritten.
            entry: what `reserve` gave for this round.
            clients: (K,) positions of the clients whose memory changes.
            memory: (K, s) what they are to remember.
            cohort: (n,) positions of those who sent a report. Where they add the noise, it is in the sum.

        Returns:
            The noised sum, (m,) int64.
        """
        if self.plan.shares is None:
            places = [(bound, self._clip.places[bound.name]) for bound in self.bounds()]
            self.noising.add(round, total, places, len(cohort))
        self.released.store(round, {"total": total, "clients": clients, "memory": memory, "cohort": cohort})
        self._commit(entry, total)
        return total

    def recovered(self, round: int) -> dict[str, Tensor] | None:
        """What `release` stored of `round` before the run was cut off, committed if it was not; None if nothing.

        Raises:
            LedgerMissing: the ledger holds no charge for it.
        """
        size = max(place.stop for place in self._clip.places.values())
        like = {"total": torch.empty(size, dtype=torch.int64), "clients": None, "memory": None, "cohort": None}
        found = self.released.load(round, like)
        if found is not None and self.plan.by_clients:
            self._taken.update(found["cohort"].tolist())
        if found is not None and self._account is not None:
            self._commit(self._account.open_reserve(self.run, round, _print(found["total"])), found["total"])
        return found

    def forget(self) -> None:
        """Removes what only a run that goes on needs: stored sums, and the secret of noise that combines rounds."""
        self.released.forget(MOST)
        if self._kept is not None:
            self._kept.unlink(missing_ok=True)

    @property
    def digest(self) -> str:
        """Of the plan, as the ledger notes it."""
        level = asdict(self.plan.level) | {"insecure_seed": self.plan.level.insecure_seed is not None}
        told = {"level": level, "sampling": asdict(self.plan.sampling), "rounds": self.plan.rounds}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]

    def _commit(self, entry: Entry | None, total: Tensor) -> None:
        if entry is not None and self._account is not None:
            self._head = self._account.commit(entry, _print(total)).digest
            self._committed.add(entry.round)

    def _set_budget(self) -> None:
        """Lets the ledger keep the population's budget, where it is no higher than the one that it keeps."""
        given = self.plan.level.population_budget
        if given is None or self._account is None:
            return
        kept = self._account.limit()
        if kept is None or (given <= kept[0] and self.plan.delta <= kept[1]):
            self._account.set_limit(given, self.plan.delta)

    def _limits(self) -> list[tuple[float, float]]:
        """(epsilon, delta) of what all runs may spend: as this run was told, and as the ledger keeps it now."""
        if self._account is None:
            return []
        given, kept = self.plan.level.population_budget, self._account.limit()
        told = [] if given is None else [(given, self.plan.delta)]
        return told + ([] if kept is None else [kept])

    def _require_budget(self) -> None:
        """Refuses a run of which it is known beforehand that its population cannot afford it."""
        whole = charges([*self._begun, *self.plan.charged(self.plan.rounds)])
        for budget, delta in self._agreed:
            if most(whole, delta, self.plan.level.adjacency) > budget:
                self._refuse(self._begun, budget, delta)

    def _allow(self, all_charges: Charges) -> None:
        """Called by the ledger with everything that is charged, this round included."""
        mine = dict(self._begun)
        mine[self.plan.event] = mine.get(self.plan.event, 0) + (1 if self.plan.at_once else self.plan.rounds)
        limits = self._limits()
        if limits == self._agreed and all(count <= mine.get(event, 0) for event, count in all_charges):
            return  # what was there when the run began, and its own rounds: looked at then
        for budget, delta in limits:
            if most(all_charges, delta, self.plan.level.adjacency) > budget:
                assert self._account is not None
                self._refuse(self._account.charges(), budget, delta)

    def _refuse(self, before: Charges, budget: float, delta: float) -> None:
        plan = replace(self.plan, delta=delta)
        already = most(before, delta, plan.level.adjacency) if before else 0.0
        rounds = plan.affordable(budget, before)
        raise BudgetExceeded(
            f"this population has spent epsilon {already:.4g} of its budget of {budget:g} (delta {delta:g}), over "
            f"all runs in the ledger: {rounds} of the {plan.rounds} rounds are affordable. Run fewer rounds, with more "
            "noise (a smaller epsilon), or on other data"
        )


def guard_of(federation: Federation, rounds: int, folder: Path | None, saved: Mapping[str, Any] | None) -> Guard | None:
    """The guard of a run of `rounds` rounds, or of its continuation; None where it is not private.

    Raises:
        PrivacyError: what was asked for cannot be had, or the ledger refuses.
    """
    level = federation.privacy
    if level is None:
        return None
    population, clip = federation.given, federation.chain.stages[-1]
    assert isinstance(clip, Clip)
    plan = promised(federation, rounds if saved is None else int(saved["rounds"]))
    if saved is not None:
        require_same(plan, saved)
        if rounds > plan.rounds:
            raise BudgetExceeded(beyond(plan.rounds))
    if population.synthetic:
        return Guard(plan, clip, None, folder, saved)
    ledger = Ledger()
    try:
        return Guard(plan, clip, ledger.account(population.name, "user"), folder, saved, ledger.close)
    except BaseException:
        ledger.close()
        raise


def _print(total: Tensor) -> str:
    """The fingerprint of a sum."""
    return hashlib.sha256(total.numpy().tobytes()).hexdigest()[:32]


def beyond(rounds: int) -> str:
    """What to say to a run that is to be longer than its noise was made for."""
    return (
        f"the noise was calibrated for {rounds} rounds, and more of them cost more than was said: start a new run from "
        "this model, start=..., which the ledger adds to this one"
    )


def require_same(plan: PrivacyPlan, saved: Mapping[str, Any]) -> None:
    """Holds the plan of a resumed run against what it was when it began.

    Raises:
        PrivacyError: they differ.
    """
    if plan.noise != saved["noise"] or plan.rounds != saved["rounds"]:
        raise PrivacyError(
            f"the run began with noise multiplier {saved['noise']!r} for {saved['rounds']} rounds, and this is "
            f"{plan.noise!r} for {plan.rounds}: resume it with the tacit and the settings that it began with"
        )


def is_state(saved: object) -> bool:
    """Whether it is what `Guard.state` gave, as read from a file."""
    kinds = {"run": str, "head": str, "noise": float, "rounds": int, "taken": dict}
    if not isinstance(saved, dict) or not all(type(saved.get(name)) is kind for name, kind in kinds.items()):
        return False
    return all(str(k).isdigit() and type(n) is int and n >= 0 for k, n in saved["taken"].items())
