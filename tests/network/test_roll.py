"""The roll: who has approved the terms, and would train."""

from tacit.network.consent.approvals import statement
from tacit.network.journal import Participant, Standing
from tacit.network.office import CheckIn
from tacit.network.roll import Roll
from tests.network.consent.asked import identity

TERMS = "ab" * 32


def test_who_has_approved_and_rests_is_not_counted_among_those_who_would_train():
    names = [f"ward-{k}" for k in range(3)]
    people = [identity(name, k) for k, name in enumerate(names)]
    roll = Roll([Participant(one.name, one.key, k, 0, Standing.ACTIVE, "") for k, one in enumerate(people)], 60.0)

    def says(k, approves=True, note=""):
        one = people[k]
        signature = one.sign(statement(one.name, TERMS)) if approves else b""
        roll.seen(one.name, CheckIn("0" * 32, TERMS if approves else "", signature, note=note), TERMS)
        assert roll.approvals == len(roll.ready(TERMS))
        return roll.approvals

    assert [says(0), says(1, approves=False), says(2, note="no data today")] == [1, 1, 1]
    assert [says(1), says(2), says(2)] == [2, 3, 3]
    assert [says(0, note="it is 03:00"), says(0, note="it is 04:00"), says(0)] == [2, 2, 3]
    assert [says(1, approves=False, note="changed its mind"), says(1)] == [2, 3]
    assert roll.counts(TERMS)["approved"] == 3
