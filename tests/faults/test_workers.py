"""Workers that die, hang on, or meet an exception of the user's: a clear error that names the client, and no hang."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading

import pytest
import torch

import tacit
from tacit.errors import RoundFailed, TacitError
from tests.faults.scenes import SOLVER, clean, federation, quietly, weights

WORKERS = [1, 2]
pytestmark = pytest.mark.timeout(60)


def parent():
    return multiprocessing.parent_process() is None


def test_where_in_the_users_code_it_happened_is_told():
    def broken(output, target):
        if not parent():
            raise ZeroDivisionError("a line of the user's")
        return torch.nn.functional.mse_loss(output, target)

    with pytest.raises(
        RoundFailed, match=r"ZeroDivisionError: a line of the user's \(test_workers\.py, line \d+, in bro"
    ):
        quietly(federation(clean(), loss=broken, workers=2), 1)


@pytest.mark.parametrize("how", [signal.SIGKILL, "exit"])
def test_a_worker_that_dies_at_work_gives_a_clear_error_and_no_hang(how):
    def deadly(output, target):
        if not parent():
            if how == "exit":
                os._exit(3)
            os.kill(os.getpid(), how)
        return torch.nn.functional.mse_loss(output, target)

    code = 3 if how == "exit" else -int(how)
    with pytest.raises(TacitError, match=rf"worker \d ended unexpectedly \(exit code {code}\).*fewer workers"):
        federation(clean(), loss=deadly, workers=2).run(1, progress=False)


def test_a_worker_killed_between_two_rounds_gives_a_clear_error():
    class Killer(tacit.Callback):
        def on_round_end(self, row):
            victim = multiprocessing.active_children()[0]
            os.kill(victim.pid, signal.SIGKILL)
            victim.join()

    with pytest.raises(TacitError, match="ended unexpectedly"):
        federation(clean(), workers=2).run(3, callbacks=[Killer()], progress=False)
    assert not multiprocessing.active_children()


def test_no_worker_is_left_after_a_run_or_a_failure():
    federation(clean(), workers=2).run(1, progress=False)
    assert not multiprocessing.active_children()

    class Stop(tacit.Callback):
        def on_round_end(self, row):
            raise RuntimeError("a callback of the user's")

    with pytest.raises(RuntimeError, match="a callback of the user's"):
        federation(clean(), workers=2).run(2, callbacks=[Stop()], progress=False)
    assert not multiprocessing.active_children()


def test_a_failed_run_tells_its_callbacks_why():
    reasons = []

    class Listener(tacit.Callback):
        def on_round_end(self, row):
            raise RuntimeError("enough")

        def on_end(self, reason):
            reasons.append(reason)

    with pytest.raises(RuntimeError):
        federation(clean()).run(2, callbacks=[Listener()], progress=False)
    assert reasons == ["failed: enough"]


def test_a_run_from_inside_a_thread_gives_the_same_bits():
    found = {}

    def body(workers):
        found[workers] = weights(federation(clean(), tacit.Scaffold(SOLVER), workers=workers).run(2, progress=False))

    threads = [threading.Thread(target=body, args=(w,)) for w in (1, 2)]
    for thread in threads:
        thread.start()
        thread.join(timeout=50)
    assert torch.equal(found[1], found[2])
    assert torch.equal(found[1], weights(quietly(federation(clean(), tacit.Scaffold(SOLVER)), 2)))


SCRIPT = """
import multiprocessing, numpy as np, torch, tacit
rng = np.random.default_rng(0)
data = {k: (rng.normal(size=(6, 3)), rng.normal(size=(6, 1))) for k in range(4)}
torch.manual_seed(0)
population, solver = tacit.Population.from_arrays(data), tacit.SGD(lr=0.1)
broken = False

def loss(output, target):
    if broken and multiprocessing.parent_process():
        1 / 0
    return ((output - target) ** 2).mean()

task = tacit.Task(torch.nn.Linear(3, 1).double(), loss)
for workers in (1, 2):
    run = tacit.Federation(task, population, tacit.FedAvg(solver), workers=workers, engine="eager").run(2)
    print(run.facts["venue"], run.facts["workers"], run.tensors["weight"].flatten().tolist(), flush=True)
broken = True
tacit.Federation(task, population, tacit.FedAvg(solver), workers=2, engine="eager").run(2)
"""


def test_a_script_without_a_main_guard_runs_and_fails_with_several_workers(tmp_path):
    """One process for all of it: torch takes seconds to import."""
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=60)
    one, two = (line.split(maxsplit=2) for line in done.stdout.splitlines())
    assert two[:2] == ["processes", "2"]
    assert one[2] == two[2]
    assert "\x1b" not in done.stdout + done.stderr
    assert done.returncode == 1
    assert re.search(r"'\d': its training raised ZeroDivisionError", done.stderr)
    assert "Process ForkProcess" not in done.stderr
