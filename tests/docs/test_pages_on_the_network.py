"""Pages with processes that speak with each other run as they stand: their files, and their commands in order.

A block of TOML is the file that its first line names. A command that ends in `&` is a process, which goes on when all
lines that the page shows below it were seen; the others run here. Only the port is another one. The demo, which starts
six processes of its own, has a slow test, and is small there.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tacit.cli.main import main
from tests.docs.pages import ROOT, Command, blocks, commands, name_of, that_serve

PORT = "8443"
DEMO = "tacit demo "
EXAMPLES = [path.read_text(encoding="utf-8") for path in (ROOT / "examples").glob("*.py")]
SMALL = {"demo": ["--participants", "3", "--rounds", "2", "--kill", "0"]}
PATIENCE = 180.0
"""Seconds: a machine may be busy with other tests."""


class Shell:
    """Carries the commands of a page out, in this folder."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._running: list[tuple[subprocess.Popen[bytes], Path]] = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = str(free.getsockname()[1])

    def run(self, command: Command) -> None:
        line, shown = (text.replace(f":{PORT}", f":{self._port}") for text in (command.line, "\n".join(command.shown)))
        written, _, file = line.removesuffix(" &").partition(" > ")
        program, *words = shlex.split(written)
        if program == "cp":
            shutil.copy(*words)
        elif program == "wait":
            self.wait()
        elif line.endswith(" &"):
            self._begin(words, shown.splitlines())
        else:
            self._tacit(words + SMALL.get(words[0], []), shown.splitlines(), file)

    def wait(self) -> None:
        """Until every process has ended, each well."""
        for process, log in self._running:
            assert process.wait(PATIENCE) == 0, log.read_text()

    def close(self) -> None:
        for process, _ in self._running:
            process.kill()
            process.wait()

    def _begin(self, words: list[str], shown: list[str]) -> None:
        words += ["--port", self._port] if words[0] == "serve" else []
        log = Path(f"process-{len(self._running)}.log")
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "tacit", *words], stdout=file, stderr=file, env=one_thread()
            )
        self._running.append((process, log))
        until = time.monotonic() + PATIENCE
        while not all(line in log.read_text() for line in shown):
            assert process.poll() is None and time.monotonic() < until, (
                f"{words} does not show {shown}: {log.read_text()}"
            )
            time.sleep(0.05)

    def _tacit(self, words: list[str], shown: list[str], file: str) -> None:
        self._capsys.readouterr()
        code = main(words)
        output = self._capsys.readouterr()
        assert code == 0, f"{words} ended with {code}:\n{output.err}"
        for line in shown:
            assert line in output.out + output.err, f"{words} does not show {line!r}:\n{output.out}"
        if file:
            Path(file).write_text(output.out, encoding="utf-8")


def one_thread() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    found = Shell(capsys)
    yield found
    found.close()


@pytest.mark.filterwarnings("ignore::tacit.errors.TacitWarning")
@pytest.mark.parametrize("page", that_serve(), ids=name_of)
def test_the_commands_of_a_page_do_what_it_says_with_real_processes(
    page: Path, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks(page, "toml", "console"):
        if block.language == "toml":
            Path(block.text.splitlines()[0].removeprefix("# ")).write_text(block.text, encoding="utf-8")
            continue
        for command in commands(block):
            if not command.line.startswith(DEMO):
                shell.run(command)
    shell.wait()


@pytest.mark.parametrize("page", that_serve(), ids=name_of)
def test_the_python_of_a_page_is_that_of_the_examples(page: Path) -> None:
    assert not [block.line for block in blocks(page, "python") if block.text not in EXAMPLES]


@pytest.mark.slow
@pytest.mark.parametrize("page", that_serve(), ids=name_of)
def test_the_demo_of_a_page_runs(page: Path, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks(page, "console"):
        for command in commands(block):
            if command.line.startswith(DEMO):
                shell.run(command)
