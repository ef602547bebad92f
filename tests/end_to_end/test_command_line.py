"""The command line as its users meet it: other processes, signals, pipes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tacit.cli.main import main
from tests.cli.commands import TINY

ROUNDS = 40  # so many that a signal comes before the last, however busy the machine is
LIMIT = 120  # seconds after which a process that should have come so far is taken for dead


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-c", "import sys; from tacit.cli.main import main; sys.exit(main())", *map(str, words)]


def started(folder: Path, *words: str, **options: Any) -> subprocess.Popen[str]:
    line = command("run", "app-recommendation", *TINY, "--rounds", str(ROUNDS), "--out", folder, *words)
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def descendants(pid: int) -> list[int]:
    """Processes that this one has started."""
    return [int(p) for file in Path(f"/proc/{pid}/task").glob("*/children") for p in file.read_text().split()]


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Waits for a file, or for the next of a row of which the older ones are removed."""
    end, row = time.monotonic() + LIMIT, path.name.rstrip("0123456789")
    while not (path.exists() or (row != path.name and any(f.name > path.name for f in path.parent.glob(f"{row}*")))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """sha256 of the model of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert main(["run", "app-recommendation", *TINY, "--rounds", str(ROUNDS), "--out", str(folder), "-q"]) == 0
    return str(json.loads((folder / "result.json").read_text())["model_sha256"])


@pytest.mark.parametrize("moment", ["plan.toml", "checkpoints/checkpoint-000003"])
def test_a_run_killed_at_any_moment_is_resumed_to_the_same_bits(
    moment: str, tmp_path: Path, uninterrupted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    process = started(folder)
    wait_for(folder / moment, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (folder / "result.json").exists()
    capsys.readouterr()
    assert main(["resume", str(folder), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["model_sha256"] == uninterrupted
    assert result["rounds"] == ROUNDS


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_run_says_how_to_go_on_and_leaves_no_half_files_and_no_workers(
    number: signal.Signals, workers: int, tmp_path: Path, uninterrupted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    process = started(folder, "--workers", str(workers))
    wait_for(folder / "checkpoints" / "checkpoint-000002", process)
    mine = descendants(process.pid)
    assert len(mine) == (workers if workers > 1 else 0)
    process.send_signal(number)
    out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out) == (130, "")
    assert f"tacit resume {folder}" in err
    assert "Traceback" not in err
    assert {path.name for path in folder.iterdir()} == {"plan.toml", "checkpoints"}
    assert not [path for path in (folder / "checkpoints").iterdir() if path.name.startswith(".")]
    assert not [pid for pid in mine if Path(f"/proc/{pid}").exists()]
    assert main(["resume", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model_sha256"] == uninterrupted


def test_a_signal_to_the_whole_group_ends_a_run_in_the_same_way(tmp_path: Path) -> None:
    """As `timeout` and service managers send it: the workers get it too, and leave it to their parent."""
    folder = tmp_path / "run"
    process = started(folder, "--workers", "2", start_new_session=True)
    wait_for(folder / "checkpoints" / "checkpoint-000002", process)
    os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert f"tacit resume {folder}" in err
    assert "Traceback" not in err
    assert "worker" not in err


def test_a_reader_that_leaves_early_causes_no_traceback(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = command("plan", "show", "app-recommendation")
    process = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert "Traceback" not in process.stderr
