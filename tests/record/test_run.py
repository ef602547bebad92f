from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import tacit
from tacit.errors import UsageError


def net():
    return torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))


@pytest.fixture(scope="module")
def run():
    rng = np.random.default_rng(0)
    data = {k: (rng.normal(size=(6, 3)).astype("f4"), rng.integers(0, 2, 6)) for k in range(3)}
    torch.manual_seed(0)
    task = tacit.Task(net(), torch.nn.functional.cross_entropy)
    fed = tacit.Federation(
        task, tacit.Population.from_arrays(data), tacit.FedAvg(tacit.SGD(lr=0.1)), engine="eager", workers=1
    )
    return fed.run(2, progress=False)


def test_a_saved_run_comes_back_whole(run, tmp_path):
    run.save(tmp_path / "new" / "folder")
    model = net()
    loaded = tacit.Run.load(tmp_path / "new" / "folder", model=model)
    assert loaded.rows == run.rows
    assert loaded.facts == json.loads(json.dumps(run.facts))
    assert loaded.tensors.keys() == run.tensors.keys()
    assert all(torch.equal(loaded.tensors[n], t) for n, t in run.tensors.items())
    x = np.random.default_rng(1).normal(size=(5, 3))
    assert torch.equal(loaded.predict(x), run.predict(x))


def test_history_csv_has_one_line_a_round(run, tmp_path):
    import pandas

    run.save(tmp_path)
    table = pandas.read_csv(tmp_path / "history.csv")
    assert table["round"].tolist() == [1, 2]
    assert table["loss"].tolist() == pytest.approx(run.history["loss"].tolist(), rel=1e-12)


def test_predict_is_the_model_in_evaluation_mode_in_batches_of_any_size(run):
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = run.model(x)
    assert not run.model.training
    for size in (1, 3, 1000):
        torch.testing.assert_close(run.predict(x, batch_size=size), expected)
    assert run.predict(x.double().numpy()).dtype == torch.float32


def test_a_run_loaded_without_a_model_says_how_to_give_one(run, tmp_path):
    run.save(tmp_path)
    with pytest.raises(UsageError, match=r"Run.load\(folder, model="):
        _ = tacit.Run.load(tmp_path).model


@pytest.mark.parametrize(
    "other",
    [
        torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 5)),
        torch.nn.Sequential(torch.nn.BatchNorm1d(3)),
        torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2), torch.nn.Linear(2, 2)),
    ],
    ids=["other shape", "smaller", "larger"],
)
def test_another_model_than_the_one_trained_is_refused(run, tmp_path, other):
    run.save(tmp_path)
    with pytest.raises(UsageError, match="do not fit this model"):
        _ = tacit.Run.load(tmp_path, model=other).model


def test_frozen_parameters_and_buffers_are_part_of_what_is_saved():
    model = net()
    model[1].bias.requires_grad_(False)
    data = {k: (np.random.default_rng(k).normal(size=(4, 3)).astype("f4"), np.array([0, 1, 0, 1])) for k in range(2)}
    task = tacit.Task(model, torch.nn.functional.cross_entropy)
    fed = tacit.Federation(
        task, tacit.Population.from_arrays(data), tacit.FedAvg(tacit.SGD(lr=0.1)), engine="eager", workers=1
    )
    run = fed.run(1, progress=False)
    assert set(run.tensors) == set(model.state_dict())
    assert torch.equal(run.tensors["1.bias"], model[1].bias)
    assert not torch.equal(run.tensors["1.weight"], model[1].weight)
    assert run.tensors["0.num_batches_tracked"] == 1
