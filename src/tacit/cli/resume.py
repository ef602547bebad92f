"""`tacit resume`: going on with a run that was stopped, to the same result, bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tacit.cli.options import Json, Quiet, RunName, Workers

if TYPE_CHECKING:
    from tacit.record.folder import RunFolder
    from tacit.record.result import Result

EXAMPLES = """\b
Examples:
  tacit resume runs/demo
  tacit resume app-recommendation-20260105-083000-4b33b5bb --workers 1

A run goes on after its newest checkpoint, or begins anew if there is none, and ends with the model that it would
have had without the interruption.
"""


def resume(name: RunName, workers: Workers = None, quiet: Quiet = False, json: Json = False) -> None:
    """Go on with a run that was stopped, to the same bits."""
    from tacit.cli import console
    from tacit.cli.execution import go_on
    from tacit.cli.plan import plan_of
    from tacit.errors import UsageError
    from tacit.plan import RunOptions
    from tacit.record.folder import opened
    from tacit.scenarios.scenario import scenario

    if workers is not None and workers < 1:
        raise UsageError(f"--workers is {workers}: give at least 1")
    folder = opened(name)
    result = _result(folder)
    if result is not None:
        console.say(f"{folder.path} is finished already: {result.rounds} rounds; {result.ended}. Nothing to do")
        if json:
            print(result.json_text, end="")
        return
    plan = plan_of(folder)
    scenario(plan.scenario).settle(plan)
    if workers is not None:
        plan = plan.model_copy(update={"run": RunOptions(**{**plan.run.model_dump(), "workers": workers})})
    if not quiet:
        done = folder.rounds
        console.say(f"going on after round {done} of {plan.rounds}" if done else "no checkpoint yet: beginning anew")
    console.ended(go_on(plan, folder, quiet=quiet), folder, json)


def _result(folder: RunFolder) -> Result | None:
    """The result of a finished run; None where there is none to be read, which the end of the run will mend."""
    from tacit.cli import console
    from tacit.errors import DamagedFile

    if not folder.finished:
        return None
    try:
        return folder.result
    except DamagedFile as error:
        console.say(str(error))
        return None
