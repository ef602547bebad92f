"""tacit: federated learning in which the data never leave their owner.

The public names are imported when they are first used, so that `import tacit` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Adam": "tacit.learning.solver",
    "Algorithm": "tacit.algorithms.base",
    "ByColumn": "tacit.population.partition",
    "ByTier": "tacit.fleet.by_tier",
    "Callback": "tacit.record.callback",
    "Converged": "tacit.record.stopping",
    "Cosine": "tacit.learning.rate",
    "CountSketch": "tacit.aggregation.compression.sketch",
    "DataError": "tacit.errors",
    "Deadline": "tacit.fleet.closing",
    "Dirichlet": "tacit.population.partition",
    "Eligible": "tacit.selection.eligible",
    "Everyone": "tacit.selection.cohort",
    "Exponential": "tacit.learning.rate",
    "FedAdagrad": "tacit.algorithms.fedopt",
    "FedAdam": "tacit.algorithms.fedopt",
    "FedAsync": "tacit.fleet.buffered",
    "FedAvg": "tacit.algorithms.fedavg",
    "FedAvgM": "tacit.algorithms.fedopt",
    "FedBuff": "tacit.fleet.buffered",
    "FedDyn": "tacit.algorithms.feddyn",
    "Coordinator": "tacit.network.coordinator",
    "Federation": "tacit.federation",
    "FedNova": "tacit.algorithms.fednova",
    "FedProx": "tacit.algorithms.fedprox",
    "FedYogi": "tacit.algorithms.fedopt",
    "FirstArrivals": "tacit.fleet.closing",
    "GeometricMedian": "tacit.aggregation.robust",
    "IID": "tacit.population.partition",
    "Krum": "tacit.aggregation.robust",
    "LocalLevel": "tacit.privacy.local_level",
    "Median": "tacit.aggregation.robust",
    "NormBound": "tacit.aggregation.norm_bound",
    "Oort": "tacit.selection.oort",
    "OverSelected": "tacit.selection.overselected",
    "Participant": "tacit.network.participant",
    "PartialWork": "tacit.fleet.closing",
    "Patience": "tacit.record.stopping",
    "Poisson": "tacit.selection.cohort",
    "Population": "tacit.population.population",
    "PowerOfChoice": "tacit.selection.power_of_choice",
    "PrivacyError": "tacit.errors",
    "Quantise": "tacit.aggregation.compression.quantise",
    "Quantity": "tacit.population.partition",
    "Quota": "tacit.selection.quota",
    "RandomK": "tacit.aggregation.compression.random_k",
    "RecordLevel": "tacit.privacy.record_level",
    "Rotate": "tacit.aggregation.compression.rotate",
    "RoundFailed": "tacit.errors",
    "Run": "tacit.record.run",
    "Scaffold": "tacit.algorithms.scaffold",
    "Schema": "tacit.population.schema",
    "SecureSum": "tacit.aggregation.secure_sum",
    "Separated": "tacit.selection.cohort",
    "SGD": "tacit.learning.solver",
    "Shards": "tacit.population.partition",
    "SharedKeySum": "tacit.aggregation.homomorphic",
    "Spaced": "tacit.selection.spaced",
    "StepDecay": "tacit.learning.rate",
    "TacitError": "tacit.errors",
    "TacitWarning": "tacit.errors",
    "Task": "tacit.learning.task",
    "Tiers": "tacit.selection.tiers",
    "TopK": "tacit.aggregation.compression.top_k",
    "TrimmedMean": "tacit.aggregation.robust",
    "Uniform": "tacit.selection.cohort",
    "UsageError": "tacit.errors",
    "UserLevel": "tacit.privacy.user_level",
    "WaitForAll": "tacit.fleet.closing",
    "Warmup": "tacit.learning.rate",
}
_PACKAGES = ("fleet", "scenarios")

__all__ = ["__version__", *sorted(_HOMES), *_PACKAGES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name in _PACKAGES:
        return import_module(f"tacit.{name}")
    raise AttributeError(f"module 'tacit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


if TYPE_CHECKING:
    from tacit import fleet as fleet
    from tacit import scenarios as scenarios
    from tacit.aggregation.compression.quantise import Quantise as Quantise
    from tacit.aggregation.compression.random_k import RandomK as RandomK
    from tacit.aggregation.compression.rotate import Rotate as Rotate
    from tacit.aggregation.compression.sketch import CountSketch as CountSketch
    from tacit.aggregation.compression.top_k import TopK as TopK
    from tacit.aggregation.homomorphic import SharedKeySum as SharedKeySum
    from tacit.aggregation.norm_bound import NormBound as NormBound
    from tacit.aggregation.robust import GeometricMedian as GeometricMedian
    from tacit.aggregation.robust import Krum as Krum
    from tacit.aggregation.robust import Median as Median
    from tacit.aggregation.robust import TrimmedMean as TrimmedMean
    from tacit.aggregation.secure_sum import SecureSum as SecureSum
    from tacit.algorithms.base import Algorithm as Algorithm
    from tacit.algorithms.fedavg import FedAvg as FedAvg
    from tacit.algorithms.feddyn import FedDyn as FedDyn
    from tacit.algorithms.fednova import FedNova as FedNova
    from tacit.algorithms.fedopt import FedAdagrad as FedAdagrad
    from tacit.algorithms.fedopt import FedAdam as FedAdam
    from tacit.algorithms.fedopt import FedAvgM as FedAvgM
    from tacit.algorithms.fedopt import FedYogi as FedYogi
    from tacit.algorithms.fedprox import FedProx as FedProx
    from tacit.algorithms.scaffold import Scaffold as Scaffold
    from tacit.errors import DataError as DataError
    from tacit.errors import PrivacyError as PrivacyError
    from tacit.errors import RoundFailed as RoundFailed
    from tacit.errors import TacitError as TacitError
    from tacit.errors import TacitWarning as TacitWarning
    from tacit.errors import UsageError as UsageError
    from tacit.federation import Federation as Federation
    from tacit.fleet.buffered import FedAsync as FedAsync
    from tacit.fleet.buffered import FedBuff as FedBuff
    from tacit.fleet.by_tier import ByTier as ByTier
    from tacit.fleet.closing import Deadline as Deadline
    from tacit.fleet.closing import FirstArrivals as FirstArrivals
    from tacit.fleet.closing import PartialWork as PartialWork
    from tacit.fleet.closing import WaitForAll as WaitForAll
    from tacit.learning.rate import Cosine as Cosine
    from tacit.learning.rate import Exponential as Exponential
    from tacit.learning.rate import StepDecay as StepDecay
    from tacit.learning.rate import Warmup as Warmup
    from tacit.learning.solver import SGD as SGD
    from tacit.learning.solver import Adam as Adam
    from tacit.learning.task import Task as Task
    from tacit.network.coordinator import Coordinator as Coordinator
    from tacit.network.participant import Participant as Participant
    from tacit.population.partition import IID as IID
    from tacit.population.partition import ByColumn as ByColumn
    from tacit.population.partition import Dirichlet as Dirichlet
    from tacit.population.partition import Quantity as Quantity
    from tacit.population.partition import Shards as Shards
    from tacit.population.population import Population as Population
    from tacit.population.schema import Schema as Schema
    from tacit.privacy.local_level import LocalLevel as LocalLevel
    from tacit.privacy.record_level import RecordLevel as RecordLevel
    from tacit.privacy.user_level import UserLevel as UserLevel
    from tacit.record.callback import Callback as Callback
    from tacit.record.run import Run as Run
    from tacit.record.stopping import Converged as Converged
    from tacit.record.stopping import Patience as Patience
    from tacit.selection.cohort import Everyone as Everyone
    from tacit.selection.cohort import Poisson as Poisson
    from tacit.selection.cohort import Separated as Separated
    from tacit.selection.cohort import Uniform as Uniform
    from tacit.selection.eligible import Eligible as Eligible
    from tacit.selection.oort import Oort as Oort
    from tacit.selection.overselected import OverSelected as OverSelected
    from tacit.selection.power_of_choice import PowerOfChoice as PowerOfChoice
    from tacit.selection.quota import Quota as Quota
    from tacit.selection.spaced import Spaced as Spaced
    from tacit.selection.tiers import Tiers as Tiers
