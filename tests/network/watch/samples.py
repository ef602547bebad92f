"""Statuses for the tests: of a run that gathers, trains, has trouble, or has ended."""

from __future__ import annotations

import math
from typing import Any

STEPS = ("train", "share", "mask", "confirm", "unmask")
STARTED = 1_760_000_000_000


def row(round: int, seconds: float = 2.5) -> dict[str, Any]:
    """A row of the history: a model that gets better, with a little unrest."""
    unrest = 0.03 * math.sin(round * 1.7) + 0.02 * math.cos(round * 0.61)
    return {
        "round": round,
        "loss": 0.35 + 2.2 * math.exp(-round / 18) + unrest,
        "test_accuracy": 0.86 - 0.7 * math.exp(-round / 15) + unrest / 2,
        "test_mrr": 0.62 - 0.5 * math.exp(-round / 20) - unrest / 2,
        "clients": 5 - (round % 9 == 0),
        "seconds": seconds + abs(unrest) * 20,
        "bytes_up": 1_640_000 + 9000 * (round % 7),
        "bytes_down": 820_000 + 3000 * (round % 5),
        "epsilon": 0.4 * math.sqrt(round),
        "update_norm": 1.1 * math.exp(-round / 30) + 0.05 + abs(unrest),
    }


def attempt(round: int, attempt: int = 0, state: str = "published", **changes: Any) -> dict[str, Any]:
    """An attempt in which all five were asked at every step, and answered."""
    steps = [{"kind": kind, "asked": 5, "answered": 5, "failed": {}, "seconds": 0.4} for kind in STEPS]
    began = STARTED + 2600 * round
    whole = {"round": round, "attempt": attempt, "state": state, "reason": "", "began": began, "ended": began + 2500}
    return {**whole, "steps": steps, **changes}


def lost_two(round: int) -> dict[str, Any]:
    """An attempt that was abandoned: two of five did not send their reports."""
    steps = [{"kind": kind, "asked": 5, "answered": 5, "failed": {}, "seconds": 0.4} for kind in STEPS[:2]]
    failed = {"late": 1, "memory": 1}
    steps.append({"kind": "mask", "asked": 5, "answered": 3, "failed": failed, "seconds": 30.0})
    why = "secure aggregation, mask: 3 clients were left, 4 are needed"
    return attempt(round, state="abandoned", reason=why, steps=steps)


def training(rounds: int = 37) -> dict[str, Any]:
    """A secure, private run in the middle."""
    running = attempt(rounds, state="collecting", ended=None)
    running["steps"] = [{"kind": "train", "asked": 5, "answered": 3, "failed": {}, "seconds": None}]
    tried = [attempt(k) for k in range(max(rounds - 6, 0), rounds)]
    return {
        "tacit": "0.1.0",
        "run": "3f" * 16,
        "terms": "ab" * 32,
        "scenario": "app-recommendation",
        "state": "training",
        "reason": None,
        "started": STARTED,
        "now": STARTED + 2600 * rounds + 900,
        "round": rounds,
        "rounds": 100,
        "participants": {
            "expected": 5,
            "enrolled": 5,
            "approved": 5,
            "online": 5,
            "withdrawn": 0,
            "revoked": 0,
            "versions": {"0.1.0": 5},
        },
        "history": [row(k + 1) for k in range(rounds)],
        "attempts": [*tried, running],
        "privacy": {
            "epsilon": 0.4 * math.sqrt(rounds),
            "delta": 1e-5,
            "limit": 4.0,
            "unit": "user",
            "mechanism": "Gauss",
        },
        "statement": {"en": "Every participant is protected as a whole.", "zh": "每个参与方作为整体受到保护。"},
        "security": {
            "tls": "1.3",
            "mutual": False,
            "secure_sum": {"minimum": 4, "neighbours": 4, "threshold": 3, "bits": 32},
            "insecure": [],
        },
        "load": {
            "requests": 4812,
            "bytes_in": 61_000_000,
            "bytes_out": 30_500_000,
            "connections": 6,
            "rss": 210_000_000,
            "lag": 0.0013,
            "uptime": 97.0,
        },
        "failures": {},
    }


def troubled() -> dict[str, Any]:
    """A run with attempts that failed, a participant that left, refusals, and everything unsafe."""
    status = training(12)
    status["attempts"] = [attempt(10), lost_two(11), attempt(11, 1), *status["attempts"][-1:]]
    status["participants"] |= {"online": 4, "withdrawn": 1, "revoked": 1, "versions": {"0.1.0": 3, "0.0.9": 2}}
    status["security"] = {"tls": None, "mutual": False, "secure_sum": None, "insecure": ["insecure_loopback"]}
    status["failures"] = {"gone": 7, "replayed": 2, "unsigned": 31}
    status["privacy"] = None
    status["load"]["lag"] = 0.8
    return status


def gathering() -> dict[str, Any]:
    """Nobody has trained yet, and most is not known."""
    status = training(0)
    status |= {"state": "gathering", "attempts": [], "history": [], "statement": None, "terms": ""}
    status["privacy"] = {"epsilon": None, "delta": None, "limit": 4.0, "unit": None, "mechanism": None}
    status["participants"] |= {"enrolled": 2, "approved": 1, "online": 2, "versions": {}}
    status["load"] |= {"rss": None, "lag": None}
    return status
