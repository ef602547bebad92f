"""The models of the workloads as JAX functions, and their parameters to and from PyTorch's names and shapes.

Layouts are the ones that suit JAX: images NHWC, kernels HWIO, dense weights (inputs, outputs).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.workloads import HIDDEN, Array, Workload

Params = dict[str, Any]
Predict = Callable[[Params, Any], Any]


def _dense(p: Params, name: str, x: Any) -> Any:
    return x @ p[f"{name}.weight"] + p[f"{name}.bias"]


def _mlp(p: Params, x: Any) -> Any:
    return _dense(p, "4", jax.nn.relu(_dense(p, "2", jax.nn.relu(_dense(p, "0", x)))))


def _residual_mlp(p: Params, x: Any) -> Any:
    h = jax.nn.relu(_dense(p, "stem", x))
    for block in ("blocks.0", "blocks.1"):
        h = h + _dense(p, f"{block}.outer", jax.nn.relu(_dense(p, f"{block}.inner", h)))
    return _dense(p, "head", jax.nn.relu(h))


def _conv_pool(p: Params, name: str, x: Any) -> Any:
    x = lax.conv_general_dilated(x, p[f"{name}.weight"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    x = jax.nn.relu(x + p[f"{name}.bias"])
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def _cnn(p: Params, x: Any) -> Any:
    h = _conv_pool(p, "3", _conv_pool(p, "0", x))
    return _dense(p, "9", jax.nn.relu(_dense(p, "7", h.reshape(h.shape[0], -1))))


def _lstm(p: Params, tokens: Any) -> Any:
    # (T, B, 4H): the input products of all places in one go; gates in PyTorch's order i, f, g, o.
    ahead = p["embedding.weight"][tokens.T] @ p["lstm.weight_ih_l0"] + p["lstm.bias_ih_l0"] + p["lstm.bias_hh_l0"]

    def cell(state: tuple[Any, Any], given: Any) -> tuple[tuple[Any, Any], Any]:
        h, c = state
        i, f, g, o = jnp.split(given + h @ p["lstm.weight_hh_l0"], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zero = jnp.zeros((tokens.shape[0], HIDDEN))
    _, states = lax.scan(cell, (zero, zero), ahead)
    return _dense(p, "head", states.transpose(1, 0, 2))


_PREDICT: dict[str, Predict] = {"mlp": _mlp, "residual_mlp": _residual_mlp, "cnn": _cnn, "lstm": _lstm}


def loss_of(workload: Workload) -> Callable[[Params, dict[str, Any], Any], Any]:
    """The workload's mean loss of a batch, with the arguments that fedjax gives: parameters, batch, key."""
    predict = _PREDICT[workload.model]

    def loss(params: Params, batch: dict[str, Any], rng: Any) -> Any:
        output, target = predict(params, batch["x"]), batch["y"]
        if workload.loss == "mse":
            return jnp.mean((output - target) ** 2)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(output), target[..., None], axis=-1))

    return loss


def inputs(workload: Workload, x: Array) -> Array:
    """A client's inputs as these models take them: images NHWC."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if workload.model == "cnn" else x


def from_torch(workload: Workload, parameters: dict[str, Array]) -> Params:
    """Parameters named and shaped as in a `state_dict` as these models take them."""
    return {name: jnp.asarray(_turned(workload, name, value)) for name, value in parameters.items()}


def to_torch(workload: Workload, params: Params) -> dict[str, Array]:
    """The inverse of `from_torch`."""
    return {name: _turned_back(workload, name, np.asarray(value)) for name, value in params.items()}


def _after_pooling(workload: Workload, name: str) -> bool:
    return workload.model == "cnn" and name == "7.weight"


def _turned(workload: Workload, name: str, value: Array) -> Array:
    if _after_pooling(workload, name):
        return value.reshape(512, 64, 8, 8).transpose(2, 3, 1, 0).reshape(4096, 512)
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)
    return value.T if value.ndim == 2 and not name.startswith("embedding") else value


def _turned_back(workload: Workload, name: str, value: Array) -> Array:
    if _after_pooling(workload, name):
        return value.reshape(8, 8, 64, 512).transpose(3, 2, 0, 1).reshape(512, 4096)
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    return value.T if value.ndim == 2 and not name.startswith("embedding") else value
