"""Whole runs with compressed reports: what goes together, what is refused, and what is told."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import tacit
from tacit.aggregation.compression import Codec, CountSketch, Quantise, RandomK, Rotate, TopK
from tacit.errors import IncompatibleOptions
from tacit.record import checkpoint
from tests.aggregation.compression.small import federation, people, same

ADDITIVE = [
    [Rotate()],
    [RandomK(0.5)],
    [CountSketch(3, 8, 10)],
    [Quantise(4)],
    [Quantise(1, range=0.5)],
    [Rotate(), Quantise(8, range=2.0)],
    [RandomK(0.5), Rotate(), Quantise(5)],
    [tacit.NormBound(1.0), CountSketch(3, 8, 10), Quantise(6)],
]
SGD = tacit.SGD(lr=0.05, epochs=2, batch_size=5)


def trained(stages, rounds=3, algorithm=None, **settings):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* were clamped to it")
        return federation(stages, algorithm, **settings).run(rounds, progress=False)


@pytest.mark.parametrize("stages", ADDITIVE, ids=str)
@pytest.mark.parametrize("bits", [32, 64])
def test_under_a_secure_sum_the_ideal_one_is_the_whole_protocol_bit_for_bit(stages, bits):
    lost = {"bits": bits, "lost": 0.03}
    ideal = trained(stages, 2, aggregation=tacit.SecureSum(**lost))
    full = trained(stages, 2, aggregation=tacit.SecureSum(protocol="full", **lost))
    assert same(ideal, full)
    assert ideal.history["bytes_up"].tolist() == full.history["bytes_up"].tolist()


@pytest.mark.parametrize("stages", [[Rotate()], [RandomK(0.5)], [CountSketch(3, 8, 10)]], ids=str)
def test_a_linear_stage_gives_under_a_secure_sum_what_it_gives_without(stages):
    plain, secure = trained(stages), trained(stages, aggregation=tacit.SecureSum(bits=64))
    for name, tensor in plain.tensors.items():
        torch.testing.assert_close(secure.tensors[name], tensor, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "algorithm",
    [tacit.FedNova(SGD), tacit.Scaffold(SGD), tacit.FedAdam(SGD), tacit.FedAvg(SGD, weights="uniform")],
    ids=lambda algorithm: type(algorithm).__name__,
)
@pytest.mark.parametrize("stages", [[TopK(0.2)], [Rotate(), Quantise(8)], [RandomK(0.5)]], ids=str)
def test_every_method_runs_with_it(algorithm, stages):
    run = trained(stages, 2, algorithm)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in run.tensors.values())
    assert not same(run, trained([], 2, algorithm))


@pytest.mark.parametrize("stages", [*ADDITIVE, [TopK(0.2)]], ids=str)
def test_bytes_up_in_the_history_are_those_of_the_codec(stages):
    fed = federation(stages)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* were clamped to it")
        run = fed.run(2, progress=False)
    codec, down = Codec(fed.chain, torch.float32), fed.chain.broadcast(fed.chain.init())
    message = codec.dump(torch.zeros(fed.chain.layout.size), down)
    assert run.facts["bytes_up_per_client"] == len(message)
    assert run.history["bytes_up"].tolist() == [12 * len(message)] * 2


def test_packed_sums_make_the_messages_of_a_secure_sum_shorter():
    def up(stages):
        data = {k: (torch.randn(4, 200), torch.randn(4, 20)) for k in range(10)}
        task = tacit.Task(nn.Linear(200, 20), nn.functional.mse_loss)
        population, sums = tacit.Population.from_arrays(data), tacit.SecureSum(bits=32)
        fed = tacit.Federation(task, population, tacit.FedAvg(SGD), stages=stages, aggregation=sums, workers=1)
        return fed.run(1, progress=False).facts["bytes_up_per_client"]

    plain, quantised, sparse = up([]), up([Quantise(4, range=2.0)]), up([RandomK(0.25)])
    words = 200 * 20 + 20
    # 7 for 10 clients: 70, 8 bits with the sign, four in a word; one scalar more, of four words
    assert plain - quantised == 4 * (words - words // 4 - 4)
    assert plain - sparse == 4 * (words - words // 4)


@pytest.mark.parametrize("stages", [[Rotate()], [RandomK(0.5)], [CountSketch(3, 8, 10)]], ids=str)
@pytest.mark.parametrize("mechanism", ["gaussian", "skellam"])
def test_what_comes_before_the_clip_of_a_private_run_is_undone_behind_it(stages, mechanism):
    """With hardly any noise and a clip that no report reaches, a private run is the plain one of uniform weights."""
    settings = {"aggregation": tacit.SecureSum()} if mechanism == "skellam" else {}
    plain = trained(stages, 2, tacit.FedAvg(SGD, weights="uniform"))
    quiet = tacit.UserLevel(noise_multiplier=0.02, clip=3.0, mechanism=mechanism)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        private = federation(stages, privacy=quiet, **settings).run(2, progress=False)
    for name, tensor in plain.tensors.items():
        torch.testing.assert_close(private.tensors[name], tensor, rtol=0, atol=0.1)
    assert not same(private, plain)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"aggregation": tacit.SecureSum()}, "the server must read every client's report"),
        ({"privacy": tacit.UserLevel(epsilon=4.0, clip=1.0)}, "which numbers a client sends follows from its data"),
        ({"robust": tacit.Median()}, "a rule that compares reports takes the zeros"),
        ({"robust": tacit.Median(groups=4)}, "a rule that compares reports takes the zeros"),
    ],
)
def test_top_k_is_refused_where_its_reports_cannot_be_read_or_mislead_and_says_why(options, reason):
    name = next(iter(options))
    with pytest.raises(IncompatibleOptions, match=rf"TopK\(share=0.01\) beside {name}=\w+: .*{reason}"):
        federation([TopK()], **options)


def test_quantisation_is_refused_beside_the_clip_of_a_private_run_and_says_why():
    with pytest.raises(
        IncompatibleOptions, match=r"Quantise.* beside privacy=UserLevel: .* rounded to a lattice already"
    ):
        federation([Quantise()], privacy=tacit.UserLevel(epsilon=4.0, clip=1.0))


def test_all_stages_that_cannot_stand_are_named_at_once():
    with pytest.raises(IncompatibleOptions) as found:
        federation([TopK(), Quantise()], privacy=tacit.UserLevel(epsilon=4.0, clip=1.0), robust=tacit.Median())
    assert "3 problems" in str(found.value)


def test_records_may_be_private_beside_top_k():
    level = tacit.RecordLevel(noise_multiplier=0.5, clip=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = tacit.FedAvg(tacit.SGD(lr=0.05, steps=1))
        run = federation([TopK(0.2)], method, record_privacy=level).run(2, progress=False)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in run.tensors.values())


@pytest.mark.parametrize("robust", [tacit.Median(), tacit.GeometricMedian(groups=4)], ids=repr)
@pytest.mark.parametrize("stages", [[Rotate(), Quantise(8, range=2.0)], [RandomK(0.5)]], ids=str)
def test_a_robust_rule_acts_on_what_is_decoded_from(stages, robust):
    run, mean = trained(stages, robust=robust), trained(stages)
    assert not same(run, mean)
    for name, tensor in run.tensors.items():
        torch.testing.assert_close(tensor, mean.tensors[name], rtol=0, atol=1.0)


@pytest.mark.parametrize(
    "stages", [[Rotate(), Quantise(4)], [RandomK(0.3)], [CountSketch(3, 8, 10)], [TopK(0.1)]], ids=str
)
def test_workers_change_no_bit(stages):
    one, two = (trained(stages, engine="eager", workers=count) for count in (1, 2))
    assert (one.facts["venue"], two.facts["venue"]) == ("threads", "processes")
    assert same(one, two)


@pytest.mark.parametrize("algorithm", [tacit.FedAvg(SGD), tacit.Scaffold(SGD)], ids=["FedAvg", "Scaffold"])
@pytest.mark.parametrize(
    "stages", [[Rotate(), Quantise(4)], [RandomK(0.3)], [CountSketch(3, 8, 10)], [TopK(0.1)]], ids=str
)
def test_a_run_goes_on_from_a_checkpoint_bit_for_bit(stages, algorithm, tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* were clamped to it")
        whole = federation(stages, algorithm).run(6, progress=False)
        federation(stages, algorithm).run(3, progress=False, checkpoint=tmp_path)
        resumed = federation(stages, algorithm).run(6, progress=False, checkpoint=tmp_path, resume=True)
    assert same(whole, resumed)
    assert whole.history["bytes_up"].tolist() == resumed.history["bytes_up"].tolist()


@pytest.mark.parametrize("algorithm", [tacit.FedAvg(SGD), tacit.Scaffold(SGD)], ids=["FedAvg", "Scaffold"])
def test_a_client_that_was_not_counted_remembers_nothing_new(algorithm, tmp_path):
    """One of six has data that break its training: the others run and remember as if it were not there."""
    data = people(6)
    broken = tacit.Population.from_arrays(dict(data) | {"p5": (data["p5"][0] * 1e30, data["p5"][1])})
    without = tacit.Population.from_arrays({name: pair for name, pair in data.items() if name != "p5"})
    stages = [TopK(0.1)]
    with pytest.warns(tacit.errors.TacitWarning, match="set aside and not counted"):
        run = federation(stages, algorithm, population=broken).run(4, progress=False, checkpoint=tmp_path / "all")
    alone = federation(stages, algorithm, population=without).run(4, progress=False, checkpoint=tmp_path / "five")
    tensors, expected = (checkpoint.latest(tmp_path / name).tensors for name in ("all", "five"))
    assert tensors["memory.clients"].tolist() == [0, 1, 2, 3, 4]
    if isinstance(algorithm, tacit.FedAvg):  # Scaffold counts all clients of the population in its control variate
        assert same(run, alone)
        assert torch.equal(tensors["memory.values"], expected["memory.values"])
    assert bool(tensors["memory.values"].any())


def hill(stages, rounds, lr=0.2, targets=None, **settings):
    """Clients k hold one example x = 1, y = t_k: the loss is |w - t_k|^2, the optimum the mean of t_k; distance to it
    after so many rounds."""
    if targets is None:
        targets = torch.randn(6, 30, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    d = targets.shape[1]

    class Point(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(d, dtype=torch.float64))

        def forward(self, x):
            return self.w.expand(len(x), d)

    data = {k: (torch.ones(1, 1, dtype=torch.float64), targets[k : k + 1]) for k in range(len(targets))}
    task = tacit.Task(Point(), lambda output, y: ((output - y) ** 2).sum(1).mean())
    fed = tacit.Federation(
        task,
        tacit.Population.from_arrays(data),
        tacit.FedAvg(tacit.SGD(lr=lr, epochs=1, batch_size=1)),
        stages=stages,
        engine="eager",
        workers=1,
        **settings,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* were clamped to it")
        return float((fed.run(rounds, progress=False).tensors["w"] - targets.mean(0)).norm())


def test_without_compression_the_distance_shrinks_by_the_factor_that_is_computed_by_hand():
    """One step goes `2 lr` of the way to each client's target: the distance shrinks by `1 - 2 lr` in every round."""
    assert hill([], 10) / hill([], 5) == pytest.approx(0.6**5, rel=1e-6)


@pytest.mark.parametrize("aggregation", [None, tacit.SecureSum()], ids=["plain", "secure"])
def test_quantised_descent_reaches_the_optimum_to_within_its_lattice(aggregation):
    """An error of at most one step a round, of which `1 - 2 lr = 0.6` is left in the next: at most 2.5 steps in all,
    for each of 30 coordinates, around the optimum that is reached without."""
    step = 2.0 / 127
    assert hill([Quantise(8, range=2.0)], 40, aggregation=aggregation) <= 2.5 * step * 30**0.5


def test_with_error_feedback_a_tenth_of_the_coordinates_reaches_what_all_do():
    """Targets of clients differ, so that without memory a client would send the same large coordinates for ever."""
    far = hill([], 0 + 1, lr=0.02)
    assert hill([TopK(0.1)], 150, lr=0.02) < 0.1 * far


def test_random_k_reaches_the_optimum():
    """At the optimum updates of clients cancel in the sum, and so they do on the coordinates that are drawn: with
    `2 lr d / k = 0.8` of the way for these, the distance shrinks to nothing."""
    assert hill([RandomK(0.5)], 80) < 1e-6


def test_a_sketch_finds_the_few_coordinates_that_matter():
    """An optimum of three coordinates among 400, in a sketch of 150 numbers of which five are taken in a round."""
    targets = torch.zeros(4, 400, dtype=torch.float64)
    targets[:, [3, 150, 399]] = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    targets[0, 3] = 5.0
    begin = float(targets.mean(0).norm())
    assert hill([CountSketch(5, 30, 5)], 60, lr=0.1, targets=targets) < 0.01 * begin
