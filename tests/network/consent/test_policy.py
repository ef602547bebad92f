"""The policy: what it is, how it is read, when it lets train, and what it demands of secure sums."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import StorageError, UsageError
from tacit.network.consent.clock import Span, Today
from tacit.network.consent.log import Entry
from tacit.network.consent.policy import Policy
from tacit.network.consent.reading import FIRST, SECTIONS, read, read_file
from tests.network.consent.asked import AUTHORITY

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
FULL = """
version = 1
approval = "policy"
expires = 2030-12-31
tasks = ["app-recommendation", "own"]
plans = ["{plan}"]
authorities = ["{key}"]

[sums]
minimum = 10
corrupt = 0.2
sigma = 64

[privacy]
without = "refuse"
dataset = "icu"
epsilon = 4
delta = 1e-6
adjacency = "replace-one"

[limits]
hours = ["22:00-06:00", "12:00-13:00"]
zone = "UTC"
rounds = 100
minutes_a_day = 60
bytes_a_day = 1_000_000
memory_bytes = 2_000_000_000
threads = 2
""".format(plan="ab" * 32, key="cd" * 32)


def test_what_is_offered_to_be_edited_has_all_defaults():
    assert read(FIRST) == Policy()


def test_every_line_that_is_commented_out_may_be_used():
    text = FIRST.replace("\n# ", "\n").split("\n", 1)[1].replace("<hash>", "ab" * 32).replace("<key>", "cd" * 32)
    found = read(text.replace('zone = "Europe/Berlin"', 'zone = "UTC"'))
    assert (found.epsilon, found.expires, found.threads) == (4.0, date(2030, 12, 31), 2)


def test_a_policy_is_read():
    assert read(FULL) == Policy(
        approval="policy",
        expires=date(2030, 12, 31),
        tasks=("app-recommendation", "own"),
        plans=("ab" * 32,),
        authorities=("cd" * 32,),
        minimum=10,
        corrupt=0.2,
        sigma=64,
        without="refuse",
        dataset="icu",
        epsilon=4,
        delta=1e-6,
        adjacency="replace-one",
        hours=("22:00-06:00", "12:00-13:00"),
        zone="UTC",
        rounds=100,
        minutes=60,
        sent=1_000_000,
        memory=2_000_000_000,
        threads=2,
    )


def test_every_field_has_one_key():
    fields = [field for keys in SECTIONS.values() for field in keys.values()]
    assert sorted(fields) == sorted(Policy.__dataclass_fields__)


def test_all_problems_are_told_at_once_with_their_lines():
    text = 'version = 1\napproval = "yes"\nplan = ["x"]\n[sums]\nminimum = 2\nsecure = 1\n[limits]\nhours = ["6-7"]\n'
    with pytest.raises(UsageError) as error:
        read(text, "policy.toml")
    said = str(error.value)
    assert "policy.toml cannot be kept (5 problems)" in said
    assert "line 2, approval: approval is 'yes'" in said
    assert "line 3: there is no plan" in said
    assert "line 5, sums.minimum: minimum is 2: give 3 or more" in said
    assert "line 6, sums.secure: secure is 1" in said
    assert "line 8, limits.hours: hours has '6-7'" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not say which version"),
        ("version = 2", "does not say which version"),
        ("version = ", "is not TOML"),
        ("version = 1\nversion = 1", "given twice"),
        ("version = 1\n[sums]\nminimum = 1e400", "minimum is inf"),
        ("version = 1\nsums = 5", "there is no sums"),
        ("version = 1\n[privacy.more]\na = 1", "there is no privacy.more"),
        ("version = 1\n[privacy]\nepsilon = nan", "epsilon is nan"),
        ("version = 1\n[privacy]\ndelta = 1", "delta is 1"),
        ("version = 1\n[privacy]\ndataset = ''", "dataset is ''"),
        ("version = 1\nexpires = 2030-12-31T10:00:00", "give a day"),
        ("version = 1\nexpires = '2030-12-31'", "give a day"),
        ("version = 1\nauthorities = ['abc']", "give 64 hexadecimal digits"),
        ("version = 1\ntasks = 'own'", "give a list of texts"),
        ("version = 1\ntasks = [1]", "give a list of texts"),
        ("version = 1\n[limits]\nhours = ['10:00-10:00']", "two times of the day that differ"),
        ("version = 1\n[limits]\nhours = ['24:00-10:00']", "two times of the day that differ"),
        ("version = 1\n[limits]\nzone = 'Nowhere/Land'", "zone is 'Nowhere/Land'"),
        ("version = 1\n[limits]\nzone = '../../etc/passwd'", "zone is"),
        ("version = 1\n[limits]\nthreads = 0", "threads is 0"),
        ("version = 1\n[limits]\nrounds = true", "rounds is True"),
        ("x" * 300_000, "a policy has at most"),
        ("a = " + "[" * 5000, "is not TOML"),
    ],
)
def test_what_is_no_policy_is_refused(text, said):
    with pytest.raises(UsageError, match=said.replace("[", r"\[")):
        read(text)


def test_without_a_file_all_defaults_hold(tmp_path):
    assert read_file(tmp_path / "policy.toml") == Policy()


def test_a_file_that_cannot_be_read_is_no_policy(tmp_path):
    with pytest.raises(StorageError, match="cannot be read"):
        read_file(tmp_path)
    (tmp_path / "policy.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no UTF-8"):
        read_file(tmp_path / "policy.toml")


def test_a_policy_made_in_python_is_checked_alike():
    with pytest.raises(UsageError, match=r"2 problems(.|\n)*minimum is 2(.|\n)*epsilon is -1"):
        Policy(minimum=2, epsilon=-1)


@pytest.mark.parametrize(
    ("span", "clock", "holds"),
    [
        ("09:00-17:00", "09:00", True),
        ("09:00-17:00", "16:59", True),
        ("09:00-17:00", "17:00", False),
        ("09:00-17:00", "08:59", False),
        ("22:00-06:00", "22:00", True),
        ("22:00-06:00", "00:00", True),
        ("22:00-06:00", "05:59", True),
        ("22:00-06:00", "06:00", False),
        ("22:00-06:00", "21:59", False),
    ],
)
def test_hours_begin_with_their_first_minute_and_end_before_their_last(span, clock, holds):
    hour, minute = map(int, clock.split(":"))
    now = NOON.replace(hour=hour, minute=minute)
    policy = Policy(hours=(span,), zone="UTC")
    refused = policy.may_train(now, Today(now.date()))
    assert (refused is None) == holds
    assert holds or f"it is {clock} (UTC), and this participant trains {span}" in refused


@given(first=st.times(), last=st.times(), now=st.times())
def test_a_part_of_the_day_and_the_rest_are_the_whole_day(first, last, now):
    first, last = (t.replace(second=0, microsecond=0) for t in (first, last))
    if first != last:
        assert Span(first, last).holds(now) != Span(last, first).holds(now)


def test_hours_are_those_of_the_participants_zone():
    policy = Policy(hours=("21:00-22:00",), zone="Asia/Tokyo")
    assert policy.may_train(NOON, Today(NOON.date())) is None  # noon in UTC is nine in the evening in Tokyo
    assert policy.may_train(NOON + timedelta(hours=1), Today(NOON.date())) is not None


def test_nothing_happens_from_the_day_on_which_it_expires():
    policy = Policy(expires=date(2027, 3, 2), zone="UTC")
    midnight = datetime(2027, 3, 2, tzinfo=UTC)
    assert policy.may_train(midnight - timedelta(microseconds=1), Today(midnight.date())) is None
    assert "expired on 2027-03-02" in policy.may_train(midnight, Today(midnight.date()))


def test_a_day_ends_its_limits():
    policy = Policy(minutes=10, sent=1000, zone="UTC")
    today = NOON.date()
    assert policy.may_train(NOON, Today(today, 599.9, 999)) is None
    assert "trained for 10 of 10 minutes" in policy.may_train(NOON, Today(today, 600.0, 0))
    assert "sent 1,000 of 1,000 bytes" in policy.may_train(NOON, Today(today, 0.0, 1000))
    assert policy.may_train(NOON + timedelta(hours=12), Today(today, 600.0, 1000)) is None


def test_the_log_tells_what_was_done_today():
    def entry(time, event, **facts):
        return Entry(1, time, event, facts, "", "")

    entries = [
        entry("2027-02-28T23:59:59.999+00:00", "trained", seconds=1.0),
        entry("2027-03-01T00:00:00.000+00:00", "trained", seconds=10.0),
        entry("2027-03-01T10:00:00.000+00:00", "sent", size=500),
        entry("2027-03-01T11:00:00.000+00:00", "trained", seconds=2.5),
        entry("2027-03-01T11:00:00.000+00:00", "asked", seconds=99.0),
    ]
    assert Policy(zone="UTC").today(entries, NOON) == Today(NOON.date(), 12.5, 500)
    assert Policy(zone="Asia/Tokyo").today(entries, NOON) == Today(NOON.date(), 13.5, 500)


def test_its_demands_are_those_of_its_secure_sums():
    found = Policy(minimum=7, corrupt=0.2, sigma=50).for_sums(AUTHORITY)
    assert (found.minimum, found.corrupt, found.sigma, found.authorities) == (7, 0.2, 50, (AUTHORITY,))
    assert not found.insecure_unsigned
    assert not found.insecure_honest_server
    assert Policy(authorities=("cd" * 32,)).for_sums(AUTHORITY).authorities == (b"\xcd" * 32,)
    assert Policy().for_sums().authorities == ()
