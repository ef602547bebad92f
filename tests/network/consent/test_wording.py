"""What a participant is told of a run, in both languages: everything that matters, and nothing that is not so."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tacit.errors import UsageError
from tacit.network.consent.cost import costs
from tacit.network.consent.wording import explained
from tests.network.consent.asked import AUTHORITY, terms

USER = {"name": "UserLevel", "epsilon": 4.0, "clip": 1.0}


def told(language="en", **sections):
    asked = terms(**sections)
    return dict(explained(asked, costs(asked), language))


def test_a_data_protection_officer_reads_what_matters():
    said = told(privacy=USER)
    assert "age, pressure" in said["Data used"]
    assert "well, ill" in said["Data used"]
    assert "10 rounds at most" in said["Duration"]
    assert "20 participants, of which 10" in said["Duration"]
    assert "sums over 5 participants or more" in said["Who sees it"]
    assert "epsilon 4, delta 0.005" in said["Privacy"]
    assert "The coordinator adds the noise" in said["Privacy"]
    assert AUTHORITY.hex() in said["Who vouches"]
    assert said["Terms"] == terms(privacy=USER).hash


def test_what_is_weak_is_said():
    assert "No differential privacy" in told()["Privacy"]
    assert "sees this participant's numbers as they are" in told(aggregation="none")["Who sees it"]
    assert "WITHOUT TLS" in told(loopback=True)["Connection"]
    weak = {"name": "SecureSum", "minimum": 5, "insecure_unsigned": True}
    assert "WARNING" in told(aggregation=weak)["Who sees it"]


def test_of_a_cohort_that_is_split_the_sums_of_its_groups_are_told():
    split = {"robust": {"name": "Median", "groups": 3}, "selection": {"name": "Uniform", "cohort": 18}}
    assert "sums over 5 participants" in told(aggregation={"name": "SecureSum"}, **split)["Who sees it"]
    del split["robust"]
    assert "sums over 9 participants" in told(aggregation={"name": "SecureSum"}, **split)["Who sees it"]


def test_who_adds_the_noise_is_said_only_where_it_is_the_coordinator():
    for section in (USER | {"mechanism": "skellam"}, {"name": "LocalLevel", "epsilon": 4.0, "clip": 1.0}):
        assert "The coordinator adds" not in told(privacy=section)["Privacy"]
    records = told(record_privacy={"name": "RecordLevel", "epsilon": 2.0, "clip": 1.0})["Privacy"]
    assert "every single record" in records
    assert "follows from the number of records" in records


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"privacy": USER},
        {"aggregation": "none"},
        {"loopback": True},
        {"record_privacy": {"name": "RecordLevel", "epsilon": 2.0, "clip": 1.0}},
    ],
)
def test_both_languages_tell_the_same_numbers(sections):
    english, chinese = (explained(terms(**sections), costs(terms(**sections)), one) for one in ("en", "zh"))
    assert len(english) == len(chinese)
    for (_, first), (heading, second) in zip(english, chinese, strict=True):
        assert re.search(r"[\u4e00-\u9fff]", heading)
        assert sorted(re.findall(r"\d[\d.]*\d|\d", first)) == sorted(re.findall(r"\d[\d.]*\d|\d", second))


def test_all_that_leaves_is_named():
    plain, private = told()["What leaves"], told(privacy=USER)["What leaves"]
    assert "FedAdam sends it, and with it the number of examples, the mean training loss, running statistics" in plain
    assert "sends it. No record" in private
    more = told(privacy=USER | {"loss_bound": 5.0, "metrics": ["hit@1"]})["What leaves"]
    assert "the mean training loss, the measure hit@1 on the own examples" in more
    records = told(record_privacy={"name": "RecordLevel", "epsilon": 2.0, "clip": 1.0})["What leaves"]
    assert "with it the number of examples. No record" in records


def test_names_from_elsewhere_cannot_move_or_turn_what_is_shown():
    asked = terms()
    tricky = replace(asked, schema=replace(asked.schema, inputs=("a\x1b[2J", "b\nPrivacy: all is well\u202e")))
    said = dict(explained(tricky, costs(tricky)))["Data used"]
    assert said.isprintable()
    assert "a?[2J, b?Privacy: all is well?" in said
    many = replace(asked, schema=replace(asked.schema, inputs=tuple(f"c{k}" * 50 for k in range(40)), shape=(40,)))
    said = dict(explained(many, costs(many)))["Data used"]
    assert "... (40)" in said
    assert len(said) < 1000


def test_there_are_two_languages():
    with pytest.raises(UsageError, match="language is 'de'"):
        told("de")
