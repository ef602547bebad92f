from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from tacit.errors import StorageError
from tacit.record.checkpoint import Checkpoint, found, latest, load_tensors, read, save_tensors, save_text, write
from tacit.record.rows import NUMBERS


def rows(rounds):
    return [{"round": t + 1, "none": None, **dict.fromkeys(NUMBERS, 0.1 + t)} for t in range(rounds)]


def checkpoint(round):
    return Checkpoint(
        round,
        {"x": torch.arange(3.0) / 7 + round, "empty": torch.empty(0), "scalar": torch.tensor(1.5, dtype=torch.float64)},
        {"rows": rows(round), "seed": 3, "engine": "eager"},
    )


def test_what_is_written_is_read_back_bit_for_bit(tmp_path):
    written = checkpoint(4)
    back = read(write(tmp_path / "new", written))
    assert back.round == 4
    assert back.tensors.keys() == written.tensors.keys()
    assert all(torch.equal(back.tensors[n], t) and back.tensors[n].dtype == t.dtype for n, t in written.tensors.items())
    assert {n: back.state[n] for n in written.state} == written.state


def test_the_newest_two_are_kept_by_number_and_not_by_name(tmp_path):
    for round in (5, 999_999, 1_000_000):
        write(tmp_path, replace(checkpoint(0), round=round))
    assert [int(p.name.split("-")[1]) for p in found(tmp_path)] == [999_999, 1_000_000]


def test_writing_a_round_again_replaces_it(tmp_path):
    write(tmp_path, checkpoint(1))
    write(tmp_path, replace(checkpoint(1), tensors={"x": torch.zeros(1)}))
    assert latest(tmp_path).tensors["x"].tolist() == [0.0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"round": None}, "of round None and has the records of 3"),
        ({"round": "3"}, "of round '3'"),
        ({"round": 2}, "of round 2 and has the records of 3"),
        ({"rows": None}, "no list of rounds"),
        ({"rows": {}}, "no list of rounds"),
        ({"rows": [1, 2, 3]}, "entry 1 of its rows is not the record of round 1"),
        ({"rows": [{}]}, "entry 1 of its rows"),
        ({"rows": [{"round": 1}]}, "round 1 has no number for loss, clients"),
        ({"rows": [*rows(2), rows(3)[2] | {"seconds": "long"}]}, "round 3 has no number for seconds"),
        ({"rows": [*rows(2), rows(3)[2] | {"test_loss": "low"}]}, "no number for test_loss"),
        ({"rows": [*rows(2), rows(3)[2] | {"test_loss": []}]}, "no number for test_loss"),
        ({"engine": None}, "does not name the engine"),
        ({"engine": 3}, "does not name the engine"),
    ],
)
def test_a_state_of_the_wrong_shape_is_damage_and_says_what_to_do(tmp_path, change, words):
    path = write(tmp_path, checkpoint(3)) / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(StorageError, match="Remove it to go on from the one before") as caught:
        latest(tmp_path)
    assert words in str(caught.value)
    assert str(path.parent) in str(caught.value)


def test_a_state_that_is_nested_without_end_is_refused(tmp_path):
    path = write(tmp_path, checkpoint(3)) / "state.json"
    path.write_text("[" * 100_000)
    with pytest.raises(StorageError, match="cannot be read"):
        latest(tmp_path)


def test_files_are_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    import os

    save_text(tmp_path / "a.txt", "before")
    save_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(2)})

    def fails(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(StorageError, match=r"a\.txt cannot be written.*No space left"):
        save_text(tmp_path / "a.txt", "after")
    with pytest.raises(StorageError, match=r"a\.safetensors cannot be written"):
        save_tensors(tmp_path / "a.safetensors", {"x": torch.ones(2)})
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"
    assert load_tensors(tmp_path / "a.safetensors")["x"].tolist() == [0, 0]


def test_views_of_one_vector_can_be_saved(tmp_path):
    flat = torch.arange(6.0)
    save_tensors(tmp_path / "v.safetensors", {"a": flat[:4].view(2, 2).T, "b": flat[2:]})
    back = load_tensors(tmp_path / "v.safetensors")
    assert back["a"].tolist() == [[0, 2], [1, 3]]
    assert back["b"].tolist() == [2, 3, 4, 5]
