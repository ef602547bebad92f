"""The ideal functionality refuses and counts as the whole protocol does, whoever is lost and when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.aggregation.secure.config import Config, Policy
from tacit.aggregation.secure.ideal import Ideal
from tacit.aggregation.secure.rehearsal import Rehearsal, Step, identities
from tacit.aggregation.secure.traffic import traffic
from tacit.errors import InsufficientSurvivors

AUTHORITY, KNOWN = identities([f"{k:03d}" for k in range(12)])


def config(minimum: int, signed: bool, dropout: float = 0.1) -> Config:
    settings = {"run": bytes(16), "round": 3, "length": 7, "bits": 32, "layout": bytes(32)}
    return Config(minimum=minimum, signed=signed, dropout=dropout, **settings)


def rehearsal(of: Config, count: int, lost: dict[int, Step]) -> Rehearsal:
    names = [f"{k:03d}" for k in range(count)]
    trusting = {"insecure_unsigned": not of.signed, "minimum": of.minimum, "authorities": (AUTHORITY,)}
    by_name = {names[k]: step for k, step in lost.items()}
    return Rehearsal(of, names, bytes(32), by_name, KNOWN if of.signed else {}, Policy(**trusting))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(3, 12).flatmap(
        lambda n: st.tuples(
            st.just(n),
            st.integers(3, n),
            st.dictionaries(st.integers(0, n - 1), st.sampled_from(list(Step)), max_size=6),
            st.booleans(),
            st.integers(0, 2**31),
        )
    )
)
def test_who_counts_and_what_is_refused_are_those_of_the_protocol(drawn):
    count, minimum, lost, signed, seed = drawn
    of = config(minimum, signed)
    ideal = Ideal(minimum, of.degree, bytes(32), signed)
    vectors = np.random.default_rng(seed).integers(-(2**27), 2**27, (count, 7))
    whole = rehearsal(of, count, lost)
    try:
        there = whole.begin()
        for name in there:
            whole.upload(name, vectors[int(name)])
        total, refused = whole.finish(), None
    except InsufficientSurvivors as error:
        total, refused = None, error
    if refused is not None:
        with pytest.raises(InsufficientSurvivors) as raised:
            ideal.counted(range(count), lost)
        assert (raised.value.phase, raised.value.have, raised.value.need) == (refused.phase, refused.have, refused.need)
        return
    counted = ideal.counted(range(count), lost)
    assert [f"{k:03d}" for k in counted] == [whole.server.members.names[i] for i in whole.server.survivors]
    assert (total == vectors[counted].sum(0)).all()


def test_one_that_is_lost_before_its_upload_is_out_and_one_lost_after_it_is_in():
    ideal = Ideal(3, config(3, True).degree, bytes(32))
    for step in Step:
        counted = ideal.counted(range(10), {4: step})
        assert (4 in counted) == (step > Step.MASK)


def test_a_graph_that_is_not_complete_loses_its_sum_only_where_a_neighbourhood_does():
    of = config(3, False, dropout=0.3)
    ideal = Ideal(3, of.degree, bytes(32), False)
    k, t = of.degree(300)
    assert k < 299
    assert len(ideal.counted(range(300), dict.fromkeys(range(0, 300, 5), Step.MASK))) == 240
    with pytest.raises(InsufficientSurvivors):
        ideal.counted(range(300), dict.fromkeys(range(300 - t + 2), Step.UNMASK))


@pytest.mark.parametrize("signed", [True, False])
def test_the_bytes_of_every_message_are_those_that_are_sent(signed):
    of, count = config(3, signed), 9
    whole = rehearsal(of, count, {})
    for name in whole.begin():
        whole.upload(name, np.zeros(7, dtype=np.int64))
    whole.finish()
    up, down = traffic(of, count, name=3)
    assert whole.up == {name: count * size for name, size in up.items()}
    assert whole.down == {name: count * size for name, size in down.items()}


def test_neighbourhoods_on_the_ring_are_those_of_the_graph():
    from tacit.aggregation.secure.graph import neighbours

    of, seed, count = config(3, False), bytes(range(32)), 250
    k, _ = of.degree(count)
    around = Ideal(3, of.degree, seed, False)._around(count, k)
    members = np.random.default_rng(0).random(count) < 0.6
    for index in range(count):
        near = [index, *neighbours(seed, count, k, index)]
        assert around(members)[index] == members[near].sum()
