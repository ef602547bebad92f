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
    "Callback": "tacit.record.callback",
    "Converged": "tacit.record.stopping",
    "Cosine": "tacit.learning.rate",
    "DataError": "tacit.errors",
    "Dirichlet": "tacit.population.partition",
    "Everyone": "tacit.selection.cohort",
    "Exponential": "tacit.learning.rate",
    "FedAdagrad": "tacit.algorithms.fedopt",
    "FedAdam": "tacit.algorithms.fedopt",
    "FedAvg": "tacit.algorithms.fedavg",
    "FedAvgM": "tacit.algorithms.fedopt",
    "FedDyn": "tacit.algorithms.feddyn",
    "Federation": "tacit.federation",
    "FedNova": "tacit.algorithms.fednova",
    "FedProx": "tacit.algorithms.fedprox",
    "FedYogi": "tacit.algorithms.fedopt",
    "IID": "tacit.population.partition",
    "GeometricMedian": "tacit.aggregation.robust",
    "Krum": "tacit.aggregation.robust",
    "Median": "tacit.aggregation.robust",
    "NormBound": "tacit.aggregation.norm_bound",
    "Patience": "tacit.record.stopping",
    "Poisson": "tacit.selection.cohort",
    "Population": "tacit.population.population",
    "PrivacyError": "tacit.errors",
    "Quantity": "tacit.population.partition",
    "RoundFailed": "tacit.errors",
    "Run": "tacit.record.run",
    "Scaffold": "tacit.algorithms.scaffold",
    "SecureSum": "tacit.aggregation.secure_sum",
    "Separated": "tacit.selection.cohort",
    "SGD": "tacit.learning.solver",
    "SharedKeySum": "tacit.aggregation.homomorphic",
    "Shards": "tacit.population.partition",
    "StepDecay": "tacit.learning.rate",
    "TacitError": "tacit.errors",
    "TacitWarning": "tacit.errors",
    "Task": "tacit.learning.task",
    "Uniform": "tacit.selection.cohort",
    "UsageError": "tacit.errors",
    "LocalLevel": "tacit.privacy.local_level",
    "RecordLevel": "tacit.privacy.record_level",
    "TrimmedMean": "tacit.aggregation.robust",
    "UserLevel": "tacit.privacy.user_level",
    "Warmup": "tacit.learning.rate",
}
_PACKAGES = ("scenarios",)

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
    from tacit import scenarios as scenarios
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
    from tacit.learning.rate import Cosine as Cosine
    from tacit.learning.rate import Exponential as Exponential
    from tacit.learning.rate import StepDecay as StepDecay
    from tacit.learning.rate import Warmup as Warmup
    from tacit.learning.solver import SGD as SGD
    from tacit.learning.solver import Adam as Adam
    from tacit.learning.task import Task as Task
    from tacit.population.partition import IID as IID
    from tacit.population.partition import ByColumn as ByColumn
    from tacit.population.partition import Dirichlet as Dirichlet
    from tacit.population.partition import Quantity as Quantity
    from tacit.population.partition import Shards as Shards
    from tacit.population.population import Population as Population
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
