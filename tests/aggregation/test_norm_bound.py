from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tacit
from tacit.errors import UsageError
from tacit.learning.layout import Layout

LAYOUT = Layout.of(update=(3,), loss=(), weight=())
number = st.floats(-1e6, 1e6)
report = st.lists(number, min_size=3, max_size=3)


def encoded(updates, weights, limit):
    vector = LAYOUT.pack(
        {
            "update": torch.tensor(updates, dtype=torch.float64) * torch.tensor(weights, dtype=torch.float64)[:, None],
            "loss": torch.ones(len(weights), dtype=torch.float64),
            "weight": torch.tensor(weights, dtype=torch.float64),
        }
    )
    return tacit.NormBound(limit).encode(vector, LAYOUT, {})


@given(st.lists(st.tuples(report, st.floats(0.5, 500)), min_size=1, max_size=4), st.floats(1e-3, 1e3))
def test_no_update_is_longer_than_the_limit_and_short_ones_pass_unchanged(reports, limit):
    updates, weights = [u for u, _ in reports], [w for _, w in reports]
    out = LAYOUT.unpack(encoded(updates, weights, limit))
    for k, (update, weight) in enumerate(reports):
        before = torch.tensor(update, dtype=torch.float64)
        after = out["update"][k] / weight
        assert after.norm() <= limit * (1 + 1e-12)
        if before.norm() <= limit * (1 - 1e-12):
            torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-300)
        else:
            torch.testing.assert_close(after, before / before.norm() * limit, rtol=1e-9, atol=1e-12)
    assert out["weight"].tolist() == weights
    assert out["loss"].tolist() == [1.0] * len(weights)


@given(report, st.floats(0.5, 500), st.floats(1e-3, 1e3))
def test_bounding_twice_is_bounding_once(update, weight, limit):
    once = encoded([update], [weight], limit)
    twice = tacit.NormBound(limit).encode(once.clone(), LAYOUT, {})
    torch.testing.assert_close(twice, once, rtol=1e-14, atol=0)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_that_is_not_positive_is_refused(limit):
    with pytest.raises(UsageError, match="norm limit is"):
        tacit.NormBound(limit)


def test_in_a_run_the_model_moves_by_no_more_than_the_limit():
    import numpy as np

    rng = np.random.default_rng(0)
    data = {k: (rng.normal(size=(4 + k, 3)), 100 * rng.normal(size=(4 + k, 1))) for k in range(4)}
    torch.manual_seed(0)
    task = tacit.Task(torch.nn.Linear(3, 1).double(), torch.nn.functional.mse_loss)
    fed = tacit.Federation(
        task,
        tacit.Population.from_arrays(data),
        tacit.FedAvg(tacit.SGD(lr=0.1)),
        stages=[tacit.NormBound(0.01)],
        engine="eager",
        workers=1,
    )
    run = fed.run(3, progress=False)
    assert (run.history["update_norm"] <= 0.01 + 1e-12).all()
    assert (run.history["update_norm"] > 0.001).all()
