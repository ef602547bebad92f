"""What a policy allows this process: threads and memory, set once when a participant starts."""

from __future__ import annotations

import sys

import torch

from tacit.errors import UsageError
from tacit.network.consent.policy import Policy


def keep_to(policy: Policy) -> None:
    """Holds this process to the threads and the memory of a policy.

    Memory is what the process has written to (Linux, RLIMIT_DATA): what goes beyond is refused by the system, so a run
    that needs more ends with an error, and the machine's other work goes on. Who raises it later needs a new process.

    Raises:
        UsageError: this process needs more memory already, or its system has no such limit.
    """
    if policy.threads is not None:
        torch.set_num_threads(policy.threads)
    if policy.memory is None:
        return
    if sys.platform != "linux":
        raise UsageError(
            f"limits.memory_bytes is {policy.memory:,}, and {sys.platform} cannot hold a process to it: leave it out, "
            "and limit the process by the system's own means"
        )
    import resource

    used = _used()
    if used >= policy.memory:
        raise UsageError(
            f"limits.memory_bytes is {policy.memory:,}, and this process has {used:,} bytes before it trains: give more"
        )
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    most = policy.memory if hard == resource.RLIM_INFINITY else min(policy.memory, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _used() -> int:
    """Bytes of this process's private data, as Linux counts them for the limit."""
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123
        for line in file:
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0
