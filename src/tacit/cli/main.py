"""The command `tacit`: its verbs, and how every error ends. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any

import typer

from tacit import __version__
from tacit.cli import (
    certs,
    data,
    demo,
    doctor,
    explain,
    export,
    fleet,
    join,
    participant,
    plan,
    privacy,
    recommend,
    resume,
    run,
    runs,
    scenarios,
    secure,
    serve,
    show,
    status,
)
from tacit.cli.output import told_output
from tacit.errors import TacitError

UNEXPECTED, INTERRUPTED = 1, 130
BEFORE_A_RUN = {
    "run": "interrupted before the first checkpoint: nothing was kept; start again with the same command",
    "resume": "interrupted before the run went on: what was kept is as it was; start again with the same command",
}
"""What an interrupt says that comes before a run is under way; later ones say how to go on with it."""
# What typer's own errors have in common is not public by itself in every release; BadParameter derives from it.
MISUSE: Any = typer.BadParameter.__mro__[2]

EPILOG = """\b
Begin with:
  tacit run app-recommendation                         phones learn together, on synthetic logs
  tacit run app-recommendation --data lsapp.tsv.gz     the same on real ones
  tacit plan show app-recommendation > plan.toml       everything that can be set
  tacit run plan.toml --set solver.lr=0.05

\b
Exit codes:
  0    success
  1    unexpected: a fault of tacit, or of a model or loss of yours
  2    a mistake in the options, in the name of a run, or in a plan
  3    data that are missing, damaged or cannot be learned from
  4    a round failed: too few reports could be counted
  5    a run, checkpoint, report or standard output that cannot be written or read
  6    a promise of privacy that cannot be kept as asked, or a budget that is spent
  7    a message of the secure aggregation that breaks its rules
  8    the other side of a network refused, or cannot be reached
  130  interrupted (Ctrl-C, SIGTERM)
"""

app = typer.Typer(
    name="tacit",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("run", epilog=run.EXAMPLES)(run.run)
app.command("resume", epilog=resume.EXAMPLES)(resume.resume)
app.command("runs", epilog=runs.EXAMPLES)(runs.runs)
app.command("show", epilog=show.EXAMPLES)(show.show)
app.command("recommend", epilog=recommend.EXAMPLES)(recommend.recommend)
app.command("export", epilog=export.EXAMPLES)(export.export)
app.command("scenarios", epilog=scenarios.EXAMPLES)(scenarios.scenarios)
app.command("certs", epilog=certs.EXAMPLES)(certs.certs)
app.command("serve", epilog=serve.EXAMPLES)(serve.serve)
app.command("invite", epilog=join.INVITE)(join.invite)
app.command("revoke", epilog=join.INVITE)(join.revoke)
app.command("enroll", epilog=join.ENROLL)(join.enroll)
app.command("join", epilog=join.JOIN)(join.join)
app.add_typer(participant.app, name="participant")
app.command("status", epilog=status.EXAMPLES)(status.status)
app.command("explain-round", epilog=explain.EXAMPLES)(explain.explain)
app.add_typer(demo.app, name="demo")
app.add_typer(plan.app, name="plan")
app.add_typer(privacy.app, name="privacy")
app.add_typer(secure.app, name="secure")
app.add_typer(fleet.app, name="fleet")
app.command("data", epilog=data.EXAMPLES)(data.data)
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tacit {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")]


@app.callback()
def tacit(version: Version = False, debug: Debug = False) -> None:
    """Federated learning in which the data never leave their owner."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    warnings.showwarning = _show_warning
    with told_output() as output:
        try:
            return _carried_out(words)
        except (BrokenPipeError, SystemExit):  # the reader of a pipe, `head` say, has seen enough
            output.give_up()
            return UNEXPECTED
        except (typer.Abort, KeyboardInterrupt):
            _say(BEFORE_A_RUN.get("".join(words[:1]), "interrupted"))
            return INTERRUPTED
        except Exception as error:
            if debug and not isinstance(error, MISUSE):
                raise
            return _failed(error)


def _carried_out(words: list[str]) -> int:
    with _ended_by_sigterm():
        code = app(args=words, prog_name="tacit", standalone_mode=False)
    if code == INTERRUPTED:  # how newer releases of typer answer a KeyboardInterrupt
        raise KeyboardInterrupt
    sys.stdout.flush()
    return code if isinstance(code, int) else 0


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Lets SIGTERM end a verb as Ctrl-C does: workers end, and what was checkpointed is kept."""
    mine = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() == mine:  # a worker has inherited this, and ends with its parent
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: closing down goes on undisturbed
            raise KeyboardInterrupt

    main_thread = threading.current_thread() is threading.main_thread()
    if not main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _failed(error: Any) -> int:
    if isinstance(error, MISUSE):
        error.show()
        return int(error.exit_code)
    if isinstance(error, TacitError):
        _say(f"error: {error}")
        return error.exit_code
    if isinstance(error, MemoryError):
        _say(f"error: not enough memory ({error}): take less data, smaller layers or fewer workers")
        return UNEXPECTED
    _say(f"unexpected {type(error).__name__}: {error}\n--debug shows where it happened")
    return UNEXPECTED


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _show_warning(message: Warning | str, category: type[Warning], *rest: object, **more: object) -> None:
    """Tacit's warnings, in one line each; those of libraries are not for users of the command line."""
    if category.__module__.startswith("tacit"):
        _say(f"warning: {message}")
