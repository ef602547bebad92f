"""What is attacked: one federation without privacy, with its reports clipped only, and private; and what it releases.

Everything goes through `Federation.run`, so an attack sees what the run's own local training, message, weight, clip,
sum and noise make, and nothing that was written for the attack.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from tacit.aggregation.norm_bound import NormBound
from tacit.attacks.rules import Alone, Among, Held, Seen, larger
from tacit.errors import Problems, RoundFailed, UsageError
from tacit.federation import Federation
from tacit.learning.solver import Solver
from tacit.privacy.plan import PrivacyPlan
from tacit.privacy.user_level import UserLevel
from tacit.selection.cohort import Selection

PLAIN, CLIPPED, PRIVATE = "no DP", "clip only", "DP"
SETTINGS = (PLAIN, CLIPPED, PRIVATE)


@dataclass(frozen=True)
class Target:
    """A private federation and the plan of its run, from which clip and noise can be left out.

    Attributes:
        federation: private; never changed, and no ledger is charged for what is run here.
        plan: of its run.
    """

    federation: Federation
    plan: PrivacyPlan

    @classmethod
    def of(cls, federation: Federation, rounds: int) -> Target:
        """Takes a run of `rounds` rounds of a private federation as the target.

        Raises:
            UsageError: the federation has no user-level privacy with a fixed clip norm to leave out.
            PrivacyError: the privacy that it asks for cannot be had.
        """
        level: object = federation.privacy
        with Problems("this federation cannot be attacked side by side", UsageError) as problems:
            user = isinstance(level, UserLevel)
            problems.check(
                user, f"its privacy is {level!r}: give tacit.UserLevel, of which noise and clip are left out"
            )
            adaptive = isinstance(level, UserLevel) and level.clip_quantile is not None
            problems.check(not adaptive, "its clip norm adapts: give a fixed one, without clip_quantile")
        assert isinstance(level, UserLevel)
        return cls(federation, PrivacyPlan.of(level, federation.selection.sampling(len(federation.population)), rounds))

    @cached_property
    def claim(self) -> dict[str, float]:
        """What the run with DP promises: "epsilon", "delta", and its noise multiplier."""
        spent = self.plan.spent(self.plan.rounds)
        return {"epsilon": spent.epsilon, "delta": self.plan.delta, "noise_multiplier": self.plan.noise}

    def message(
        self, setting: str, client: int, *, solver: Solver | None = None, most: int | None = None, seed: int = 0
    ) -> Tensor:
        """What is seen of one client's update in the first round, (d,) in the dtype of the task.

        With DP it is the release of a round in which nobody else took part, times the public number that sums are
        divided by: what an adversary is left with who knows all other reports and subtracts them.

        Args:
            setting: one of `SETTINGS`.
            client: its position.
            solver: instead of the run's own local training.
            most: the client has at most so many examples, its latest ones.
            seed: of the batches.

        Raises:
            RoundFailed: training failed for this client.
        """
        own, seen = self.federation, Seen()
        run = self._made(setting, Alone(own.selection, client), most, seed, solver, engine="eager")
        run.audit = seen
        run.run(1, progress=False)
        if seen.mean is None:
            raise RoundFailed(f"client {own.population.ids[client]!r} sent nothing that could be seen")
        scale = seen.mean["weight"] if setting == PRIVATE else torch.tensor(1.0)
        return (seen.mean["update"] * scale).to(own.task.dtype)

    def drawing_more(self, share: float) -> Target:
        """The target with cohorts `1 / share` times as large, as far as there are clients, and the same epsilon.

        So that where a share of the clients has something to send, as many send as in the run itself.
        """
        federation, clients = copy.copy(self.federation), len(self.federation.population)
        federation.selection = larger(federation.selection, clients, 1 / share)
        asked = replace(self.plan.level, epsilon=self.claim["epsilon"], noise_multiplier=None, delta=self.plan.delta)
        return Target(federation, PrivacyPlan.of(asked, federation.selection.sampling(clients), self.plan.rounds))

    def trained(self, setting: str, members: np.ndarray, seed: int) -> Mapping[str, Tensor]:
        """The model, as named tensors, after a whole run in which only `members` (N,) bool have anything to send.

        The others are drawn like everybody and send nothing, which is what a claim with zero-out adjacency sets against
        a client's report: for each client, being a member or not is the very pair that the claim is about.
        """
        run = self._made(setting, Among(self.federation.selection, members), None, seed, None, self.federation.engine)
        return run.run(self.plan.rounds, progress=False).tensors

    @property
    def level(self) -> UserLevel:
        """As the run has it, the noise multiplier as a number, so that it is not calibrated anew in every run."""
        return replace(self.plan.level, epsilon=None, noise_multiplier=self.plan.noise, delta=self.plan.delta)

    def _made(
        self, setting: str, selection: Selection, most: int | None, seed: int, solver: Solver | None, engine: str
    ) -> Federation:
        own, level = self.federation, self.level
        assert level.clip is not None
        return Federation(
            own.task,
            Held(own.population, most),
            own.algorithm if solver is None else replace(own.algorithm, solver=solver),  # type: ignore[type-var]
            selection=selection,
            stages=(NormBound(level.clip),) if setting == CLIPPED else (),
            seed=seed,
            workers=1 if isinstance(selection, Alone) else own.workers,
            privacy=level if setting == PRIVATE else None,
            engine=engine,
            device=own.device if engine != "eager" else "cpu",
            minimum=own.minimum,
        )
