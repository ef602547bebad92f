"""Participants in a process of their own, for the benchmark of the network: each a thread, as `tacit join` runs it."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from benchmarks.network_ground import data, task


def main() -> None:
    """Takes part with the participants that the first line of the input names, until the run has ended."""
    from tacit.network.consent.policy import Policy
    from tacit.network.participant import Participant

    job: dict[str, Any] = json.loads(sys.stdin.readline())
    policy = Policy(approval="policy", without="admit", insecure_loopback=True, minimum=3, secure=job["secure"])
    ended: dict[str, Any] = {}

    def attend(name: str, k: int, invitation: str | None) -> None:
        own = data(k, job["size"])
        folder = Path(job["folder"]) / name
        found = Participant(
            invitation, own, name=name, folder=folder, task=task(job["size"]), policy=policy, approve=True
        ).run()
        ended[name] = [found.state, found.rounds]

    threads = [threading.Thread(target=attend, args=tuple(one)) for one in job["participants"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps(ended) + "\n")


if __name__ == "__main__":
    main()
