"""Settings of all tests."""

from hypothesis import settings

# How long an example takes depends on what else the machine does (and on compilation), so it is never a failure.
settings.register_profile("tacit", deadline=None)
settings.load_profile("tacit")
