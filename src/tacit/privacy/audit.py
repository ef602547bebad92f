"""The audit of a private federation: canaries in a twin run, and how much at least their presence was given away."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from tacit import keys
from tacit.checks import count, is_number, is_whole
from tacit.errors import AuditContradiction, PrivacyError, Problems, UsageError
from tacit.privacy.accountant import REPLACE_ONE
from tacit.privacy.lower_bounds import Coins, Fit, Real, gaussian_fit, most_shown, one_run, worst_canary, worst_round
from tacit.privacy.plan import PrivacyPlan
from tacit.privacy.planted import Canaries
from tacit.privacy.twin import twin_of

if TYPE_CHECKING:
    from tacit.federation import Federation

ROUNDS_SEEN, MODEL_SEEN = "all iterates", "final model"
LEAST = 100
"""Fewer canaries leave too few of a kind for a fit."""
ERRS = {ROUNDS_SEEN: 0.8, MODEL_SEEN: 0.2}
"""All bounds share the chance to err (Bonferroni): most of it goes to the adversary who sees more."""
ESTIMATORS = {ROUNDS_SEEN: 4, MODEL_SEEN: 3}


@dataclass(frozen=True)
class Evidence:
    """A lower bound, and the upper one that it must not exceed.

    Attributes:
        threat: what the adversary sees, "all iterates" or "final model".
        estimator: "one run", "Gaussian fit", "worst canary" or "worst round" (see `lower_bounds.py`).
        canaries: how many it rests on.
        lower: epsilon is at least this.
        claim: epsilon is at most this, it is said. For a single canary that of an adversary who knows the cohorts:
            sampling protects all clients together and none of those that were drawn.
        point: the estimate of which `lower` is the lower end; None where there is none.
        detail: numbers of the estimator's own.
    """

    threat: str
    estimator: str
    canaries: int
    lower: float
    claim: float
    point: float | None
    detail: dict[str, float]

    @property
    def contradicts(self) -> bool:
        """Whether the claim is refuted."""
        return self.lower > self.claim

    @property
    def ratio(self) -> float:
        """The lower bound as a share of the claim: 0 says nothing, 1 is tight, more is a contradiction."""
        return self.lower / self.claim if self.claim else float("inf") if self.lower else 0.0


@dataclass(frozen=True)
class AuditResult:
    """What an audit showed. It never shows that a run is private: it fails to show the contrary.

    Attributes:
        claim: epsilon of the twin, which is audited.
        claim_of_run: epsilon of the federation's own run, of the same noise multiplier, rate and rounds.
        delta: of the twin.
        noise_multiplier: z, of both.
        rounds: T.
        clients: of the federation, without canaries.
        canaries: m.
        confidence: with which all bounds together hold.
        evidence: the bounds.
        most: what guessing could at best have shown in all iterates, had every guess been right.
        alarms: how many twins contradicted the claim; after a first one another twin is run, and both must.
        synthetic: the data are made up; otherwise publishing these numbers costs as much as another run.
    """

    claim: float
    claim_of_run: float
    delta: float
    noise_multiplier: float
    rounds: int
    clients: int
    canaries: int
    confidence: float
    evidence: tuple[Evidence, ...]
    most: float
    alarms: int
    synthetic: bool

    @property
    def contradicts(self) -> bool:
        """Whether the claim is refuted: by two twins, one after the other."""
        return self.alarms > 1

    @property
    def strongest(self) -> Evidence:
        """The bound that comes nearest to its claim, or exceeds it most."""
        return max(self.evidence, key=lambda one: one.ratio)

    @property
    def verdict(self) -> str:
        """One word: "contradicted" or "consistent"."""
        return "contradicted" if self.contradicts else "consistent"

    def require(self) -> None:
        """Ends here where the claim is refuted.

        Raises:
            AuditContradiction: it is. The run that makes the claim is invalid.
        """
        if self.contradicts:
            worst = self.strongest
            raise AuditContradiction(
                f"an audit with {self.canaries} canaries shows epsilon of at least {worst.lower:.4g} at delta "
                f"{self.delta:.3g} ({worst.estimator}, {worst.threat}, confidence {self.confidence:g}), and "
                f"{worst.claim:.4g} is claimed: the run is INVALID. Publish nothing of it, and look for what differs "
                "from the plan: the clip, the size of the noise, fresh noise in every round, weights, sampling"
            )

    def values(self) -> dict[str, Any]:
        """All of it as JSON values; epsilons are None where they are infinite."""
        told = {name: _json(value) for name, value in asdict(self).items() if name != "evidence"}
        told["evidence"] = [
            {name: _json(value) for name, value in (asdict(one) | {"ratio": one.ratio}).items()}
            for one in self.evidence
        ]
        return told | {"verdict": self.verdict, "ratio": _json(self.strongest.ratio)}

    def text(self) -> str:
        """The same for people, a dozen lines of plain text."""
        head = (
            f"Audit of a claim of epsilon {self.claim:.3g} at delta {self.delta:.3g}: {self.canaries} canaries, "
            f"{self.rounds} rounds, noise multiplier {self.noise_multiplier:.4g}."
        )
        if f"{self.claim_of_run:.3g}" != f"{self.claim:.3g}":
            head += f" (The run without canaries claims {self.claim_of_run:.3g}, at its own size and delta.)"
        lines = [head, "", f"  {'adversary sees':15} {'estimator':14} {'at least':>9} {'claimed':>9} {'ratio':>7}"]
        lines += [
            f"  {e.threat:15} {e.estimator:14} {e.lower:9.3g} {e.claim:9.3g} {e.ratio:7.2f}"
            + ("  CONTRADICTION" if e.contradicts else "")
            for e in self.evidence
        ]
        lines += ["", f"All bounds hold together with {self.confidence:.0%} confidence. Guessing could at best have"]
        lines += [f"shown {self.most:.3g}; the other estimators assume that scores are normal."]
        return "\n".join([*lines, *self._conclusion()])

    def _conclusion(self) -> list[str]:
        if self.contradicts:
            return ["", "CONTRADICTED: two twins in a row leaked more than is claimed. The run is INVALID."]
        once = "A first twin contradicted the claim, a second one with other coins and noise did not. "
        said = (once if self.alarms else "") + "Nothing contradicts the claim. That is no proof of it."
        published = "Publishing these numbers costs as much as another run: no ledger was charged for the twin."
        return ["", said] + ([] if self.synthetic else [published])


def audit(
    federation: Federation, rounds: int, *, canaries: int = 1000, seed: int = 0, confidence: float = 0.95
) -> AuditResult:
    """Runs a twin of a private federation with canaries in it, and bounds its epsilon from below.

    The twin has the federation's data, task, method, selection rule, clip and noise multiplier; canaries join as
    clients, and the expected cohort grows with them so that the rate stays. Its claim differs a little from that of
    the federation's own run, because the cap of the cohort and perhaps delta follow from the number of clients; so
    the twin is held against its own claim, and both are told. A fault in the code that clips, sums, weighs, draws or
    adds noise is in both of them.

    A canary is what the claim is about: one client, in the worst case, against an adversary who sees all that is
    released and knows the direction. Canaries are planted behind local training and in front of weight, clip and sum.
    Where a report holds more than the update (SCAFFOLD's control variate), a canary's direction gets a part of the clip
    norm only, and bounds are weak. A fault that is small, or strikes clients of whom none is a canary, is not found:
    what an audit contradicts is wrong, and what it does not is not thereby right.

    No ledger is charged. The twin trains on the real data, its models are thrown away, and only the numbers of the
    result leave; they follow from the twin's noised releases, so whoever publishes them makes one more release of at
    most the twin's epsilon, if the claim is true. Within the circle that may see the data nothing leaves, and nothing
    is to be charged. Who wants to publish an audit at no cost audits a synthetic population of the same sizes: the
    code is the same, and canaries do not depend on the data.

    Args:
        federation: private; it is not changed.
        rounds: T of the run whose claim is audited; the noise follows from it where an epsilon was asked for.
        canaries: m, at least 100, and fewer than the model has parameters.
        seed: of directions and coins. The noise is as secret as in any other run, so no two audits are alike.
        confidence: with which all bounds together hold. A twin of a sound run contradicts its claim with a
            probability of at most `1 - confidence`; another twin is run then, and the verdict needs both, so a sound
            run is called contradicted with a probability of at most `(1 - confidence)^2`, one in 400.

    Returns:
        The bounds and the verdict; `AuditResult.require` raises where the claim is refuted.

    Raises:
        UsageError: arguments that do not make sense.
        PrivacyError: the federation is not private.
    """
    plan = _checked(federation, rounds, canaries, seed, confidence)
    result = _once(federation, plan, canaries, keys.digest(seed, "twin", 0), confidence, 0)
    if any(one.contradicts for one in result.evidence):
        result = _once(federation, plan, canaries, keys.digest(seed, "twin", 1), confidence, 1)
    return result


def _checked(federation: Federation, rounds: int, canaries: int, seed: int, confidence: float) -> PrivacyPlan:
    if federation.privacy is None:
        raise PrivacyError("the federation promises no privacy: there is no claim to audit. Give it privacy=UserLevel")
    with Problems("the audit cannot start", UsageError) as problems:
        problems.extend(count("rounds", rounds))
        d = federation.task.d
        problems.check(
            is_whole(canaries, LEAST) and canaries < d,
            f"canaries is {canaries!r}: give at least {LEAST}, and fewer than the model's {d} parameters",
        )
        problems.check(is_whole(seed), f"seed is {seed!r}: give a whole number")
        problems.check(
            is_number(confidence) and 0.5 <= confidence < 1, f"confidence is {confidence!r}: give 0.95, say, below 1"
        )
    return PrivacyPlan.of(federation.privacy, federation.selection.sampling(len(federation.population)), rounds)


def _once(
    federation: Federation, plan: PrivacyPlan, canaries: int, seed: int, confidence: float, alarms: int
) -> AuditResult:
    """One twin, and what it shows; `alarms` twins contradicted the claim before."""
    clients, layout = len(federation.population), federation.task.layout
    flock = _flock(federation, canaries, seed)
    twin = twin_of(federation, plan, canaries, flock, insecure=1 + alarms)
    assert twin.privacy is not None
    its = PrivacyPlan.of(twin.privacy, twin.selection.sampling(clients + canaries), plan.rounds)
    run = twin.run(plan.rounds, progress=False)
    moved = layout.pack({name: run.tensors[name] for name in layout.names}) - federation.task.initial()[0]
    claims = its.spent(its.rounds).epsilon, its.against_server(its.rounds).epsilon
    in_rounds = _Scores(ROUNDS_SEEN, confidence, claims, its.delta)
    in_model = _Scores(MODEL_SEEN, confidence, claims, its.delta)
    coins, seen, steady = flock.included[flock.turning], flock.seen(), flock.steady
    every = np.concatenate([flock.turning, flock.broken])
    found = (
        *in_rounds.of_all(seen.sum(0)[flock.turning], coins),
        in_rounds.of_worst(seen.sum(0)[every], flock.included[every]),
        in_rounds.of_each(seen[:, flock.turning], coins),
        *in_model.of_all(flock.left(moved)[steady], flock.included[steady]),
        in_model.of_worst(flock.left(moved)[steady], flock.included[steady]),
    )
    return AuditResult(
        claim=claims[0],
        claim_of_run=plan.spent(plan.rounds).epsilon,
        delta=its.delta,
        noise_multiplier=plan.noise,
        rounds=plan.rounds,
        clients=clients,
        canaries=canaries,
        confidence=confidence,
        evidence=found,
        most=most_shown(len(coins), its.delta, in_rounds.each),
        alarms=alarms + any(one.contradicts for one in found),
        synthetic=federation.population.synthetic,
    )


def _flock(federation: Federation, canaries: int, seed: int) -> Canaries:
    """The canaries of one twin; those that are left out send what the claim's adjacency sets against a report."""
    level, d = federation.privacy, federation.task.d
    assert level is not None and level.clip is not None
    sends_more = bool(federation.algorithm.memory(d)) or level.clip_quantile is not None
    return Canaries(
        len(federation.population),
        canaries,
        d,
        level.clip,
        seed,
        opposite=level.adjacency == REPLACE_ONE,
        absent=float("nan") if sends_more else 0.0,
    )


@dataclass(frozen=True)
class _Scores:
    """What an adversary sees, as evidence.

    Attributes:
        threat: see `Evidence`.
        confidence: of all bounds of the audit together.
        claims: epsilon against those who do not know the cohorts, and against those who do.
        delta: of both.
    """

    threat: str
    confidence: float
    claims: tuple[float, float]
    delta: float

    @property
    def each(self) -> float:
        """The confidence of one bound."""
        return 1 - (1 - self.confidence) * ERRS[self.threat] / ESTIMATORS[self.threat]

    def of_all(self, scores: Real, included: Coins) -> tuple[Evidence, Evidence]:
        """By guessing, and by a fit."""
        guessed = one_run(scores, included, self.delta, self.each)
        guesses: dict[str, float] = {"guesses": guessed.guesses, "correct": guessed.correct}
        fit = gaussian_fit(scores, included, self.delta, self.each)
        return (
            Evidence(self.threat, "one run", len(scores), guessed.lower, self.claims[0], None, guesses),
            Evidence(self.threat, "Gaussian fit", len(scores), fit.lower, self.claims[0], fit.point, _mu(fit)),
        )

    def of_worst(self, scores: Real, included: Coins) -> Evidence:
        """By the canary that stands out most."""
        fit = worst_canary(scores, included, self.delta, self.each)
        return Evidence(self.threat, "worst canary", len(scores), fit.lower, self.claims[1], None, _mu(fit))

    def of_each(self, scores: Real, included: Coins) -> Evidence:
        """By the round that stands out most."""
        fit = worst_round(scores, included, self.delta, self.each)
        return Evidence(self.threat, "worst round", scores.shape[1], fit.lower, self.claims[0], None, _mu(fit))


def _mu(fit: Fit) -> dict[str, float]:
    return {"mu": fit.mu, "mu_lower": fit.mu_lower}


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _json(one) for name, one in value.items()}
    return None if isinstance(value, float) and not isfinite(value) else value
