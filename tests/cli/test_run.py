import csv
import json
import os
from pathlib import Path

import pytest

from tacit.plan import read
from tacit.record.report import size
from tacit.record.result import Result
from tacit.scenarios.scenario import scenario
from tests.cli.commands import TINY, Tacit

METRICS = {"HR@1", "HR@5", "HR@10", "MRR@10", "NDCG@10"}
METHODS = {"federated", "federated_private", "pooled", "local"}
METHODS |= {"most_popular", "most_frequent", "most_recent", "markov"}


def test_the_folder_holds_everything_that_a_run_leaves(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {"result.json", "history.csv", "plan.toml", "model.safetensors", "report.html", "run.json"} <= names
    rows = list(csv.DictReader((finished / "history.csv").open()))
    assert [row["round"] for row in rows] == ["1", "2"]
    assert all(float(row["test_HR@10"]) >= 0 for row in rows)
    report = (finished / "report.html").read_text()
    assert "SYNTHETIC" in report
    assert "src=" not in report


def test_the_result_follows_its_schema(finished: Path) -> None:
    result = Result.of((finished / "result.json").read_text(), "result.json")
    plan = read((finished / "plan.toml").read_text(), scenario)
    assert (result.version, result.plan_hash, result.seed, result.rounds) == (1, plan.hash, 0, 2)
    assert set(result.metrics) == METRICS
    assert set(result.comparison) == set(result.cold_start) == METHODS
    assert all(scores is None or set(scores) == METRICS for scores in result.comparison.values())
    assert result.comparison["federated"] == result.metrics
    assert result.comparison["pooled"] is None
    assert result.bytes_up_per_client >= 4 * result.parameters
    assert result.bytes_down == 2 * result.clients * result.bytes_down_per_client
    assert result.seconds == pytest.approx(sum(result.seconds_by_phase.values()))
    low, high = result.intervals["federated"]
    assert low <= (result.metrics["HR@10"] or 0) <= high
    assert result.data.synthetic


def test_every_field_of_the_result_says_what_it_means() -> None:
    assert all(field.description for field in Result.model_fields.values())


def test_json_stands_alone_on_standard_output(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit.run(tmp_path / "run", "--json")
    assert ended.code == 0
    assert ended.json == json.loads((tmp_path / "run" / "result.json").read_text())
    assert "round 2/2" in ended.err


def test_no_control_codes_reach_what_is_not_a_terminal(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit.run(tmp_path / "run")
    assert ended.code == 0
    assert not set("\x1b\r\b\x07") & set(ended.out + ended.err)
    assert "federated" in ended.out
    assert "cold start" in ended.out
    assert str(tmp_path / "run") in ended.out


def test_the_comparison_has_every_method_when_it_is_asked_for(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit.run(tmp_path / "run", "--compare", "--json", rounds=1)
    assert ended.code == 0
    for table in (ended.json["comparison"], ended.json["cold_start"]):
        assert set(table) == METHODS
        assert all(set(scores) == METRICS for scores in table.values())


def test_data_without_time_have_no_recency_and_no_markov(tacit: Tacit, tmp_path: Path) -> None:
    lines = ["who,what,where"]
    lines += [f"u{n % 6},a{(n * n + n // 6) % 9},{'home' if n % 2 else 'work'}" for n in range(180)]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    words = ["--data", tmp_path / "log.csv", "--user", "who", "--item", "what", "--context", "where", "--json"]
    more = ["--set", "model.hidden=4", "--engine", "eager", "--no-compare", "--rounds", "1", "--out", tmp_path / "run"]
    ended = tacit("run", "app-recommendation", *words, *more)
    assert ended.code == 0, ended.err
    assert ended.json["comparison"]["markov"] is None
    assert ended.json["comparison"]["most_recent"] is None
    assert set(ended.json["comparison"]["most_popular"]) == METRICS


def test_a_plan_file_repeats_the_run_and_options_win_over_it(tacit: Tacit, tmp_path: Path, finished: Path) -> None:
    again = tacit("run", finished / "plan.toml", "--out", tmp_path / "again", "--json")
    assert again.json["model_sha256"] == json.loads((finished / "result.json").read_text())["model_sha256"]
    other = tacit("run", finished / "plan.toml", "--out", tmp_path / "other", "--seed", "3", "--rounds", "1", "--json")
    assert (other.json["seed"], other.json["rounds"]) == (3, 1)
    assert other.json["plan_hash"] != again.json["plan_hash"]


def test_one_worker_and_two_give_the_same_bits(tacit: Tacit, tmp_path: Path) -> None:
    one, two = (tacit.run(tmp_path / n, "--workers", n, "--json").json for n in ("1", "2"))
    assert (one["workers"], two["workers"]) == (1, 2)
    assert one["model_sha256"] == two["model_sha256"]
    assert one["plan_hash"] == two["plan_hash"]


def test_clients_are_the_cohort_of_a_round(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit.run(tmp_path / "run", "--clients", "5", "--algorithm", "Scaffold", "--json")
    assert ended.json["bytes_up"] == 2 * 5 * ended.json["bytes_up_per_client"]


def test_the_default_folder_is_named_by_scenario_and_plan(
    tacit: Tacit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = tacit("run", "app-recommendation", *TINY, "--rounds", "1", "--json")
    folder = next((tmp_path / "runs").iterdir())
    assert folder.name.startswith("app-recommendation-")
    assert folder.name.endswith(ended.json["plan_hash"][:8])


def test_a_run_is_not_overwritten_unless_asked(tacit: Tacit, tmp_path: Path) -> None:
    assert tacit.run(tmp_path / "run", rounds=1).code == 0
    again = tacit.run(tmp_path / "run", rounds=1)
    assert (again.code, again.out) == (2, "")
    assert "--overwrite" in again.err
    assert tacit.run(tmp_path / "run", "--overwrite", rounds=1).code == 0


def test_a_folder_with_other_files_is_never_overwritten(tacit: Tacit, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "letter.txt").write_text("dear")
    assert tacit.run(tmp_path / "run", "--overwrite").code == 2
    assert (tmp_path / "run" / "letter.txt").read_text() == "dear"


def test_a_run_that_cannot_begin_leaves_no_folder(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit.run(tmp_path / "run", "--clients", "14")
    assert ended.code == 2
    assert "cohort" in ended.err
    broken = tacit.run(tmp_path / "run", "--set", "data.split.minimum=1000")
    assert broken.code == 3
    assert not (tmp_path / "run").exists()


def test_early_stopping_keeps_the_model_that_was_best_on_the_validation_part(tacit: Tacit, tmp_path: Path) -> None:
    stop = ["--set", "stop.patience.metric=test_HR@5", "--set", "stop.patience.mode=max"]
    stop += ["--set", "stop.patience.rounds=2", "--set", "solver.lr=5.0"]
    ended = tacit.run(tmp_path / "run", *stop, "--json", rounds=12)
    assert ended.code == 0
    measured = [float(row["test_HR@5"]) for row in csv.DictReader((tmp_path / "run" / "history.csv").open())]
    kept = ended.json["kept_round"]
    assert kept == measured.index(max(measured)) + 1 == ended.json["rounds"] - 2
    assert ended.json["validation"]["HR@5"] == pytest.approx(max(measured))
    once = tacit.run(tmp_path / "once", "--set", "solver.lr=5.0", "--json", rounds=kept)
    assert once.json["model_sha256"] == ended.json["model_sha256"]
    assert once.json["kept_round"] == once.json["rounds"] == kept


def test_the_report_names_the_part_that_was_measured_and_has_every_table(finished: Path) -> None:
    result = Result.of((finished / "result.json").read_text(), "result.json")
    report = (finished / "report.html").read_text()
    low, high = result.intervals["federated"]
    assert f"<td>{low:.4g} to {high:.4g}</td>" in report
    cold = report[report.index("Cold start") :]
    low, high = result.cold_start_intervals["federated"]
    assert f"<td>{low:.4g} to {high:.4g}</td>" in cold
    assert f"<td>{result.cold_start['federated']['HR@5']:.4g}</td>" in cold  # type: ignore[index]
    assert f"<b>{size(result.bytes_up)}</b><span>up in all" in report
    assert f"<b>{size(result.bytes_down)}</b><span>down in all" in report


def test_every_file_of_a_run_can_be_read_by_those_whom_the_umask_lets(tacit: Tacit, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        assert tacit.run(tmp_path / "run", rounds=1).code == 0
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert "model.safetensors" in modes
    assert "tensors.safetensors" in modes
    assert set(modes.values()) == {0o640}
