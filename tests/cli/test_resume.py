import json
import shutil
from pathlib import Path

import pytest

from tacit.errors import UsageError
from tacit.record.folder import RunFolder, claim, opened
from tests.cli.commands import Tacit


def unfinished(finished: Path, to: Path, *, checkpoints: bool) -> Path:
    """The folder of the same run, as it was after its first round or before it."""
    to.mkdir()
    shutil.copy(finished / "plan.toml", to)
    if checkpoints:
        shutil.copytree(finished / "checkpoints" / "checkpoint-000001", to / "checkpoints" / "checkpoint-000001")
    return to


@pytest.mark.parametrize("checkpoints", [True, False])
def test_a_resumed_run_ends_with_the_same_bits(tacit: Tacit, tmp_path: Path, finished: Path, checkpoints: bool) -> None:
    folder = unfinished(finished, tmp_path / "run", checkpoints=checkpoints)
    ended = tacit("resume", folder, "--json")
    assert ended.code == 0
    assert ended.json["model_sha256"] == json.loads((finished / "result.json").read_text())["model_sha256"]
    assert ended.json["rounds"] == 2
    assert ("beginning anew" in ended.err) is not checkpoints


def test_resuming_a_finished_run_says_so_and_changes_nothing(tacit: Tacit, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    ended = tacit("resume", finished)
    assert (ended.code, ended.out) == (0, "")
    assert "finished already" in ended.err
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_plan_that_was_changed_since_is_not_resumed(tacit: Tacit, tmp_path: Path, finished: Path) -> None:
    folder = unfinished(finished, tmp_path / "run", checkpoints=True)
    plan = folder / "plan.toml"
    plan.write_text(plan.read_text().replace("lr = 0.3", "lr = 0.4"))
    ended = tacit("resume", folder)
    assert ended.code == 5
    assert "was changed" in ended.err


def test_data_that_were_changed_since_are_refused(tacit: Tacit, tmp_path: Path) -> None:
    lines = ["user_id\tsession_id\ttimestamp\tapp_name\tevent_type"]
    lines += [f"{n % 5}\t1\t{1_700_000_000 + 700 * n}\tapp{(n * n) % 7}\tOpened" for n in range(150)]
    table = tmp_path / "log.tsv"
    table.write_text("\n".join(lines))
    words = ["--set", "model.hidden=4", "--set", "aggregation=none"]
    words += ["--engine", "eager", "--no-compare", "--rounds", "1", "--out", tmp_path / "run"]
    assert tacit("run", "app-recommendation", "--data", table, *words).code == 0
    (tmp_path / "run" / "result.json").unlink()
    table.write_text("\n".join(lines[:-1]))
    ended = tacit("resume", tmp_path / "run")
    assert ended.code == 3
    assert "is not the file that the plan was made with" in ended.err


def test_two_processes_cannot_write_one_run(tmp_path: Path) -> None:
    import subprocess
    import sys

    folder = claim(tmp_path / "run")
    code = f"""
from pathlib import Path
from tacit.errors import StorageError
from tacit.record.folder import RunFolder
try:
    with RunFolder(Path({str(folder.path)!r})).locked():
        print("entered")
except StorageError as error:
    print(error)
"""
    with folder.locked():
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "another process is at work" in said
    with RunFolder(folder.path).locked():
        pass


def test_a_run_is_found_by_folder_and_by_name_and_missed_with_the_nearest(finished: Path) -> None:
    assert opened(str(finished)).path == finished
    assert opened("finished", finished.parent).path == finished
    with pytest.raises(UsageError, match=r"did you mean .*finished"):
        opened("finishd", finished.parent)


@pytest.mark.parametrize("content", ["", "{", '{"version": 9}', "[" * 9000, "[]"])
def test_a_result_that_cannot_be_read_is_an_error_and_not_a_crash(
    tacit: Tacit, tmp_path: Path, finished: Path, content: str
) -> None:
    folder = unfinished(finished, tmp_path / "run", checkpoints=False)
    (folder / "result.json").write_text(content)
    assert tacit("show", folder).code == 5
    listed = tacit("runs", tmp_path)
    assert listed.code == 0
    assert "unreadable" in listed.out
    assert max(map(len, listed.out.splitlines())) <= len(str(folder)) + 60
    assert str(folder / "result.json") in listed.err
    assert str(folder / "result.json") in tacit("runs", tmp_path, "--json").json[0]["problem"]


DAMAGED = ["", "{", "[" * 9000, "[]", "null", "{}", '{"version": "one"}', '{"version": 1, "seed": "x"}', "\xff"]


@pytest.mark.parametrize("content", DAMAGED, ids=lambda c: c[:12] or "empty")
def test_a_damaged_result_is_shown_as_damage_and_made_anew_by_resume(
    tacit: Tacit, tmp_path: Path, finished: Path, content: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / "result.json").write_text(content, encoding="latin-1")
    shown = tacit("show", folder)
    assert shown.code == 5
    assert "result.json is damaged" in shown.err
    assert f"`tacit resume {folder}` makes it anew" in shown.err
    assert "pydantic" not in shown.err
    resumed = tacit("resume", folder, "--json")
    assert resumed.code == 0
    assert "result.json is damaged" in resumed.err
    assert resumed.json == json.loads((finished / "result.json").read_text())
    assert tacit("show", folder).code == 0


def test_everything_that_is_wrong_with_a_result_is_said_in_words(tacit: Tacit, tmp_path: Path, finished: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    content = json.loads((folder / "result.json").read_text())
    del content["seconds"]
    content |= {"rounds": "two", "data": {**content["data"], "notes": "x" * 500}}
    (folder / "result.json").write_text(json.dumps(content))
    text = tacit("show", folder).err
    for words in ("3 problems", "seconds is missing", "rounds is 'two': it should be", "data.notes is 'xxxx"):
        assert words in text
    assert "x" * 100 not in text


def test_a_result_of_a_later_version_is_not_made_anew(tacit: Tacit, tmp_path: Path, finished: Path) -> None:
    folder = unfinished(finished, tmp_path / "run", checkpoints=True)
    (folder / "result.json").write_text('{"version": 9}')
    ended = tacit("resume", folder)
    assert ended.code == 5
    assert "of version 9: this tacit reads 1" in ended.err
    assert (folder / "result.json").read_text() == '{"version": 9}'


@pytest.mark.parametrize("content", ['{"version": 2}', '{"version": 2, "round": 1, "rows": {}}', "[]"])
def test_a_damaged_checkpoint_ends_with_5_and_says_what_to_remove(
    tacit: Tacit, tmp_path: Path, finished: Path, content: str
) -> None:
    folder = unfinished(finished, tmp_path / "run", checkpoints=True)
    (folder / "checkpoints" / "checkpoint-000001" / "state.json").write_text(content)
    ended = tacit("resume", folder)
    assert (ended.code, ended.out) == (5, "")
    assert "checkpoint-000001" in ended.err
