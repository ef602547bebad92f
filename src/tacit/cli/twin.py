"""The twin of a run: the same learning with privacy where the run has none, and without where it has.

So every result shows what privacy costs: `federated` and `federated_private` stand side by side in the comparison. Both
train on the same devices, where there are any: without them the twin would meet clients whom the run never could ask,
and what the fleet costs would look like what privacy costs.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tacit.errors import TacitError, TacitWarning

if TYPE_CHECKING:
    from tacit.plan import Plan
    from tacit.record.run import Run
    from tacit.scenarios.scenario import Prepared, Standing

PLAIN, PRIVATE = "federated", "federated_private"


def labelled(plan: Plan, standing: Standing) -> Standing:
    """`standing` with the run's own row under the name that says whether it is private; the other's is empty."""
    return _with(plan, standing, {PLAIN: None}, {PLAIN: None}, {}, {})


def beside_its_twin(plan: Plan, prepared: Prepared, standing: Standing, workers: int) -> Standing:
    """As `labelled`, with the rows of the twin, which is trained now; or with the reason why it cannot be."""
    try:
        run = _trained(plan, prepared)
    except TacitError as error:
        reason = " ".join(str(error).split())
        kind = "plain" if plan.private else "private"
        note = f"there is no {kind} twin beside this run: {reason}"
        return replace(labelled(plan, standing), notes=(*standing.notes, note))
    other = prepared.standing(run.model, full=False, workers=workers)
    both = _with(plan, standing, other.test, other.unseen, other.intervals, other.unseen_intervals)
    return replace(both, notes=(*standing.notes, _note(plan, run)))


def _trained(plan: Plan, prepared: Prepared) -> Run:
    from tacit.cli.execution import federated
    from tacit.scenarios.scenario import scenario

    twin = scenario(plan.scenario).twin(plan, len(prepared.population))
    with warnings.catch_warnings():  # rounds that are tried again are no news of the run itself
        warnings.filterwarnings("ignore", ".*Given up, and tried again", TacitWarning)
        return federated(twin, prepared).run(twin.rounds, progress=False)


def _with(plan: Plan, standing: Standing, *others: Mapping[str, Any]) -> Standing:
    """`standing` with the rows of other tables: test, unseen, and the intervals of both."""
    test, unseen, intervals, unseen_intervals = others
    return replace(
        standing,
        test=_side_by_side(plan, standing.test, test),
        unseen=_side_by_side(plan, standing.unseen, unseen),
        intervals=_side_by_side(plan, standing.intervals, intervals),
        unseen_intervals=_side_by_side(plan, standing.unseen_intervals, unseen_intervals),
    )


def _side_by_side(plan: Plan, mine: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The rows of both: each has its own model's under `federated`."""
    pair = (other, mine) if plan.private else (mine, other)
    first = {name: rows[PLAIN] for name, rows in zip((PLAIN, PRIVATE), pair, strict=True) if PLAIN in rows}
    return first | {name: row for name, row in mine.items() if name != PLAIN}


def _note(plan: Plan, run: Run) -> str:
    same = "" if plan.fleet is None else "; the twin trained on the same devices"
    if plan.private:
        return (
            "all rows but that of the private model come without formal privacy: its claim does not cover them" + same
        )
    claim = run.facts["privacy"]
    charged = "" if claim["synthetic"] else "; it was charged to the ledger, as a run of its own"
    return (
        f"federated private: the same with user-level privacy and cohorts for it, epsilon {claim['epsilon']:.3g} at "
        f"delta {claim['delta']:.2g}; no claim covers the other rows{charged}{same}"
    )
