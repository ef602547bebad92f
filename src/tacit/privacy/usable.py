"""Epsilons that are too large to calibrate noise for, and the largest that can be used instead."""

from __future__ import annotations

from math import ceil, exp, inf

from tacit.errors import PrivacyError
from tacit.privacy.calibration import LEAST

SURE = exp(ceil(LEAST) - LEAST)
"""So many times the least noise that calibration knows, it is sure to find what costs as much as that noise."""


def too_large(epsilon: float, usable: float) -> PrivacyError:
    """What to say of an epsilon for which calibration finds no noise, where it does for `usable`."""
    least = f"at most {float(f'{0.5 * usable:.1g}'):g}" if usable < inf else "a much smaller one"
    return PrivacyError(
        f"epsilon is {epsilon:g}, and no noise is found that costs just so much; so large an epsilon promises nothing: "
        f"give {least}, or say the noise itself, noise_multiplier=0.01, and no epsilon"
    )
