"""Which models, losses and solvers the fused engine accepts, and what it says about the others."""

from __future__ import annotations

import functools
import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tacit.errors import IncompatibleOptions
from tacit.learning.eager import EagerEngine
from tacit.learning.fused import FusedEngine
from tacit.learning.solver import SGD
from tacit.learning.task import Task

from .jobs import assert_agree, examples, job_of, mlp

SOLVER = SGD(0.1, batch_size=4, epochs=2)


class Net(nn.Module):
    """A two-layer perceptron whose forward is given."""

    def __init__(self, forward, outputs=3):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, outputs)
        self.act, self.drop, self.how = nn.ReLU(), nn.Dropout(0.0), [forward]

    def forward(self, x):
        return self.how[0](self, x)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.second(x + torch.relu(self.first(x)))


ACCEPTED = {
    "modules": lambda m, x: m.second(m.drop(m.act(m.first(x)))),
    "torch.relu": lambda m, x: m.second(torch.relu(m.first(x))),
    "F.relu in place": lambda m, x: m.second(F.relu(m.first(x), inplace=True)),
    "method": lambda m, x: m.second(m.first(x).relu()),
    "tanh": lambda m, x: m.second(m.first(x).tanh()),
    "sigmoid": lambda m, x: torch.sigmoid(m.second(torch.sigmoid(m.first(x)))),
    "F.gelu": lambda m, x: m.second(F.gelu(m.first(x))),
    "F.gelu with tanh": lambda m, x: m.second(F.gelu(m.first(x), approximate="tanh")),
    "F.silu": lambda m, x: m.second(F.silu(m.first(x))),
    "F.elu": lambda m, x: m.second(F.elu(m.first(x), 0.7)),
    "F.leaky_relu": lambda m, x: m.second(F.leaky_relu(m.first(x), negative_slope=0.3)),
    "F.softplus": lambda m, x: m.second(F.softplus(m.first(x), beta=3)),
    "F.dropout without effect": lambda m, x: m.second(F.dropout(m.first(x), 0.0)),
    "no activation": lambda m, x: m.second(m.first(x)),
    "torch.flatten": lambda m, x: m.second(torch.relu(m.first(torch.flatten(x, 1)))),
    "view by size": lambda m, x: m.second(torch.relu(m.first(x.view(x.size(0), -1)))),
    "view by shape": lambda m, x: m.second(torch.relu(m.first(x.view(x.shape[0], -1)))),
    "reshape by width": lambda m, x: m.second(torch.relu(m.first(x.reshape(-1, 4)))),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_chain_is_recognised_however_it_is_written(name):
    torch.manual_seed(0)
    task = Task(Net(ACCEPTED[name]).double(), F.mse_loss)
    assert FusedEngine.accepts(task, SOLVER) is None
    assert_agree(task, SOLVER, job_of(task, SOLVER, examples([7, 5], 4, 3)))


@pytest.mark.parametrize(
    "end", [lambda z: z.squeeze(-1), lambda z: torch.squeeze(z, 1), lambda z: z.flatten(), lambda z: z.view(-1)]
)
def test_one_output_may_be_squeezed(end):
    task = Task(Net(lambda m, x: end(m.second(torch.relu(m.first(x)))), outputs=1).double(), F.mse_loss)
    data = examples([7, 5], 4, 1, target="column")
    assert FusedEngine.accepts(task, SOLVER, data) is None
    assert_agree(task, SOLVER, job_of(task, SOLVER, data))


def test_a_single_linear_layer_is_a_chain():
    task = Task(nn.Linear(4, 3).double(), nn.MSELoss())
    assert_agree(task, SOLVER, job_of(task, SOLVER, examples([7, 5], 4, 3)))


REFUSED = {
    "residual": (lambda m, x: m.second(m.first(x) + m.first(x)), "not a plain chain"),
    "branch": (lambda m, x: m.second(torch.relu(m.first(x)) * m.first(x)), "not a plain chain"),
    "used twice": (lambda m, x: m.second(m.first(m.first(x))), "used twice"),
    "unused layer": (lambda m, x: m.first(x), "belong to no Linear layer"),
    "softmax": (lambda m, x: torch.softmax(m.second(m.first(x)), 1), "softmax"),
    "data-dependent": (lambda m, x: m.second(m.first(x)) if x.sum() > 0 else m.first(x), "cannot be traced"),
    "dropout": (lambda m, x: m.second(F.dropout(m.first(x), 0.5)), "dropout"),
    "two activations": (lambda m, x: m.second(torch.tanh(torch.relu(m.first(x)))), "does not follow a Linear layer"),
    "activation first": (lambda m, x: m.second(m.first(torch.relu(x))), "does not follow a Linear layer"),
    "two outputs": (lambda m, x: (m.second(m.first(x)), x), "returns something else"),
    "scaling": (lambda m, x: m.second(m.first(x)) * 2, "mul"),
    "weights by hand": (lambda m, x: F.linear(m.first(x), m.second.weight, m.second.bias), "not a plain chain|linear"),
    "other reshape": (lambda m, x: m.second(m.first(x).view(-1, 6, 1).squeeze(2)), "reshapes"),
    "squeeze of many": (lambda m, x: m.second(m.first(x)).flatten(), "reshapes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_models_are_refused_with_the_reason(name):
    forward, words = REFUSED[name]
    task = Task(Net(forward), F.mse_loss)
    with pytest.raises(IncompatibleOptions, match=f"cannot run this task.*({words})"):
        FusedEngine(task, SOLVER)


def frozen(model):
    model[0].weight.requires_grad_(False)


def tied(model):
    model[2].weight = model[0].weight


def hooked(model):
    model[0].register_forward_hook(lambda *_: None)


def gradient_hooked(model):
    model[0].weight.register_hook(lambda g: 2 * g)


def patched(model):
    model[1].forward = torch.tanh


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (frozen, "parameter '0.weight' is frozen"),
        (tied, "tied"),
        (hooked, "module '0' has hooks"),
        (gradient_hooked, "parameter '0.weight' has hooks"),
        (patched, "forward of its own instance"),
        (lambda m: m.register_buffer("scale", torch.ones(1)), r"buffers \(scale\)"),
        (lambda m: m.insert(1, nn.Dropout(0.5)), r"Dropout\(p=0.5"),
        (lambda m: m.append(nn.Softmax(dim=1)), "Softmax"),
        (lambda m: m.insert(1, nn.LayerNorm(4)), "LayerNorm"),
        (lambda m: nn.utils.parametrizations.weight_norm(m[0]), "ParametrizedLinear"),
        (lambda m: m.append(type("Double", (nn.Linear,), {})(4, 4)), "not a plain chain|linear"),
    ],
)
def test_what_a_trace_would_not_show_is_refused(change, words):
    model = mlp(4, 4, 4, dtype=torch.float32)
    change(model)
    assert FusedEngine.accepts(Task(model, F.mse_loss), SOLVER) is not None
    with pytest.raises(IncompatibleOptions, match=words):
        FusedEngine(Task(model, F.mse_loss), SOLVER)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda z, t: ((z - t) ** 2).mean(), "<lambda>"),
        (F.kl_div, "kl_div"),
        (nn.MSELoss(reduction="sum"), "reduction='sum'"),
        (nn.CrossEntropyLoss(label_smoothing=0.1), "label_smoothing=0.1"),
        (nn.CrossEntropyLoss(weight=torch.ones(4)), "weight="),
        (nn.CrossEntropyLoss(ignore_index=0), "ignore_index=0"),
        (nn.BCEWithLogitsLoss(pos_weight=torch.ones(4)), "pos_weight="),
        (nn.HuberLoss(delta=2.0, reduction="none"), "reduction='none'"),
        (functools.partial(F.mse_loss, reduction="sum"), "reduction='sum'"),
        (functools.partial(F.smooth_l1_loss, beta=0.0), "width of 0.0"),
    ],
)
def test_other_losses_are_refused_with_the_reason(loss, words):
    reason = FusedEngine.accepts(Task(mlp(4, 4), loss), SOLVER)
    assert reason is not None
    assert words in reason


def test_a_loss_with_its_options_bound_is_recognised():
    task = Task(mlp(4, 5, 3), functools.partial(F.huber_loss, delta=0.3))
    assert_agree(task, SOLVER, job_of(task, SOLVER, examples([7, 5], 4, 3)))


def test_a_residual_perceptron_is_left_to_other_engines():
    task = Task(Residual(), F.mse_loss)
    assert "plain chain" in str(FusedEngine.accepts(task, SOLVER))
    assert EagerEngine(task, SOLVER).name == "eager"


def test_an_unknown_solver_is_refused():
    class Mine(SGD):
        pass

    assert FusedEngine.accepts(Task(mlp(4, 4), F.mse_loss), Mine(0.1)) == "the solver is a Mine, not SGD or Adam"


def test_recognising_leaves_the_model_as_it_was():
    model = mlp(4, 4, 4).eval()
    FusedEngine.accepts(Task(model, F.mse_loss), SOLVER)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())


def test_recognising_keeps_no_task_alive():
    for loss in (F.mse_loss, F.kl_div):
        task = Task(mlp(4, 4, 4), loss)
        FusedEngine.accepts(task, SOLVER)
        alive = weakref.ref(task)
        del task
        gc.collect()
        assert alive() is None
