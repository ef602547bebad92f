"""One round's row in the history: what its sum says, or, where the run is private, what was released."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tacit.learning.layout import Parts
from tacit.venue.fold import Total

Row = dict[str, Any]


def row_of(
    round: int,
    total: Total,
    mean: Parts,
    epsilon: float | None = None,
    secure: bool = False,
    hidden: bool = False,
) -> Row:
    """The row of a round whose reports were not noised.

    Args:
        round: from 0.
        total: its sum.
        mean: the sum's parts, by the sum of the weights.
        epsilon: of the records so far, where they are protected; why clients were set aside is hidden then.
        secure: reports were summed by secure aggregation.
        hidden: the records are protected, if by somebody else, so that nothing more is told of them.
    """
    told = "" if hidden else "; ".join(f"{one.client}: {one.reason}" for one in total.set_aside)
    return {
        **({"epsilon": epsilon} if hidden else {}),
        "round": round + 1,
        "loss": float(mean["loss"]) if "loss" in mean else None,
        "clients": len(total.counted),
        "examples": int(float(mean["examples"] * mean["weight"]) + 0.5),
        "set_aside": len(total.set_aside),
        "set_aside_reasons": told,
        **({"lost": total.lost} if secure else {}),
    }


def public_row(
    round: int, mean: Parts, counted: float, epsilon: float, norm: float, measured: Mapping[str, str]
) -> Row:
    """The row of a private round: what was released, and public numbers; everything else stays hidden.

    Args:
        round: from 0.
        mean: the released sum's parts, by a public number.
        counted: how many clients a round has on average.
        epsilon: so far.
        norm: the clip norm of the next round.
        measured: parts of the report that hold a metric, with its name.
    """
    return {
        "round": round + 1,
        "loss": float(mean["loss"]) if "loss" in mean else None,
        "clients": counted,
        "examples": None,
        "set_aside": None,
        "set_aside_reasons": "",
        "epsilon": epsilon,
        **{f"cohort_{name}": float(mean[part]) for part, name in measured.items()},
        "clip": norm,
    }
