"""What the doctor says of private runs."""

from __future__ import annotations

import pytest

from tacit.cli import replay
from tacit.plan.parts import PARTS
from tacit.privacy.clip import Clip
from tests.cli.commands import Tacit


def test_the_doctor_replays_every_method_that_a_plan_can_name(tacit: Tacit) -> None:
    seen = tacit("doctor", "--json").json
    assert seen["privacy"]["methods"] == len(PARTS["algorithm"])
    assert 0.99 < seen["privacy"]["most_in_clip_norms"] <= 1 + 1e-9
    assert seen["privacy"]["failed"] is None
    assert not any("clip norms" in finding for finding in seen["findings"])


def test_the_doctor_finds_reports_that_are_not_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = Clip.encode
    monkeypatch.setattr(Clip, "encode", lambda *given: encode(*given) * 3)
    (told,) = replay.findings(replay.replayed())
    assert "changes a sum by 3 clip norms" in told


def test_the_doctor_finds_a_machine_that_cannot_make_private_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object) -> None:
        raise OSError("illegal instruction\nand more")

    monkeypatch.setattr(Clip, "encode", broken)
    found = replay.replayed()
    (told,) = replay.findings(found)
    assert "a private run cannot be made here" in told
    assert "\n" not in told


def test_what_is_not_a_number_is_a_finding() -> None:
    found = {"methods": 9, "most_in_clip_norms": None, "most_in": "FedAvg", "failed": None}
    assert "past every bound" in replay.findings(found)[0]
