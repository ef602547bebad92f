"""The app recommender by the real commands: `tacit run`, and `tacit serve`, `enroll` and `join` over TLS, killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import pytest
import torch

from tacit.network.consent.log import Log
from tacit.network.identity.certs import make_certificates
from tacit.plan import read
from tacit.record.run import Run
from tacit.scenarios.scenario import scenario as scenario_of
from tests.faults.network.scene import free_port, until

pytestmark = pytest.mark.timeout(420)
PARTIES = 5
PLAN = f"""\
version = 1
scenario = "app-recommendation"
rounds = 10
seed = 7

[data]
phones = {PARTIES + 1}  # one is kept apart, as one that is new

[selection]
name = "Everyone"

[aggregation]
name = "SecureSum"
minimum = {PARTIES}

[privacy]
name = "UserLevel"
noise_multiplier = 0.5
clip = 1.0
delta = 0.01
insecure_seed = 5  # a test key

[network]
participants = {PARTIES}
attempts = 1000
"""
POLICY = """\
version = 1
approval = "policy"

[sums]
minimum = 5

[privacy]
without = "admit"  # a test key protects nobody
"""
LONG = 180.0


class Federation:
    """A coordinator and participants that are started by their commands.

    Args:
        folder: of everything.
    """

    def __init__(self, folder):
        self.folder, self.run, self.port = folder, folder / "coordinator", free_port()
        (folder / "plan.toml").write_text(PLAN, encoding="utf-8")
        made = make_certificates(folder / "certs", ["127.0.0.1"])
        files = ["--cert", made.certificate, "--key", made.key, "--ca", made.ca]
        self._serve = ["serve", folder / "plan.toml", "--out", self.run, "--port", self.port, *files]
        self.names = self._names()
        self.running = {}

    def _names(self):
        plan = read(PLAN, scenario_of)
        return list(scenario_of(plan.scenario).prepare(plan).population.ids)

    def tacit(self, *words):
        """A command, until it has ended."""
        done = subprocess.run(command(words), env=self._environment, capture_output=True, text=True, timeout=LONG)
        assert done.returncode == 0, f"{words} ended with {done.returncode}: {done.stderr}"
        return done.stdout

    def begin(self, who):
        """A command that goes on: of the coordinator, or of a participant."""
        words = self._serve if who == "coordinator" else self._join(who)
        with (self.folder / f"{who}.out").open("ab") as file:
            self.running[who] = subprocess.Popen(command(words), env=self._environment, stdout=file, stderr=file)

    def _join(self, name):
        return ["join", "--dir", self.folder / name, "--data", f"synthetic:{name}", "--yes"]

    @property
    def _environment(self):
        return os.environ | {"OMP_NUM_THREADS": "1", "TACIT_LEDGER": str(self.folder / "ledger.sqlite")}

    def start(self):
        """Everybody, each with a key, a certificate and a policy of its own."""
        self.begin("coordinator")
        until(lambda: (self.run / "address.json").is_file(), self.said, LONG)
        for name in self.names:
            invitation = self.folder / f"{name}.txt"
            invitation.write_text(self.tacit("invite", self.run, "--for", name))
            self.tacit("enroll", invitation, "--name", name, "--dir", self.folder / name)
            (self.folder / name / "policy.toml").write_text(POLICY)
            self.begin(name)

    def kill(self, who):
        """kill -9, and the same command again."""
        self.running[who].kill()
        self.running[who].wait()
        self.begin(who)

    def sent(self):
        """How many answers were taken, as participants know."""
        return sum(self._log(name).count('"sent"') for name in self.names)

    def _log(self, name):
        place = self.folder / name / "log.jsonl"
        return place.read_text() if place.exists() else ""

    def ended(self):
        return self.running["coordinator"].poll() is not None

    def finished(self):
        """The run, when every process has ended by itself, and well."""
        for who, process in self.running.items():
            assert process.wait(LONG) == 0, f"{who} ended with {process.returncode}\n{self.said()}"
        return Run.load(self.run)

    def said(self):
        return "\n".join(f"== {p.name}\n{p.read_text()[-2000:]}" for p in sorted(self.folder.glob("*.out")))

    def close(self):
        for process in self.running.values():
            process.kill()
            process.wait()


def command(words):
    return [sys.executable, "-m", "tacit", *map(str, words)]


@pytest.fixture
def federation(tmp_path):
    found = Federation(tmp_path)
    yield found
    found.close()


def disturbed(federation, seed):
    """kill -9 of both sides, in an order and at moments that are drawn from a seed."""
    draw = random.Random(seed)
    todo = ["coordinator"] * 3 + draw.choices(federation.names, k=4)
    draw.shuffle(todo)
    for who in todo:
        seen, more = federation.sent(), draw.randrange(1, 30)
        until(lambda seen=seen, more=more: federation.sent() >= seen + more, federation.said, LONG)
        time.sleep(draw.uniform(0.0, 0.05))
        assert not federation.ended(), "the run was over before it was disturbed"
        federation.kill(who)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [None, 1], ids=["undisturbed", "killed"])
def test_the_app_recommender_ends_with_the_model_of_the_simulation(seed, federation, tmp_path):
    """Rows 1, 10 and 13, with secure sums and noise of a test key; what everybody was told agrees, too."""
    federation.tacit("run", tmp_path / "plan.toml", "--out", tmp_path / "alone")
    alone = Run.load(tmp_path / "alone")
    federation.start()
    if seed is not None:
        disturbed(federation, seed)
    run = federation.finished()
    assert len(run.rows) == len(alone.rows) == 10
    assert set(run.tensors) == set(alone.tensors)
    assert {name for name in alone.tensors if not torch.equal(run.tensors[name], alone.tensors[name])} == set()
    assert [row["clients"] for row in run.rows] == [PARTIES] * 10
    for name in federation.names:
        entries = Log(tmp_path / name / "log.jsonl").entries()
        assert entries[-1].event == "ended"
        rounds = {entry.facts["round"] for entry in entries if entry.event == "counted" and entry.facts["counted"]}
        assert max(rounds) == 9
