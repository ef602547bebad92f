"""What can be seen before the run is reported before it: all problems in one error, with clients and remedies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tacit
from tacit.errors import DataError, TacitError, UsageError
from tests.faults.scenes import SOLVER, clean, federation, model


def labels(data, classes=3):
    return {k: (x, np.arange(len(x)) % classes) for k, (x, _) in data.items()}


def test_nan_and_inf_name_their_clients_and_say_what_to_do():
    data = clean()
    data["b"][0][2, 1] = np.nan
    data["d"][1][0] = np.inf
    with pytest.raises(DataError) as caught:
        federation(data)
    text = str(caught.value)
    assert "2 problems" in text
    assert "x holds NaN or Inf in 1 examples of clients 'b'" in text
    assert "y holds NaN or Inf in 1 examples of clients 'd'" in text
    assert "fill or drop" in text


def test_a_client_without_examples_is_named_together_with_other_problems():
    data = clean()
    data["a"] = (np.empty((0, 3), np.float32), np.empty((0, 1), np.float32))
    data["e"] = (np.zeros((6, 4), np.float32), np.zeros((6, 1), np.float32))
    data["c"] = (np.zeros((6, 3), np.float32), np.zeros((5, 1), np.float32))
    with pytest.raises(DataError) as caught:
        tacit.Population.from_arrays(data)
    text = str(caught.value)
    assert "'a' has no examples" in text
    assert "'e'" in text and "(4,)" in text
    assert "'c' has 6 inputs and 5 targets" in text


def test_ids_that_are_equal_as_text_are_refused():
    x, y = clean()["a"]
    with pytest.raises(DataError, match=r"'1' occur more than once"):
        tacit.Population.from_arrays({1: (x, y), "1": (x, y)})


@pytest.mark.parametrize("loss", [torch.nn.functional.cross_entropy, torch.nn.CrossEntropyLoss()])
def test_labels_outside_the_classes_name_values_clients_and_the_range(loss):
    data = labels(clean())
    data["b"][1][0], data["d"][1][1] = 7, -3
    with pytest.raises(
        DataError, match=r"labels \[-3, 7\] of clients 'b', 'd' are outside the model's 3 classes.*0 to 2"
    ):
        federation(data, loss=loss, net=model(3))


def test_the_class_that_a_loss_ignores_is_no_mistake():
    data = labels(clean())
    data["b"][1][0] = -100
    assert federation(data, loss=torch.nn.functional.cross_entropy, net=model(3)).run(1, progress=False).rows


def test_a_cohort_larger_than_the_population_is_refused_with_both_numbers():
    with pytest.raises(UsageError, match=r"cohort is 9 of 5 clients: give a whole number from 1 to 5"):
        federation(clean(), selection=tacit.Uniform(9))


@pytest.mark.parametrize("cohort", [0, -1, 2.5, "all", None])
def test_a_cohort_that_is_no_count_is_refused(cohort):
    with pytest.raises(UsageError, match="cohort is"):
        federation(clean(), selection=tacit.Uniform(cohort))


def test_a_loss_that_returns_a_vector_is_refused():
    with pytest.raises(DataError, match=r"the loss returns \(2, 1\), not a scalar: average it"):
        federation(clean(), loss=torch.nn.MSELoss(reduction="none"))


def test_a_loss_that_returns_no_tensor_is_refused():
    with pytest.raises(DataError, match=r"the loss returns float, not a scalar"):
        federation(clean(), loss=lambda output, target: 1.0)


def test_a_model_without_parameters_is_refused():
    with pytest.raises(UsageError, match="no parameter to train"):
        tacit.Task(torch.nn.ReLU(), torch.nn.functional.mse_loss)


def test_examples_of_a_shape_that_the_model_does_not_take_are_refused_with_the_shapes():
    with pytest.raises(DataError, match=r"fails on examples of client 'a' \(x \(2, 3\) torch.float32"):
        federation(clean(), net=torch.nn.Linear(5, 1))


def test_a_metric_that_gives_no_number_is_refused_by_name():
    task = tacit.Task(model(), torch.nn.functional.mse_loss, metrics={"spread": lambda output, target: output - target})
    with pytest.raises(DataError, match="metric 'spread' does not give a number"):
        tacit.Federation(task, tacit.Population.from_arrays(clean()), tacit.FedAvg(SOLVER))


def test_everything_that_is_wrong_is_said_at_once():
    data = clean()
    data["b"][0][0, 0] = np.nan
    with pytest.raises(TacitError) as caught:
        federation(
            data,
            tacit.FedAdam(SOLVER, beta1=1.0, tau=0.0),
            selection=tacit.Uniform(8),
            workers=0,
            minimum=2,
            engine="warp",
            seed="one",
        )
    text = str(caught.value)
    for part in ("beta1 is 1.0", "tau is 0.0", "cohort is 8", "workers is 0", "minimum is 2", "'warp'", "'one'", "'b'"):
        assert part in text, part
    assert "8 problems" in text


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"algorithm": tacit.FedAvg}, "algorithm is a"),
        ({"algorithm": tacit.FedAvg(0.1)}, "solver is 0.1"),
        ({"algorithm": tacit.FedAvg(torch.optim.SGD)}, "solver is"),
        ({"selection": 3}, "selection is 3"),
        ({"selection": tacit.Uniform}, "selection is"),
        ({"workers": 1.5}, "workers is 1.5"),
        ({"workers": "2"}, "workers is '2'"),
        ({"algorithm": tacit.FedAvg(SOLVER, weights="size")}, "weights is 'size'"),
        ({"algorithm": tacit.FedAvg(SOLVER, server_lr=0.0)}, "server_lr is 0.0"),
        ({"algorithm": tacit.FedProx(SOLVER, mu=-1.0)}, "mu is -1.0"),
        ({"algorithm": tacit.FedProx(SOLVER, mu=float("nan"))}, "mu is nan"),
        ({"algorithm": tacit.FedNova(SOLVER, mu=-1.0)}, "mu is -1.0"),
        ({"algorithm": tacit.FedNova(tacit.Adam())}, "FedNova needs local SGD, not Adam"),
        ({"algorithm": tacit.Scaffold(tacit.Adam())}, "SCAFFOLD needs local SGD, not Adam"),
        ({"algorithm": tacit.Scaffold(SOLVER, option=3)}, "option is 3"),
        ({"algorithm": tacit.Scaffold(SOLVER, weights="examples")}, "SCAFFOLD's c is a plain mean"),
        ({"algorithm": tacit.FedDyn(SOLVER, alpha=0.0)}, "alpha is 0.0"),
        ({"algorithm": tacit.FedDyn(SOLVER, weights="examples")}, "FedDyn's h is a plain mean"),
        ({"algorithm": tacit.FedAvgM(SOLVER, momentum=1.0)}, "momentum is 1.0"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_choice_that_cannot_work_is_refused_with_its_value(arguments, part):
    with pytest.raises(UsageError) as caught:
        federation(clean(), **arguments)
    assert part in str(caught.value)


def test_a_population_that_is_none_says_how_to_make_one():
    task = tacit.Task(model(), torch.nn.functional.mse_loss)
    with pytest.raises(UsageError, match=r"population is a dict: make one with Population.from_arrays"):
        tacit.Federation(task, clean(), tacit.FedAvg(SOLVER))


def test_a_task_that_is_none_is_refused():
    with pytest.raises(UsageError, match=r"task is a Linear: give a tacit.Task"):
        tacit.Federation(model(), tacit.Population.from_arrays(clean()), tacit.FedAvg(SOLVER))


@pytest.mark.parametrize("batch_size", [1, 5])
def test_batch_norm_refuses_batches_of_one_example_before_the_run(batch_size):
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))
    with pytest.raises(UsageError, match=r"BatchNorm.*batch of one example"):
        federation(clean(), tacit.FedAvg(tacit.SGD(lr=0.1, batch_size=batch_size)), net=net)


def test_batch_norm_over_several_values_of_one_example_is_no_mistake():
    rng = np.random.default_rng(0)
    data = {"a": (rng.normal(size=(3, 2, 4)).astype("f4"), rng.normal(size=(3, 2)).astype("f4"))}
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten())
    run = federation(data, tacit.FedAvg(tacit.SGD(lr=0.1, batch_size=2)), net=net).run(1, progress=False)
    assert np.isfinite(run.history["loss"][0])


@pytest.mark.parametrize("rounds", [0, -1, 2.5, "3", None, True])
def test_a_number_of_rounds_that_is_none_is_refused(rounds):
    with pytest.raises(UsageError, match="rounds is"):
        federation(clean()).run(rounds, progress=False)


@pytest.mark.parametrize(
    ("test", "part"),
    [
        ((np.zeros((4, 3), "f4"), np.zeros((3, 1), "f4")), "one target for each input"),
        ((np.zeros((0, 3), "f4"), np.zeros((0, 1), "f4")), "at least one"),
        ((np.zeros((4, 7), "f4"), np.zeros((4, 1), "f4")), "fails on it"),
        ((np.full((4, 3), np.nan, "f4"), np.zeros((4, 1), "f4")), "x holds NaN or Inf"),
        (3, "test is a int"),
    ],
    ids=["lengths", "empty", "shape", "nan", "type"],
)
def test_a_test_set_that_cannot_be_used_is_refused_before_the_first_round(test, part):
    trained = []

    class Started(tacit.Callback):
        def on_start(self, rounds, facts):
            trained.append(rounds)

    with pytest.raises(TacitError) as caught:
        federation(clean()).run(2, test=test, callbacks=[Started()], progress=False)
    assert part in str(caught.value)
    assert not trained


def test_weights_to_start_from_that_do_not_fit_are_refused_by_name():
    fed = federation(clean())
    with pytest.raises(UsageError, match=r"missing \['bias'\][^~]*weight has shape \(2, 2\)"):
        fed.run(1, start={"weight": torch.zeros(2, 2)}, progress=False)
    with pytest.raises(UsageError, match="NaN or Inf"):
        fed.run(1, start={"weight": torch.full((1, 3), float("nan")), "bias": torch.zeros(1)}, progress=False)


def test_memory_that_cannot_be_reserved_is_refused_in_gigabytes():
    from tacit.venue.memory import ClientMemory

    with pytest.raises(UsageError, match=r"GiB.*take a method without client memory"):
        ClientMemory(10**9, 10**9, torch.float32)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"until": 5}, "until is 5: give a list"),
        ({"until": "loss"}, "until is 'loss': give a list"),
        ({"until": tacit.Patience}, "until is <class"),
        ({"until": [tacit.Patience(), 3]}, "until holds 3"),
        ({"callbacks": 5}, "callbacks is 5: give a list"),
        ({"callbacks": tacit.Callback()}, "give a list, such as [tacit.Callback()]"),
        ({"callbacks": [print]}, "callbacks holds <built-in function print>"),
        ({"callbacks": [tacit.Callback]}, "callbacks holds <class"),
        ({"start": model()}, "start is a model (Linear): give its weights, start=model.state_dict()"),
        ({"start": 5}, "start is 5: give a mapping of tensors, or the path"),
        ({"start": {"weight": np.zeros((1, 3))}}, "start holds no tensor of real numbers for 'weight': give one"),
        ({"start": {"weight": torch.zeros(1, 3, dtype=torch.complex64)}}, "no tensor of real numbers for 'weight'"),
        (
            {"start": torch.nn.Linear(3, 1, device="meta").state_dict()},
            "no tensor of real numbers for 'weight', 'bias'",
        ),
        ({"checkpoint": 5}, "checkpoint is 5: give a path"),
        ({"checkpoint_every": "10"}, "checkpoint_every is '10'"),
        ({"evaluate_every": True}, "evaluate_every is True"),
        ({"resume": "yes"}, "resume is 'yes': give True or False"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_an_argument_of_a_run_that_is_something_else_is_refused_with_its_value(arguments, words):
    with pytest.raises(UsageError) as caught:
        federation(clean()).run(**{"rounds": 1, "progress": False, **arguments})
    assert words in str(caught.value)


def test_all_that_is_wrong_with_the_arguments_of_a_run_is_said_at_once():
    with pytest.raises(UsageError, match="6 problems"):
        federation(clean()).run("3", until=5, callbacks=5, checkpoint=5, evaluate_every=0, start=model())


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ("x", "stages is 'x': give a list"),
        (5, "stages is 5"),
        (tacit.NormBound(1.0), "stages is NormBound(limit=1.0): give a list, such as [tacit.NormBound(1.0)]"),
        ([1, tacit.NormBound(1.0), print], "stages holds <built-in function print>"),
        ([tacit.NormBound], "stages holds <class"),
    ],
    ids=["text", "number", "one", "others", "class"],
)
def test_stages_that_are_none_are_refused_with_the_form_to_give(stages, words):
    with pytest.raises(UsageError) as caught:
        federation(clean(), stages=stages)
    assert words in str(caught.value)


@pytest.mark.parametrize("limit", ["1", None, True, 0, float("inf"), float("nan")])
def test_a_norm_limit_that_is_no_positive_number_is_refused(limit):
    with pytest.raises(UsageError, match="the norm limit is"):
        tacit.NormBound(limit)


@pytest.mark.parametrize("metrics", [[torch.nn.functional.mse_loss], torch.nn.functional.mse_loss, "loss", 5])
def test_metrics_that_are_no_mapping_are_refused(metrics):
    with pytest.raises(UsageError, match=r"metrics is .*: give a mapping \{name: function\}"):
        tacit.Task(model(), torch.nn.functional.mse_loss, metrics=metrics)


def test_everything_that_is_wrong_with_a_task_is_said_at_once():
    with pytest.raises(UsageError) as caught:
        tacit.Task("model", "loss", metrics=[], buffers="none")
    assert "4 problems" in str(caught.value)


def test_a_model_on_the_meta_device_is_refused_by_its_parameters():
    with pytest.raises(UsageError, match=r"\['weight', 'bias'\] are on the meta device"):
        tacit.Task(torch.nn.Linear(3, 1, device="meta"), torch.nn.functional.mse_loss)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"selection": tacit.Uniform(True)}, "the cohort is True"),
        ({"selection": 0}, "selection is 0"),
        ({"seed": True}, "seed is True"),
        ({"seed": 1.0}, "seed is 1.0"),
        ({"workers": True}, "workers is True"),
        ({"minimum": True}, "minimum is True"),
        ({"minimum": "half"}, "minimum is 'half'"),
        ({"minimum": float("nan")}, "minimum is nan"),
        ({"engine": ["eager"]}, "engine is ['eager']"),
        ({"device": []}, "device is []"),
        ({"device": 99}, "device is 99"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_an_option_of_another_type_is_refused_with_its_value(options, words):
    with pytest.raises(UsageError) as caught:
        federation(clean(), **options)
    assert words in str(caught.value)


def test_choices_are_checked_even_where_population_and_task_are_none():
    with pytest.raises(UsageError) as caught:
        tacit.Federation(model(), [1, 2], tacit.FedProx(SOLVER, mu="1"), workers=0, stages="x")
    for part in (
        "task is a Linear",
        "population is a list",
        "mu is '1'",
        "workers is 0",
        "stages is 'x'",
        "5 problems",
    ):
        assert part in str(caught.value)


def test_a_solver_that_lacks_what_a_solver_offers_is_refused():
    class Half:
        lr, batch_size, epochs, steps = 0.1, None, None, None

        def update(self, y, g, slots, lr, step):
            y.sub_(g, alpha=lr)

    with pytest.raises(UsageError, match="the algorithm's solver is"):
        federation(clean(), tacit.FedAvg(Half()))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_schedule_that_fails_in_a_later_round_ends_the_run_with_its_value(workers):
    class Late:
        def at(self, round):
            return 0.1 if round < 2 else "0.1"

    with pytest.raises(UsageError, match=r"gives '0.1' in round 3: at\(round\) must give a finite number"):
        federation(clean(), tacit.FedAvg(tacit.SGD(lr=Late())), workers=workers).run(3, progress=False)


def test_a_file_in_the_place_of_a_folder_for_checkpoints_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file is a file: give a folder"):
        federation(clean()).run(1, checkpoint=tmp_path / "file", progress=False)


def test_the_class_of_a_loss_is_no_loss():
    with pytest.raises(UsageError, match="loss is <class"):
        tacit.Task(model(), torch.nn.MSELoss)
