"""Flower's clients, unchanged: a hand-written one always, Flower itself where it is installed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import tacit
from tacit.errors import IncompatibleOptions, UsageError
from tacit.learning import foreign
from tacit.learning.foreign import ForeignEngine
from tacit.learning.solver import SGD
from tacit.learning.task import Task
from tacit.network.flower import from_client_app, from_client_fn, from_numpy_client
from tests.learning.test_foreign import descent, job_for, run
from tests.network.house import Guest, data, hosted, names, plan, task

INSTALLED = importlib.util.find_spec("flwr") is not None
flower = pytest.mark.skipif(not INSTALLED, reason="Flower (flwr) is not installed here")
GIVEN = {"lr": 0.5, "seed": 7, "steps": 3}
X, Y = np.zeros((4, 3)), np.zeros((4, 1))


def parameters():
    return {"weight": np.arange(6.0, dtype=np.float32).reshape(2, 3), "bias": np.zeros(2, np.float32)}


class Client:
    """What a user of Flower writes: lists of arrays, and a step of its own."""

    def __init__(self, examples=4, metrics=None, change=None):
        self.examples, self.metrics, self.change = examples, metrics or {}, change
        self.seen = []

    def get_parameters(self, config):
        return list(parameters().values())

    def fit(self, parameters, config):
        self.seen.append(([array.copy() for array in parameters], config))
        after = [array + 1 for array in parameters]
        return (self.change(after) if self.change else after), self.examples, self.metrics

    def evaluate(self, parameters, config):
        return 0.0, self.examples, {}


def test_a_client_gets_a_list_and_gives_one():
    client = Client()
    after = from_numpy_client(client)(parameters(), X, Y, **GIVEN)
    assert list(after) == ["weight", "bias"]
    for name, array in parameters().items():
        np.testing.assert_array_equal(after[name], array + 1)
    (listed, config) = client.seen[0]
    np.testing.assert_array_equal(listed[0], parameters()["weight"])
    assert config == {"lr": 0.5, "seed": 7, "local_steps": 3}


def test_the_users_configuration_is_told_and_wins():
    client = Client()
    from_numpy_client(client, config={"epochs": 2, "lr": 0.1})(parameters(), X, Y, **GIVEN)
    assert client.seen[0][1] == {"lr": 0.1, "seed": 7, "local_steps": 3, "epochs": 2}


def test_a_client_that_lists_its_parameters_in_another_order_says_so():
    client = Client()
    after = from_numpy_client(client, names=("bias", "weight"))(parameters(), X, Y, **GIVEN)
    assert [array.shape for array in client.seen[0][0]] == [(2,), (2, 3)]
    np.testing.assert_array_equal(after["weight"], parameters()["weight"] + 1)
    with pytest.raises(UsageError, match="the model has weight, bias"):
        from_numpy_client(client, names=("bias", "weights"))(parameters(), X, Y, **GIVEN)


@pytest.mark.parametrize(
    ("metrics", "loss"), [({"train_loss": 0.25, "loss": 9.0}, 0.25), ({"loss": 1}, 1.0), ({"loss": float("nan")}, None)]
)
def test_the_training_loss_is_taken_from_the_metrics(metrics, loss):
    returned = from_numpy_client(Client(metrics=metrics))(parameters(), X, Y, **GIVEN)
    assert isinstance(returned, dict) if loss is None else returned[1] == loss


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda arrays: arrays[:1], "returned 1 arrays, and the model has 2, in this order: weight, bias"),
        (lambda arrays: [*arrays, arrays[0]], "returned 3 arrays"),
        (lambda arrays: None, "returned NoneType arrays"),
        (lambda arrays: arrays[::-1], r"array 0 of the Flower client has the shape \(2,\), and 'weight' stands there"),
    ],
)
def test_lists_that_do_not_fit_are_refused_by_name(change, said):
    with pytest.raises(UsageError, match=said):
        from_numpy_client(Client(change=change))(parameters(), X, Y, **GIVEN)


@pytest.mark.parametrize("count", [3, 5, 4.5, None, True])
def test_a_client_that_counts_other_examples_is_refused(count):
    with pytest.raises(UsageError, match="was given 4"):
        from_numpy_client(Client(examples=count))(parameters(), X, Y, **GIVEN)


def test_what_is_no_client_is_refused():
    for client in (5, Client, object()):
        with pytest.raises(UsageError, match="give an object with fit"):
            from_numpy_client(client)
    odd = Client()
    odd.fit = lambda parameters, config: parameters
    with pytest.raises(UsageError, match="fit returned list"):
        from_numpy_client(odd)(parameters(), X, Y, **GIVEN)


def test_a_client_takes_part_as_an_engine():
    torch.manual_seed(0)
    task = Task(nn.Linear(3, 1).double(), mse_loss)
    job = job_for(task)

    class Regression:
        """Trains on what it has, one client's data after another's."""

        def __init__(self):
            self.place = 0

        def fit(self, listed, config):
            x, y = (part.numpy() for part in job.examples.of(self.place))
            self.place += 1
            batches = [np.arange(len(x))] * config["local_steps"]
            named = dict(zip(("weight", "bias"), listed, strict=True))
            after, loss = descent(named, x, y, lr=config["lr"], batches=batches)
            return list(after.values()), len(x), {"loss": loss}

    def same(parameters, x, y, *, lr, steps):
        return descent(parameters, x, y, lr=lr, batches=[np.arange(len(x))] * steps)

    train = from_numpy_client(Regression())
    foreign.make(train, task, tacit.FedAvg(SGD(0.05)))
    theirs, mine = (run(ForeignEngine(one, task), task, job) for one in (train, same))
    for one, other in zip(theirs, mine, strict=True):
        assert torch.equal(one, other)


@pytest.mark.skipif(INSTALLED, reason="Flower (flwr) is installed here")
def test_without_flower_an_app_is_refused_with_the_remedy():
    for adapter in (from_client_app, from_client_fn):
        with pytest.raises(IncompatibleOptions, match=r"pip install 'tacit\[flower\]'"):
            adapter(lambda context: Client())


@flower
def test_a_client_fn_is_called_once_with_its_context():
    from flwr.client import NumPyClient

    seen = []

    class Own(Client, NumPyClient):
        pass

    def client_fn(context):
        seen.append((context.node_config["partition-id"], context.run_config["batch"]))
        return Own(metrics={"loss": 0.5}).to_client()

    train = from_client_fn(client_fn, node_config={"partition-id": 2}, run_config={"batch": 8})
    for _ in range(2):
        after, loss = train(parameters(), X, Y, **GIVEN)
        np.testing.assert_array_equal(after["weight"], parameters()["weight"] + 1)
        assert loss == 0.5
    assert seen == [(2, 8)]


@flower
def test_a_client_app_of_a_client_fn_gives_what_its_client_gives():
    from flwr.client import NumPyClient
    from flwr.clientapp import ClientApp

    class Own(Client, NumPyClient):
        pass

    train = from_client_app(ClientApp(lambda context: Own(metrics={"loss": 0.5}).to_client()))
    after, loss = train(parameters(), X, Y, lr=0.5, seed=2**63 - 1, steps=3)
    assert loss == 0.5
    for name, array in parameters().items():
        np.testing.assert_array_equal(after[name], array + 1)
        assert after[name].dtype == array.dtype


@flower
def test_a_client_app_with_a_train_function_is_asked_as_flower_asks():
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp

    app, seen = ClientApp(), []

    @app.train()
    def train(message, context):
        context.state["times"] = MetricRecord({"n": len(seen) + 1})
        state = message.content["arrays"].to_torch_state_dict()
        seen.append((dict(message.content["config"]), list(state)))
        arrays = ArrayRecord({name: tensor + 2 for name, tensor in state.items()})
        metrics = MetricRecord({"train_loss": 0.25, "num-examples": 4})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    adapted = from_client_app(app, config={"epochs": 1})
    after, loss = adapted(parameters(), X, Y, **GIVEN)
    assert (loss, seen) == (0.25, [({"lr": 0.5, "seed": 7, "local_steps": 3, "epochs": 1}, ["weight", "bias"])])
    np.testing.assert_array_equal(after["weight"], parameters()["weight"] + 2)


@flower
def test_answers_that_say_too_little_are_refused():
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp

    def answering(content):
        app = ClientApp()
        app.train()(lambda message, context: Message(content, reply_to=message))
        return from_client_app(app)

    arrays = ArrayRecord(list(parameters().values()))
    with pytest.raises(UsageError, match="0 records of arrays"):
        answering(RecordDict())(parameters(), X, Y, **GIVEN)
    with pytest.raises(UsageError, match="does not say 'num-examples'"):
        answering(RecordDict({"a": arrays}))(parameters(), X, Y, **GIVEN)
    with pytest.raises(UsageError, match="was given 4"):
        answering(RecordDict({"a": arrays, "m": MetricRecord({"num-examples": 2})}))(parameters(), X, Y, **GIVEN)
    with pytest.raises(UsageError, match="give a flwr"):
        from_client_app(5)


def shrunk(k, adapter):
    """A client k that shrinks every parameter by a tenth, as a Flower user writes it."""
    examples = len(data(k)[1])
    if adapter == "NumPyClient":
        from flwr.client import NumPyClient

        class Shrinking(NumPyClient):
            def fit(self, parameters, config):
                return [array * np.float32(0.9) for array in parameters], examples, {"loss": 0.5}

        return from_numpy_client(Shrinking())
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
    from flwr.client import NumPyClient
    from flwr.clientapp import ClientApp

    if adapter == "client_fn":

        class Own(NumPyClient):
            def fit(self, parameters, config):
                return [array * np.float32(0.9) for array in parameters], examples, {"loss": 0.5}

        return from_client_app(ClientApp(client_fn=lambda context: Own().to_client()))
    app = ClientApp()

    @app.train()
    def train(message, context):
        state = message.content["arrays"].to_torch_state_dict()
        arrays = ArrayRecord({name: tensor * 0.9 for name, tensor in state.items()})
        metrics = MetricRecord({"train_loss": 0.5, "num-examples": examples})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    return from_client_app(app)


@flower
def test_clients_of_flower_take_part_in_a_run_between_machines(tmp_path):
    adapters = ("NumPyClient", "client_fn", "ClientApp")
    with hosted(plan(3, rounds=2), tmp_path / "coordinator") as host:
        joined = [
            Guest(host, name, data(k), tmp_path / name, train=shrunk(k, adapter))
            for k, (name, adapter) in enumerate(zip(names(3), adapters, strict=True))
        ]
        for guest in joined:
            guest.start()
        run = host.wait(watched=joined)
    assert [row["clients"] for row in run.rows] == [3, 3]
    assert [row["loss"] for row in run.rows] == pytest.approx([0.5, 0.5], abs=1e-4)
    for name, start in task().model.named_parameters():
        assert torch.allclose(run.tensors[name], 0.81 * start.detach(), atol=1e-4)
