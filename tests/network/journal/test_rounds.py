"""The state machine of rounds, against a model of it that is simple enough to be seen through."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tacit.network.journal import Attempt, IllegalMove, Journal, State

COHORT = ("a", "b", "c")
ORDER = ["open", "collecting", "shared", "masked", "summed", "published", "abandoned"]
ALLOWED = {
    ("open", "collecting"),
    ("collecting", "shared"),
    ("collecting", "masked"),
    ("collecting", "summed"),
    ("shared", "masked"),
    ("masked", "summed"),
    *((one, "abandoned") for one in ORDER[:5]),
}


def test_a_round_goes_from_open_to_published_and_all_of_it_is_read_back(opened: Callable[[], Journal]) -> None:
    journal = opened()
    journal.open_round(0, 0, COHORT, "down")
    journal.move(0, 0, State.COLLECTING, deadline=5)
    journal.move(0, 0, State.SHARED)
    assert journal.fix_survivors(0, 0, ["c", "a"]) == ("a", "c")
    journal.move(0, 0, State.MASKED)
    journal.move(0, 0, State.SUMMED, counted=2)
    assert journal.unfinished() == journal.rounds()
    journal.publish(0, 0, "sha")
    journal = opened()
    assert journal.unfinished() == []
    assert journal.rounds() == journal.attempts(0)
    assert journal.rounds(after=0) == []
    found = journal.rounds()[0]
    assert (found.state, found.cohort, found.down, found.survivors) == (State.PUBLISHED, COHORT, "down", ("a", "c"))
    assert [journal.counted(name) for name in COHORT] == [1, 0, 1]
    assert (found.model, found.reason, found.facts) == ("sha", "", {"deadline": 5, "counted": 2})


def test_there_is_one_set_of_survivors(opened: Callable[[], Journal]) -> None:
    journal = opened()
    journal.open_round(0, 0, COHORT, "down")
    with pytest.raises(IllegalMove):  # not yet
        journal.fix_survivors(0, 0, "ab")
    journal.move(0, 0, State.COLLECTING)
    with pytest.raises(IllegalMove, match="before it is written"):
        journal.move(0, 0, State.MASKED)
    for names in ("", "ax"):
        with pytest.raises(IllegalMove):
            journal.fix_survivors(0, 0, names)
    assert journal.survivors(0, 0) is None
    journal.fix_survivors(0, 0, "ab")
    journal = opened()
    with pytest.raises(IllegalMove, match="other survivors"):
        journal.fix_survivors(0, 0, "abc")
    assert journal.fix_survivors(0, 0, "ba") == ("a", "b")
    journal.abandon(0, 0, "told to")
    with pytest.raises(IllegalMove):
        journal.fix_survivors(0, 0, "abc")
    assert journal.survivors(0, 0) == ("a", "b")


def test_a_reason_belongs_to_abandoning_and_a_model_to_publishing(journal: Journal) -> None:
    journal.open_round(0, 0, COHORT, "down")
    for state, reason in ((State.COLLECTING, "why"), (State.ABANDONED, ""), (State.PUBLISHED, "")):
        with pytest.raises(IllegalMove):
            journal.move(0, 0, state, reason=reason)
    assert journal.attempts(0)[0].state is State.OPEN


@pytest.mark.parametrize("cohort", [(), ("a", "a")])
def test_a_cohort_names_everybody_once_and_somebody(journal: Journal, cohort: tuple[str, ...]) -> None:
    with pytest.raises(IllegalMove):
        journal.open_round(0, 0, cohort, "down")
    assert journal.rounds() == []


def test_a_model_is_not_published_after_that_of_a_later_round(journal: Journal) -> None:
    for round in (0, 1):  # both are under way, as with a buffer
        journal.open_round(round, 0, COHORT, "down")
        journal.move(round, 0, State.COLLECTING)
        journal.move(round, 0, State.SUMMED)
    journal.publish(1, 0, "sha 1")
    with pytest.raises(IllegalMove, match="after round 1"):
        journal.publish(0, 0, "sha 0")
    assert [one.model for one in journal.rounds()] == [None, "sha 1"]


class Machine(RuleBasedStateMachine):
    """Moves at random, restarts in between; whatever the model refuses the journal refuses, and nothing else."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.journal = self._opened()
        self.model: dict[tuple[int, int], str] = {}
        self.survivors: dict[tuple[int, int], str] = {}
        self.models: dict[int, str] = {}

    def _opened(self) -> Journal:
        return Journal.open(Path(self.folder.name) / "journal.sqlite", holder="test")

    def _same(self, allowed: bool, what: Callable[[], object]) -> bool:
        if allowed:
            what()
        else:
            with pytest.raises(IllegalMove):
                what()
        return allowed

    @rule(round=st.integers(0, 3), attempt=st.integers(0, 2))
    def open(self, round: int, attempt: int) -> None:
        before = [state for (one, _), state in self.model.items() if one == round]
        turn = round >= max((one for one, _ in self.model), default=0) and attempt == len(before)
        allowed = turn and all(state == "abandoned" for state in before)
        if self._same(allowed, lambda: self.journal.open_round(round, attempt, COHORT, "d")):
            self.model[round, attempt] = "open"

    @rule(round=st.integers(0, 3), attempt=st.integers(0, 2), state=st.sampled_from([*ORDER[1:5], "abandoned"]))
    def move(self, round: int, attempt: int, state: str) -> None:
        key = round, attempt
        allowed = (self.model.get(key), state) in ALLOWED and (state != "masked" or key in self.survivors)
        reason = "why" if state == "abandoned" else ""
        if self._same(allowed, lambda: self.journal.move(round, attempt, State(state), reason=reason)):
            self.model[key] = state

    @rule(round=st.integers(0, 3), attempt=st.integers(0, 2), names=st.sampled_from(["a", "ab", "abc", "x"]))
    def survive(self, round: int, attempt: int, names: str) -> None:
        key = round, attempt
        if key in self.survivors:
            allowed = self.survivors[key] == names
        else:
            allowed = self.model.get(key) in ("collecting", "shared") and names != "x"
        if self._same(allowed, lambda: self.journal.fix_survivors(round, attempt, names)):
            self.survivors[key] = names

    @rule(round=st.integers(0, 3), attempt=st.integers(0, 2), model=st.sampled_from("xy"))
    def publish(self, round: int, attempt: int, model: str) -> None:
        state = self.model.get((round, attempt))
        if state == "published":
            allowed = self.models[round] == model
        else:
            allowed = state == "summed" and round > max(self.models, default=-1)
        if self._same(allowed, lambda: self.journal.publish(round, attempt, model)):
            self.model[round, attempt], self.models[round] = "published", model

    @rule()
    def restart(self) -> None:
        self.journal.close()
        self.journal = self._opened()

    @invariant()
    def what_is_written_is_what_the_model_says(self) -> None:
        found: list[Attempt] = self.journal.rounds()
        assert {(one.round, one.attempt): one.state.value for one in found} == self.model
        assert {(one.round, one.attempt): "".join(one.survivors) for one in found if one.survivors} == self.survivors
        assert {one.round: one.model for one in found if one.model} == self.models

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            self.folder.cleanup()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=10, stateful_step_count=25, deadline=None)
