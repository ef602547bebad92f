"""Errors that say that the memory was not enough: of the machine, and of nobody's data."""

from __future__ import annotations

import torch

NO_MEMORY = "can't allocate memory"
"""What torch says, in a plain RuntimeError, where the system has no memory left."""


def out_of_memory(error: Exception) -> bool:
    """Whether that is what an error says."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and NO_MEMORY in str(error)
