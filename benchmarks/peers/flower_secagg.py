"""Flower's SecAgg+: its client mod (`secaggplus_mod`) and its server workflow, with a loop in place of the network.

Messages are handed over as objects, so that neither transport nor serialisation is counted. Clients return one constant
as their trained parameters; everything else is Flower's own code. The program lives through the whole measurement and
answers one JSON line for each that it reads, such as `{"clients": 61, "length": 1000, "threshold": 41}`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable
from time import perf_counter, process_time
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.compat.common import recorddict_compat as compat
from flwr.server import LegacyContext, ServerConfig
from flwr.server.client_manager import SimpleClientManager
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.supercore.task_identity import TaskIdentity

VALUE = 0.5
"""What every coordinate of every client is."""
EXAMPLES = 10
"""Of each client."""


class Proxy:
    """What the server knows of a client: its number. Flower's strategy and manager ask for no more here."""

    def __init__(self, number: int) -> None:
        self.node_id, self.cid = number, str(number)


class Loop:
    """The grid: every message goes to its client's mod at once, and its answer back."""

    def __init__(self, clients: int, length: int) -> None:
        self.contexts = {i: _context(i) for i in range(1, clients + 1)}
        self.length, self.seconds = length, 0.0

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """See `flwr.serverapp.Grid`."""
        begun, answers = process_time(), []
        for message in messages:
            # The mod takes entries out of what it is given, and the workflow gives all clients one object.
            message.content = RecordDict(
                {
                    name: ConfigRecord(dict(r)) if isinstance(r, ConfigRecord) else r
                    for name, r in message.content.items()
                }
            )
            answers.append(secaggplus_mod(message, self.contexts[message.metadata.dst_node_id], self._trained))
        self.seconds += process_time() - begun
        return answers

    def _trained(self, message: Message, context: Context) -> Message:
        """The client's app, below the mod."""
        found = ndarrays_to_parameters([np.full(self.length, VALUE, np.float32)])
        result = FitRes(Status(Code.OK, ""), found, EXAMPLES, {})
        return Message(compat.fitres_to_recorddict(result, keep_input=False), reply_to=message)


def _context(number: int) -> Context:
    return Context(run_id=1, node_id=number, node_config={}, state=RecordDict(), run_config={})


def measured(clients: int, length: int, threshold: int) -> dict[str, Any]:
    """One round. Seconds of it: by the clock, of the processor, and the clients' part of that."""
    manager = SimpleClientManager()
    for number in range(1, clients + 1):
        manager.register(Proxy(number))  # type: ignore[arg-type]
    strategy = FedAvg(min_fit_clients=clients, min_available_clients=clients)
    context = LegacyContext(_context(0), ServerConfig(num_rounds=1), strategy, manager)
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: 1})
    start = ndarrays_to_parameters([np.zeros(length, np.float32)])
    context.state.array_records[MAIN_PARAMS_RECORD] = compat.parameters_to_arrayrecord(start, keep_input=True)
    grid, workflow = Loop(clients, length), SecAggPlusWorkflow(clients, threshold, max_weight=EXAMPLES)
    wall, used = perf_counter(), process_time()
    workflow(grid, context)  # type: ignore[arg-type]
    seconds, cpu = perf_counter() - wall, process_time() - used
    after = compat.arrayrecord_to_parameters(context.state.array_records[MAIN_PARAMS_RECORD], keep_input=True)
    mean = parameters_to_ndarrays(after)[0]
    if mean.shape != (length,) or np.abs(mean - VALUE).max() > 1e-4:
        return {"failure": f"the mean is {mean[:3].tolist()}... and not {VALUE}"}
    return {"seconds": seconds, "cpu": cpu, "cpu_clients": grid.seconds}


def main() -> None:
    """Answers the questions on standard input until it ends; whatever else is printed goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    logging.getLogger("flwr").setLevel(logging.ERROR)
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1  # as `run_simulation` names itself
    for line in sys.stdin:
        try:
            answer = measured(**json.loads(line))
        except Exception as error:  # Flower's own: it is its row in the results
            answer = {"failure": f"{type(error).__name__}: {error}".splitlines()[0]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
