"""One engine's side of a measurement: what it is asked to run, and how it answers.

Every engine is a program of its own (`python -m benchmarks.naive --workload A --rounds 2`). It answers with one JSON
object a line on standard output and with nothing else: what the engine itself prints goes to standard error.

    {"event": "ready", "note": ..., "versions": {...}}        before the first round
    {"event": "round", "round": 1, "seconds": 1.25, ...}      after every round; round 1 warms up and is not counted
    {"event": "end", ...}                                     after the last round

Only NumPy and the standard library are imported here: this file runs in every peer's environment.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO

import numpy as np

from benchmarks import workloads
from benchmarks.workloads import Array, Workload

Parameters = dict[str, Array]


@dataclass(frozen=True)
class Job:
    """What an engine is asked to do.

    Attributes:
        rounds: timed rounds; one more comes before them.
        seed: of the shuffles, where the engine takes one.
        model: where the global model after round 1 goes, for the check that work was done; None: nowhere.
        device: "cpu" or "cuda".
        options: the engine's own options.
    """

    workload: Workload
    rounds: int
    seed: int
    model: Path | None
    device: str
    options: argparse.Namespace

    @property
    def rounds_in_all(self) -> int:
        """Timed rounds and the one that warms up."""
        return self.rounds + 1


class Channel:
    """The engine's answers, as JSON lines on what was standard output when the program began."""

    def __init__(self, stream: TextIO, model: Path | None = None) -> None:
        self._stream: TextIO | None = stream
        self._model = model

    @classmethod
    def claim(cls, model: Path | None = None) -> Channel:
        """Takes standard output for the answers; whatever else is printed, by child processes too, goes to stderr."""
        answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        return cls(answers, model)

    def say(self, event: str, **content: Any) -> None:
        """Sends one answer."""
        if self._stream is not None:
            self._stream.write(json.dumps({"event": event, **content}) + "\n")
            self._stream.flush()

    def mute(self) -> None:
        """From here on nothing is said: for all but one of the processes of an engine that starts its own."""
        self._stream, self._model = None, None

    def ready(self, note: str, *packages: str, **more: Any) -> None:
        """Says how the engine is used, and with which versions of `packages`."""
        found = {"python": sys.version.split()[0], **{name: version(name) for name in packages}}
        self.say("ready", note=note, versions=found, **more)

    def round(
        self, number: int, seconds: float, parameters: Callable[[], Parameters] | None = None, **more: Any
    ) -> None:
        """Reports a finished round. `parameters()` is the global model after it, asked for after round 1 only."""
        self.say("round", round=number, seconds=seconds, **more)
        if number == 1 and parameters is not None and self._model is not None:
            self.keep(parameters())

    def keep(self, parameters: Parameters) -> None:
        """Writes the global model after round 1, where a file for it was given."""
        if self._model is not None:
            np.savez(self._model, **parameters)  # type: ignore[arg-type]


def drive(job: Job, channel: Channel, one_round: Callable[[int], None], parameters: Callable[[], Parameters]) -> None:
    """Times `one_round(number)` for engines that are a loop of rounds. It returns when the round's model is there."""
    for number in range(1, job.rounds_in_all + 1):
        start = perf_counter()
        one_round(number)
        channel.round(number, perf_counter() - start, parameters)


def enter(
    description: str | None,
    race: Callable[[Job, Channel], None],
    options: Callable[[argparse.ArgumentParser], None] | None = None,
) -> None:
    """The main function of an engine's program: reads the job from the command line and runs `race`.

    Args:
        description: the program's docstring, shown by `--help`.
        race: does the work and answers on the channel.
        options: adds the engine's own options.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=list(workloads.WORKLOADS), default="A", help="what to run (default A)")
    parser.add_argument("--rounds", type=int, default=2, help="timed rounds, after one that warms up (default 2)")
    parser.add_argument("--quick", action="store_true", help="few clients: to see that it runs, not to measure")
    parser.add_argument("--seed", type=int, default=0, help="seed of the shuffles (default 0)")
    parser.add_argument("--model", type=Path, help="write the global model after round 1 to this .npz file")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where to train (default cpu)")
    if options is not None:
        options(parser)
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error(f"--rounds is {given.rounds}: give at least 1, there is nothing to time otherwise")
    workload = workloads.find(given.workload, given.quick)
    channel = Channel.claim(given.model)
    race(Job(workload, given.rounds, given.seed, given.model, given.device, given), channel)
    channel.say("end")
