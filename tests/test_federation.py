"""A run from outside: history, callbacks, stopping, evaluation, checkpoints, warm starts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import tacit
from tacit.errors import UsageError
from tests.faults.scenes import SOLVER, clean, federation, weights


class Diary(tacit.Callback):
    def __init__(self, stop_after=None):
        self.lines, self.stop_after = [], stop_after

    def on_start(self, rounds, facts):
        self.lines.append(("start", rounds, facts["engine"]))

    def on_round_start(self, round):
        self.lines.append(("round", round))

    def on_round_end(self, row):
        self.lines.append(("end of round", row["round"]))
        return row["round"] == self.stop_after

    def on_end(self, reason):
        self.lines.append(("end", reason))


def test_history_has_one_row_a_round_with_what_the_round_was():
    algorithm = tacit.Scaffold(SOLVER)
    run = federation(clean(), algorithm, selection=tacit.Uniform(3)).run(4, progress=False)
    history = run.history
    assert history["round"].tolist() == [1, 2, 3, 4]
    assert history["clients"].tolist() == [3] * 4
    assert history["examples"].tolist() == [18] * 4
    assert history["set_aside"].tolist() == [0] * 4
    down, up = (4 + 4) * 4, (4 + 4 + 3) * 4  # x and c; update, control, loss, examples, weight; float32
    assert history["bytes_down"].tolist() == [3 * down] * 4
    assert history["bytes_up"].tolist() == [3 * up] * 4
    assert (run.facts["bytes_down_per_client"], run.facts["bytes_up_per_client"]) == (down, up)
    phases = [f"seconds_{p}" for p in ("select", "broadcast", "train", "aggregate", "evaluate")]
    assert history["seconds"].tolist() == pytest.approx(history[phases].sum(axis=1).tolist())
    assert (history[phases] >= 0).all().all()


def test_the_norm_of_the_update_is_how_far_the_model_moved():
    fed = federation(clean())
    one, two = (weights(fed.run(r, progress=False)) for r in (1, 2))
    run = fed.run(2, progress=False)
    assert run.history["update_norm"][1] == pytest.approx(float((two - one).norm()), rel=1e-4)


def test_one_federation_can_run_again_and_starts_anew():
    fed = federation(clean(), tacit.Scaffold(SOLVER))
    assert torch.equal(weights(fed.run(3, progress=False)), weights(fed.run(3, progress=False)))


def test_callbacks_see_the_run_from_start_to_end():
    diary = Diary()
    federation(clean()).run(2, callbacks=[diary], progress=False)
    assert diary.lines == [
        ("start", 2, "eager"),
        ("round", 1),
        ("end of round", 1),
        ("round", 2),
        ("end of round", 2),
        ("end", "all 2 rounds are done"),
    ]


def test_a_callback_can_end_the_run():
    diary, other = Diary(stop_after=2), Diary()
    run = federation(clean()).run(9, callbacks=[diary, other], progress=False)
    assert len(run.rows) == 2
    assert run.facts["ended"] == "a callback asked to stop"
    assert other.lines[-1] == ("end", "a callback asked to stop")
    assert torch.equal(weights(run), weights(federation(clean()).run(2, progress=False)))


def test_a_run_ends_when_the_test_loss_stops_improving():
    import numpy as np

    run = federation(clean()).run(
        50,
        test=lambda model: {"score": 1.0 if model.weight.abs().sum() > 0 else 0.0},
        until=tacit.Patience("test_score", rounds=3, mode="max"),
        progress=False,
    )
    assert len(run.rows) == 4
    assert "test_score has not improved for 3 rounds" in run.facts["ended"]
    assert np.all(run.history["test_score"] == 1.0)


def test_patience_goes_together_with_rare_evaluation():
    run = federation(clean()).run(
        50, test=lambda model: {"score": 0.0}, evaluate_every=3, until=[tacit.Patience("test_score", 2)], progress=False
    )
    assert [r["round"] for r in run.rows if r["test_score"] is not None] == [1, 3, 6]
    assert len(run.rows) == 6


def test_a_run_ends_when_the_model_hardly_moves():
    run = federation(clean(), tacit.FedAvg(tacit.SGD(lr=0.2))).run(500, until=tacit.Converged(1e-3), progress=False)
    assert len(run.rows) < 500
    assert run.facts["ended"].startswith("converged")
    assert run.rows[-1]["update_norm"] < 1e-3 <= run.rows[-2]["update_norm"]


@pytest.mark.parametrize(
    ("rounds", "stop", "measured"), [(7, None, [1, 3, 6, 7]), (9, 5, [1, 3, 5]), (6, None, [1, 3, 6])]
)
def test_the_first_and_the_last_round_are_always_evaluated(rounds, stop, measured):
    run = federation(clean()).run(
        rounds, test=clean()["a"], evaluate_every=3, callbacks=[Diary(stop_after=stop)], progress=False
    )
    losses = run.history["test_loss"]
    assert [r + 1 for r in losses.index[losses.notna()]] == measured


def test_evaluation_and_callbacks_change_no_bit_of_the_model():
    plain = federation(clean()).run(3, progress=False)
    watched = federation(clean()).run(3, test=clean()["a"], callbacks=[Diary()], progress=False)
    assert torch.equal(weights(plain), weights(watched))


def test_a_run_goes_on_from_weights_or_from_a_file(tmp_path):
    first = federation(clean(), seed=1).run(2, progress=False)
    folder = first.save(tmp_path)
    other = torch.nn.Linear(3, 1)
    from_tensors = federation(clean(), net=other).run(1, start=first.tensors, progress=False)
    from_file = federation(clean(), net=other).run(1, start=folder / "model.safetensors", progress=False)
    from_text = federation(clean(), net=other).run(1, start=str(folder / "model.safetensors"), progress=False)
    expected = federation(clean(), net=first.model).run(1, progress=False)
    for run in (from_tensors, from_file, from_text):
        assert torch.equal(weights(run), weights(expected))


def test_a_warm_start_brings_buffers_along():
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))
    algorithm = tacit.FedAvg(tacit.SGD(lr=0.1))
    first = federation(clean(), algorithm, net=net).run(2, progress=False)
    again = federation(clean(), algorithm, net=net).run(1, start=first.tensors, progress=False)
    once = federation(clean(), algorithm, net=net).run(1, progress=False)
    assert first.tensors["0.running_mean"].norm() > once.tensors["0.running_mean"].norm()
    assert again.tensors["0.running_mean"].norm() > first.tensors["0.running_mean"].norm()


def test_buffers_are_averaged_over_the_cohort_or_left_as_they_are():
    import numpy as np

    data = {k: (np.random.default_rng(k).normal(size=(4 + k, 3)) + k, np.zeros((4 + k, 1))) for k in range(3)}
    for buffers in ("average", "local"):
        net = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1)).double()
        task = tacit.Task(net, torch.nn.functional.mse_loss, buffers=buffers)
        fed = tacit.Federation(
            task, tacit.Population.from_arrays(data), tacit.FedAvg(tacit.SGD(lr=0.1)), engine="eager", workers=1
        )
        found = fed.run(1, progress=False).tensors["0.running_mean"].numpy()
        n = np.array([4, 5, 6])
        means = np.stack([0.1 * data[k][0].mean(0) for k in range(3)])
        expected = np.average(means, axis=0, weights=n) if buffers == "average" else np.zeros(3)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_longer_run_goes_on_from_a_finished_one(tmp_path):
    federation(clean(), tacit.Scaffold(SOLVER)).run(3, checkpoint=tmp_path, progress=False)
    longer = federation(clean(), tacit.Scaffold(SOLVER)).run(5, checkpoint=tmp_path, resume=True, progress=False)
    whole = federation(clean(), tacit.Scaffold(SOLVER)).run(5, progress=False)
    assert torch.equal(weights(longer), weights(whole))
    assert len(longer.rows) == 5


def test_resuming_a_run_that_is_done_gives_its_model(tmp_path):
    done = federation(clean()).run(3, checkpoint=tmp_path, progress=False)
    again = federation(clean()).run(3, checkpoint=tmp_path, resume=True, progress=False)
    assert torch.equal(weights(done), weights(again))
    assert again.rows == done.rows


def test_resume_and_other_weights_to_start_from_do_not_go_together(tmp_path):
    federation(clean()).run(1, checkpoint=tmp_path, progress=False)
    with pytest.raises(UsageError, match="leave start out"):
        federation(clean()).run(2, checkpoint=tmp_path, resume=True, start={}, progress=False)


def test_a_personal_rule_of_selection_can_give_clients_less_work():
    """Partial work: a budget of one step makes the round a single step of each client's first batch."""
    import numpy as np

    from tacit.selection.cohort import Cohort, Sampling

    class Short:
        def problems(self, clients):
            return []

        def draw(self, clients, seed, round):
            return Cohort(np.arange(clients), Sampling("everyone", clients, clients), np.ones(clients, dtype=np.int64))

    algorithm = tacit.FedNova(tacit.SGD(lr=0.1, batch_size=2, epochs=3))
    short = federation(clean(), algorithm, selection=Short()).run(2, progress=False)
    once = federation(clean(), tacit.FedNova(tacit.SGD(lr=0.1, batch_size=2, steps=1))).run(2, progress=False)
    assert torch.equal(weights(short), weights(once))


def test_runs_in_several_threads_give_the_bits_of_a_run_alone():
    net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))
    data = {k: (torch.randn(12, 2), torch.randn(12, 2)) for k in range(4)}

    def once(_=None):
        task = tacit.Task(net, torch.nn.functional.mse_loss)
        solver = tacit.SGD(lr=0.1, batch_size=4, epochs=2)
        return tacit.Federation(task, tacit.Population.from_arrays(data), tacit.FedAvg(solver), workers=1).run(3)

    alone = once()
    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(once, range(6)))
    assert {run.engine for run in runs} == {alone.engine}
    assert all(torch.equal(run.tensors[n], t) for run in runs for n, t in alone.tensors.items())


class Writing(torch.nn.Module):
    """Writes into its input."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)

    def forward(self, x):
        return self.layer(x.mul_(2.0))


@pytest.mark.parametrize("engine", ["eager", "traced", "vmapped"])
def test_a_model_that_writes_into_its_input_leaves_all_data_as_they_were(engine):
    x, y = torch.ones(12, 3), torch.ones(12, 1)
    data = {k: (x[4 * k : 4 * k + 4].clone(), y[:4].clone()) for k in range(3)}
    method = tacit.Scaffold(tacit.SGD(lr=0.01), option=1)
    run = tacit.Federation(
        tacit.Task(Writing(), torch.nn.functional.mse_loss), tacit.Population.from_arrays(data), method, engine=engine
    ).run(3, test=(x, y), progress=False)
    run.predict(x)
    assert torch.equal(x, torch.ones(12, 3))
    assert all(torch.equal(column, torch.ones(4, 3)) for column, _ in data.values())
    fresh = tacit.Federation(
        tacit.Task(Writing(), torch.nn.functional.mse_loss), tacit.Population.from_arrays(data), method, engine=engine
    )
    before = fresh.population[0][0].clone()
    fresh.run(2, progress=False)
    assert torch.equal(fresh.population[0][0], before)


class Backbone(torch.nn.Module):
    """A frozen layer, BatchNorm and a head."""

    def __init__(self):
        super().__init__()
        self.frozen, self.norm, self.head = torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1)
        self.frozen.requires_grad_(False)
        self.register_buffer("mask", torch.ones(3))

    def forward(self, x):
        return self.head(self.norm(self.frozen(x)) * self.mask)


def started(model, start):
    return federation(clean(), net=model).run(1, start=start, progress=False)


def test_what_a_warm_start_cannot_carry_is_refused_by_name():
    model = Backbone()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    started(model, weights)
    other = weights | {"frozen.weight": torch.zeros(3, 3), "mask": torch.zeros(3)}
    with pytest.raises(UsageError, match=r"\['frozen.weight', 'mask'\] have other values .*load_state_dict"):
        started(model, other)
    bad = weights | {"norm.running_mean": torch.zeros(7), "norm.running_var": torch.full((3,), float("nan"))}
    with pytest.raises(UsageError, match=r"running_mean has shape \(7,\), the model's has \(3,\)[^~]*NaN"):
        started(model, bad)


def test_buffers_that_a_warm_start_lacks_are_named_and_the_others_are_taken():
    model = Backbone()
    weights = model.state_dict() | {"norm.running_mean": torch.full((3,), 100.0), "norm.num_batches_tracked": 7}
    weights = {name: torch.as_tensor(tensor) for name, tensor in weights.items() if name != "norm.running_var"}
    with pytest.warns(tacit.errors.TacitWarning, match=r"lack the buffers \['norm.running_var'\]"):
        run = started(model, weights)
    assert (run.tensors["norm.running_mean"] > 50).all()
