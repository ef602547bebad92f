"""Terms and keys for the tests of a participant's consent."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tacit.aggregation.secure.identity import Certificate, Identity
from tacit.network.terms import Terms
from tacit.plan import Given, settled
from tacit.population.schema import Schema
from tacit.scenarios.scenario import scenario

AUTHORITY = bytes(range(32))
SECURE = {"name": "SecureSum", "minimum": 5}
SCHEMA = Schema(("age", "pressure"), (2,), "float32", (), "int64", ("well", "ill"))


def terms(*, run="ab" * 16, participants=20, authority=AUTHORITY, loopback=False, **sections) -> Terms:
    """Terms of the app recommender, with sections of a plan."""
    given = {"version": 1, "scenario": "app-recommendation", "rounds": 10}
    given |= {"selection": {"name": "Uniform", "cohort": 10}, "aggregation": SECURE}
    given |= sections
    plan = settled([Given(given)], scenario, name="the plan")
    return Terms(run, plan, SCHEMA, participants, "cd" * 32, authority.hex(), loopback)


def identity(name="ward-1", seed=1) -> Identity:
    """A participant's key, always the same for a seed."""
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return Identity(name, private.public_key().public_bytes_raw(), Certificate(b"", b""), private)
