"""The verbs that look: help, plan, runs, show, recommend, export, data, doctor, scenarios."""

import importlib.util
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import tacit as package
from tacit.plan import read
from tacit.scenarios.scenario import REGISTRY, scenario
from tests.cli.commands import Ended, Tacit

VERBS = ("run", "resume", "runs", "show", "recommend", "export", "scenarios", "plan", "data", "doctor")


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
from tacit.cli.main import main
assert main(["--help"]) == 0
heavy = {"torch", "numpy", "pandas", "numba", "matplotlib", "pydantic", "scipy"} & set(sys.modules)
assert not heavy, heavy
"""
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_every_verb_has_a_help_with_an_example(tacit: Tacit) -> None:
    for verb in VERBS:
        ended = tacit(verb, "--help")
        assert ended.code == 0
        assert "Example" in ended.out or verb == "plan"
    for verb in ("check", "show"):
        assert "Example" in tacit("plan", verb, "--help").out


def test_the_version_is_that_of_the_package(tacit: Tacit) -> None:
    ended = tacit("--version")
    assert (ended.code, ended.out) == (0, f"tacit {package.__version__}\n")


def test_scenarios_are_listed(tacit: Tacit) -> None:
    ended = tacit("scenarios")
    assert all(name in ended.out for name in REGISTRY)


def test_a_shown_plan_is_a_plan(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit("plan", "show", "app-recommendation", "--set", "rounds=7")
    assert read(ended.out, scenario).rounds == 7
    (tmp_path / "plan.toml").write_text(ended.out)
    assert tacit("plan", "show", tmp_path / "plan.toml").out == ended.out
    checked = tacit("plan", "check", tmp_path / "plan.toml")
    assert checked.code == 0
    assert read(ended.out, scenario).hash in checked.out


def test_a_bad_plan_is_checked_with_all_problems_and_lines(tacit: Tacit, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text('version = 1\nscenario = "app-recommendation"\nround = 3\n[solver]\nlr = "x"\n')
    ended = tacit("plan", "check", tmp_path / "plan.toml")
    assert (ended.code, ended.out) == (2, "")
    assert "line 3: there is no 'round' in a plan: did you mean 'rounds'?" in ended.err
    assert 'line 5: lr is "x": give a number' in ended.err


def test_checking_a_plan_looks_for_its_data(tacit: Tacit, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text('version = 1\nscenario = "app-recommendation"\n[data]\nsource = "no/log.csv"\n')
    assert tacit("plan", "check", tmp_path / "plan.toml").code == 3


def table(folder: Path) -> Path:
    """A log of 12 users with 12 events each, in columns of its own."""
    path = folder / "log.csv"
    rows = [f"user{n % 12},app{(n * n) % 7},{1_700_000_000 + 700 * n}" for n in range(144)]
    path.write_text("\n".join(["who,app,at", *rows]))
    return path


def checked(tacit: Tacit, folder: Path, text: str) -> Ended:
    (folder / "plan.toml").write_text(f'version = 1\nscenario = "app-recommendation"\n{text}')
    return tacit("plan", "check", folder / "plan.toml")


def test_columns_that_a_table_lacks_and_a_cohort_that_it_cannot_fill_are_problems_of_a_plan(
    tacit: Tacit, tmp_path: Path
) -> None:
    data = f'[data]\nsource = "{table(tmp_path)}"\nuser = "who"\nitem = "appp"\ntime = "when"\n'
    ended = checked(tacit, tmp_path, data + '[selection]\nname = "Uniform"\ncohort = 12\n[run]\nworkers = 0\n')
    assert (ended.code, ended.out) == (2, "")
    for words in (
        "4 problems",
        "line 6: no column 'appp': did you mean 'app'?",
        "line 7: no column 'when'",
        "line 10: the cohort is 12 of 11 clients",
        "line 12: workers is 0",
    ):
        assert words in ended.err
    assert checked(tacit, tmp_path, data).code == 3
    mended = data.replace("appp", "app").replace("when", "at")
    assert checked(tacit, tmp_path, mended + '[selection]\nname = "Uniform"\ncohort = 11\n').code == 0


def test_a_table_of_an_unknown_format_and_a_dataset_without_interactions_fail_the_check(
    tacit: Tacit, tmp_path: Path
) -> None:
    unmapped = checked(tacit, tmp_path, f'[data]\nsource = "{table(tmp_path)}"\n')
    assert unmapped.code == 3
    assert "line 4: log.csv is none of the known formats" in unmapped.err
    other = checked(tacit, tmp_path, '[data]\nsource = "mnist"\n')
    assert other.code == 3
    assert "line 4: mnist holds no interactions" in other.err


def test_an_accelerator_that_is_not_there_fails_the_check_of_a_plan(tacit: Tacit, tmp_path: Path) -> None:
    ended = checked(tacit, tmp_path, '[run]\ndevice = "tpu"\nworkers = 0\n')
    assert ended.code == 2
    assert 'line 4: device is "tpu": torch finds no such accelerator here' in ended.err
    assert "line 5: workers is 0" in ended.err


def test_the_scenarios_that_datasets_name_exist(tacit: Tacit) -> None:
    from tacit.scenarios import datasets

    named = [re.findall(r"\(([a-z-]+)\)$", datasets.dataset(name).about) for name in datasets.names()]
    assert {scenario for found in named for scenario in found} == set(REGISTRY) - {"own"}


def test_the_module_is_the_command() -> None:
    line = [sys.executable, "-m", "tacit", "--version"]
    assert subprocess.run(line, check=True, capture_output=True, text=True).stdout == f"tacit {package.__version__}\n"


def test_a_plan_that_was_edited_keeps_its_old_hash_only_as_a_note(tacit: Tacit, tmp_path: Path) -> None:
    shown = tacit("plan", "show", "app-recommendation").out
    (tmp_path / "plan.toml").write_text(shown.replace("seed = 0", "seed = 1"))
    ended = tacit("plan", "check", tmp_path / "plan.toml")
    assert ended.code == 0
    assert "hash" in ended.err


def test_runs_are_listed(tacit: Tacit, finished: Path) -> None:
    assert "finished" in tacit("runs", finished.parent).out
    listed = tacit("runs", finished.parent, "--json").json
    assert [(line["state"], line["rounds"]) for line in listed] == [("finished", 2)]
    empty = tacit("runs", finished / "checkpoints")
    assert (empty.code, empty.out) == (0, "")


def test_a_run_is_shown_with_its_tables(tacit: Tacit, finished: Path) -> None:
    ended = tacit("show", finished)
    assert "federated" in ended.out
    assert "SYNTHETIC" in ended.out
    assert tacit("show", finished, "--json").json == json.loads((finished / "result.json").read_text())


def test_a_user_gets_the_best_items_first(tacit: Tacit, finished: Path) -> None:
    ended = tacit("recommend", finished, "--user", "phone-03", "--top", "4", "--json")
    assert ended.code == 0
    scores = [entry["score"] for entry in ended.json["items"]]
    assert len({entry["item"] for entry in ended.json["items"]}) == 4
    assert scores == sorted(scores, reverse=True)
    assert 0 < sum(scores) <= 1
    table = tacit("recommend", finished, "--user", "phone-03", "--top", "4", "--at", "2026-01-25T08:30")
    assert table.code == 0
    assert "phone-03" in table.out


def test_a_new_user_gets_recommendations_too(tacit: Tacit, finished: Path) -> None:
    plan = read((finished / "plan.toml").read_text(), scenario)
    phones = scenario("app-recommendation").prepare(plan).phones  # type: ignore[attr-defined]
    new = next(name for name, unseen in zip(phones.log.users, phones.parts.unseen, strict=True) if unseen)
    ended = tacit("recommend", finished, "--user", new, "--json")
    assert len(ended.json["items"]) == 10
    assert "a new user" in ended.json["notes"][0]


def test_an_unknown_user_is_answered_with_near_ones(tacit: Tacit, finished: Path) -> None:
    ended = tacit("recommend", finished, "--user", "phone-3")
    assert (ended.code, ended.out) == (3, "")
    assert "phone-03" in ended.err


def test_a_time_that_is_none_and_a_top_of_nothing_are_refused(tacit: Tacit, finished: Path) -> None:
    assert tacit("recommend", finished, "--user", "phone-03", "--at", "noon").code == 2
    assert tacit("recommend", finished, "--user", "phone-03", "--top", "0").code == 2


def test_an_exported_model_says_what_its_columns_mean(tacit: Tacit, finished: Path, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file

    ended = tacit("export", finished, "--out", tmp_path / "model.safetensors")
    assert ended.out.strip() == str(tmp_path / "model.safetensors")
    exported, trained = load_file(tmp_path / "model.safetensors"), load_file(finished / "model.safetensors")
    assert set(exported) == set(trained)
    assert all((exported[name] == trained[name]).all() for name in trained)
    with safe_open(tmp_path / "model.safetensors", "pt") as opened:
        card = opened.metadata()
    assert len(json.loads(card["inputs"])) == trained["layers.0.weight"].shape[1]
    assert len(json.loads(card["outputs"])) == trained["layers.2.weight"].shape[0]
    assert card["synthetic_data"] == "true"


def test_onnx_without_its_extra_names_what_to_install(
    tacit: Tacit, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = {"onnx", "onnxscript"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else find_spec(name))
    ended = tacit("export", finished, "--format", "onnx")
    assert ended.code == 2
    assert "ONNX needs onnx and onnxscript, not installed here: pip install tacit[onnx]" in ended.err


def test_an_onnx_model_scores_as_the_trained_one(tacit: Tacit, finished: Path, tmp_path: Path) -> None:
    import numpy as np
    import onnxruntime

    from tacit.cli.trained import trained
    from tacit.scenarios.app_recommendation.model import scores_of

    exported = tacit("export", finished, "--format", "onnx", "--out", tmp_path / "model.onnx")
    assert exported.code == 0
    assert "torchvision" not in exported.err
    _, prepared, model = trained(str(finished))
    x = prepared.population.examples(np.arange(1)).x.numpy()
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert np.allclose(session.run(None, {"features": x})[0], scores_of(model, x), atol=1e-5)


def test_a_model_that_was_changed_is_not_used(tacit: Tacit, finished: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(finished, tmp_path / "run")
    content = bytearray((tmp_path / "run" / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "run" / "model.safetensors").write_bytes(content)
    ended = tacit("recommend", tmp_path / "run", "--user", "phone-03")
    assert ended.code == 5
    assert "sha256" in ended.err


def test_data_are_listed_with_origin_and_terms(tacit: Tacit) -> None:
    listed = tacit("data")
    assert "movielens-latest-small" in listed.out
    one = tacit("data", "lsapp")
    assert "terms" in one.out
    assert "aliannejadi" in one.out
    assert tacit("data", "lsap").code == 2
    assert tacit("data", "--download").code == 2


def test_a_dataset_that_its_origin_does_not_offer_says_what_to_bring(
    tacit: Tacit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TACIT_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ended = tacit("data", "lsapp", "--download")
    assert ended.code == 3
    assert "bring lsapp.tsv.gz" in ended.err
    assert "--download" not in ended.err


def test_the_doctor_looks_at_everything(tacit: Tacit) -> None:
    seen = tacit("doctor", "--json").json
    for name in (
        "python",
        "packages",
        "cores",
        "memory_bytes",
        "disk_free_bytes",
        "clock",
        "gpu",
        "writable",
        "findings",
    ):
        assert name in seen
    assert tacit("doctor").code == 0


def test_the_doctor_finds_what_is_wrong() -> None:
    from tacit.cli.machine import findings, looked_at

    seen = looked_at()
    ill = {
        **seen,
        "disk_free_bytes": 10,
        "memory_bytes": {"total": 1, "available": 1},
        "data_folder": "/no/such/folder",
    }
    ill |= {"packages": {"torch": None}, "clock": {"synchronised": False}, "writable": {"here": False}}
    assert len(findings(ill)) == 6
