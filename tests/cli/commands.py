"""Small runs for the tests of the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tacit.cli.main import main

PHONES = ["data.phones=14", "data.apps=14", "data.days=6", "data.most_events=30"]
SMALL = ["model.hidden=8", "solver.lr=0.3", "run.checkpoint_every=1", "aggregation=none"]


def settings(entries: list[str]) -> list[str]:
    """Entries of a plan as options."""
    return [word for entry in entries for word in ("--set", entry)]


QUICK = [*settings(SMALL), "--engine", "eager", "--workers", "1", "--no-compare"]
TINY = [*settings(PHONES), *QUICK]


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as strict JSON."""

        def refuse(name: str) -> None:
            raise AssertionError(f"{name} is not JSON")

        return json.loads(self.out, parse_constant=refuse)


class Tacit:
    """The command, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: str | Path) -> Ended:
        """Runs `tacit` with these words."""
        self.capsys.readouterr()
        code = main([str(word) for word in words])
        captured = self.capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    def run(self, out: Path, *words: str | Path, rounds: int = 2) -> Ended:
        """A small run of the app recommender into the folder `out`."""
        return self("run", "app-recommendation", *TINY, "--rounds", str(rounds), "--out", out, *words)
