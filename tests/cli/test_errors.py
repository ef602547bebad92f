"""How every kind of mistake ends: its exit code, and a text that helps without a traceback."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tacit.cli import scenarios
from tests.cli.commands import Tacit


def test_a_mistake_in_an_option_ends_with_2_and_names_the_option(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit.run(tmp_path / "run", "--set", "solver.lr=fast", "--set", "solver.epoch=3", "--seed", "-1")
    assert (ended.code, ended.out) == (2, "")
    for words in (
        "--set solver.lr",
        "--set solver.epoch",
        "did you mean 'epochs'?",
        "--seed: seed is -1",
        "3 problems",
    ):
        assert words in ended.err
    assert "Traceback" not in ended.err


def test_an_unknown_option_ends_with_2(tacit: Tacit) -> None:
    ended = tacit("run", "app-recommendation", "--roundz", "3")
    assert (ended.code, ended.out) == (2, "")
    assert "--rounds" in ended.err


def test_an_unknown_scenario_is_answered_with_the_nearest(tacit: Tacit) -> None:
    ended = tacit("run", "app-recomendation")
    assert ended.code == 2
    assert "did you mean 'app-recommendation'?" in ended.err


def test_a_missing_plan_says_how_to_make_one(tacit: Tacit) -> None:
    ended = tacit("run", "nowhere.toml")
    assert ended.code == 2
    assert "tacit plan show" in ended.err


def test_missing_data_end_with_3(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit("run", "app-recommendation", "--data", tmp_path / "no.csv", "--out", tmp_path / "run")
    assert ended.code == 3
    assert "no.csv" in ended.err
    assert not (tmp_path / "run").exists()


def test_a_table_of_an_unknown_format_ends_with_3_and_says_how_to_map_it(tacit: Tacit, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("who,what\na,b\n")
    ended = tacit("run", "app-recommendation", "--data", tmp_path / "log.csv", "--out", tmp_path / "run")
    assert ended.code == 3
    assert "--user COLUMN" in ended.err


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_round_in_which_every_report_is_set_aside_ends_with_4(tacit: Tacit, tmp_path: Path) -> None:
    ended = tacit.run(tmp_path / "run", "--set", "solver.lr=1e35", "--set", "solver.epochs=3")
    assert (ended.code, ended.out) == (4, "")
    assert "round 1" in ended.err
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_folder_that_cannot_be_written_ends_with_5(tacit: Tacit, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = tacit.run(tmp_path / "file" / "run")
    assert (ended.code, ended.out) == (5, "")
    assert "--out" in ended.err


def test_the_name_of_a_run_that_does_not_exist_is_a_mistake(tacit: Tacit, tmp_path: Path) -> None:
    for verb in (("show",), ("resume",), ("export",), ("recommend", "--user", "x")):
        ended = tacit(*verb, tmp_path / "nothing")
        assert (ended.code, ended.out) == (2, "")
        assert "there is no run" in ended.err
    assert tacit("show", tmp_path).code == 2


def test_an_interrupt_before_a_run_is_under_way_says_that_nothing_was_kept(
    tacit: Tacit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tacit.cli import run

    def interrupted(target: str, options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "planned", interrupted)
    ended = tacit.run(tmp_path / "run")
    assert (ended.code, ended.out) == (130, "")
    assert ended.err.count("\n") == 1
    assert "nothing was kept; start again" in ended.err
    assert not (tmp_path / "run").exists()


def test_an_interrupt_after_the_folder_was_named_leaves_a_run_that_can_be_resumed(
    tacit: Tacit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tacit.cli import execution

    folder = tmp_path / "run"

    def interrupted(plan: object) -> None:
        assert (folder / "plan.toml").is_file()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(execution, "_assembled", interrupted)
        ended = tacit.run(folder, rounds=1)
    assert (ended.code, ended.out) == (130, "")
    assert f", in {folder}" in ended.err
    assert f"no round is kept yet. Begin anew with: tacit resume {folder}" in ended.err
    assert {path.name for path in folder.iterdir()} == {"plan.toml"}
    assert tacit("resume", folder, "--json").json["rounds"] == 1


@pytest.mark.parametrize("words", [["--help"], ["data"], ["scenarios"]], ids=" ".join)
def test_standard_output_that_cannot_be_written_ends_with_5(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "tacit", *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
        )
    assert ended.returncode == 5
    assert ended.stderr.startswith("error: standard output cannot be written")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["--help"], ["data"]], ids=" ".join)
def test_a_reader_that_has_seen_enough_ends_a_command_without_a_word(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    line = [sys.executable, "-m", "tacit", *words]
    ended = subprocess.run(line, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writer)
    assert ended.returncode in (0, 1)
    assert ended.stderr == ""


def test_the_unexpected_ends_with_1_and_debug_shows_where(tacit: Tacit, monkeypatch: pytest.MonkeyPatch) -> None:
    from tacit.cli import console

    def broken(pairs: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(console, "facts", broken)
    assert scenarios.scenarios.__doc__
    ended = tacit("scenarios")
    assert (ended.code, ended.out) == (1, "")
    assert "unexpected ZeroDivisionError: by zero" in ended.err
    assert "--debug" in ended.err
    with pytest.raises(ZeroDivisionError):
        tacit("scenarios", "--debug")


def test_an_interrupted_verb_ends_with_130(tacit: Tacit, monkeypatch: pytest.MonkeyPatch) -> None:
    from tacit.cli import console

    def interrupted(pairs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(console, "facts", interrupted)
    assert tacit("scenarios").code == 130


def test_the_help_documents_every_exit_code(tacit: Tacit) -> None:
    from tacit import errors

    ended = tacit("--help")
    assert ended.code == 0
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    for code in codes:
        assert f"\n    {code} " in ended.out


@pytest.mark.parametrize("out", [".", "", "..", "/"])
def test_exporting_onto_a_folder_is_a_mistake_that_names_a_file_to_give(
    tacit: Tacit, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = tacit("export", finished, "--out", out)
    assert (ended.code, ended.out) == (2, "")
    assert "is a folder: give a file, such as" in ended.err
    assert "export.safetensors" in ended.err


@pytest.mark.parametrize("workers", ["0", "-3"])
def test_no_workers_are_a_mistake_for_resume_as_for_run(
    tacit: Tacit, finished: Path, tmp_path: Path, workers: str
) -> None:
    for verb in (("resume", finished), ("run", "app-recommendation", "--out", tmp_path / "run")):
        ended = tacit(*verb, "--workers", workers)
        assert (ended.code, ended.out) == (2, "")
        assert f"workers is {workers}: give at least 1" in ended.err


def test_commands_in_messages_can_be_pasted_into_a_shell(tacit: Tacit, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my run; rm x"
    folder.mkdir()
    shutil.copy(finished / "plan.toml", folder)
    command = f"tacit resume '{folder}'"
    assert command in tacit("show", folder).out
    assert command in tacit("recommend", folder, "--user", "x").err
    assert command in tacit("run", "app-recommendation", "--out", folder).err
    assert "> 'no plan.toml'`" in tacit("run", "no plan.toml").err


def test_a_run_without_its_model_is_a_storage_error(tacit: Tacit, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "model.safetensors").unlink()
    ended = tacit("export", folder)
    assert ended.code == 5
    assert "model.safetensors cannot be read" in ended.err
