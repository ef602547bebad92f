"""The three matrix products of a dense layer, compiled; each calls SciPy's GEMM at an address given at run time.

In the row-major terms of torch, with weight `w` (n_out, n_in), inputs `a` (B, n_in) and outputs `z` (B, n_out):
`outputs` is `z = a w^T`, `input_gradient` is `da = dz w`, `weight_gradient` is `w <- beta w + alpha dz^T a`.

On some cores OpenBLAS multiplies small matrices in place, but only when m n k is at most 1e6 and, where the first
factor is transposed, m n at most 1200 and k at least 32. Otherwise it packs both factors first, which at the batch
sizes of clients costs more than the product. So large products are cut into tiles that qualify. A tile's shape depends
on the shapes of the layer and of the batch alone, never on the block, so a client's result does not either.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tacit.jit import Real, jit

N, T = ord("N"), ord("T")
DEPTH, AREA, ROWS = 768, 1200, 32
"""`outputs` sums over at most DEPTH inputs at a time, for a tile of at most AREA outputs of ROWS examples."""
GRADIENT_TILE = (128, 128, 32)
"""`input_gradient`'s inputs, outputs and examples at a time."""
WEIGHT_TILE = (256, 32, 64)
"""`weight_gradient`'s inputs, outputs and examples at a time."""


def _gemm(
    typing: Any, routine: Any, ta: Any, tb: Any, m: Any, n: Any, k: Any, alpha: Any, a: Any, ia: Any, lda: Any, b: Any,
    ib: Any, ldb: Any, beta: Any, c: Any, ic: Any, ldc: Any,
) -> Any:  # fmt: skip
    """Calls the Fortran-style GEMM at address `routine` on arrays from elements `ia`, `ib`, `ic` on."""
    size = types.int64
    signature = types.void(
        size, size, size, size, size, size, types.float64, a, size, size, b, size, size, types.float64, c, size, size
    )

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, real = ir.IntType(8).as_pointer(), context.get_value_type(a.dtype)

        def slot(value: Any, kind: Any) -> Any:
            place = cgutils.alloca_once(builder, kind)  # type: ignore[no-untyped-call]
            builder.store(value, place)
            return builder.bitcast(place, pointer)

        def letter(i: int) -> Any:
            return slot(builder.trunc(args[i], ir.IntType(8)), ir.IntType(8))

        def length(i: int) -> Any:
            return slot(builder.trunc(args[i], ir.IntType(32)), ir.IntType(32))

        def scalar(i: int) -> Any:
            return slot(context.cast(builder, args[i], types.float64, a.dtype), real)

        def matrix(i: int) -> Any:
            base = context.make_array(sig.args[i])(context, builder, args[i]).data
            return builder.bitcast(builder.gep(base, [args[i + 1]]), pointer)

        kind = ir.FunctionType(ir.VoidType(), [pointer] * 13).as_pointer()
        parts = [letter(1), letter(2), length(3), length(4), length(5), scalar(6), matrix(7), length(9)]
        parts += [matrix(10), length(12), scalar(13), matrix(14), length(16)]
        builder.call(builder.inttoptr(args[0], kind), parts)
        return context.get_dummy_value()

    return signature, generate


gemm: Any = intrinsic(_gemm)


@jit
def outputs(
    routine: int, tiled: bool, w: Real, iw: int, a: Real, ia: int, z: Real, iz: int, rows: int, n_in: int, n_out: int
) -> None:
    """`z = a w^T`."""
    deep, high, long = n_in, n_out, rows
    if tiled:  # all depths about equal, so that none is too small to qualify
        deep, long = -(-n_in // (-(-n_in // DEPTH)) // 16) * 16, min(rows, ROWS)
        high = AREA // long // 4 * 4
    for r in range(0, rows, long):
        for o in range(0, n_out, high):
            for i in range(0, n_in, deep):
                m, n, k = min(high, n_out - o), min(long, rows - r), min(deep, n_in - i)
                left, right, into = iw + o * n_in + i, ia + r * n_in + i, iz + r * n_out + o
                beta = 0.0 if i == 0 else 1.0
                gemm(routine, T, N, m, n, k, 1.0, w, left, n_in, a, right, n_in, beta, z, into, n_out)


@jit
def input_gradient(
    routine: int, tiled: bool, w: Real, iw: int, dz: Real, iz: int, da: Real, ia: int, rows: int, n_in: int, n_out: int
) -> None:
    """`da = dz w`."""
    wide, deep, long = GRADIENT_TILE if tiled else (n_in, n_out, rows)
    for r in range(0, rows, long):
        for i in range(0, n_in, wide):
            for o in range(0, n_out, deep):
                m, n, k = min(wide, n_in - i), min(long, rows - r), min(deep, n_out - o)
                left, right, into = iw + o * n_in + i, iz + r * n_out + o, ia + r * n_in + i
                beta = 0.0 if o == 0 else 1.0
                gemm(routine, N, N, m, n, k, 1.0, w, left, n_in, dz, right, n_out, beta, da, into, n_in)


@jit
def weight_gradient(
    routine: int, tiled: bool, alpha: float, dz: Real, iz: int, a: Real, ia: int, beta: float, w: Real, iw: int,
    rows: int, n_in: int, n_out: int,
) -> None:  # fmt: skip
    """`w <- beta w + alpha dz^T a`."""
    wide, high, long = WEIGHT_TILE if tiled else (n_in, n_out, rows)
    for o in range(0, n_out, high):
        for i in range(0, n_in, wide):
            for r in range(0, rows, long):
                m, n, k = min(wide, n_in - i), min(high, n_out - o), min(long, rows - r)
                left, right, into = ia + r * n_in + i, iz + r * n_out + o, iw + o * n_in + i
                keep = beta if r == 0 else 1.0
                gemm(routine, N, T, m, n, k, alpha, a, left, n_in, dz, right, n_out, keep, w, into, n_in)
