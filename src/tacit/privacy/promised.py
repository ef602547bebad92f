"""What a federation promises its clients, as a plan of clip, noise and sampling together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tacit.aggregation.secure_sum import SecureSum
from tacit.privacy.clip import Clip
from tacit.privacy.distributed import ClipDiscrete, require_room
from tacit.privacy.plan import SECURE, SERVER, SHARED, PrivacyPlan
from tacit.privacy.user_level import SKELLAM

if TYPE_CHECKING:
    from tacit.federation import Federation


def promised(federation: Federation, rounds: int) -> PrivacyPlan:
    """The plan of so many rounds of a federation with user-level privacy.

    Raises:
        PrivacyError: what was asked for cannot be had.
    """
    level, clip = federation.privacy, federation.chain.stages[-1]
    assert level is not None and isinstance(clip, Clip)
    assert (level.mechanism == SKELLAM) == isinstance(clip, ClipDiscrete), "the clip is that of another mechanism"
    sampling, how = federation.sampling, federation.aggregation
    fewest, summed = None, SERVER
    if how is not None:
        fewest, summed = how.fewest(sampling), SECURE if isinstance(how, SecureSum) else SHARED
        if isinstance(how, SecureSum) and (how.insecure_unsigned or how.insecure_honest_server):
            summed += " (insecure)"
    shares = clip.shares if isinstance(clip, ClipDiscrete) else None
    plan = PrivacyPlan.of(level, sampling, rounds, fewest, shares, summed)
    if isinstance(clip, ClipDiscrete):
        require_room(clip, plan.noise)
    return plan
