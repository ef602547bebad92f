"""Populations larger than memory, and folders with a file for each client."""

import io
import pickle
import zipfile
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import DataError, UsageError
from tacit.population.population import Population


@dataclass
class Loader:
    """Makes each client's examples from its id, and counts how often it was asked."""

    sizes: dict
    broken: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)

    def __call__(self, client):
        self.asked.append(client)
        if client in self.broken:
            return self.broken[client]()
        n = self.sizes[client]
        return np.full((n, 2), float(client), dtype=np.float32), np.arange(n)


def population(sizes, broken=None, **options):
    named = {str(k): n for k, n in enumerate(sizes)}
    loader = Loader(named, broken or {})
    return Population.from_loader(named, loader, **options), loader


def refusal(people, clients):
    with pytest.raises(DataError) as caught:
        people.examples(np.array(clients))
    return str(caught.value)


def fails():
    raise FileNotFoundError("gone.bin")


def test_the_fingerprint_of_a_lazy_population_follows_the_first_clients_values_and_loads_no_other():
    loaded = []

    def load(client, start=0.0):
        loaded.append(client)
        return np.full((2, 3), start), np.zeros(2)

    sizes = {"a": 2, "b": 2}
    first, same = Population.from_loader(sizes, load), Population.from_loader(sizes, load)
    assert first.fingerprint() == same.fingerprint()
    assert set(loaded) == {"a"}
    assert Population.from_loader(sizes, lambda c: load(c, 1.0)).fingerprint() != first.fingerprint()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 200))
def test_a_lazy_population_gives_the_same_examples_as_one_in_memory(sizes, cache_bytes):
    lazy, loader = population(sizes, cache_bytes=cache_bytes)
    held = Population.from_arrays({k: loader(str(k)) for k in range(len(sizes))})
    assert lazy.roster() == held.roster()
    clients = np.arange(len(sizes))[::-1]
    for _ in range(2):
        mine, other = lazy.examples(clients), held.examples(clients)
        for k in range(len(clients)):
            for a, b in zip(mine.of(k), other.of(k), strict=True):
                assert torch.equal(a, b)


def test_nothing_is_loaded_before_a_client_takes_part():
    people, loader = population([2, 3, 4])
    assert (len(people), people.sizes.tolist(), loader.asked) == (3, [2, 3, 4], [])
    people.examples(np.array([2]))
    assert set(loader.asked) == {"2", "0"}, "the client itself, and once the first as the measure of its shape"


def test_a_cache_saves_loading_and_keeps_to_its_bound():
    one = 2 * 2 * 4 + 2 * 8
    people, loader = population([2] * 4, cache_bytes=2 * one)
    for k in (0, 1, 1, 0):
        people.examples(np.array([k]))
    assert loader.asked == ["0", "1"]
    for k in (2, 0, 1):
        people.examples(np.array([k]))
    assert loader.asked == ["0", "1", "2", "1"], "client 1 was the least recently used when 2 came"


def test_without_a_cache_every_round_loads_anew():
    people, loader = population([2, 2])
    for _ in range(3):
        people.examples(np.array([0]))
    assert loader.asked == ["0"] * 3


def test_a_negative_cache_is_refused():
    with pytest.raises(UsageError, match="cache_bytes is -1"):
        population([1], cache_bytes=-1)


def test_casting_concerns_what_is_loaded_later():
    people, _ = population([2])
    x, y = people.cast(torch.float64)["0"]
    assert (x.dtype, y.dtype) == (torch.float64, torch.int64)


def test_all_broken_clients_of_a_block_are_reported_at_once():
    broken = {
        "1": lambda: (np.zeros((3, 2), dtype=np.float32), np.arange(3)),
        "2": lambda: (np.zeros((2, 5), dtype=np.float32), np.arange(2)),
        "3": lambda: (np.full((2, 2), np.nan, dtype=np.float32), np.arange(2)),
        "4": fails,
        "5": lambda: np.zeros(3),
        "6": lambda: (np.zeros((2, 2), dtype=np.float32), np.zeros(2)),
    }
    people, _ = population([2] * 7, broken)
    text = refusal(people, range(7))
    assert "6 problems" in text
    assert "client '1': x has 3 examples, and 2 were declared" in text
    assert "client '2': an example of x is (5,) float32 and not (2,) float32" in text
    assert "client '3': x holds NaN or Inf" in text
    assert "client '4' cannot be loaded: FileNotFoundError: gone.bin" in text
    assert "client '5': its examples are a ndarray: give a pair" in text
    assert "client '6': an example of y is () float64 and not () int64" in text


def test_a_broken_client_does_not_spoil_the_others():
    people, _ = population([2, 2], {"1": fails})
    refusal(people, [0, 1])
    assert people.examples(np.array([0])).x.shape == (2, 2)


@pytest.mark.parametrize("size", [0, -1, 2.5, "3", None])
def test_sizes_that_are_no_numbers_of_examples_are_refused(size):
    with pytest.raises(DataError, match="the sizes of clients 'b' are not whole numbers above 0"):
        Population.from_loader({"a": 1, "b": size}, fails)


def test_a_lazy_population_travels_without_its_cache():
    people, _ = population([2, 3], cache_bytes=10**6)
    people.examples(np.array([0, 1]))
    copy = pickle.loads(pickle.dumps(people))
    assert torch.equal(copy["1"][0], people["1"][0])
    assert copy._load.asked[-1] == "1"


def save(folder, name, **arrays):
    np.savez(folder / f"{name}.npz", **arrays)


def good(n=2, value=0.0):
    return {"x": np.full((n, 3), value, dtype=np.float32), "y": np.arange(n)}


def folder_refusal(folder):
    with pytest.raises(DataError) as caught:
        Population.from_folder(folder)
    return str(caught.value)


def test_a_folder_has_one_client_for_each_file(tmp_path):
    for k in (2, 0, 1):
        save(tmp_path, f"c{k}", **good(k + 1, float(k)))
    (tmp_path / "README.txt").write_text("about these files")
    people = Population.from_folder(tmp_path)
    assert people.ids == ("c0", "c1", "c2")
    assert people.sizes.tolist() == [1, 2, 3]
    assert torch.equal(people["c2"][0], torch.full((3, 3), 2.0))


def test_compressed_and_fortran_ordered_files_are_read(tmp_path):
    x = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.savez_compressed(tmp_path / "a.npz", x=x, y=np.zeros(2))
    np.savez_compressed(tmp_path / "b.npz", x=np.zeros((50_000, 3)), y=np.zeros(50_000))
    people = Population.from_folder(tmp_path)
    assert people.sizes.tolist() == [2, 50_000]
    assert np.array_equal(people["a"][0].numpy(), x)


def test_every_damaged_file_of_a_folder_is_named(tmp_path):
    save(tmp_path, "good", **good())
    whole = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "truncated.npz").write_bytes(whole[: len(whole) // 2])
    save(tmp_path, "objects", x=np.array([None, 1]), y=np.zeros(2))
    save(tmp_path, "half", x=np.zeros((2, 3)))
    save(tmp_path, "uneven", x=np.zeros((2, 3)), y=np.zeros(3))
    save(tmp_path, "nobody", x=np.zeros((0, 3)), y=np.zeros(0))
    text = folder_refusal(tmp_path)
    assert "6 problems" in text
    assert "empty.npz cannot be read" in text
    assert "truncated.npz cannot be read" in text
    assert "objects.npz cannot be read: array 'x' holds Python objects, which are never unpickled" in text
    assert "half.npz cannot be read: it has no array 'y'" in text
    assert "uneven.npz holds 2 inputs and 3 targets" in text
    assert "nobody.npz holds no examples" in text


def claiming(shape):
    """The bytes of an .npy file whose header claims `shape` and which holds four numbers."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return stream.getvalue() + np.zeros(4).tobytes()


def test_a_header_is_not_believed_against_the_size_of_its_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "boast.npz", "w") as archive:
        archive.writestr("x.npy", claiming((10**12,)))
        archive.writestr("y.npy", claiming((10**12,)))
    assert "array 'x' claims the shape (1000000000000,) and has 32 bytes" in folder_refusal(tmp_path)


def test_a_file_that_changed_since_is_noticed_when_it_is_read(tmp_path):
    save(tmp_path, "a", **good(2))
    people = Population.from_folder(tmp_path)
    save(tmp_path, "a", **good(3))
    assert "client 'a': x has 3 examples, and 2 were declared" in refusal(people, [0])
    (tmp_path / "a.npz").unlink()
    assert "client 'a': a.npz cannot be read" in refusal(people, [0])


def test_a_folder_that_is_missing_or_has_no_client_is_refused(tmp_path):
    assert "there is no .npz file" in folder_refusal(tmp_path)
    assert "is not a folder" in folder_refusal(tmp_path / "nowhere")


def test_a_folder_can_be_sent_to_other_processes(tmp_path):
    save(tmp_path, "a", **good(2))
    copy = pickle.loads(pickle.dumps(Population.from_folder(str(tmp_path), cache_bytes=100)))
    assert copy["a"][0].shape == (2, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1], print), ["sizes is a list: give a mapping"]),
        ((None, "load"), ["sizes is a NoneType", "load is 'load': give a function"]),
        (({"a": 1}, 5, "1 GB"), ["load is 5", "cache_bytes is '1 GB'"]),
        (({"a": 1}, print, True), ["cache_bytes is True"]),
        (({"a": 1}, print, -1), ["cache_bytes is -1"]),
    ],
)
def test_arguments_of_a_loader_are_refused_together(arguments, words):
    sizes, load, *cache = arguments
    with pytest.raises(UsageError) as caught:
        Population.from_loader(sizes, load, **({"cache_bytes": cache[0]} if cache else {}))
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("size", [True, 0, 1.0, "2", None])
def test_a_size_that_is_no_count_names_its_client(size):
    with pytest.raises(DataError, match="sizes of clients 'b'"):
        Population.from_loader({"a": np.int64(2), "b": size}, print)


@pytest.mark.parametrize("path", [5, None, ["a"]])
def test_a_folder_that_is_no_path_is_refused(path):
    with pytest.raises(UsageError, match=r"the folder is .*: give a path"):
        Population.from_folder(path)
