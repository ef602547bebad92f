from __future__ import annotations

import pytest
import torch

from tacit.errors import StorageError
from tacit.record.checkpoint import Checkpoint, found, latest, load_tensors, read, save_tensors, save_text, write


def checkpoint(round):
    return Checkpoint(
        round,
        {"x": torch.arange(3.0) / 7 + round, "empty": torch.empty(0), "scalar": torch.tensor(1.5, dtype=torch.float64)},
        {"rows": [{"loss": 0.1 + round, "none": None}], "seed": 3},
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
        write(tmp_path, checkpoint(round))
    assert [int(p.name.split("-")[1]) for p in found(tmp_path)] == [999_999, 1_000_000]
    assert latest(tmp_path).round == 1_000_000


def test_writing_a_round_again_replaces_it(tmp_path):
    write(tmp_path, checkpoint(1))
    write(tmp_path, Checkpoint(1, {"x": torch.zeros(1)}, {}))
    assert latest(tmp_path).tensors["x"].tolist() == [0.0]


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
