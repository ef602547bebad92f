"""Flower's deployment beside ours: a SuperLink and SuperNodes as processes on this machine, with a tiny NumPy model."""

from __future__ import annotations

import json
import os
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.peers import environment

PROJECT = """\
[project]
name = "tiny"
version = "1.0.0"
license = {{ file = "LICENSE" }}
dependencies = ["flwr>=1.41.0", "numpy"]

[tool.hatch.build.targets.wheel]
packages = ["."]

[tool.flwr.app]
publisher = "bench"
fab-format-version = 1
flwr-version-target = "1.41.0"

[tool.flwr.app.components]
serverapp = "tiny.server:app"
clientapp = "tiny.client:app"

[tool.flwr.app.config]
rounds = {rounds}
nodes = {nodes}
out = "{out}"
"""
SERVER = """\
import json, time
import numpy as np
from flwr.app import ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid, context):
    nodes, rounds = context.run_config["nodes"], context.run_config["rounds"]
    times = []

    def clock(number, arrays):
        times.append(time.time())
        with open(context.run_config["out"], "w") as file:
            json.dump(times, file)

    strategy = FedAvg(
        fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=nodes, min_available_nodes=nodes
    )
    first = ArrayRecord([np.zeros(nodes, np.float32)])
    strategy.start(grid=grid, initial_arrays=first, num_rounds=rounds, evaluate_fn=clock)
"""
CLIENT = """\
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message, context):
    (weights,) = message.content["arrays"].to_numpy_ndarrays()
    weights = weights.copy()
    weights[int(context.node_config["partition-id"])] += 1
    metrics = MetricRecord({"num-examples": 8})
    return Message(RecordDict({"arrays": ArrayRecord([weights]), "metrics": metrics}), reply_to=message)
"""
LINK = """\
[superlink]
default = "here"

[superlink.here]
address = "127.0.0.1:{port}"
insecure = true
"""


def measured(folder: Path, nodes: int, rounds: int, limit: float = 240.0) -> dict[str, Any]:
    """Seconds of each of the rounds after the first, and versions; or why there is no figure.

    Args:
        folder: for everything.
        nodes: SuperNodes.
        rounds: that are asked for; those that are not done within `limit` seconds are left out.
    """
    try:
        python = environment.ensure(environment.ENVIRONMENTS["flower"])
    except environment.EnvironmentUnavailable as reason:
        return {"failure": f"not available: {reason}"}
    out = folder / "times.json"
    _write(folder, PROJECT.format(rounds=rounds, nodes=nodes, out=out))
    running: list[subprocess.Popen[bytes]] = []
    tools, ports = python.parent, [_free() for _ in range(nodes + 1)]
    (folder / "home").mkdir()
    (folder / "home" / "config.toml").write_text(LINK.format(port=ports[0]))
    variables = {
        **os.environ, "FLWR_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", "FLWR_TELEMETRY_ENABLED": "0",
        "PATH": f"{tools}:{os.environ['PATH']}",
    }  # fmt: skip

    def start(name: str, *words: str) -> subprocess.Popen[bytes]:
        with (folder / f"{name}.log").open("ab") as log:
            command = [str(tools / words[0]), *words[1:]]
            found = subprocess.Popen(command, env=variables, cwd=folder, stdout=log, stderr=log)
        running.append(found)
        return found

    try:
        link = ["--insecure", "--disable-runtime-dependency-installation", "--host", "127.0.0.1"]
        start("superlink", "flower-superlink", *link, "--port", str(ports[0]))
        time.sleep(8.0)
        for k in range(nodes):
            node = ["--insecure", "--superlink", f"127.0.0.1:{ports[0]}", "--host", "127.0.0.1"]
            start(f"node-{k}", "flower-supernode", *node, "--port", str(ports[k + 1]),
                  "--node-config", f"partition-id={k} num-partitions={nodes}")  # fmt: skip
        time.sleep(8.0)
        if start("run", "flwr", "run", str(folder / "app"), "here").wait(60):
            return {"failure": f"flwr run: {(folder / 'run.log').read_text()[-400:]}"}
        until = time.monotonic() + limit
        while time.monotonic() < until and len(_times(out)) <= rounds:
            time.sleep(0.5)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"failure": f"it could not be started: {error}"}
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
    times = _times(out)
    if len(times) < 3:
        said = " | ".join((folder / "superlink.log").read_text().strip().splitlines()[-3:])
        return {"failure": f"{max(0, len(times) - 1)} rounds were done within {limit:.0f} s: {said[-300:]}"}
    each = [b - a for a, b in pairwise(times[1:])]
    return {"seconds": each, "versions": environment.versions(environment.ENVIRONMENTS["flower"])}


def _write(folder: Path, project: str) -> None:
    app = folder / "app"
    (app / "tiny").mkdir(parents=True)
    (app / "pyproject.toml").write_text(project)
    (app / "LICENSE").write_text("Apache-2.0\n")
    for name, text in (("__init__", ""), ("server", SERVER), ("client", CLIENT)):
        (app / "tiny" / f"{name}.py").write_text(text)


def _times(out: Path) -> list[float]:
    try:
        found: list[float] = json.loads(out.read_text())
    except (OSError, ValueError):
        return []
    return found


def _free() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
