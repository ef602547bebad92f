"""How a run is going, round by round: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any

from tacit.record.callback import Callback
from tacit.record.wording import span

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINES = 10


class ProgressBar(Callback):
    """Shows the run on standard error. For terminals: pipes get control codes from it, so give them `ProgressLines`.

    Args:
        metric: the one test measure to show, for example "HR@10"; the first three when None.
    """

    def __init__(self, metric: str | None = None) -> None:
        self._metric = metric
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def on_start(self, rounds: int, facts: Mapping[str, Any]) -> None:
        """Draws the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("round"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[measures]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=rounds, measures="")

    def on_round_end(self, row: Mapping[str, Any]) -> bool | None:
        """Moves it on."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=row["round"], measures=measures(row, self._metric))
        return None

    def on_end(self, reason: str) -> None:
        """Leaves it as it stands."""
        if self._bar is not None:
            self._bar.stop()


class ProgressLines(Callback):
    """Writes about ten plain lines in a run, and one for every round that set reports aside.

    Args:
        stream: where to; standard error when None.
        metric: as for `ProgressBar`.
    """

    def __init__(self, stream: IO[str] | None = None, metric: str | None = None) -> None:
        self._stream, self._metric = stream or sys.stderr, metric
        self._rounds, self._first, self._began = 0, 0, 0.0

    def on_start(self, rounds: int, facts: Mapping[str, Any]) -> None:
        """Notes the time."""
        self._rounds, self._first, self._began = rounds, 0, time.perf_counter()

    def on_round_start(self, round: int) -> None:
        """Notes with which round this part of the run began."""
        self._first = self._first or round

    def on_round_end(self, row: Mapping[str, Any]) -> bool | None:
        """Writes a line if one is due."""
        done = row["round"]
        due = done in (self._first, self._rounds) or done % max(1, self._rounds // LINES) == 0
        if due or row["set_aside"]:
            each = (time.perf_counter() - self._began) / (done - self._first + 1)
            left = f"  {each * (self._rounds - done):,.0f} s left" if done < self._rounds else ""
            aside = f"  {row['set_aside']} reports set aside" if row["set_aside"] else ""
            line = f"round {done}/{self._rounds}  {measures(row, self._metric)}{aside}{left}"
            print(line, file=self._stream, flush=True)
        return None


def measures(row: Mapping[str, Any], metric: str | None = None) -> str:
    """A round in one line: loss, the test measures (or `metric` alone), epsilon, virtual time, clients per second."""
    known = {n.removeprefix("test_"): v for n, v in row.items() if n.startswith("test_") and v is not None}
    wanted = [metric] if metric in known else list(known)[:3]
    shown = [] if row["loss"] is None else [f"loss {row['loss']:.4g}"]
    shown += [f"{name} {known[name]:.4g}" for name in wanted]
    shown += [f"epsilon {row['epsilon']:.3g}"] if "epsilon" in row else []
    shown += [f"virtual time {span(row['virtual_hours'])}"] if row.get("virtual_hours") is not None else []
    if row["seconds"] is not None:
        shown.append(f"{row['clients'] / max(row['seconds'], 1e-9):,.0f} clients/s")
    return "  ".join(shown)


def with_progress(callbacks: Iterable[Callback], progress: bool | None) -> list[Callback]:
    """The callbacks, with a progress bar where one is wanted: asked for, or on a terminal."""
    wanted = sys.stderr.isatty() if progress is None else progress
    return [*callbacks, ProgressBar()] if wanted else list(callbacks)
