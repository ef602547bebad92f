"""Threads and memory: a process is held to what its policy allows."""

from __future__ import annotations

import subprocess
import sys

import pytest

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a limit of a process's data")
BEGIN = """
import numpy as np, torch
from tacit.errors import UsageError
from tacit.network.consent.limits import _used, keep_to
from tacit.network.consent.policy import Policy
torch.ones(100, 100) @ torch.ones(100, 100)
"""


def said(program: str) -> str:
    """What a process of its own prints: limits cannot be taken back."""
    ended = subprocess.run([sys.executable, "-c", BEGIN + program], capture_output=True, text=True, check=True)
    return ended.stdout


def test_threads_are_those_of_the_policy():
    program = """
torch.set_num_threads(3)
for policy in (Policy(), Policy(threads=2)):
    keep_to(policy)
    print(torch.get_num_threads())
"""
    assert said(program) == "3\n2\n"


@LINUX
def test_memory_beyond_the_limit_is_refused_and_the_process_goes_on():
    program = """
keep_to(Policy(memory=_used() + 300_000_000, threads=1))
for make in (np.ones, lambda n: torch.ones(n, dtype=torch.float64)):
    print(make(10_000_000).sum())
    try:
        make(100_000_000)
    except (MemoryError, RuntimeError) as error:
        print("refused")
"""
    lines = said(program).splitlines()
    assert [lines[1], lines[3]] == ["refused", "refused"]
    assert lines[0] == "10000000.0"


@LINUX
def test_a_limit_below_what_is_used_is_told():
    program = """
try:
    keep_to(Policy(memory=1_000_000))
except UsageError as error:
    print(error)
print(np.ones(10_000_000).sum())
"""
    told, went_on = said(program).splitlines()
    assert "limits.memory_bytes is 1,000,000, and this process has" in told
    assert went_on == "10000000.0"
