"""Populations in memory."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import DataError
from tacit.population.population import Population, as_tensor

SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=8)


def client(n, width=3, start=0.0):
    return start + np.arange(n * width, dtype=np.float32).reshape(n, width), np.arange(n, dtype=np.int64)


def refusal(data):
    with pytest.raises(DataError) as caught:
        Population.from_arrays(data)
    return str(caught.value)


@given(SIZES)
def test_every_client_gets_back_what_it_brought(sizes):
    data = {f"c{k}": client(n, start=100.0 * k) for k, n in enumerate(sizes)}
    population = Population.from_arrays(data)
    assert len(population) == len(sizes)
    assert population.sizes.tolist() == sizes
    for name, (x, y) in data.items():
        got_x, got_y = population[name]
        assert np.array_equal(got_x.numpy(), x)
        assert np.array_equal(got_y.numpy(), y)


@given(SIZES, st.data())
def test_a_block_holds_the_clients_asked_for_in_the_order_asked(sizes, data):
    population = Population.from_arrays({k: client(n, start=100.0 * k) for k, n in enumerate(sizes)})
    wanted = data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=5))
    block = population.examples(np.array(wanted))
    for place, k in enumerate(wanted):
        x, _ = block.of(place)
        assert torch.equal(x, population[k][0])


def test_examples_of_a_population_in_memory_are_not_copied():
    population = Population.from_arrays({"a": client(2), "b": client(3)})
    x, _ = population["b"]
    x[0, 0] = -1.0
    assert population["b"][0][0, 0] == -1.0


def test_the_arrays_given_may_be_read_only_and_are_left_alone():
    x, y = client(3)
    x.flags.writeable = False
    population = Population.from_arrays({"a": (x, y)})
    population["a"][0][0, 0] = 9.0
    assert x[0, 0] == 0.0


def test_a_client_is_found_by_whatever_prints_as_its_id():
    population = Population.from_arrays({7: client(1), "8": client(2)})
    assert population.index("7") == population.index(7) == 0
    assert population.index(8) == 1


def test_an_unknown_client_is_named():
    with pytest.raises(DataError, match="no client 'zoe' in a population of 1"):
        Population.from_arrays({"a": client(1)}).index("zoe")


@pytest.mark.parametrize(
    ("given_type", "kept"),
    [
        (np.uint8, torch.int64),
        (np.uint16, torch.int64),
        (np.int32, torch.int64),
        (np.float16, torch.float32),
        (np.float32, torch.float32),
        (np.float64, torch.float64),
        (">f4", torch.float32),
        (np.bool_, torch.bool),
    ],
)
def test_numbers_of_any_type_are_held_in_one_of_four(given_type, kept):
    population = Population.from_arrays({"a": (np.ones((2, 1)).astype(given_type), np.zeros(2))})
    x, _ = population["a"]
    assert x.dtype == kept
    assert x.sum() == 2


def test_casting_changes_floating_point_columns_only():
    population = Population.from_arrays({"a": client(2)}).cast(torch.float64)
    x, y = population["a"]
    assert (x.dtype, y.dtype) == (torch.float64, torch.int64)


def test_all_problems_are_reported_at_once_with_their_clients():
    text = refusal(
        {
            "good": client(2),
            "empty": (np.zeros((0, 3), dtype=np.float32), np.zeros(0, dtype=np.int64)),
            "short": (client(3)[0], np.zeros(2, dtype=np.int64)),
            "wide": client(2, width=4),
            "text": (np.array([["a", "b", "c"]]), np.zeros(1, dtype=np.int64)),
            "other": (np.zeros((1, 3), dtype=np.float64), np.zeros(1, dtype=np.int64)),
        }
    )
    assert "5 problems" in text
    assert "client 'empty' has no examples" in text
    assert "client 'short' has 3 inputs and 2 targets" in text
    assert "client 'wide': an example of x is (4,) float32 and not (3,) float32" in text
    assert "client 'text': values of type <U1 are not numbers" in text
    assert "client 'other': an example of x is (3,) float64" in text


def test_ids_that_are_equal_as_text_are_refused():
    assert "client ids '1' occur more than once" in refusal({1: client(1), "1": client(1)})


def test_a_population_without_clients_is_refused():
    assert "there is no client" in refusal({})


def test_an_array_of_two_rows_is_not_taken_for_a_pair():
    assert "client 'a': its examples are a ndarray: give a pair (x, y)" in refusal({"a": np.zeros((2, 5))})


def test_complex_numbers_are_refused():
    assert "complex" in refusal({"a": (np.zeros(2, dtype=complex), np.zeros(2))})


def test_clients_that_hold_nan_or_infinity_are_named():
    x, y = client(2)
    broken = x.copy()
    broken[1, 1] = np.nan
    target = np.array([0.0, np.inf])
    population = Population.from_arrays({"a": (x, y * 1.0), "b": (broken, y * 1.0), "c": (x, target)})
    assert population.problems() == [
        "x holds NaN or Inf in 1 examples of clients 'b': fill or drop them",
        "y holds NaN or Inf in 1 examples of clients 'c': fill or drop them",
    ]


def test_finite_numbers_whose_sum_overflows_are_no_problem():
    huge = np.full((4, 3), 3e38, dtype=np.float32)
    assert Population.from_arrays({"a": (huge, np.zeros(4))}).problems() == []


def test_the_fingerprint_follows_ids_sizes_and_every_value():
    first = Population.from_arrays({"a": client(2), "b": client(3)})
    assert Population.from_arrays({"a": client(2), "b": client(3)}).fingerprint() == first.fingerprint()
    for other in ({"a": client(3), "b": client(2)}, {"a": client(2), "c": client(3)}, {"b": client(3), "a": client(2)}):
        changed = Population.from_arrays(other)
        assert changed.fingerprint() != first.fingerprint()
        assert changed.roster() != first.roster()
    for column in (0, 1):
        pair = [np.array(values) for values in client(3)]
        pair[column].reshape(-1)[-1] += 1
        changed = Population.from_arrays({"a": client(2), "b": tuple(pair)})
        assert changed.fingerprint() != first.fingerprint()
        assert changed.roster() == first.roster()


def test_the_fingerprint_follows_the_type_that_the_values_are_cast_to():
    first = Population.from_arrays({"a": client(2), "b": client(3)})
    single, double = (first.cast(dtype) for dtype in (torch.float32, torch.float64))
    assert single.fingerprint() != double.fingerprint()
    assert first.cast(torch.float32).fingerprint() == single.fingerprint()


def test_a_population_survives_the_way_to_another_process():
    population = Population.from_arrays({"a": client(2), "b": client(3)})
    population.index("a")
    copy = pickle.loads(pickle.dumps(population))
    assert copy.ids == population.ids
    assert torch.equal(copy["b"][0], population["b"][0])


def test_a_population_describes_itself_briefly():
    assert repr(Population.from_arrays({"a": client(2), "b": client(3)})) == "ArrayPopulation(2 clients, 5 examples)"


@pytest.mark.parametrize("data", [[1, 2], None, "abc", 5, {1, 2}], ids=repr)
def test_what_is_no_mapping_is_refused_with_the_form_to_give(data):
    with pytest.raises(DataError, match=r"give a mapping \{client_id: \(x, y\)\}"):
        Population.from_arrays(data)


def test_whole_numbers_beyond_int64_are_refused_and_never_wrapped():
    low, high = np.array([1, 2**63 - 1], dtype=np.uint64), np.array([1, 2**63 + 5], dtype=np.uint64)
    assert as_tensor(low).tolist() == [1, 2**63 - 1]
    for values in (high, torch.from_numpy(high)):
        with pytest.raises(DataError, match=r"reach 2\*\*63"):
            as_tensor(values)


def test_every_way_of_giving_no_dense_array_of_numbers_is_refused_with_its_client():
    odd = {
        "ragged": [[1], [1, 2]],
        "sparse": torch.eye(2).to_sparse(),
        "nothing in it": torch.empty(2, 3, device="meta"),
        "complex": np.zeros((2, 3), dtype=np.clongdouble),
    }
    with pytest.raises(DataError) as caught:
        Population.from_arrays({name: (x, np.zeros(2)) for name, x in odd.items()})
    text = str(caught.value)
    assert "4 problems" in text
    assert all(f"client {name!r}: values " in text for name in odd)
    assert "sparse_coo tensor" in text and "meta tensor" in text


def test_wider_floats_than_torch_has_are_narrowed():
    assert as_tensor(np.ones(2, dtype=np.longdouble)).dtype == torch.float64


def test_examples_without_a_number_in_them_are_refused():
    with pytest.raises(DataError, match=r"client 'a': x has the shape \(4, 0\), without a number"):
        Population.from_arrays({"a": (np.zeros((4, 0)), np.zeros(4))})
    with pytest.raises(DataError, match="without a number"):
        _ = Population.from_loader({"a": 4}, lambda client: (np.zeros((4, 0)), np.zeros(4)))["a"]
