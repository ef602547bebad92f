"""A coordinator in a process of its own, for the benchmark of the network; asked by lines of JSON on its input."""

from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.network_ground import plan, schema, task

LIMITS = {"enrolments": 1e4}
"""All participants enrol from one address here."""


@dataclass(frozen=True)
class Job:
    """What a coordinator is started with.

    Attributes:
        folder: of the run.
        participants, rounds, minimum, size: of the plan, and the number of parameters.
        sections: of the plan, that differ from the ground's.
        certificates: folder of certificates; None serves in clear.
        port: to listen at; 0 takes a free one.
        linger: seconds for which it stays after the run.
    """

    folder: str
    participants: int
    rounds: int
    minimum: int
    size: int
    sections: dict[str, Any]
    certificates: str | None = None
    port: int = 0
    linger: float = 5.0


def main() -> None:
    """Serves the job in the first line of the input."""
    from tacit.aggregation.secure.identity import Authority
    from tacit.network.coordinator import Coordinator
    from tacit.network.http.limits import Limits
    from tacit.network.identity.invitation import hash_of
    from tacit.network.serving import Listening, served

    job = Job(**json.loads(sys.stdin.readline()))
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    made = plan(job.participants, job.rounds, job.minimum, **job.sections)
    place = None if job.certificates is None else Path(job.certificates)
    pair = (None, None, None) if place is None else (place / "server.pem", place / "server-key.pem", place / "ca.pem")
    listening = Listening("127.0.0.1", job.port, *pair, limits=Limits(**LIMITS), linger=job.linger)
    seed = folder / "authority"
    if not seed.exists():
        seed.write_bytes(os.urandom(32))
    authority = Authority(lambda size: seed.read_bytes()[:size])

    def started(url: str, coordinator: Coordinator) -> None:
        def let_in(token: str) -> None:
            coordinator.journal.add_token(bytes.fromhex(hash_of(token)), expires_ms=2**53, note="benchmark")

        thread = threading.Thread(target=_answer, args=(coordinator, let_in), daemon=True)
        thread.start()
        _say(url=url, authority=authority.key.hex(), pid=os.getpid())

    run = served(
        lambda: Coordinator(made, schema(job.size), folder, authority, task=task(job.size), loopback=place is None),
        listening,
        started=started,
    )
    _say(ended=None if run is None else run.facts["ended"])


def _answer(coordinator: Any, let_in: Any) -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        if "tokens" in asked:
            with ThreadPoolExecutor(32) as pool:
                list(pool.map(let_in, asked["tokens"]))
            _say(done=len(asked["tokens"]))
        elif asked.get("do") == "load":
            _say(load=dict(coordinator.load()), counts=coordinator.roll.counts(coordinator.terms.hash))


def _say(**told: Any) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
