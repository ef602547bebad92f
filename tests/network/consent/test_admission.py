"""Which terms a policy admits: each reason alone, and all of them together."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

import pytest

from tacit.network.consent.policy import Policy
from tests.network.consent.asked import AUTHORITY, terms

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
ROBUST = {"name": "Median", "groups": 3}
PRIVATE = {"name": "UserLevel", "epsilon": 4.0, "clip": 1.0}


@pytest.fixture(scope="module")
def asked():
    return terms()


def reasons(policy, terms, **more):
    return policy.admit(terms, authority=AUTHORITY, now=NOW, **more)


def test_secure_sums_of_five_are_admitted_and_a_person_is_asked(asked):
    assert reasons(Policy(), asked) == []
    assert len(Policy().asks(asked)) == 2


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"tasks": ("own",)}, "the task is 'app-recommendation', and this participant allows own"),
        ({"tasks": ()}, "allows none"),
        ({"plans": ("ab" * 32,)}, "none of the 1 in plans"),
        ({"rounds": 9}, "the plan has 10 rounds, and this participant takes part in 9 at most"),
        ({"authorities": ("ab" * 32,)}, "this one accepts abababababababab..."),
        ({"minimum": 6}, "sums are of 5 participants or more, and this one demands 6"),
        ({"corrupt": 0.2}, "0.1 of the participants are corrupt, and this one assumes 0.2"),
        ({"sigma": 41}, "sigma of the sums is 40, and this participant demands 41"),
        ({"without": "refuse"}, "the plan has no differential privacy"),
        ({"epsilon": 1.0}, "nothing bounds what the plan costs, and this participant has a cap of epsilon 1"),
        ({"expires": date(2027, 3, 1), "zone": "UTC"}, "the policy expired on 2027-03-01"),
    ],
)
def test_each_rule_alone_refuses(asked, policy, said):
    (reason,) = reasons(Policy(**policy), asked)
    assert said in reason


@pytest.mark.parametrize(
    "policy",
    [
        {"tasks": ("own", "app-recommendation")},
        {"rounds": 10},
        {"minimum": 5},
        {"corrupt": 0.1, "sigma": 40},
        {"authorities": ("ab" * 32, AUTHORITY.hex())},
        {"expires": date(2027, 3, 2), "zone": "UTC"},
    ],
)
def test_what_is_just_enough_is_admitted(asked, policy):
    assert reasons(Policy(**policy), asked) == []


def test_a_plan_that_is_listed_is_admitted(asked):
    assert reasons(Policy(plans=("ab" * 32, asked.plan.hash)), asked) == []


def test_all_reasons_are_told_at_once(asked):
    policy = Policy(tasks=(), rounds=1, minimum=9, sigma=50, without="refuse", authorities=("ab" * 32,))
    assert len(reasons(policy, asked)) == 6


def test_without_an_authority_nobody_is_known(asked):
    assert "accepts none" in Policy().admit(asked, now=NOW)[0]


def test_clear_text_is_for_tests():
    clear = terms(loopback=True)
    assert "no TLS" in reasons(Policy(), clear)[0]
    assert reasons(Policy(insecure_loopback=True), clear) == []


def test_sums_that_are_not_secure_are_refused_unless_they_may_be():
    plain = terms(aggregation="none")
    assert "no secure one (none: the server sees every report)" in reasons(Policy(), plain)[0]
    assert reasons(Policy(secure=False), plain) == []


def test_weakened_sums_are_refused_by_name():
    weak = terms(
        aggregation={"name": "SecureSum", "minimum": 5, "insecure_unsigned": True, "insecure_honest_server": True}
    )
    found = reasons(Policy(), weak)
    assert ["insecure_unsigned" in found[0], "insecure_honest_server" in found[1]] == [True, True]
    assert reasons(Policy(insecure_unsigned=True, insecure_honest_server=True), weak) == []


def test_where_a_plan_states_no_minimum_that_of_its_cohorts_counts():
    half = terms(aggregation={"name": "SecureSum"}, selection={"name": "Uniform", "cohort": 16})
    assert reasons(Policy(minimum=8), half) == []
    assert "sums are of 8" in reasons(Policy(minimum=9), half)[0]


def test_where_a_robust_rule_splits_a_cohort_the_sums_of_its_groups_count():
    split = {"selection": {"name": "Uniform", "cohort": 18}, "robust": ROBUST, "participants": 20}
    half = terms(aggregation={"name": "SecureSum"}, **split)  # groups of 6: of 5 or more, and not of 9 or more
    assert reasons(Policy(minimum=5), half) == []
    (reason,) = reasons(Policy(minimum=6), half)
    assert "sums are of 5 participants or more (a cohort is split into 3 groups, each with a sum of its own)" in reason
    stated = terms(aggregation={"name": "SecureSum", "minimum": 6}, **split)
    assert reasons(Policy(minimum=6), stated) == []


def test_every_reason_is_told_in_both_languages(tmp_path):
    strict = Policy(tasks=(), plans=("ab" * 32,), rounds=1, minimum=9, corrupt=0.2, sigma=50, without="refuse",
                    authorities=("ab" * 32,), expires=date(2027, 3, 1), zone="UTC", epsilon=1.0)  # fmt: skip
    weak = {"insecure_unsigned": True, "insecure_honest_server": True}
    asked = [
        terms(loopback=True, aggregation={"name": "SecureSum", "minimum": 5} | weak),
        terms(aggregation="none"),
        terms(privacy=PRIVATE),
        terms(aggregation={"name": "SecureSum"}, selection={"name": "Uniform", "cohort": 18}, robust=ROBUST),
    ]
    with strict.spending(tmp_path / "ledger.sqlite") as spending:
        for one in asked:
            english, chinese = (reasons(strict, one, spending=spending, language=language) for language in ("en", "zh"))
            assert len(english) == len(chinese) > 5
            for first, second in zip(english, chinese, strict=True):
                assert not re.search(r"[\u4e00-\u9fff]", first)
                assert re.search(r"[\u4e00-\u9fff]{4}", second)
                assert sorted(re.findall(r"[\d.]*\d", first)) == sorted(re.findall(r"[\d.]*\d", second))
    assert [re.search(r"[\u4e00-\u9fff]{4}", why) is not None for why in Policy().asks(asked[0], language="zh")] == [
        True
    ] * 2


def test_a_person_is_asked_about_plans_without_privacy_whatever_else_is_said(asked):
    policy = Policy(approval="policy")
    assert policy.asks(asked) == ["the plan has no differential privacy (privacy.without = 'ask')"]
    assert policy.asks(terms(privacy=PRIVATE)) == []
    assert Policy(approval="policy", without="admit").asks(asked) == []


def test_noise_that_can_be_foreseen_is_no_privacy():
    seeded = terms(privacy=PRIVATE | {"insecure_seed": 1})
    assert "noise that can be foreseen" in reasons(Policy(without="refuse"), seeded)[0]
    assert Policy(approval="policy").asks(seeded) != []


def test_a_promise_that_cannot_be_kept_is_refused():
    impossible = terms(privacy={"name": "UserLevel", "epsilon": 4.0, "noise_multiplier": 0.01, "clip": 1.0})
    assert "cannot be kept" in reasons(Policy(), impossible)[0]


def test_a_cap_needs_a_ledger():
    assert "no ledger was given" in reasons(Policy(epsilon=4.0), terms(privacy=PRIVATE))[0]


def test_the_whole_plan_must_fit_under_the_cap(tmp_path):
    asked = terms(privacy=PRIVATE)
    for cap, admitted in ((3.6, False), (3.7, True)):
        policy = Policy(epsilon=cap, delta=0.01)
        with policy.spending(tmp_path / "ledger.sqlite") as spending:
            found = reasons(policy, asked, spending=spending)
        assert (found == []) == admitted
        assert admitted or "would bring 'own' to epsilon 3.631 (delta 0.01, user)" in found[0]
