from pathlib import Path

import pytest

from tacit.cli.main import main
from tests.cli.commands import TINY, Tacit


@pytest.fixture
def tacit(capsys: pytest.CaptureFixture[str]) -> Tacit:
    return Tacit(capsys)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert main(["run", "app-recommendation", *TINY, "--rounds", "2", "--out", str(folder), "--quiet"]) == 0
    return folder
