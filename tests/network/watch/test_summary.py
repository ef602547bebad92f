"""A status in a terminal."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from tacit.network.watch.summary import summary
from tests.network.watch import samples


def shown(status: dict[str, Any]) -> str:
    console = Console(file=StringIO(), width=120)
    console.print(summary(status))  # type: ignore[arg-type]
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_run_in_the_middle_is_on_one_screen() -> None:
    text = shown(samples.training())
    assert "training  app-recommendation, round 37 of 100" in text
    assert "5 online, 5 approved, 5 of 5 enrolled" in text
    assert "epsilon 2.433 of 4, delta 1e-05" in text
    assert "TLS 1.3; secure sum of at least 4" in text
    assert "NOT SECURE" not in text
    assert len(text.splitlines()) < 24


def test_who_is_enrolled_beyond_those_who_take_part_is_no_riddle() -> None:
    status = samples.training()
    status["participants"] |= {"enrolled": 4, "expected": 3}
    assert "5 online, 5 approved, 4 enrolled, 3 take part" in shown(status)


def test_trouble_comes_first_and_with_its_causes() -> None:
    text = shown(samples.troubled())
    assert "NOT SECURE, not for real data: insecure_loopback, no TLS" in text.splitlines()[1]
    text = " ".join(text.split())
    assert "3 clients were left" in text
    assert "1 late, 1 memory" in text
    assert "31 unsigned, 7 gone, 2 replayed" in text


@pytest.mark.parametrize("status", [samples.gathering(), {**samples.training(), "reason": "\x1b[2J[red]x"}])
def test_what_is_not_known_or_evil_does_no_harm(status: dict[str, Any]) -> None:
    text = shown(status)
    assert "\x1b" not in text
    assert "None" not in text
