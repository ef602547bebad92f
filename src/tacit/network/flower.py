"""Bringing a Flower client along: from a `NumPyClient`, a `client_fn` or a `ClientApp` to a training function of tacit.

What comes out is a function for `learning.foreign`, so it takes part in everything that such a function may. Flower's
client keeps its data and its model; tacit gives it the parameters and takes what it returns. Only `from_client_app`
and `from_client_fn` need Flower to be installed (extra `[flower]`), and Flower asks for older versions of packages than
`constraints.txt` has, which an environment of its own gives it.

A `NumPyClient` gets its parameters as a list, without names. They are given in the order of the model's `state_dict`,
of which tacit sends what is trained and the buffers that training moves; what comes back is held against their shapes.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.checks import is_number, is_whole, offers
from tacit.errors import IncompatibleOptions, UsageError

Arrays = dict[str, NDArray[Any]]
Fit = Callable[[Arrays, int, Mapping[str, Any]], tuple[Arrays, Any, Mapping[str, Any]]]
"""Parameters, number of examples and configuration in; parameters, number of examples and metrics out."""
LOSSES = ("train_loss", "loss")
"""What a client calls its training loss."""
EXAMPLES = "num-examples"
"""What Flower calls the number of examples in a reply."""
NODE, RUN = 1, 1
TTL = 43_200.0
"""Seconds for which a message to an app is good, as Flower has it by default; its name for that came and went."""


def from_numpy_client(
    client: Any, *, names: Sequence[str] = (), config: Mapping[str, Any] | None = None
) -> Callable[..., Any]:
    """The training function of a client with the methods of Flower's `NumPyClient`; Flower need not be installed.

    Args:
        client: with `fit(parameters, config)`, which returns (parameters, number of examples, metrics).
        names: of the model's parameters in the order in which the client lists them; as the model has them when empty.
        config: what `fit` is told beside "lr", "seed" and "local_steps".

    Raises:
        UsageError: it has no such method.
    """
    if not offers(client, "fit"):
        raise UsageError(f"client is {client!r}: give an object with fit(parameters, config), as Flower's NumPyClient")

    def fit(parameters: Arrays, examples: int, told: Mapping[str, Any]) -> tuple[Arrays, Any, Mapping[str, Any]]:
        order = _order(parameters, names)
        returned = client.fit([parameters[name] for name in order], dict(told))
        if not isinstance(returned, tuple) or len(returned) != 3:
            raise UsageError(f"fit returned {type(returned).__name__}: Flower has (parameters, num_examples, metrics)")
        listed, count, metrics = returned
        return _named(listed, order, parameters), count, metrics

    return _train(fit, config)


def from_client_fn(
    client_fn: Callable[..., Any],
    *,
    node_config: Mapping[str, Any] | None = None,
    run_config: Mapping[str, Any] | None = None,
    names: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> Callable[..., Any]:
    """The training function of the client that a Flower `client_fn(context)` makes. It is called once.

    Args:
        client_fn: as for Flower's `ClientApp`.
        node_config: what the context holds as such: {"partition-id": 0, "num-partitions": 5}, say.
        run_config: what the context holds as such.
        names: as for `from_numpy_client`.
        config: as for `from_numpy_client`.

    Raises:
        IncompatibleOptions: Flower is not installed.
        UsageError: it makes something else than a client around a `NumPyClient`.
    """
    client = client_fn(_context(node_config, run_config))
    inner = getattr(client, "numpy_client", client)  # what NumPyClient.to_client() wraps
    if not offers(inner, "fit") or _takes_one(inner.fit):
        raise UsageError(
            f"client_fn made {type(client).__name__}, which is no NumPyClient: give its ClientApp to from_client_app"
        )
    return from_numpy_client(inner, names=names, config=config)


def from_client_app(
    app: Any,
    *,
    node_config: Mapping[str, Any] | None = None,
    run_config: Mapping[str, Any] | None = None,
    names: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> Callable[..., Any]:
    """The training function of a Flower `ClientApp`, made of a `client_fn` or with `@app.train()`; its mods apply.

    Args:
        app: the ClientApp.
        node_config: what its context holds as such; the context's state is kept between rounds.
        run_config: what its context holds as such.
        names: as for `from_numpy_client`, for an app made of a `client_fn`.
        config: what it is told beside "lr", "seed" and "local_steps".

    Raises:
        IncompatibleOptions: Flower is not installed.
        UsageError: it is no ClientApp.
    """
    context = _context(node_config, run_config)
    if not callable(app) or not hasattr(app, "train"):
        raise UsageError(f"app is {app!r}: give a flwr.clientapp.ClientApp")
    listed = getattr(app, "_call", None) is not None  # only an app made of a client_fn has it

    def fit(parameters: Arrays, examples: int, told: Mapping[str, Any]) -> tuple[Arrays, Any, Mapping[str, Any]]:
        order = _order(parameters, names)
        content = _listed(parameters, order, told) if listed else _records(parameters, told)
        reply = app(_message(content), context)
        if reply.has_error():
            raise UsageError(f"the ClientApp answered with an error: {reply.error.reason}")
        if listed:
            arrays = [array.numpy() for array in reply.content.array_records["fitres.parameters"].values()]
            count = reply.content.metric_records["fitres.num_examples"]["num_examples"]
            return _named(arrays, order, parameters), count, dict(reply.content.config_records["fitres.metrics"])
        return _of_reply(reply.content)

    return _train(fit, config)


def _train(fit: Fit, config: Mapping[str, Any] | None) -> Callable[..., Any]:
    """A function as `learning.foreign` calls it."""

    def train(parameters: Arrays, x: NDArray[Any], y: NDArray[Any], *, lr: float, seed: int, steps: int) -> Any:
        told = {"lr": lr, "seed": seed, "local_steps": steps, **(config or {})}
        after, count, metrics = fit(parameters, len(y), told)
        if not is_whole(count) or int(count) != len(y):
            raise UsageError(
                f"the Flower client trained on {count!r} examples, and this participant was given {len(y)}: give it "
                "the same data, for a report counts by them"
            )
        losses = [metrics[name] for name in LOSSES if name in metrics] if metrics else []
        return (after, float(losses[0])) if losses and is_number(losses[0]) else after

    return train


def _order(parameters: Arrays, names: Sequence[str]) -> list[str]:
    if not names:
        return list(parameters)
    if sorted(names) != sorted(parameters):
        raise UsageError(f"names are {', '.join(names)}: the model has {', '.join(parameters)}")
    return list(names)


def _named(listed: Any, order: Sequence[str], before: Arrays) -> Arrays:
    """Arrays by the names in whose order they stand.

    Raises:
        UsageError: there are more or fewer, or the first that does not fit is named.
    """
    if not isinstance(listed, list | tuple) or len(listed) != len(order):
        count = len(listed) if isinstance(listed, list | tuple) else type(listed).__name__
        raise UsageError(
            f"the Flower client returned {count} arrays, and the model has {len(order)}, in this order: "
            f"{', '.join(order)}. Let it list those alone, and buffers that training does not move not at all"
        )
    for place, (name, array) in enumerate(zip(order, listed, strict=True)):
        shape = np.shape(array)
        if shape != before[name].shape:
            raise UsageError(
                f"array {place} of the Flower client has the shape {shape}, and {name!r} stands there with "
                f"{before[name].shape}: give names=(...) in the client's order"
            )
    return dict(zip(order, listed, strict=True))


def _takes_one(fit: Callable[..., Any]) -> bool:
    """Whether it is the `fit(ins)` of Flower's low-level `Client`."""
    return len(inspect.signature(fit).parameters) == 1


def _flower() -> Any:
    try:
        return import_module("flwr.app")
    except ImportError as error:
        raise IncompatibleOptions(
            f"Flower is not installed ({error}): pip install 'tacit[flower]', in an environment of its own"
        ) from None


def _context(node: Mapping[str, Any] | None, run: Mapping[str, Any] | None) -> Any:
    flower = _flower()
    return flower.Context(
        run_id=RUN, node_id=NODE, node_config=dict(node or {}), state=flower.RecordDict(), run_config=dict(run or {})
    )


def _message(content: Any) -> Any:
    flower = _flower()
    metadata = flower.Metadata(
        run_id=RUN,
        message_id="",
        src_node_id=0,
        dst_node_id=NODE,
        reply_to_message_id="",
        group_id="",
        created_at=time.time(),
        ttl=TTL,
        message_type="train",
    )
    return flower.Message(content=content, metadata=metadata)


def _listed(parameters: Arrays, order: Sequence[str], told: Mapping[str, Any]) -> Any:
    """What a client made by a `client_fn` is asked with."""
    flower = _flower()
    arrays = flower.ArrayRecord([parameters[name] for name in order])
    return flower.RecordDict({"fitins.parameters": arrays, "fitins.config": flower.ConfigRecord(dict(told))})


def _records(parameters: Arrays, told: Mapping[str, Any]) -> Any:
    """What a function under `@app.train()` is asked with."""
    flower = _flower()
    arrays = flower.ArrayRecord({name: flower.Array(np.ascontiguousarray(a)) for name, a in parameters.items()})
    return flower.RecordDict({"arrays": arrays, "config": flower.ConfigRecord(dict(told))})


def _of_reply(content: Any) -> tuple[Arrays, Any, Mapping[str, Any]]:
    """The one record of arrays in a reply, and its numbers."""
    records = list(content.array_records.values())
    if len(records) != 1:
        raise UsageError(f"the ClientApp answered with {len(records)} records of arrays: let it answer with one")
    metrics = {name: value for record in content.metric_records.values() for name, value in record.items()}
    count = metrics.get(EXAMPLES)
    if count is None:
        raise UsageError(f"the ClientApp's answer does not say {EXAMPLES!r} in its metrics: let it say so")
    return {name: array.numpy() for name, array in records[0].items()}, count, metrics
