"""Runs whose reports are encrypted: the sums of secure aggregation bit for bit, and what they say of themselves."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tacit
import tacit.aggregation
from tacit import errors
from tacit.record import leaving
from tacit.record.report import write

SGD = tacit.SGD(lr=0.1, epochs=2, batch_size=5)


def federation(count: int = 7, algorithm: tacit.Algorithm | None = None, **settings: object) -> tacit.Federation:
    torch.manual_seed(1)
    data = {f"silo-{k}": (torch.randn(4 + k, 3), torch.randn(4 + k, 1)) for k in range(count)}
    task = tacit.Task(nn.Linear(3, 1), nn.functional.mse_loss)
    population = tacit.Population.from_arrays(data)
    return tacit.Federation(task, population, algorithm or tacit.FedAvg(SGD), workers=1, **settings)  # type: ignore[arg-type]


def trained(rounds: int = 2, **settings: object) -> tacit.Run:
    return federation(**settings).run(rounds, progress=False)  # type: ignore[arg-type]


def same(one: tacit.Run, other: tacit.Run) -> bool:
    return all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


ALGORITHMS = [tacit.FedAvg(SGD), tacit.FedNova(SGD), tacit.Scaffold(SGD)]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("stages", [(), (tacit.NormBound(0.3),)], ids=["plain", "bounded"])
def test_encrypted_sums_are_those_of_secure_aggregation_bit_for_bit(algorithm, bits, stages) -> None:
    masked = trained(algorithm=algorithm, stages=stages, aggregation=tacit.SecureSum(bits=bits))
    ideal, full = (
        trained(algorithm=algorithm, stages=stages, aggregation=tacit.SharedKeySum(bits=bits, protocol=protocol))
        for protocol in ("ideal", "full")
    )
    assert same(masked, ideal) and same(ideal, full)
    assert full.facts["aggregation"]["simulated"] == "full" and full.facts["aggregation"]["bits"] == bits


@pytest.mark.parametrize("privacy", [tacit.UserLevel(epsilon=8.0, clip=0.5, insecure_seed=1), None])
def test_the_ideal_sum_is_the_encrypted_one_where_silos_are_lost_and_reports_noised(privacy) -> None:
    one, other = (
        trained(
            count=16,
            rounds=3,
            privacy=privacy,
            aggregation=tacit.SharedKeySum(protocol=protocol, minimum=3, lost=(0.2, 0.3)),
        )
        for protocol in ("ideal", "full")
    )
    assert same(one, other)
    if privacy is None:
        assert list(one.history["lost"]) == list(other.history["lost"]) and sum(one.history["lost"]) > 0


def test_a_silo_beyond_the_range_is_left_out_of_the_encrypted_sum() -> None:
    how = {"range": 0.5, "minimum": 3}
    with pytest.warns(tacit.TacitWarning, match="range"):
        masked = trained(1, aggregation=tacit.SecureSum(**how))
    with pytest.warns(tacit.TacitWarning, match="range"):
        full = trained(1, aggregation=tacit.SharedKeySum(protocol="full", **how))
    assert same(masked, full) and full.history["clients"].iloc[0] == 6


def test_a_round_with_too_few_silos_fails_and_so_does_one_that_nobody_is_left_to_decrypt() -> None:
    for lost, said in (((0.95, 0.0), "uploading"), ((0.0, 0.999999), "decrypting")):
        with pytest.raises(errors.InsufficientSurvivors, match=said):
            trained(aggregation=tacit.SharedKeySum(lost=lost, minimum=3))


def test_a_run_says_who_can_decrypt_and_what_every_message_weighs() -> None:
    told = trained(1, aggregation=tacit.SharedKeySum()).facts["aggregation"]
    assert told["protocol"] == "shared-key BFV" and told["security_bits"] == 128 and told["silos"] == 7
    assert told["who_can_decrypt"] == "any one silo together with the server can decrypt every report"
    page = leaving.page(told)
    assert "Any one silo together with the server can decrypt every report: all 7 silos share one key" in page
    assert all(f"<td>{name}</td>" in page for name in leaving.SHARED_KEY)
    assert f"{told['bytes_up']['report']:,}" in page
    assert "together with it can decrypt everything" in (tacit.SharedKeySum.__doc__ or "")


def test_the_report_of_a_run_shows_what_left_a_silo(tmp_path: Path) -> None:
    run = trained(1, aggregation=tacit.SharedKeySum())
    page = write(run, tmp_path / "report.html").read_text()
    assert "sealed for each other silo" in page and "any one silo together with the server" in page.lower()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"minimum": 2}, "minimum is 2"),
        ({"minimum": 8}, "sums are of 8 clients or more"),
        ({"range": -1.0}, "range is -1.0"),
        ({"protocol": "half"}, "protocol is 'half'"),
        ({"bits": 48}, "bits is 48"),
        ({"most_examples": 0}, "most_examples is 0"),
        ({"lost": (0.1, 0.1, 0.1)}, "one for each of report, decrypt"),
        ({"lost": 1.0}, "lost is"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_the_run(settings, said) -> None:
    with pytest.raises(errors.UsageError, match=said):
        federation(aggregation=tacit.SharedKeySum(**settings))


def test_numbers_too_large_for_the_words_are_refused_with_the_missing_bits() -> None:
    with pytest.raises(errors.BitBudgetError, match="more bits"):
        federation(aggregation=tacit.SharedKeySum(bits=32), count=800)


def test_without_the_library_the_error_says_how_to_install_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tenseal", None)
    with pytest.raises(errors.UsageError, match=r"pip install 'tacit\[he\]'"):
        federation(aggregation=tacit.SharedKeySum())


@pytest.mark.parametrize("module", ["homomorphic", "shared_key.parameters", "shared_key.cipher"])
def test_no_module_needs_the_library_to_be_imported(module: str, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tenseal", None)
    assert runpy.run_path(str(Path(tacit.aggregation.__path__[0], *module.split(".")).with_suffix(".py")))


def test_noise_under_masks_and_sums_of_groups_are_not_for_a_shared_key() -> None:
    with pytest.raises(errors.TacitError, match="SecureSum"):
        federation(
            count=12,
            aggregation=tacit.SharedKeySum(minimum=3),
            privacy=tacit.UserLevel(epsilon=8.0, clip=0.5, mechanism="skellam"),
        )
    with pytest.raises(errors.IncompatibleOptions, match="SharedKeySum makes one of the whole cohort"):
        federation(count=12, aggregation=tacit.SharedKeySum(minimum=3), robust=tacit.Median(groups=3))


def test_a_plan_can_name_it() -> None:
    from tacit.plan.parts import part_fields

    assert set(part_fields("aggregation", "SharedKeySum")) == {
        "minimum",
        "range",
        "protocol",
        "bits",
        "most_examples",
        "lost",
    }
    assert np.all([name in part_fields("aggregation", "SecureSum") for name in ("minimum", "range", "bits")])
