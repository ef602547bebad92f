"""Runs contestants one after another, round-robin over repetitions, each in a process of its own.

Interleaving spreads whatever the machine does meanwhile (heat, neighbours) over all contestants alike; a process of its
own keeps thread settings, memory and forks of one from reaching the next.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.engines import CORES, Engine
from benchmarks.peers import environment
from benchmarks.peers.environment import EnvironmentUnavailable
from benchmarks.watch import Load, Watch


@dataclass(frozen=True)
class Schedule:
    """How much is run.

    Attributes:
        repeats: repetitions, each a fresh process of every engine.
        rounds: timed rounds of each process, after one that warms up.
        limit: seconds after which a process is ended and counts as failed.
    """

    workloads: tuple[str, ...]
    repeats: int
    rounds: int
    quick: bool
    device: str
    limit: float


@dataclass
class Measurement:
    """What one process of one engine answered.

    Attributes:
        seconds: of each timed round; the round that warmed up is not among them.
        ready: seconds from the start of the process to the end of that first round.
        rounds: the engine's full answers on its timed rounds.
        flops: of a "round", where it is not the workload's.
        failure: why there is no figure; None where there is.
    """

    engine: Engine
    workload: str
    repetition: int
    seconds: list[float] = field(default_factory=list)
    ready: float | None = None
    note: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    flops: float | None = None
    load: Load | None = None
    model: Path | None = None
    failure: str | None = None


def run_all(engines: Iterable[Engine], schedule: Schedule, tell: Callable[[str], None]) -> list[Measurement]:
    """Every engine on every workload, `schedule.repeats` times; `tell` hears what goes on."""
    pythons = {engine.name: _python(engine, tell) for engine in engines}
    done: list[Measurement] = []
    for workload in schedule.workloads:
        failed: set[str] = set()
        for repetition in range(1, schedule.repeats + 1):
            for engine in engines:
                if engine.name in failed:
                    continue
                python, reason = pythons[engine.name]
                measurement = Measurement(engine, workload, repetition, failure=reason)
                if python is not None:
                    _run(measurement, python, schedule)
                tell(f"{workload} {repetition}/{schedule.repeats} {engine.name}: {outcome(measurement)}")
                done.append(measurement)
                if measurement.failure:
                    failed.add(engine.name)
    return done


def outcome(measurement: Measurement) -> str:
    """One measurement in words."""
    if measurement.failure:
        return f"no figure: {measurement.failure}"
    shown = ", ".join(f"{s:.3g}" for s in measurement.seconds[:5])
    more = ", ..." if len(measurement.seconds) > 5 else ""
    busy = f"; others kept {measurement.load.others:.1f} of {CORES} cores busy" if measurement.load else ""
    return f"{shown}{more} s a round{busy}"


def _python(engine: Engine, tell: Callable[[str], None]) -> tuple[str | None, str | None]:
    """The engine's interpreter, or why there is none."""
    if engine.peer is None:
        return sys.executable, None
    try:
        return str(environment.ensure(environment.ENVIRONMENTS[engine.peer])), None
    except EnvironmentUnavailable as reason:
        tell(f"{engine.name} is not available: {reason}")
        return None, f"not available: {reason}"


def _folder(name: str) -> Path:
    folder = environment.cache() / name
    folder.mkdir(exist_ok=True)
    return folder


def _run(measurement: Measurement, python: str, schedule: Schedule) -> None:
    """Starts the process, listens until it ends, fills in `measurement`."""
    engine = measurement.engine
    name = f"{measurement.workload}-{engine.name}"
    arguments = ["--workload", measurement.workload, "--rounds", str(schedule.rounds), "--device", schedule.device]
    arguments += ["--seed", str(measurement.repetition)] + (["--quick"] if schedule.quick else [])
    if engine.federated and measurement.repetition == 1:
        measurement.model = _folder("models") / f"{name}.npz"
        measurement.model.unlink(missing_ok=True)
        arguments += ["--model", str(measurement.model)]
    log = _folder("logs") / f"{name}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*engine.command(python), *arguments], stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL,
            text=True, cwd=environment.ROOT, env=engine.environment(), start_new_session=True,
        )  # fmt: skip
        with Watch(process.pid) as watch:
            late = threading.Timer(schedule.limit, watch.end_all)
            late.start()
            try:
                ended = _listen(process, measurement)
                code = process.wait()
            except BaseException:  # Ctrl-C does not reach a session of its own
                late.cancel()
                watch.end_all()
                raise
            measurement.load = watch.load()
            expired = not late.is_alive()
            late.cancel()
    if expired:
        measurement.failure = f"ended after {schedule.limit:.0f} s (--limit)"
    elif code != 0 or not ended:
        measurement.failure = f"exit code {code}: {_last_line(log)} (log: {log})"


def _listen(process: subprocess.Popen[str], measurement: Measurement) -> bool:
    """Reads the answers. Returns whether the engine said that it came to its end."""
    start, ended = perf_counter(), False
    assert process.stdout is not None
    for line in process.stdout:
        if not line.startswith("{"):
            continue
        answer = json.loads(line)
        event = answer.pop("event")
        if event == "ready":
            measurement.note, measurement.versions = answer["note"], answer["versions"]
            measurement.flops = answer.get("flops_per_round")
        elif event == "round" and answer["round"] == 1:
            measurement.ready = perf_counter() - start
        elif event == "round":
            measurement.rounds.append(answer)
            measurement.seconds.append(answer["seconds"])
        elif event == "end":
            ended = True
    return ended


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "nothing on standard error"
