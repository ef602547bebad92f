"""What is told of a run to whoever may look: how it goes, in sums, with nothing of single participants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tacit import __version__
from tacit.network.watch.status import ATTEMPTS, public_row
from tacit.plan import build

if TYPE_CHECKING:
    from tacit.network.coordinator import Coordinator
    from tacit.network.minutes import Told
    from tacit.plan import Plan

INSECURE = ("insecure_unsigned", "insecure_honest_server", "insecure_seed")
"""Settings of a plan's parts that are unsafe where they are on."""


def status_of(at: Coordinator) -> dict[str, Any]:
    """See `Office.status`; the shape is that of `watch.status`."""
    progress = at.progress
    counts = at.roll.counts(at.terms.hash)
    told = progress.facts.get("privacy")
    return {
        "tacit": __version__,
        "run": at.terms.run,
        "terms": at.terms.hash,
        "scenario": at.plan.scenario,
        "state": progress.state,
        "reason": progress.reason or None,
        "started": at.started,
        "now": at.now(),
        "round": len(progress.rows),
        "rounds": at.plan.rounds,
        "participants": {"expected": at.terms.participants, **counts, "versions": at.roll.versions()},
        "history": [public_row(row) for row in progress.rows],
        "attempts": [_attempt(one) for one in at.minutes.told[-ATTEMPTS:]],
        "privacy": _privacy(at.plan, told, progress.rows),
        "statement": None if not told else {name: told["text"][name] for name in ("en", "zh")},
        "security": _security(at),
        "load": at.load(),
        "failures": at.failures(),
    }


def _attempt(one: Told) -> dict[str, Any]:
    return {
        "round": one.round,
        "attempt": one.attempt,
        "state": one.state,
        "reason": one.reason or None,
        "began": one.began,
        "ended": one.ended,
        "steps": [dict(step) for step in one.steps],
    }


def _privacy(plan: Plan, told: Mapping[str, Any] | None, rows: list[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What was spent, of what the run may spend: of each participant, or else of each record of one."""
    user, records = build.privacy(plan), build.record_privacy(plan)
    level = user or records
    if level is None:
        return None
    spent = next((row["epsilon"] for row in reversed(rows) if row.get("epsilon") is not None), None)
    return {
        "epsilon": spent if user is not None else None,
        "delta": (told or {}).get("delta") or level.delta,
        "limit": (told or {}).get("epsilon") or level.epsilon,
        "unit": "user" if user is not None else "record",
        "mechanism": str(getattr(level, "mechanism", "noise in the local steps"))[:200],
    }


def _security(at: Coordinator) -> dict[str, Any]:
    parts = [build.aggregation(at.plan), build.privacy(at.plan), build.record_privacy(at.plan)]
    unsafe = {name for part in parts for name in INSECURE if getattr(part, name, None) not in (None, False)}
    if at.terms.loopback:
        unsafe.add("no TLS: one machine only")
    if at.plan.aggregation is None:
        unsafe.add("aggregation = none: the coordinator sees every report")
    names = ("minimum", "neighbours", "threshold", "bits")
    return {
        "tls": None if at.terms.loopback else "1.3",
        "mutual": at.mutual,
        "secure_sum": None if at.sums is None else {name: int(at.sums[name]) for name in names},
        "insecure": sorted(unsafe),
    }
