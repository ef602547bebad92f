"""The settings of a session, and the policy by which a client refuses them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.aggregation.secure.client import Client
from tacit.aggregation.secure.config import Config, Policy
from tacit.aggregation.secure.server import Server
from tacit.errors import MalformedMessage, PolicyError, UsageError
from tests.aggregation.secure.play import CONFIG, MODEL

KEY = b"a" * 32
POLICY = Policy(minimum=3, authorities=(KEY,))

share = st.floats(0, 1, exclude_max=True)
configs = st.builds(
    Config,
    run=st.binary(min_size=16, max_size=16),
    round=st.integers(0, 2**64 - 1),
    length=st.integers(1, 2**32),
    bits=st.sampled_from([32, 64]),
    minimum=st.integers(3, 2**32 - 1),
    layout=st.binary(min_size=32, max_size=32),
    attempt=st.integers(0, 2**32 - 1),
    corrupt=share,
    dropout=share,
    sigma=st.integers(1, 128),
    eta=st.integers(1, 128),
    semi_malicious=st.booleans(),
    signed=st.booleans(),
)


@given(configs)
def test_settings_are_read_back(config):
    assert Config.decode(config.encode()) == config


@given(configs, configs)
def test_different_settings_have_different_digests(one, other):
    assert (one.digest == other.digest) == (one.encode() == other.encode())
    if one != other:
        assert one.digest != other.digest


IMPOSSIBLE = {
    "length is 0": {"length": 0},
    "length is 4294967297": {"length": 2**32 + 1},
    "bits is 16": {"bits": 16},
    "minimum is 2": {"minimum": 2},
    "minimum is 0": {"minimum": 0},
    "corrupt is 1.0": {"corrupt": 1.0},
    "corrupt is -0.1": {"corrupt": -0.1},
    "dropout is inf": {"dropout": float("inf")},
    "sigma is 0": {"sigma": 0},
    "sigma is 129": {"sigma": 129},
    "eta 0": {"eta": 0},
}
UNWRITABLE = [
    {"round": -1},
    {"round": 2**64},
    {"attempt": -1},
    {"attempt": 2**32},
    {"minimum": 2**32},
]
"""Numbers that have no place in the bytes of a message."""


@pytest.mark.parametrize(("why", "changes"), IMPOSSIBLE.items())
def test_settings_that_no_session_could_have_are_refused_by_everybody(why, changes):
    config = replace(CONFIG, **changes)
    with pytest.raises(MalformedMessage, match=why):
        Config.decode(config.encode())
    with pytest.raises(UsageError, match=why):
        Server(config)
    with pytest.raises(PolicyError, match=why):
        POLICY.require(config)


@pytest.mark.parametrize("changes", UNWRITABLE, ids=str)
def test_numbers_that_no_message_can_carry_are_refused_before_one_is_written(changes):
    config, (name,) = replace(CONFIG, **changes), changes
    with pytest.raises(UsageError, match=f"{name} {changes[name]}.* is out of range"):
        Server(config)
    with pytest.raises(PolicyError, match="out of range"):
        Client(config, "anna", MODEL, POLICY)


@pytest.mark.parametrize("changes", [{"round": 2**64 - 1}, {"attempt": 2**32 - 1}, {"minimum": 2**32 - 1}], ids=str)
def test_the_largest_numbers_that_a_message_can_carry_are_taken(changes):
    config = replace(CONFIG, **changes)
    Server(config)
    assert Config.decode(config.encode()) == config


@pytest.mark.parametrize("at", [-34, -33])
def test_a_flag_is_0_or_1(at):
    data = bytearray(CONFIG.encode())
    data[at] = 2
    with pytest.raises(MalformedMessage, match="neither 0 nor 1"):
        Config.decode(bytes(data))


@pytest.mark.parametrize("change", [{"run": b"short"}, {"layout": b"short"}])
def test_a_run_and_a_layout_have_their_sizes(change):
    with pytest.raises(UsageError, match="16 bytes"):
        Server(replace(CONFIG, **change))


WEAKER = {
    "this client demands 5": (Policy(minimum=5, authorities=(KEY,)), {"minimum": 4}),
    "this client assumes 0.1": (POLICY, {"corrupt": 0.0}),
    "this client demands 40": (POLICY, {"sigma": 39}),
    "this client accepts .64,": (Policy(minimum=3, bits=(64,), authorities=(KEY,)), {"bits": 32}),
    "insecure_unsigned": (POLICY, {"signed": False}),
    "knows no authority": (Policy(minimum=3), {}),
    "insecure_honest_server": (POLICY, {"semi_malicious": False}),
}


@pytest.mark.parametrize(("why", "case"), WEAKER.items())
def test_a_client_refuses_settings_that_protect_it_less_than_it_demands(why, case):
    policy, changes = case
    with pytest.raises(PolicyError, match=why):
        Client(replace(CONFIG, **changes), "anna", MODEL, policy)


def test_all_reasons_are_given_at_once():
    config = replace(CONFIG, corrupt=0.0, sigma=1, signed=False, semi_malicious=False)
    with pytest.raises(PolicyError) as caught:
        Policy(minimum=10).require(config)
    for reason in ("demands 10", "assumes 0.1", "demands 40", "insecure_unsigned", "insecure_honest_server"):
        assert reason in str(caught.value)


@given(
    st.integers(3, 20),
    st.integers(3, 20),
    st.sampled_from([0.0, 0.1, 0.2]),
    st.sampled_from([0.0, 0.1, 0.2]),
    st.integers(30, 50),
    st.integers(30, 50),
)
def test_a_policy_accepts_what_is_as_good_as_it_demands_or_better(minimum, wants, corrupt, assumes, sigma, least):
    policy = Policy(minimum=wants, corrupt=assumes, sigma=least, authorities=(KEY,))
    config = replace(CONFIG, minimum=minimum, corrupt=corrupt, sigma=sigma)
    if minimum >= wants and corrupt >= assumes and sigma >= least:
        policy.require(config)
    else:
        with pytest.raises(PolicyError):
            policy.require(config)


def test_whoever_takes_the_risk_by_name_may():
    Policy(minimum=3, insecure_unsigned=True).require(replace(CONFIG, signed=False))
    Policy(minimum=3, authorities=(KEY,), insecure_honest_server=True).require(replace(CONFIG, semi_malicious=False))


def test_a_client_takes_part_only_where_vectors_are_laid_out_as_its_own():
    from tests.aggregation.secure.play import Play

    play = Play()
    client = Client(CONFIG, "c000", MODEL, play.policy, play.identities["c000"], layout=CONFIG.layout)
    assert client.advertise()
    with pytest.raises(PolicyError, match="another layout than 'c000' makes"):
        Client(CONFIG, "c000", MODEL, play.policy, play.identities["c000"], layout=b"o" * 32)


@pytest.mark.parametrize("name", ["berta", None])
def test_a_signed_session_asks_a_client_for_its_own_identity(name):
    from tests.aggregation.secure.play import Play

    identity = Play().identity(name) if name else None
    with pytest.raises(UsageError, match="give the identity of 'anna'"):
        Client(CONFIG, "anna", MODEL, POLICY, identity)


@pytest.mark.parametrize(
    ("name", "model"), [("", bytes(32)), ("x" * 65, bytes(32)), ("\ud800", bytes(32)), ("a", b"2")]
)
def test_a_client_that_could_not_be_written_down_is_refused(name, model):
    config = replace(CONFIG, signed=False)
    with pytest.raises(UsageError, match="a name of 1 to 64 bytes"):
        Client(config, name, model, Policy(minimum=3, insecure_unsigned=True))


def test_a_share_of_minus_nothing_is_no_second_way_to_write_nothing():
    config = replace(CONFIG, corrupt=-0.0)
    assert list(config.problems())
