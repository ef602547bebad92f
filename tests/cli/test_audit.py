"""`tacit privacy audit`: consistent where the noise is what is claimed, refuted where it is not."""

from __future__ import annotations

import pytest

from tacit.privacy.noise import NoiseSource
from tests.cli.commands import PHONES, QUICK, Tacit, settings

SMALL = [*settings(PHONES), *settings([word for word in QUICK if "=" in word])]
WORDS = ["privacy", "audit", "app-recommendation", *SMALL, "--rounds", "3", "--canaries", "300", "--workers", "1"]


def test_a_sound_run_is_not_refuted_and_what_could_have_been_shown_is_said(tacit: Tacit) -> None:
    ended = tacit(*WORDS)
    assert ended.code == 0, ended.err
    assert "could" in ended.out
    found = tacit(*WORDS, "--json").json
    assert max(evidence["lower"] for evidence in found["evidence"]) <= found["claim"]


def test_noise_of_a_tenth_of_its_size_is_found_and_ends_with_6(tacit: Tacit, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = NoiseSource.normal
    monkeypatch.setattr(NoiseSource, "normal", lambda *given, **named: 0.1 * draw(*given, **named))
    ended = tacit(*WORDS)
    assert ended.code == 6
    assert "error:" in ended.err
