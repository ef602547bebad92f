"""`tacit demo network`: a coordinator and participants as processes of their own on this machine, over TLS."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tacit.plan import Plan

EXAMPLES = """\b
Examples:
  tacit demo network
  tacit demo network --participants 8 --rounds 20 --out runs/network
  tacit demo network --kill 3 --no-browser         three participants are killed on the way, and started anew

It makes certificates, starts a coordinator, enrols participants, each a process with its own key, policy, log and
data, and trains the app recommender under secure sums, with a coordinator that sees no single report.
"""

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="See tacit at work on this machine.")

Participants = Annotated[int, typer.Option(help="How many, each a process.", min=3, max=64)]
Rounds = Annotated[int, typer.Option(help="Rounds of federated learning.", min=1)]
Out = Annotated[Path, typer.Option(help="Folder for everything; what is in it is removed first with --overwrite.")]
Kill = Annotated[int, typer.Option(help="Participants that are killed in the middle of the run, and started anew.")]
Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page of the run.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Remove what an earlier demo left in --out.")]
Records = Annotated[
    float | None, typer.Option("--epsilon", help="Differential privacy of every record of a participant.")
]
DONE_HERE = ("listening at ", ": tacit invite ")
"""In lines of the coordinator about what this command does itself."""
UNDER_WAY = ("training", "round ")
"""What the coordinator says once rounds are under way; quick ones it does not name one by one."""
MARK = ".tacit-demo"
"""A file that says that a folder was made here, and may be removed."""
PATIENCE = 120.0
"""Seconds for which the coordinator's start is waited for."""


@app.callback()
def demo() -> None:
    """See tacit at work on this machine."""


@app.command("network", epilog=EXAMPLES)
def network(
    participants: Participants = 5,
    rounds: Rounds = 10,
    out: Out = Path("runs/network"),
    kill: Kill = 1,
    epsilon: Records = 8.0,
    browser: Browser = True,
    overwrite: Overwrite = False,
) -> None:
    """Start a coordinator and participants as processes over TLS, and train the app recommender with all of them."""
    from tacit.cli import console
    from tacit.errors import UsageError
    from tacit.network.identity.certs import make_certificates
    from tacit.plan import written

    if out.exists() and not overwrite:
        raise UsageError(f"{out} is there already: give another --out, or --overwrite")
    if out.exists() and not (out / MARK).is_file():
        raise UsageError(f"{out} is no folder of an earlier demo, and is not removed: give another --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    plan, names = _plan(participants, rounds, epsilon)
    (out / MARK).touch()
    (out / "plan.toml").write_text(written(plan), encoding="utf-8")
    made = make_certificates(out / "certs", ["localhost", "127.0.0.1"])
    console.say(f"{participants} participants, {rounds} rounds, everything in {out}")
    began = time.monotonic()
    with _processes() as running:
        run = out / "coordinator"
        files = ["--cert", str(made.certificate), "--key", str(made.key), "--ca", str(made.ca)]
        options = ["--out", str(run), "--port", "0", *files, "--evaluate", "--linger", "15"]
        coordinator = _start(running, ["serve", str(out / "plan.toml"), *options], out / "coordinator.log")
        url = _address(run, coordinator, out / "coordinator.log")
        console.say(f"the coordinator listens; its page: {url}")
        if browser:
            _open(url)
        joined = {name: _join(running, out, run, name) for name in names}
        console.say(f"{len(joined)} participants are enrolled, each with a key of its own")
        _watch(running, out, joined, coordinator, kill)
        code = coordinator.wait()
    _summary(run, plan, time.monotonic() - began, code, out)


def _plan(participants: int, rounds: int, epsilon: float | None) -> tuple[Plan, list[str]]:
    """The plan of the demo, and the names of those who take part: made-up phones that hold the data."""
    from tacit.plan import Given, settled
    from tacit.scenarios.scenario import scenario

    kept = participants + max(1, round(participants / 9))  # a share of the phones is set apart, as new ones
    network = {"participants": participants, "patience": 60.0, "answer": 10.0, "absence": 15.0}
    given: dict[str, Any] = {
        "version": 1,
        "scenario": "app-recommendation",
        "rounds": rounds,
        "data": {"phones": kept},
        "selection": {"name": "Everyone"},
        "aggregation": {"name": "SecureSum", "minimum": max(3, participants - 2), "most_examples": 512},
        "network": network,
    }
    if epsilon is not None:
        given["record_privacy"] = {"name": "RecordLevel", "epsilon": epsilon, "clip": 1.0}
    plan = settled([Given(given)], scenario)
    population = scenario(plan.scenario).prepare(plan).population
    names = list(population.ids)
    if len(names) != participants:
        given["network"] = {**network, "participants": len(names)}
        plan = settled([Given(given)], scenario)
    return plan, names


@contextmanager
def _processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that end with this one, however it ends."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        yield running
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
        for process in running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _start(running: list[subprocess.Popen[bytes]], words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("ab") as file:
        command = [sys.executable, "-m", "tacit", *words]
        process = subprocess.Popen(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=environment)
    running.append(process)
    return process


def _address(run: Path, coordinator: subprocess.Popen[bytes], log: Path) -> str:
    """Where the coordinator listens, once it does.

    Raises:
        StorageError: it ended instead.
    """
    import json

    from tacit.errors import StorageError
    from tacit.network.operator_box import ADDRESS

    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and coordinator.poll() is None:
        if (run / ADDRESS).is_file():
            return str(json.loads((run / ADDRESS).read_text(encoding="utf-8"))["url"])
        time.sleep(0.1)
    raise StorageError(f"the coordinator did not start: {log.read_text(encoding='utf-8')[-2000:]}")


def _join(running: list[subprocess.Popen[bytes]], out: Path, run: Path, name: str) -> subprocess.Popen[bytes]:
    """Enrols a participant, gives it a policy, and lets it join."""
    from tacit.network.enrolling import enrolled
    from tacit.network.operator_box import invite

    folder = out / "participants" / name
    invitation = invite(run, note=name)
    _patiently(lambda: enrolled(invitation.text, name, folder))
    (folder / "policy.toml").write_text(POLICY, encoding="utf-8")
    words = ["join", "--dir", str(folder), "--data", f"synthetic:{name}", "--yes"]
    return _start(running, words, out / f"{name}.log")


def _patiently(enrol: object) -> None:
    """Enrols as soon as the coordinator has looked into its box."""
    from tacit.network.office import Refused

    assert callable(enrol)
    for attempt in range(50):
        try:
            enrol()
            return
        except Refused:
            if attempt == 49:
                raise
            time.sleep(0.2)


def _watch(
    running: list[subprocess.Popen[bytes]],
    out: Path,
    joined: dict[str, subprocess.Popen[bytes]],
    coordinator: subprocess.Popen[bytes],
    kill: int,
) -> None:
    """Shows what the coordinator says, kills some participants once rounds are under way, and starts them anew."""
    from tacit.cli import console

    said, victims = 0, random.Random(0).sample(sorted(joined), min(kill, len(joined)))
    log = out / "coordinator.log"
    while coordinator.poll() is None:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in lines[said:]:
            if not any(done in line for done in DONE_HERE):
                console.say(f"  {line}")
        said = len(lines)
        if victims and any(line.startswith(UNDER_WAY) for line in lines):
            name = victims.pop()
            joined[name].send_signal(signal.SIGKILL)
            console.say(f"  {name} was killed (kill -9); it is started anew")
            folder = out / "participants" / name
            words = ["join", "--dir", str(folder), "--data", f"synthetic:{name}", "--yes"]
            joined[name] = _start(running, words, out / f"{name}.log")
        time.sleep(0.3)


def _open(url: str) -> None:
    import webbrowser

    try:
        webbrowser.open(url)
    except webbrowser.Error:
        return


def _summary(run: Path, plan: Plan, seconds: float, code: int, out: Path) -> None:
    from tacit.cli import console
    from tacit.errors import RoundFailed
    from tacit.record.run import Run

    if code:
        raise RoundFailed(f"the coordinator ended with {code}: see {out / 'coordinator.log'}")
    rows = Run.load(run).rows
    last = rows[-1]
    measured = {n.removeprefix("test_"): v for n, v in last.items() if n.startswith("test_") and v is not None}
    aggregation = plan.aggregation
    assert aggregation is not None
    console.facts(
        [
            ("rounds", f"{len(rows)} in {seconds:.1f} s, start included"),
            ("measured", ", ".join(f"{name} {value:.3f}" for name, value in measured.items()) or "-"),
            ("reports", f"masked; sums of {aggregation.fields['minimum']} or more, nobody saw a single one"),
            ("privacy", _said(plan)),
            ("model", str(run / "model.safetensors")),
            ("why a round", f"tacit explain-round 1 --dir {run}"),
            ("their logs", f"tacit participant log --dir {out / 'participants'}/NAME"),
        ]
    )


def _said(plan: Plan) -> str:
    level = plan.record_privacy
    if level is None:
        return "none: this run gives no formal privacy"
    return f"epsilon {level.fields['epsilon']:g} for every record of a participant, by noise in its own local steps"


POLICY = """# What this participant of a demo on one machine admits.
version = 1
approval = "policy"

[sums]
minimum = 3
"""
