"""The scenario of a task of one's own, given in Python on every machine: a plan for it has neither data nor model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from tacit.errors import UsageError

if TYPE_CHECKING:
    from tacit.plan import Conflict, Plan, Section

PYTHON = (
    "a plan of the scenario 'own' says how to train and not what: give task and data in Python, tacit.Federation(...), "
    "or between machines tacit.Coordinator(plan, ...) and tacit.Participant(...)"
)


class OwnTask:
    """See `tacit.scenarios.scenario.Scenario`."""

    def sections(self, given: Mapping[str, Any]) -> Mapping[str, Section]:
        """Empty ones: model and data are no part of the plan."""
        from tacit.plan import Section

        return {"data": Section(()), "model": Section(())}

    def defaults(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Federated averaging with everybody, under secure sums."""
        return {
            "rounds": 10,
            "algorithm": {"name": "FedAvg"},
            "solver": {"name": "SGD", "lr": 0.1, "batch_size": 32, "epochs": 1},
            "selection": {"name": "Everyone"},
            "aggregation": {"name": "SecureSum"},
        }

    def problems(self, plan: Any) -> list[Conflict]:
        """Nothing that is of this scenario."""
        return []

    def look(self, plan: Plan) -> list[Conflict]:
        """See `Scenario.look`."""
        from tacit.plan import Conflict

        return [Conflict(("scenario",), PYTHON)]

    def settle(self, plan: Plan) -> Plan:
        """See `Scenario.settle`: there is no content to note."""
        return plan

    def twin(self, plan: Plan, clients: int) -> NoReturn:
        """See `Scenario.twin`."""
        raise UsageError(PYTHON)

    def prepare(self, plan: Plan) -> NoReturn:
        """See `Scenario.prepare`."""
        raise UsageError(PYTHON)
