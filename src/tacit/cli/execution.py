"""Carrying a plan out in a folder, from its data to its result: what `tacit run` and `tacit resume` share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tacit.cli.console import PARTICIPANTS
from tacit.cli.twin import PLAIN, PRIVATE, beside_its_twin, labelled
from tacit.errors import Interrupted
from tacit.record.folder import PLAN, REPORT, RESULT, RunFolder

if TYPE_CHECKING:
    from tacit.federation import Federation
    from tacit.plan import Plan
    from tacit.record.callback import Callback
    from tacit.record.result import Result
    from tacit.record.run import Run
    from tacit.scenarios.scenario import Prepared, Scores, Standing


def begin(plan: Plan, folder: RunFolder, *, quiet: bool = False) -> Result:
    """Carries out `plan` from its first round in `folder`, which is empty.

    What fails before that leaves no folder. What is interrupted does, once the folder was named: it can be resumed.
    """
    from tacit.plan import written

    with folder.locked():
        try:
            folder.write(PLAN, written(plan))
        except BaseException:
            folder.clear()
            raise
        with _resumable(plan, folder):
            if not quiet:
                _tell(f"{plan.scenario}, plan {plan.hash[:12]}, in {folder.path}")
            try:
                prepared, federation = _assembled(plan)
            except Exception:
                folder.clear()
                raise
            return _carried_out(plan, folder, prepared, federation, quiet)


def go_on(plan: Plan, folder: RunFolder, *, quiet: bool = False) -> Result:
    """Carries out `plan` from the newest checkpoint in `folder`, or from its first round if there is none."""
    with folder.locked(), _resumable(plan, folder):
        prepared, federation = _assembled(plan)
        return _carried_out(plan, folder, prepared, federation, quiet)


@contextmanager
def _resumable(plan: Plan, folder: RunFolder) -> Iterator[None]:
    """Says how to go on with a run whose plan is in its folder, when it is interrupted.

    Raises:
        Interrupted: by Ctrl-C or SIGTERM.
    """
    try:
        yield
    except KeyboardInterrupt:
        done = folder.rounds
        kept = f"{done} of {plan.rounds} rounds are kept. Go on" if done else "no round is kept yet. Begin anew"
        raise Interrupted(f"interrupted; {kept} with: {folder.resuming}") from None


def _assembled(plan: Plan) -> tuple[Prepared, Federation]:
    from tacit.scenarios.scenario import scenario

    prepared = scenario(plan.scenario).prepare(plan)
    return prepared, federated(plan, prepared)


def federated(plan: Plan, prepared: Prepared) -> Federation:
    """The federation of a plan whose data are at hand."""
    from tacit.federation import Federation
    from tacit.plan import build

    return Federation(
        prepared.task,
        prepared.population,
        build.algorithm(plan),
        selection=build.selection(plan),
        seed=plan.seed,
        workers=plan.run.workers,
        privacy=build.privacy(plan),
        record_privacy=build.record_privacy(plan),
        aggregation=build.aggregation(plan),
        robust=build.robust(plan),
        stages=build.stages(plan),
        by_tier=build.by_tier(plan),
        fleet=build.fleet(plan, prepared.population.ids),
        closing=build.closing(plan),
        engine=plan.run.engine,
        device=plan.run.device,
    )


def _carried_out(plan: Plan, folder: RunFolder, prepared: Prepared, federation: Federation, quiet: bool) -> Result:
    from tacit.plan import build

    run = federation.run(
        plan.rounds,
        prepared.validation(),
        evaluate_every=plan.run.evaluate_every,
        until=build.stopping(plan),
        callbacks=[] if quiet else [_progress(prepared.headline)],
        checkpoint=folder.checkpoints,
        checkpoint_every=plan.run.checkpoint_every,
        resume=folder.rounds > 0,
        progress=False,
    )
    if not quiet:
        _tell("measuring the model" + (" and what it is held against" if plan.run.compare else ""))
    workers = plan.run.workers or os.cpu_count() or 1
    standing = prepared.standing(run.model, full=plan.run.compare, workers=workers)
    if plan.run.compare:
        if not quiet:
            _tell("training its twin " + ("without privacy" if plan.private else "with privacy"))
        standing = beside_its_twin(plan, prepared, standing, workers)
    else:
        standing = labelled(plan, standing)
    return _recorded(plan, folder, prepared, federation, run, standing)


def _progress(metric: str) -> Callback:
    from tacit.record.progress import ProgressBar, ProgressLines

    return ProgressBar(metric) if sys.stderr.isatty() else ProgressLines(metric=metric)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _recorded(
    plan: Plan, folder: RunFolder, prepared: Prepared, federation: Federation, run: Run, standing: Standing
) -> Result:
    """Writes everything, the result last."""
    run.facts["plan"] = plan.hash
    run.save(folder.path)
    _write_report(folder.path / REPORT, plan, prepared, run, standing)
    result = _result(plan, folder, prepared, federation, run, standing)
    folder.write(RESULT, result.json_text)
    return result


def recorded(plan: Plan, folder: RunFolder, prepared: Prepared, run: Run) -> Result:
    """Writes plan, report and result of a run that took place elsewhere, measured on data that are at hand here."""
    from tacit.plan import written

    folder.write(PLAN, written(plan))
    standing = labelled(plan, prepared.standing(run.model, full=False, workers=1))
    if plan.record_privacy is not None:
        standing = replace(standing, notes=(*standing.notes, PARTICIPANTS))
    return _recorded(plan, folder, prepared, federated(plan, prepared), run, standing)


def _write_report(path: Path, plan: Plan, prepared: Prepared, run: Run, standing: Standing) -> None:
    from tacit.record.report import Comparison, write

    clients = f"{len(prepared.population):,} clients, their last interactions"
    tables = {
        clients: (_known(standing.test), standing.intervals),
        "Cold start: clients that no shared model was trained on": (_known(standing.unseen), standing.unseen_intervals),
    }
    label = ("These data are SYNTHETIC: they come from a generator, not from people.",)
    write(
        run,
        path,
        title=f"{plan.scenario}: {prepared.source}",
        part="validation",
        comparisons=[Comparison(title, *table) for title, table in tables.items() if table[0]],
        headline=standing.headline,
        notes=(*(label if prepared.synthetic else ()), *prepared.notes, *standing.notes),
    )


def _known(scores: Mapping[str, Scores | None]) -> dict[str, Scores]:
    return {name: row for name, row in scores.items() if row is not None}


def _result(
    plan: Plan, folder: RunFolder, prepared: Prepared, federation: Federation, run: Run, standing: Standing
) -> Result:
    from tacit import __version__
    from tacit.record.result import DataFacts, Result

    rows, facts, last = run.rows, run.facts, run.rows[-1]
    elapsed = dict(facts["elapsed"])
    phases = [name for name in elapsed if name.startswith("seconds_")]
    kept = int(facts["kept_round"])
    measured = [{n: v for n, v in row.items() if n.startswith("test_") and v is not None} for row in rows[:kept]]
    watched = next((measures for measures in reversed(measured) if measures), measured[-1])
    return Result(
        tacit=__version__,
        scenario=plan.scenario,
        plan_hash=plan.hash,
        data=DataFacts(
            source=prepared.source,
            synthetic=prepared.synthetic,
            fingerprint="" if plan.private else federation.population.fingerprint(),
            notes=list(prepared.notes),
        ),
        seed=plan.seed,
        rounds=len(rows),
        rounds_planned=plan.rounds,
        kept_round=kept,
        ended=str(facts["ended"]),
        seconds=float(elapsed["seconds"]),
        seconds_by_phase={n.removeprefix("seconds_"): float(elapsed[n]) for n in phases},
        clients=len(federation.population),
        parameters=federation.task.d,
        engine=run.engine,
        device=str(facts["device"]),
        workers=int(facts["workers"]),
        dtype=str(facts["dtype"]),
        bytes_down_per_client=int(facts["bytes_down_per_client"]),
        bytes_up_per_client=int(facts["bytes_up_per_client"]),
        bytes_down=sum(int(row["bytes_down"]) for row in rows),
        bytes_up=sum(int(row["bytes_up"]) for row in rows),
        set_aside=sum(int(row["set_aside"] or 0) for row in rows),
        loss=None if last["loss"] is None else float(last["loss"]),
        privacy=facts.get("privacy"),
        record_privacy=facts.get("record_privacy"),
        secure_aggregation=facts.get("aggregation"),
        fleet=facts.get("fleet"),
        metrics=dict(standing.test[PRIVATE if plan.private else PLAIN] or {}),
        validation={name.removeprefix("test_"): float(value) for name, value in watched.items()},
        comparison=_table(standing.test),
        interval_metric=standing.headline,
        intervals=dict(standing.intervals),
        cold_start=_table(standing.unseen),
        cold_start_intervals=dict(standing.unseen_intervals),
        notes=list(standing.notes),
        model_sha256=folder.model_sha256(),
    )


def _table(scores: object) -> dict[str, dict[str, float | None] | None]:
    assert isinstance(scores, dict)
    return {name: None if row is None else dict(row) for name, row in scores.items()}
