"""Layouts: named slices of one flat vector."""

from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.learning.layout import Layout

SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)
LAYOUTS = st.dictionaries(st.sampled_from("abcdefg"), SHAPES, min_size=1, max_size=5).map(lambda s: Layout.of(**s))
LEADS = st.lists(st.integers(1, 3), max_size=2).map(tuple)


def parts_of(layout, lead=()):
    return {name: torch.randn((*lead, *shape)) for name, shape in zip(layout.names, layout.shapes, strict=True)}


@given(LAYOUTS, LEADS)
def test_unpacking_what_was_packed_gives_it_back(layout, lead):
    parts = parts_of(layout, lead)
    vector = layout.pack(parts)
    assert vector.shape == (*lead, layout.size)
    back = layout.unpack(vector)
    assert list(back) == list(layout.names)
    assert all(torch.equal(back[name], parts[name]) for name in layout.names)


@given(LAYOUTS, LEADS)
def test_packing_what_was_unpacked_gives_it_back(layout, lead):
    vector = torch.randn((*lead, layout.size))
    assert torch.equal(layout.pack(layout.unpack(vector)), vector)


@given(LAYOUTS, LEADS)
def test_packing_is_linear(layout, lead):
    one, other = parts_of(layout, lead), parts_of(layout, lead)
    total = {name: one[name] + other[name] for name in layout.names}
    assert torch.equal(layout.pack(total), layout.pack(one) + layout.pack(other))


@given(LAYOUTS, LEADS)
def test_writing_to_a_part_writes_to_the_vector(layout, lead):
    vector = torch.zeros((*lead, layout.size))
    for name, part in layout.unpack(vector).items():
        part.fill_(1.0)
        assert vector[..., layout[name]].eq(1.0).all()
    assert vector.eq(1.0).all()


@given(LAYOUTS)
def test_the_slices_tile_the_vector_in_order(layout):
    end = 0
    for (name, place, shape), listed in zip(layout.slices, layout.names, strict=True):
        assert (name, place.start, place.stop - place.start) == (listed, end, prod(shape))
        end = place.stop
    assert end == layout.size == sum(layout.sizes)


@given(LAYOUTS, SHAPES)
def test_extending_leaves_the_earlier_parts_where_they_are(layout, shape):
    longer = layout.extend("extra", shape)
    assert all(longer[name] == layout[name] for name in layout.names)
    assert longer["extra"] == slice(layout.size, layout.size + prod(shape))
    assert "extra" in longer
    assert "extra" not in layout


@given(LAYOUTS, LEADS)
def test_packing_into_a_given_vector_allocates_no_other(layout, lead):
    out = torch.empty((*lead, layout.size))
    parts = parts_of(layout, lead)
    assert layout.pack(parts, out=out) is out
    assert torch.equal(out, layout.pack(parts))


def test_slices_of_a_wider_block_are_unpacked_as_views():
    layout = Layout.of(w=(2, 2), b=(2,))
    wide = torch.zeros(3, 10)
    layout.unpack(wide[:, 2:8])["b"][1] = 5.0
    assert wide[1].tolist() == [0, 0, 0, 0, 0, 0, 5, 5, 0, 0]


def test_a_layout_like_tensors_has_their_names_and_shapes():
    assert Layout.like({"w": torch.zeros(2, 3), "n": torch.tensor(1.0)}) == Layout.of(w=(2, 3), n=())


def test_a_name_that_is_taken_cannot_be_added():
    with pytest.raises(ValueError, match="already has a part named 'a'"):
        Layout.of(a=(1,)).extend("a")


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    with pytest.raises(KeyError, match=r"no part 'c' in this layout; it has a, b"):
        Layout.of(a=(1,), b=(2,))["c"]


def test_parts_and_vectors_that_do_not_fit_are_refused():
    layout = Layout.of(a=(2,))
    with pytest.raises(ValueError, match="do not fit the layout"):
        layout.pack({"b": torch.zeros(2)})
    with pytest.raises(ValueError, match="a vector of 3 numbers does not fit a layout of 2"):
        layout.unpack(torch.zeros(3))
