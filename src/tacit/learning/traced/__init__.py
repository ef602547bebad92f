"""The traced engine: gradient steps of any traceable model as one flat list of ATen calls, without autograd."""

from tacit.learning.traced.engine import TracedEngine
from tacit.learning.traced.memory import raise_malloc_thresholds

__all__ = ["TracedEngine", "raise_malloc_thresholds"]
