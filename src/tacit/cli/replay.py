"""The replay that `tacit doctor` makes: every method that tacit offers, on a small federation and its neighbour."""

from __future__ import annotations

from math import isfinite
from typing import Any

CLIENTS, EXAMPLES, FEATURES, CLASSES = 6, 8, 4, 3
LEAVES = 1
"""The client that the neighbour lacks."""
CLIP = 0.05
"""So short that every report is cut to it."""
EXTREME = 1e3
"""The features of the client that leaves are so many times those of others."""


def replayed() -> dict[str, Any]:
    """What one client changes in a sum at most, in clip norms, over all methods (see `tacit.privacy.replay`).

    Returns:
        "methods", how many were replayed; "most_in_clip_norms"; "most_in", the method; "failed", why there is no
        answer. Numbers that are not finite are None, as what is not known.
    """
    found: dict[str, float] = {}
    try:
        from tacit.plan.parts import PARTS, part_class
        from tacit.privacy.replay import replay
        from tacit.venue.threads import one_thread

        with one_thread():
            for name in PARTS["algorithm"]:
                found[name] = replay(_federation(part_class(name)), client=LEAVES)
    except Exception as error:  # a package that is missing, or compiled code that this machine cannot run, say
        return {"methods": len(found), "most_in_clip_norms": None, "most_in": None, "failed": _said(error)}
    worst = max(found, key=found.__getitem__)
    most = found[worst] if isfinite(found[worst]) else None
    return {"methods": len(found), "most_in_clip_norms": most, "most_in": worst, "failed": None}


def findings(found: dict[str, Any]) -> list[str]:
    """What stands in the way of private runs."""
    from tacit.privacy.replay import ROUNDING

    if found["failed"] is not None:
        return [f"a private run cannot be made here: {found['failed']}"]
    most = found["most_in_clip_norms"]
    if most is not None and most <= 1 + ROUNDING:
        return []
    told = "past every bound" if most is None else f"by {most:.4g} clip norms, where at most 1 is accounted for"
    return [
        f"with {found['most_in']} one client changes a sum {told}: what private runs of this installation claim is not "
        "so. Install tacit anew, or report it"
    ]


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _federation(method: Any) -> Any:
    import torch

    import tacit

    draws = torch.Generator().manual_seed(0)
    data = {
        f"client {k}": (
            torch.randn(EXAMPLES, FEATURES, generator=draws) * (EXTREME if k == LEAVES else 1.0),
            torch.randint(CLASSES, (EXAMPLES,), generator=draws),
        )
        for k in range(CLIENTS)
    }
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(FEATURES, 5), torch.nn.ReLU(), torch.nn.Linear(5, CLASSES))
    return tacit.Federation(
        tacit.Task(model, torch.nn.functional.cross_entropy),
        tacit.Population.from_arrays(data),
        method(tacit.SGD(lr=0.1, batch_size=4, steps=2)),
        privacy=tacit.UserLevel(noise_multiplier=1.0, clip=CLIP, loss_bound=1.0, insecure_seed=0),
        workers=1,
    )
