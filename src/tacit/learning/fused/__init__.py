"""The fused engine: multilayer perceptrons trained by one compiled call per block of clients, without the GIL.

`recognise` says which models and losses it knows, `engine` is the `Engine`, `kernel` and the files that it calls are
compiled by Numba, `blas` finds the matrix product. `fold` adds a block of clients to a running sum.
"""

from tacit.learning.fused.engine import FusedEngine

__all__ = ["FusedEngine"]
