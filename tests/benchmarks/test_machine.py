"""What is said of the machine that was measured: enough to judge a figure, nothing that tells which one it was."""

import json
import platform
from pathlib import Path

import pytest

from benchmarks import machine

RESULTS = sorted((Path(machine.__file__).parent / "results").glob("*.json"))


def test_a_machine_is_described_without_its_name_and_without_the_release_of_its_kernel() -> None:
    text = json.dumps(machine.describe())
    assert platform.release() not in text
    assert f'"{platform.node()}"' not in text
    assert platform.machine() in text


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_recorded_results_name_system_and_architecture_only(path: Path) -> None:
    assert len(json.loads(path.read_text())["machine"]["system"].split()) == 2
