"""What an app recommender is trained with where the user says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tacit.scenarios.app_recommendation.inspection import taking_part
from tacit.scenarios.app_recommendation.phones import PhonesRule
from tacit.scenarios.app_recommendation.splits import SplitRule
from tacit.scenarios.app_recommendation.synthetic import SyntheticLogs

SYNTHETIC = "synthetic"
EPSILON, CLIP, PRIVATE_COHORT = 4.0, 0.03, 120
"""Of private runs: the budget, the clip norm, and clients in a round on average. An adaptive server takes the size out
of updates, so the clip norm matters little."""
SECURE = {"name": "SecureSum", "lost": [0.02]}
"""How reports are summed: unseen, with phones that go away at every step."""
ADAPTIVE = ("FedAdam", "FedYogi")
DAY = 86400.0
"""Seconds for which a private run on phones waits for those whose coins came up: most charge once a day, at night."""
GAP = 3
"""Rounds from one turn of a phone to its next, at least."""


@dataclass(frozen=True)
class Tuned:
    """What was chosen for an adaptive server: its `server_lr` and `tau`, and the local `lr`."""

    server_lr: float
    tau: float
    lr: float


# By loss, on the validation parts of the synthetic logs and of MovieLens: HR@10 after the last round.
APPS = {"cross_entropy": Tuned(0.003, 1e-5, 0.02), "mse": Tuned(0.002, 1e-5, 3.0)}
FILMS = {"cross_entropy": Tuned(0.002, 1e-7, 0.03), "mse": Tuned(0.005, 1e-7, 10.0)}


def defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a plan, from what was written in it."""
    private = {"privacy": {"name": "UserLevel", "clip": CLIP}} if given.get("privacy") not in (None, "none") else {}
    secure = {} if given.get("aggregation") in (None, "none") and "aggregation" in given else {"aggregation": SECURE}
    return {**training(given, bool(private)), **private, **secure, **_timing(given, bool(private))}


def training(given: Mapping[str, Any], private: bool) -> dict[str, Any]:
    """Rounds, method, local solver and cohorts."""
    algorithm = given.get("algorithm", {})
    name = algorithm.get("name", ADAPTIVE[0]) if isinstance(algorithm, Mapping) else ADAPTIVE[0]
    if name not in ADAPTIVE:
        solver = {"name": "SGD", "lr": 0.1, "batch_size": 10, "epochs": 1}
        selection = {"name": "Poisson", "expected": PRIVATE_COHORT} if private else {"name": "Everyone"}
        return {"rounds": 30, "algorithm": {"name": "FedAvg"}, "solver": solver, "selection": selection}
    film = films(source(given))
    tuned = (FILMS if film else APPS)[_loss(given)]
    cohort = 120 if film else 60
    drawn = film or _generated(given) >= cohort
    return {
        "rounds": 75 if film else 60,
        "algorithm": {"name": name, "server_lr": tuned.server_lr, "tau": tuned.tau},
        "solver": {"name": "SGD", "lr": tuned.lr, "batch_size": None if film else 20, "epochs": 1},
        "selection": _cohort(given, cohort if drawn else 0, private),
    }


def _timing(given: Mapping[str, Any], private: bool) -> dict[str, Any]:
    """On phones, which are there a few hours of a day, each by its own habits.

    Cohorts by coins of a few hundred are there only over a day, and so is most of a small population: such rounds wait
    for them. Others take seconds, and one after another they would train the same phones all the time: each waits for
    its next turn.
    """
    fleet = given.get("fleet")
    if (fleet.get("name", "Phones") if isinstance(fleet, Mapping) else fleet) != "Phones":
        return {}
    drawn = training(given, private)["selection"].get("cohort", 0)
    if private or not drawn or _generated(given) < GAP * drawn:
        return {"closing": {"name": "PartialWork", "patience": DAY}}
    return {"pool": {"gap": GAP}} if "selection" not in given else {}


def _cohort(given: Mapping[str, Any], cohort: int, private: bool) -> dict[str, Any]:
    """Who takes part by default: in private runs more, so that less of the noise falls on each, and by coins."""
    if private and (source(given) != SYNTHETIC or _generated(given) >= PRIVATE_COHORT):
        return {"name": "Poisson", "expected": PRIVATE_COHORT}
    return {"name": "Uniform", "cohort": cohort} if cohort and not private else {"name": "Everyone"}


def source(given: Mapping[str, Any]) -> Any:
    """Where the logs come from."""
    data = given.get("data", {})
    return data.get("source", SYNTHETIC) if isinstance(data, Mapping) else SYNTHETIC


def _loss(given: Mapping[str, Any]) -> str:
    """The loss that was asked for; the default where that is none."""
    model = given.get("model", {})
    loss = model.get("loss") if isinstance(model, Mapping) else None
    return loss if isinstance(loss, str) and loss in APPS else PhonesRule.loss


def _generated(given: Mapping[str, Any]) -> int:
    """How many phones of the generator would take part; 0 for other data, or where that is not said rightly."""
    if source(given) != SYNTHETIC:
        return 0
    data = given.get("data", {})
    data = data if isinstance(data, Mapping) else {}
    cut = data.get("split", {})
    phones = data.get("phones", SyntheticLogs.phones)
    unseen = cut.get("unseen", SplitRule.unseen) if isinstance(cut, Mapping) else SplitRule.unseen
    sound = isinstance(phones, int) and isinstance(unseen, float) and 0 < unseen < 1
    return taking_part(phones, unseen) if sound else 0


def films(source: Any) -> bool:
    """Whether a source is MovieLens, by its name or that of its file."""
    return isinstance(source, str) and ("movielens" in source.lower() or Path(source).name.startswith("ratings.csv"))
