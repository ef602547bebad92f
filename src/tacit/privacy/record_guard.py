"""The guard of records: charges each client's ledger account before it trains, and keeps the secret of its noise.

A client's noise is in its local steps, so nothing that leaves it needs to be held back. A round that is computed again
draws new noise and is charged anew; the secret is never written.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tacit.checks import MOST
from tacit.errors import BudgetExceeded, Exhausted, LedgerMissing, PrivacyError
from tacit.learning.batches import Batches, Examples, sampled
from tacit.learning.solver import steps_for
from tacit.learning.step import Perturbation
from tacit.privacy.account import RIGHT_ONE
from tacit.privacy.accountant import most
from tacit.privacy.event import Charges, Unbounded, charges
from tacit.privacy.guard import beyond
from tacit.privacy.ledger import Account, Entry, Ledger
from tacit.privacy.plan import participations
from tacit.privacy.record_plan import Group, RecordPlan
from tacit.privacy.record_statement import Standing, statement
from tacit.privacy.record_wording import text
from tacit.privacy.released import Released
from tacit.privacy.saying import LANGUAGES
from tacit.secret_draws import KEY, SecretDraws, key_of

if TYPE_CHECKING:
    from tacit.federation import Federation
    from tacit.learning.solver import Solver
    from tacit.population.population import Population

Int = NDArray[np.int64]
FEW = 1000
"""So many clients are looked up when a run is resumed; of more, only those that take part."""


@dataclass(frozen=True)
class Records:
    """What a worker needs to make the local steps of clients private.

    Attributes:
        plan: of the run.
        solver: of the clients.
        secret: of which all noise and all coins of the run are made.
    """

    plan: RecordPlan
    solver: Solver
    secret: bytes

    def batches(
        self, clients: Int, names: list[str], examples: Examples, round: int, budget: list[int] | None
    ) -> Batches:
        """The batches of clients (K,), each record in each of them by a coin of its own."""
        steps = [steps_for(self.solver, int(n)) for n in examples.size]
        if budget is not None:
            steps = [min(s, b) for s, b in zip(steps, budget, strict=True)]
        rates = [self.plan.rate(int(k)) for k in clients]
        return sampled(examples, rates, steps, self._draws("coins", round, names))

    def perturbation(self, clients: Int, names: list[str], round: int) -> Perturbation:
        """What makes the local steps of clients (K,) private."""
        assert self.plan.level.clip is not None
        return Perturbation(
            self.plan.level.clip,
            [self.plan.group(int(k)).noise for k in clients],
            [float(self.plan.expected(int(k))) for k in clients],
            self._draws("noise", round, names),
        )

    def _draws(self, purpose: str, round: int, names: list[str]) -> list[SecretDraws]:
        return [SecretDraws(key_of(self.secret, "records", purpose, round, name)) for name in names]


class RecordGuard:
    """Charges what a run's rounds tell of its clients' records.

    Args:
        plan: what the run promises.
        population: whose records they are.
        folder: where sums are kept until a checkpoint holds what follows from them; None keeps none.
        saved: what `state` gave, of the run that is resumed.

    Attributes:
        run: names the run in the ledger.
        secure: whether the noise came from the operating system's randomness.
    """

    def __init__(
        self, plan: RecordPlan, population: Population, folder: Path | None, saved: Mapping[str, Any] | None = None
    ) -> None:
        self.plan, self._population = plan, population
        self.partner = ""
        """The same run in the account of the clients, where these are protected too."""
        self.released = Released(folder)
        if saved is None:
            self.released.forget(MOST)
        seed = plan.level.insecure_seed
        self.secure = seed is None
        self._secret = os.urandom(KEY) if seed is None else key_of(b"insecure", seed)
        self.run = str(saved["run"]) if saved else uuid.uuid4().hex
        self._taken: Counter[int] = Counter({int(k): n for k, n in saved["taken"].items()} if saved else {})
        self._ledger = None if population.synthetic else Ledger()
        self._lost: Counter[int] = Counter()
        self._open: list[tuple[Account, Entry]] = []
        self._accounts: dict[int, tuple[Account, Charges]] = {}
        self._last: tuple[str, str] = (str(saved["account"]), str(saved["head"])) if saved else ("", "")
        if self._ledger is not None and saved:
            self._ledger.account(self._last[0], "record").require(self._last[1], self.run)
            for k in range(min(len(population), FEW)):
                self._account(k)  # those who were charged in rounds that were cut off
        elif self._ledger is not None:
            account, _ = self._account(0)
            self._last = account.population, account.begin(self.run, self._digest, population.name).digest

    @property
    def chance(self) -> int:
        """A secret seed for models that draw random numbers."""
        return int.from_bytes(key_of(self._secret, "model"), "little")

    def records(self, solver: Solver) -> Records:
        """For the workers."""
        return Records(self.plan, solver, self._secret)

    def reserve(self, round: int, clients: Int) -> None:
        """Charges the round to every client of its cohort, before any of them trains.

        Raises:
            BudgetExceeded: one of them has no more to spend, over all runs.
            Exhausted: one of them was charged for all that this run may spend.
        """
        for k in map(int, clients):
            if self._charged(k) >= self.plan.participations:
                raise Exhausted(
                    f"client {self._population.ids[k]!r} was charged for {self.plan.participations} rounds, for which "
                    "its noise was calibrated"
                )
        for k in map(int, clients):
            self._taken[k] += 1
            if self._ledger is not None:
                self._open.append(self._charge(k, round))

    def release(self, round: int, total: Tensor, others: Mapping[str, Tensor]) -> None:
        """Makes a sum of reports durable, with what belongs to it, and notes that it was released."""
        self.released.store(round, {"total": total, **others})
        self.commit(total)

    def commit(self, total: Tensor) -> None:
        """Notes that the sum of the reports of those whom `reserve` charged was released."""
        for account, entry in self._open:
            self._last = account.population, account.commit(entry, _print(entry.round, total)).digest
        self._open.clear()

    def recovered(self, round: int, like: Mapping[str, Tensor | None]) -> dict[str, Tensor] | None:
        """What `release` stored of `round` before the run was cut off; None if nothing.

        Args:
            round: from 0.
            like: see `Released.load`; "cohort" is the positions of those who took part.
        """
        found = self.released.load(round, like)
        if found is not None:
            self.take_up(round, found["cohort"], found["total"])
        return found

    def take_up(self, round: int, cohort: Tensor, total: Tensor) -> None:
        """Counts a round whose sum was released before the run was cut off, and commits it where that was not done.

        Args:
            round: from 0.
            cohort: (K,) positions of those who took part.
            total: the sum.

        Raises:
            LedgerMissing: the ledger holds no charge for one of them.
        """
        for k in cohort.tolist():
            if self._ledger is not None:
                account, _ = self._account(k)
                entry = account.open_reserve(self.run, round, _print(round, total))
                self._open += [] if entry is None else [(account, entry)]
                self._lost[k] -= 1
            self._taken[k] += 1
        self.commit(total)

    def epsilon(self) -> float:
        """The most that the records of any client have cost so far, in this run."""
        worst: dict[Group, int] = {}
        for k in self._charged_ones:
            group = self.plan.group(k)
            worst[group] = max(self._charged(k), worst.get(group, 0))
        return max((self.plan.so_far(group, count) for group, count in worst.items()), default=0.0)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as JSON values."""
        taken = {str(k): n for k, n in self._taken.items()}
        told = {"rounds": self.plan.rounds, "noise": [group.noise for group in self.plan.groups]}
        return {"run": self.run, "account": self._last[0], "head": self._last[1], "taken": taken, **told}

    def statement(self, rounds: int, *, final: bool = True) -> dict[str, Any]:
        """What the run promises: after it, of what was done; before it, of what is planned."""
        told = statement(self.plan, rounds, self._standing(final), self._population, self.secure, self._others())
        return told | {"text": {language: text(told, language) for language in LANGUAGES}}

    def forget(self) -> None:
        """Removes what only a run that goes on needs."""
        self.released.forget(MOST)

    def close(self) -> None:
        """Lets the ledger go."""
        if self._ledger is not None:
            self._ledger.close()

    def _standing(self, final: bool) -> Standing:
        """For each group, in how many rounds its busiest client took part, and what its clients were charged beside.

        That is, for each of the different charges by other runs, in how many rounds of this one its busiest client took
        part: clients that were drawn in other runs only count too.
        """
        found: dict[Group, tuple[int, dict[Charges, int]]] = {group: (0, {}) for group in self.plan.groups}
        if not final:
            found = {group: (self.plan.participations, {}) for group in found}
        for k in self._charged_ones:
            most_often, beside = found[self.plan.group(k)]
            found[self.plan.group(k)] = max(most_often, self._charged(k)), beside
        for k, charged, mine in self._elsewhere():
            beside = found[self.plan.group(k)][1]
            beside[charged] = max(mine, beside.get(charged, 0))
        return found

    def _elsewhere(self) -> Iterator[tuple[int, Charges, int]]:
        """Every client that other runs were charged for, with their charges, and for how many rounds this run was."""
        if self._ledger is None:
            return
        known = {account.population for account in self._ledger.accounts() if account.unit == "record"}
        mine = {account.population for account, _ in self._accounts.values()}
        # Looking for the accounts of clients may take reading the data of all of them.
        for k in range(len(self._population)) if known - mine else sorted(self._accounts):
            name = self._accounts[k][0].population if k in self._accounts else _commitment(self._population, k)
            account = self._ledger.account(name, "record")
            if name in known and (charged := account.charges(without_run=self.run)):
                yield k, charged, account.reserved(self.run)

    def _others(self) -> int:
        """How many runs were charged for these clients as a whole, beside this one."""
        if self._ledger is None:
            return 0
        return len(self._ledger.account(self._population.name, "user").runs() - {self.partner})

    def _charge(self, k: int, round: int) -> tuple[Account, Entry]:
        account, before = self._account(k)
        group, budget = self.plan.group(k), self.plan.level.population_budget

        def allow(together: Charges) -> None:
            limits = [(budget, group.delta)] if budget is not None else []
            kept = account.limit()
            for epsilon, delta in limits + ([] if kept is None else [kept]):
                if most(together, delta, self.plan.level.adjacency) > epsilon:
                    self._refuse(k, before, epsilon, delta)

        event = group.event if self.secure else Unbounded()
        return account, account.reserve(self.run, round, event, self._digest, allow, delta=group.delta)

    def _account(self, k: int) -> tuple[Account, Charges]:
        if k not in self._accounts:
            assert self._ledger is not None
            account = self._ledger.account(_commitment(self._population, k), "record")
            self._accounts[k] = account, account.charges(without_run=self.run)
            self._look_ahead(k)
            self._lost[k] = account.reserved(self.run) - self._taken[k]
            if self._lost[k] < 0:
                raise LedgerMissing(
                    f"the ledger holds {account.reserved(self.run)} charges of this run for client "
                    f"{self._population.ids[k]!r}, which took part {self._taken[k]} times: it is older, or another "
                    f"one. {RIGHT_ONE}"
                )
        return self._accounts[k]

    @property
    def _charged_ones(self) -> list[int]:
        """Clients that were charged in this run, in rounds that were cut off too."""
        return sorted({*self._taken, *(k for k, lost in self._lost.items() if lost)})

    def _charged(self, k: int) -> int:
        """For how many rounds of this run a client was charged, those that were cut off among them."""
        if self._ledger is not None:
            self._account(k)
        return self._taken[k] + self._lost[k]

    def _look_ahead(self, k: int) -> None:
        """Refuses a client of which it is known beforehand that its records cannot afford the run."""
        (account, before), group, budget = self._accounts[k], self.plan.group(k), self.plan.level.population_budget
        kept = account.limit()
        if budget is not None and (kept is None or (budget <= kept[0] and group.delta <= kept[1])):
            account.set_limit(budget, group.delta)
        whole = charges([*before, (group.event, self.plan.participations)])
        for epsilon, delta in [(budget, group.delta)] if budget is not None else [] if kept is None else [kept]:
            if most(whole, delta, self.plan.level.adjacency) > epsilon:
                self._refuse(k, before, epsilon, delta)

    def _refuse(self, k: int, before: Charges, budget: float, delta: float) -> None:
        adjacency = self.plan.level.adjacency
        already = most(before, delta, adjacency) if before else 0.0
        raise BudgetExceeded(
            f"the records of client {self._population.ids[k]!r} have cost epsilon {already:.4g} in earlier runs, and "
            f"the {self.plan.participations} rounds of this one are beyond their budget of {budget:g} (delta "
            f"{delta:g}). Run fewer rounds, with more noise (a smaller epsilon), or on other data"
        )

    @property
    def _digest(self) -> str:
        level = asdict(self.plan.level) | {"insecure_seed": not self.secure}
        told = {"level": level, "rounds": self.plan.rounds, "batch_size": self.plan.batch_size}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def record_guard_of(
    federation: Federation, rounds: int, folder: Path | None, saved: Mapping[str, Any] | None
) -> RecordGuard | None:
    """The guard of the records of a run of `rounds` rounds, or of its continuation; None where none was asked for."""
    level = federation.record_privacy
    if level is None:
        return None
    sampling, planned = federation.sampling, rounds
    if saved is not None:
        planned = int(saved["rounds"])
        if rounds > planned:
            raise BudgetExceeded(beyond(planned))
    sizes, times = federation.population.sizes, participations(sampling, planned)
    plan = RecordPlan.of(level, federation.algorithm.solver, sizes, planned, times)
    if saved is not None and [group.noise for group in plan.groups] != saved["noise"]:
        raise PrivacyError(
            f"the run began with noise multipliers {saved['noise']} and these are "
            f"{[group.noise for group in plan.groups]}: resume it with the tacit and the settings that it began with"
        )
    return RecordGuard(plan, federation.given, folder, saved)


def _print(round: int, total: Tensor) -> str:
    """The fingerprint of a round's sum."""
    return hashlib.sha256(f"{round}\x1f".encode() + total.numpy().tobytes()).hexdigest()[:32]


def _commitment(population: Population, k: int) -> str:
    """By which the ledger knows one client's records: its id, with the population's name, else the data themselves."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{population.known_as or ''}\x1f{population.ids[k]}\x1f".encode("utf-8", "surrogatepass"))
    if population.known_as is not None:
        return digest.hexdigest()
    for column in population.examples(np.array([k])).of(0):
        digest.update(f"{column.dtype} {tuple(column.shape)}".encode())
        digest.update(column.contiguous().numpy().tobytes())
    return digest.hexdigest()


def is_record_state(saved: object) -> bool:
    """Whether it is what `RecordGuard.state` gave, as read from a file."""
    kinds = {"run": str, "account": str, "head": str, "taken": dict, "rounds": int, "noise": list}
    if not isinstance(saved, dict) or not all(type(saved.get(name)) is kind for name, kind in kinds.items()):
        return False
    return all(str(k).isdigit() and type(n) is int and n >= 0 for k, n in saved["taken"].items())
