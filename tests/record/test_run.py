from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import tacit
from tacit.errors import DataError, StorageError, UsageError


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
    assert run.tensors["0.num_batches_tracked"] == 0  # whole numbers stay as the model has them
    assert run.tensors["0.running_mean"].abs().sum() > 0


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (["a", "b"], DataError, "not numbers"),
        ([[1.0], [1.0, 2.0]], DataError, "no array of numbers"),
        (np.zeros((2, 7), "f4"), UsageError, r"the model fails on x \(2, 7\) torch.float32.*inputs like those"),
        (np.zeros((2, 3), "i8"), UsageError, r"the model fails on x \(2, 3\) torch.int64"),
        (torch.tensor(3.0), UsageError, "x is the number"),
    ],
    ids=["texts", "ragged", "width", "type", "number"],
)
def test_inputs_that_the_model_does_not_take_are_refused(run, x, error, words):
    with pytest.raises(error, match=words):
        run.predict(x)


@pytest.mark.parametrize("size", [0, "8", None, True, 2.0])
def test_a_batch_size_that_is_no_count_is_refused(run, size):
    with pytest.raises(UsageError, match="batch_size is"):
        run.predict(np.zeros((2, 3)), batch_size=size)


def test_a_path_that_is_none_is_refused(run):
    for use in (run.save, run.report, tacit.Run.load):
        with pytest.raises(UsageError, match="the path is 5: give a path"):
            use(5)


def test_a_model_that_is_none_is_refused_at_once(run, tmp_path):
    run.save(tmp_path)
    with pytest.raises(UsageError, match=r"model is 5: give a torch\.nn\.Module"):
        tacit.Run.load(tmp_path, model=5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": None}, "no list of rounds"),
        ({"rows": [[]]}, "not the record of round 1"),
        ({"rows": [{"round": 1, "loss": "low"}]}, "no number for loss"),
        ({"facts": None}, "do not name the engine"),
        ({"facts": {"engine": 3}}, "do not name the engine"),
    ],
)
def test_a_saved_run_of_the_wrong_shape_is_damage(run, tmp_path, change, words):
    path = run.save(tmp_path) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(StorageError, match="is damaged") as caught:
        tacit.Run.load(tmp_path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_report_that_cannot_be_written_is_an_error_with_its_path(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"report\.html cannot be written"):
        run.report(tmp_path / "file" / "report.html")
    with pytest.raises(UsageError, match="is a folder: give a file"):
        run.report(tmp_path)


def test_the_model_stays_as_its_user_leaves_it_and_predicts_in_evaluation_mode():
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout(0.5))
    run = tacit.Run({n: t.clone() for n, t in net.state_dict().items()}, [], {}, net)
    assert not run.model.training
    run.model.train()
    assert run.model.training
    x = torch.ones(4, 3)
    assert torch.equal(run.predict(x), run.predict(x))
    assert run.model.training
    with torch.no_grad():
        run.model[0].weight.zero_()
    assert not run.model[0].weight.any()


def test_a_buffer_that_a_model_does_not_save_is_saved_where_it_travelled(tmp_path):
    class Centred(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)
            self.register_buffer("mean", torch.zeros(3), persistent=False)

        def forward(self, x):
            if self.training:
                self.mean.mul_(0.5).add_(x.detach().mean(0), alpha=0.5)
            return self.layer(x - self.mean)

    data = {k: (torch.randn(8, 3) + 5, torch.randint(2, (8,))) for k in range(4)}
    task = tacit.Task(Centred(), torch.nn.functional.cross_entropy)
    solver = tacit.SGD(lr=0.1, batch_size=4)
    run = tacit.Federation(task, tacit.Population.from_arrays(data), tacit.FedAvg(solver)).run(2)
    x = torch.randn(5, 3)
    run.save(tmp_path)
    assert torch.equal(tacit.Run.load(tmp_path, Centred()).predict(x), run.predict(x))
    assert float(run.tensors["mean"].abs().max()) > 1
