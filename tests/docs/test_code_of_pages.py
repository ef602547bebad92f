"""The code of the documentation runs: Python blocks and `tacit` commands, in order, page by page, in an empty folder.

Commands run as they are written, with settings behind them that make phones few and models small.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from tacit.cli.main import main
from tests.docs.pages import ROOT, RUN, Command, Fenced, blocks, commands, name_of, that_run

SMALL = ["--rounds", "2", "--no-compare", "--workers", "1", "--set", "model.hidden=[8]"]
FEW = ["--set", "data.phones=101", "--set", "data.days=5", "--set", "data.apps=16", "--set", "data.most_events=20"]
EXAMPLES = [path.read_text(encoding="utf-8") for path in (ROOT / "examples").glob("*.py")]


@pytest.mark.filterwarnings("ignore::tacit.errors.TacitWarning")
@pytest.mark.parametrize("page", that_run(), ids=name_of)
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    ran = 0
    for block in blocks(page, *RUN):
        if block.language == "console":
            for command in commands(block):
                run_command(command, capsys)
                ran += 1
        elif block.text not in EXAMPLES:  # those have tests of their own
            run_python(page, block, names)
            ran += 1
    assert ran, "nothing on this page was run"


def run_python(page: Path, block: Fenced, names: dict[str, Any]) -> None:
    # Blank lines in front let a traceback show the line of the page.
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec", dont_inherit=True)
    exec(code, names)


def run_command(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    written, _, file = command.line.partition(" > ")
    program, *words = shlex.split(written)
    assert program == "tacit", f"not a command of tacit: {command.line}"
    capsys.readouterr()
    code = main(words + smaller(words))
    output = capsys.readouterr()
    if file:
        Path(file).write_text(output.out, encoding="utf-8")
    fails = any(line.startswith("error:") for line in command.shown)
    assert (code != 0) == fails, f"{command.line} ended with {code}:\n{output.err}"
    for line in command.shown:
        assert line in output.out + output.err, f"{command.line} does not show {line!r}"


def smaller(words: list[str]) -> list[str]:
    if words[0] != "run":
        return []
    return SMALL if "--data" in words else SMALL + FEW
