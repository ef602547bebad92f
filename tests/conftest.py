"""Settings of all tests."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

# How long an example takes depends on what else the machine does (and on compilation), so it is never a failure.
settings.register_profile("tacit", deadline=None)
settings.load_profile("tacit")


@pytest.fixture(autouse=True)
def _ledger_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What tests spend is nobody's privacy: each has a ledger in a folder of its own."""
    monkeypatch.setenv("TACIT_LEDGER", str(tmp_path_factory.mktemp("ledger") / "ledger.sqlite"))
    yield
