"""`tacit participant`: waiting terms are shown in words, approved or refused by a person, and the log is read."""

from __future__ import annotations

import json
import os

import pytest
from typer.testing import CliRunner

from tacit.aggregation.secure.identity import Authority
from tacit.cli.participant import app
from tacit.errors import DamagedFile, UsageError
from tacit.network.consent import Approvals, Folder, Log, holds
from tacit.network.identity import Enrolment, new_key
from tests.network.consent.asked import terms

USER = {"name": "UserLevel", "epsilon": 4.0, "clip": 1.0}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Of a participant that is enrolled; its environment says where it is."""
    made = Folder(tmp_path / "mine").make()
    authority = Authority(os.urandom)
    key = new_key(made.key).public_key().public_bytes_raw()
    certificate = authority.certify("ward-1", key)
    Enrolment("ward-1", "https://coordinator:8443", authority.key, certificate.signature).write(made.path)
    monkeypatch.setenv("TACIT_PARTICIPANT", str(made.path))
    return made


def authority_of(folder):
    return Enrolment.read(folder.path).authority


def call(*words):
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def key_of(folder):
    return Enrolment.read(folder.path).identity(folder.path).key


def test_without_terms_nothing_waits(folder):
    assert call("show") == "nothing waits\n"
    assert call("show", "--lang", "zh") == "没有待批准的条款\n"
    assert json.loads(call("show", "--json")) == {"waiting": None}
    with pytest.raises(UsageError, match="no terms wait"):
        call("approve")


def test_what_waits_is_shown_with_what_the_policy_says(folder):
    asked = terms(authority=authority_of(folder), privacy=USER)
    folder.wait_for(asked)
    shown = call("show")
    assert "sums over 5 participants or more" in shown
    assert "policy admits these terms" in shown
    assert "(approval = 'ask')" in shown
    chinese = call("show", "--lang", "zh")
    assert "本参与方的策略准许这些条款" in chinese
    assert "策略规定每个计划都由人批准（approval = 'ask'）" in chinese
    found = json.loads(call("show", "--json"))
    assert (found["waiting"], found["refused"], len(found["asks"])) == (asked.hash, [], 1)


def test_why_terms_are_refused_is_said_in_both_languages(folder):
    folder.policy.write_text("version = 1\n\n[sums]\nminimum = 6\n")
    folder.wait_for(terms(authority=authority_of(folder)))
    assert "- sums are of 5 participants or more, and this one demands 6" in call("show")
    assert "- 每个和至少含 5 个参与方，而本参与方要求 6 个" in call("show", "--lang", "zh")


def test_an_approval_is_signed_kept_and_logged(folder):
    asked = terms(authority=authority_of(folder))
    folder.wait_for(asked)
    assert asked.hash in call("approve", "--days", "30", "--terms", asked.hash[:12])
    decision = Approvals(folder.approvals, key_of(folder)).find(asked.hash)
    assert holds(key_of(folder), "ward-1", asked.hash, decision.wire)
    assert folder.waiting_terms() is None
    (entry,) = Log(folder.log).entries()
    assert (entry.event, entry.facts["terms"], entry.facts["until"]) == ("approved", asked.hash, decision.until)


def test_what_the_policy_refuses_cannot_be_approved(folder):
    folder.wait_for(terms(authority=authority_of(folder)))
    folder.policy.write_text("version = 1\n[sums]\nminimum = 9\n[limits]\nrounds = 5\n")
    assert "REFUSES" in call("show")
    with pytest.raises(UsageError, match=r"2 problems"):
        call("approve")
    assert not folder.approvals.exists()


def test_terms_of_another_authority_are_refused(folder):
    folder.wait_for(terms())
    with pytest.raises(UsageError, match="participants are certified by"):
        call("approve")


def test_only_the_terms_that_are_named_are_approved(folder):
    folder.wait_for(terms(authority=authority_of(folder)))
    for named in ("ab" * 32, "", terms(authority=authority_of(folder)).hash[:7]):
        with pytest.raises(UsageError, match="was named"):
            call("approve", "--terms", named)


def test_a_refusal_is_kept_with_its_reason(folder):
    asked = terms(authority=authority_of(folder))
    folder.wait_for(asked)
    assert call("refuse", "--why", "not decided yet") == f"refused: {asked.hash}\n"
    decision = Approvals(folder.approvals, key_of(folder)).find(asked.hash)
    assert (decision.decision, decision.why) == ("refused", "not decided yet")
    assert folder.waiting_terms() is None
    assert Log(folder.log).entries()[0].facts["why"] == "not decided yet"


def test_an_approval_can_be_taken_back_by_the_hash_of_its_terms(folder):
    asked = terms(authority=authority_of(folder))
    folder.wait_for(asked)
    call("approve")
    call("refuse", "--terms", asked.hash, "--why", "enough")
    assert Approvals(folder.approvals, key_of(folder)).find(asked.hash).decision == "refused"
    with pytest.raises(UsageError, match="was approved or refused"):
        call("refuse", "--terms", "ab" * 32)


def test_a_cap_counts_records_that_the_process_has_told(folder):
    folder.policy.write_text("version = 1\n[privacy]\nepsilon = 4.0\ndelta = 1e-3\n")
    records = {"name": "RecordLevel", "epsilon": 2.0, "clip": 1.0}
    asked = terms(authority=authority_of(folder), record_privacy=records)
    folder.wait_for(asked)
    assert "from the number of records here" in call("show")
    folder.wait_for(asked, 500)
    assert "policy admits these terms" in call("show")


def test_the_log_is_shown_and_verified(folder):
    assert call("log") == "nothing has happened yet\n"
    log = Log(folder.log)
    for round in range(3):
        log.write("asked", run="ab" * 16, round=round, attempt=0, kind="train")
    lines = call("log", "--last", "2").splitlines()
    assert len(lines) == 2
    assert "asked" in lines[1] and "round=2" in lines[1]
    log.write("error", text="a\x1b[2Jb")
    assert "text=a?[2Jb" in call("log", "--last", "1")
    folder.log.write_bytes(b"".join(folder.log.read_bytes().splitlines(keepends=True)[:3]))
    assert [entry["n"] for entry in json.loads(call("log", "--json"))] == [1, 2, 3]
    assert call("log", "--verify").startswith("3 entries, each as it was written")
    head = log.head
    assert "3 entries" in call("log", "--head", head)
    folder.log.write_bytes(b"".join(folder.log.read_bytes().splitlines(keepends=True)[:2]))
    with pytest.raises(DamagedFile, match="cut off"):
        call("log", "--head", head)
    folder.log.write_bytes(folder.log.read_bytes().replace(b'"round":0', b'"round":9'))
    with pytest.raises(DamagedFile, match="line 1"):
        call("log")


def test_a_policy_is_begun_once_and_shown(folder):
    assert "none: all defaults" in call("policy")
    assert str(folder.policy) in call("policy", "--new")
    shown = call("policy")
    assert "minimum" in shown and str(folder.policy) in shown
    assert json.loads(call("policy", "--json"))["minimum"] == 5
    with pytest.raises(UsageError, match="is there already"):
        call("policy", "--new")
    folder.policy.write_text("version = 1\nminimum = 5\n")
    with pytest.raises(UsageError, match="line 2: there is no minimum"):
        call("policy")


def test_who_is_not_enrolled_is_told_what_to_do(tmp_path):
    Folder(tmp_path).wait_for(terms())
    with pytest.raises(UsageError, match="tacit enroll"):
        call("approve", "--dir", str(tmp_path))
