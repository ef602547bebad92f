"""What a contestant's processes take from the machine meanwhile, and what others take: read from /proc (Linux).

A benchmark on a shared machine is worth what its quiet moments are: the load of other processes is recorded with every
sample, so that a reader can see which ones were disturbed.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Self

PROC = Path("/proc")
PERIOD = 0.5


@dataclass(frozen=True)
class Load:
    """Averages over a measurement.

    Attributes:
        peak_mb: largest sum of resident memory over the process tree, MiB; pages shared by processes count in each.
        cores: processors that the tree kept busy.
        others: processors that everything else kept busy.
    """

    peak_mb: float
    cores: float
    others: float


class Watch:
    """Watches the process `root` and its descendants until it is left: `with Watch(pid) as watch: ...`."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._busy: dict[int, float] = {}
        self._peak = 0.0
        self._start = (monotonic(), _machine_seconds())

    def __enter__(self) -> Self:
        if PROC.exists():
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def load(self) -> Load | None:
        """What was seen so far; None where there is no /proc."""
        if not PROC.exists():
            return None
        seconds, machine = monotonic() - self._start[0], _machine_seconds() - self._start[1]
        own = sum(self._busy.values())
        return Load(self._peak, own / seconds, max(0.0, machine - own) / seconds)

    def end_all(self) -> None:
        """Kills the root and every descendant that was ever seen and still belongs to this tree."""
        for pid in [*_tree(self._root), self._root]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _loop(self) -> None:
        while not self._stop.wait(PERIOD):
            resident = 0.0
            for pid in _tree(self._root):
                with suppress(OSError, IndexError, ValueError):
                    self._busy[pid] = _cpu_seconds(pid)
                    resident += int((PROC / str(pid) / "statm").read_text().split()[1])
            self._peak = max(self._peak, resident * os.sysconf("SC_PAGE_SIZE") / 2**20)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/pid/stat after the command's name, which may itself hold blanks."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _machine_seconds() -> float:
    """Busy processor-seconds of the whole machine since it started: user, nice, system, interrupts, stolen."""
    if not PROC.exists():
        return 0.0
    ticks = [int(t) for t in (PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _tree(root: int) -> list[int]:
    """`root` and its descendants that are alive."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                children[int(_stat(int(entry.name))[1])].append(int(entry.name))
    found, ahead = [], [root]
    while ahead:
        pid = ahead.pop()
        found.append(pid)
        ahead.extend(children[pid])
    return found
