"""Tasks: a model as functions of one flat vector."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from tacit.errors import UsageError
from tacit.learning.metrics import accuracy
from tacit.learning.task import Task


class Tied(nn.Module):
    """Encoder and decoder share one matrix; the offset is frozen; the order is a buffer of integers."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(4, 4, bias=False)
        self.decode = nn.Linear(4, 4, bias=False)
        self.decode.weight = self.encode.weight
        self.offset = nn.Parameter(torch.ones(4), requires_grad=False)
        self.register_buffer("order", torch.tensor([3, 2, 1, 0]))

    def forward(self, x):
        return self.decode(torch.tanh(self.encode(x)))[:, self.order] + self.offset


def normalised(dtype=torch.float32):
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 4)).to(dtype)


def batch(seed=0, n=5, dtype=torch.float32):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4, generator=draws, dtype=dtype), torch.randn(n, 4, generator=draws, dtype=dtype)


def refusal(*args, **options):
    with pytest.raises(UsageError) as caught:
        Task(*args, **options)
    return str(caught.value)


@pytest.mark.parametrize("build", [Tied, normalised])
@settings(max_examples=15)
@given(seed=st.integers(0, 999))
def test_the_gradient_at_any_point_is_that_of_autograd(build, seed):
    task = Task(build().double(), mse_loss)
    x = torch.randn(task.d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    _, b = task.initial()
    inputs, target = batch(seed, dtype=torch.float64)
    loss, g = task.gradient(x, b, inputs, target)
    model = task.install(x, b).train()
    expected = mse_loss(model(inputs), target)
    expected.backward()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(g, task.layout.pack(trained))


def test_the_gradient_leaves_model_buffers_and_point_as_they_are():
    task = Task(normalised(), mse_loss)
    (x, b), state = task.initial(), {k: v.clone() for k, v in task.model.state_dict().items()}
    before = x.clone(), b.clone()
    task.gradient(x, b, *batch())
    assert torch.equal(x, before[0])
    assert torch.equal(b, before[1])
    assert all(torch.equal(v, state[k]) for k, v in task.model.state_dict().items())


def test_the_gradient_can_be_vectorised_over_clients():
    task = Task(Tied(), mse_loss)
    x, b = task.initial()
    points = torch.stack([x, 2 * x, -x])
    inputs, target = (torch.stack(columns) for columns in zip(*[batch(seed) for seed in range(3)], strict=True))
    loss, g = torch.vmap(task.gradient, in_dims=(0, None, 0, 0))(points, b, inputs, target)
    for k in range(3):
        alone_loss, alone_g = task.gradient(points[k], b, inputs[k], target[k])
        torch.testing.assert_close(loss[k], alone_loss)
        torch.testing.assert_close(g[k], alone_g)


def test_only_what_is_trained_is_laid_out_and_shared_weights_once():
    task = Task(Tied(), mse_loss)
    assert task.layout.names == ("encode.weight",)
    assert task.d == 16
    assert task.buffer_layout.names == (), "a buffer of whole numbers stays at home"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_models_precision_is_kept(dtype):
    task = Task(normalised(dtype), mse_loss)
    x, b = task.initial()
    assert task.dtype == x.dtype == b.dtype == dtype
    assert next(task.install(x, b).parameters()).dtype == dtype


def test_installing_the_initial_vectors_gives_the_model_back():
    for model in (Tied(), normalised()):
        task = Task(model, mse_loss)
        copy = task.install(*task.initial())
        assert copy is not model
        assert not copy.training
        original = model.state_dict()
        assert all(torch.equal(v, original[k]) and v.dtype == original[k].dtype for k, v in copy.state_dict().items())


def test_a_bound_model_is_a_view_of_its_flat_vectors_and_not_of_the_users_model():
    model = Tied()
    before = model.encode.weight.clone()
    bound = Task(model, mse_loss).bind()
    bound.x.fill_(0.25)
    assert bound.module.encode.weight.eq(0.25).all()
    assert bound.module.decode.weight is bound.module.encode.weight
    assert torch.equal(model.encode.weight, before)
    inputs, target = batch()
    mse_loss(bound.module(inputs), target).backward()
    assert torch.equal(bound.g, bound.module.encode.weight.grad.reshape(-1))
    assert bound.g.abs().sum() > 0


def test_buffers_travel_through_the_flat_vector_and_keep_their_types():
    task = Task(normalised(), mse_loss)
    bound = task.bind()
    bound.module.train()(batch()[0])
    bound.pull()
    parts = task.buffer_layout.unpack(bound.b)
    assert torch.equal(parts["1.running_mean"], bound.module[1].running_mean)
    assert "1.num_batches_tracked" not in parts
    assert bound.module[1].num_batches_tracked == 1
    bound.b.copy_(task.initial()[1])
    bound.push()
    assert bound.module[1].num_batches_tracked.dtype == torch.int64
    assert bound.module[1].num_batches_tracked == 0


def test_a_task_keeps_loss_and_metrics_by_name():
    task = Task(Tied(), cross_entropy, {"accuracy": accuracy})
    assert task.loss is cross_entropy
    assert task.metrics == {"accuracy": accuracy}


def test_a_model_with_nothing_to_train_is_refused():
    assert "no parameter to train" in refusal(nn.ReLU(), mse_loss)
    assert "no parameter to train" in refusal(nn.Linear(2, 2).requires_grad_(False), mse_loss)


def test_mixed_half_or_complex_precision_is_refused():
    mixed = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())
    assert "dtypes ['torch.float32', 'torch.float64']" in refusal(mixed, mse_loss)
    assert "dtypes ['torch.float16']" in refusal(nn.Linear(2, 2).half(), mse_loss)


def test_parameters_that_are_not_finite_or_have_no_shape_are_named():
    broken = nn.Linear(2, 2)
    broken.bias.data[0] = torch.nan
    assert "parameters ['bias'] hold NaN or Inf" in refusal(broken, mse_loss)
    assert "parameters ['weight', 'bias'] have no shape yet" in refusal(nn.LazyLinear(2), mse_loss)


def test_all_problems_of_a_task_are_reported_at_once():
    text = refusal(nn.ReLU(), "mse", {"accuracy": 3}, buffers="global")
    assert "4 problems" in text
    assert "loss is 'mse'" in text
    assert "metric 'accuracy' is 3" in text
    assert "buffers is 'global'" in text
    assert "model is a function: give a torch.nn.Module" in refusal(mse_loss, mse_loss)
