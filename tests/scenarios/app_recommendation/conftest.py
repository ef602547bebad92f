"""A small synthetic log and its phones, made once for the tests of the scenario."""

from __future__ import annotations

import pytest

from tacit.scenarios.app_recommendation.logs import InteractionLog
from tacit.scenarios.app_recommendation.phones import Phones, phones
from tacit.scenarios.app_recommendation.synthetic import SyntheticLogs

SMALL = SyntheticLogs(phones=24, apps=20, days=10, most_events=60)


@pytest.fixture(scope="session")
def small_log() -> InteractionLog:
    return SMALL.log(seed=3)


@pytest.fixture(scope="session")
def small_phones(small_log: InteractionLog) -> Phones:
    return phones(small_log, seed=3)
