"""Holds what a run left behind against the invariants of a federation that loses nothing.

In a scene of vectors the report of a client adds one to its own coordinate of the model and nothing else. So the step
from one model to the next, times the number of reports in it, is how often each client was counted in that round.

I1  every acknowledged report is counted once, or its round is abandoned
I2  no round has two models
I3  a sum that was published has one set of survivors, and these were counted
I5  models are published in the order of their rounds, one for each
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from tacit.network.consent.log import Log
from tacit.network.journal import State
from tacit.network.office import Kind

CLOSE = 1e-3
"""By so much a coordinate may be off: reports are rounded to a grid."""


def checked(scene, run=None):
    """Checks a scene whose coordinator has ended; returns the attempts of its journal.

    Args:
        scene: what was left.
        run: that has finished, if it has.
    """
    with scene.journal() as journal:
        attempts = journal.rounds()
        answers = {
            (one.round, one.attempt, kind): {
                a.participant: a.digest.hex() for a in journal.answers(one.round, one.attempt, kind)
            }
            for one in attempts
            for kind in Kind
        }
    published = [one for one in attempts if one.state is State.PUBLISHED]
    _one_model_each(attempts, published)
    _one_set_of_survivors(attempts, published, scene.spec["secure"])
    _acknowledged(scene, answers, published)
    if scene.spec["vectors"]:
        _decoded(scene, published, run)
    if run is not None:
        assert [one.round for one in published] == list(range(len(run.rows)))
    return attempts


def _one_model_each(attempts, published):
    rounds = [one.round for one in published]
    assert rounds == sorted(set(rounds)), f"rounds were published twice, or out of order: {rounds}"
    downs = defaultdict(set)
    for one in attempts:
        downs[one.round].add(one.down)
    several = {round: found for round, found in downs.items() if len(found) > 1}
    assert not several, f"attempts of one round began from different models: {several}"
    for one in attempts:
        if one.round not in rounds:
            continue
        last = max(other.attempt for other in attempts if other.round == one.round)
        assert one.state is (State.PUBLISHED if one.attempt == last else State.ABANDONED), one


def _one_set_of_survivors(attempts, published, secure):
    for one in published:
        counted = one.facts["counted"]
        assert len(counted) == len(set(counted))
        assert set(counted) <= set(one.cohort)
        if secure:
            assert one.survivors == tuple(sorted(counted)), f"round {one.round} was summed over others than survived"
    for one in attempts:
        assert one.survivors is None or set(one.survivors) <= set(one.cohort)


def _acknowledged(scene, answers, published):
    """What participants were told is what the journal has."""
    inside = {(one.round, one.attempt): set(one.facts["counted"]) for one in published}
    report = str(Kind.MASK if scene.spec["secure"] else Kind.TRAIN)
    for name in scene.names:
        told, sent, place = {}, {}, scene.folder / "parties" / name
        receipts = (place / "receipts").read_text().split() if (place / "receipts").exists() else []
        for entry in Log(place / "log.jsonl").entries():
            facts = entry.facts
            if entry.event == "sent":
                taken = answers[facts["round"], facts["attempt"], Kind(facts["kind"])].get(name)
                sent.setdefault((facts["round"], facts["attempt"], Kind(facts["kind"])), set()).add(facts["digest"])
                if facts["digest"] in receipts:
                    assert taken == facts["digest"], f"{name} was told that {facts} was taken, and it was not"
            if entry.event == "counted":
                key = facts["round"], facts["attempt"]
                assert told.setdefault(key, facts["counted"]) == facts["counted"], f"{name} was told two things"
                assert facts["counted"] is (name in inside.get(key, ())), f"{name} was told a falsehood: {facts}"
        for key, taken in answers.items():
            assert taken.get(name) is None or taken[name] in sent.get(key, ()), f"{name} gave {key}, not in its log"
        for key, names in inside.items():
            if name in names:
                assert name in answers[(*key, Kind(report))], f"{name} was counted in {key} without having answered"


def _decoded(scene, published, run):
    """Who was counted, and how often, from the models alone; held against the journal."""
    expected = {0: np.zeros(len(scene.names))}
    for one in published:
        step = np.array([one.facts["counted"].count(name) for name in scene.names]) / len(one.facts["counted"])
        expected[one.round + 1] = expected[one.round] + step
    seen = traced(scene)
    if run is not None:
        seen[len(run.rows)].add(tuple(np.asarray(next(iter(run.tensors.values()))).ravel().tolist()))
    for round, models in seen.items():
        assert len(models) == 1, f"round {round} began from {len(models)} models: {models}"
        found = np.array(next(iter(models)))
        assert np.abs(found - expected[round]).max() < CLOSE, (
            f"the model before round {round} is {found}: {expected[round]}"
        )


def traced(scene):
    """The models from which participants trained, by round: each round adds one in all."""
    models = defaultdict(set)
    for place in scene.folder.glob("*.trace"):
        for line in place.read_text().splitlines():
            model = tuple(float(value) for value in line.split())
            models[round(sum(model))].add(model)
    return models


def times_counted(before, after, reports):
    """How often each client was counted in a step that holds so many reports."""
    found = (np.array(after) - np.array(before)) * reports
    whole = np.round(found)
    assert np.abs(found - whole).max() < CLOSE, f"a report was counted by a part: {found}"
    return whole.astype(int).tolist()
