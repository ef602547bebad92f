"""Disks that are full, files that are damaged, checkpoints of another run."""

from __future__ import annotations

import errno
import json
import multiprocessing

import numpy as np
import pytest
import torch

import tacit
from tacit.errors import StorageError, UsageError
from tacit.record import checkpoint as checkpoints
from tests.faults.scenes import SOLVER, clean, federation, model, weights


def checkpointed(folder, rounds=4, algorithm=None, every=1, data=None, **options):
    fed = federation(data or clean(), algorithm or tacit.Scaffold(SOLVER), selection=tacit.Uniform(3), **options)
    return fed.run(rounds, checkpoint=folder, checkpoint_every=every, progress=False)


def resumed(folder, rounds=4, algorithm=None, data=None, net=None, selection=None, **options):
    fed = federation(
        data or clean(),
        algorithm or tacit.Scaffold(SOLVER),
        net=net,
        selection=selection or tacit.Uniform(3),
        **options,
    )
    return fed.run(rounds, checkpoint=folder, resume=True, progress=False)


def full_disk(*arguments, **more):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_names_the_checkpoint_and_keeps_the_one_before(tmp_path, monkeypatch):
    class Fill(tacit.Callback):
        def on_round_start(self, round):
            if round == 3:
                monkeypatch.setattr(checkpoints, "save_file", full_disk)

    fed = federation(clean(), tacit.Scaffold(SOLVER), selection=tacit.Uniform(3))
    with pytest.raises(
        StorageError, match=r"checkpoint of round 3 cannot be written.*No space left.*[Ff]ree some space"
    ):
        fed.run(4, checkpoint=tmp_path, checkpoint_every=1, callbacks=[Fill()], progress=False)
    monkeypatch.undo()
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["checkpoint-000001", "checkpoint-000002"]
    assert torch.equal(weights(resumed(tmp_path)), weights(checkpointed(tmp_path / "whole")))


def write_with_little_room(folder):
    """40 kB where a file may have 20 kB: writes fail as on a full disk."""
    import resource

    torch.set_num_threads(1)  # torch's thread pool does not survive a fork
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
    data = {k: (np.zeros((4, 100), "f4"), np.zeros((4, 100), "f4")) for k in range(2)}
    fed = federation(data, net=torch.nn.Linear(100, 100))
    said = []
    try:
        fed.run(1, checkpoint=folder / "checkpoints", progress=False)
    except StorageError as error:
        said.append(str(error))
    try:
        fed.run(1, progress=False).save(folder / "run")
    except StorageError as error:
        said.append(str(error))
    (folder / "said.json").write_text(json.dumps(said))


def test_a_real_write_that_fails_leaves_no_half_written_file(tmp_path):
    child = multiprocessing.get_context("fork").Process(target=write_with_little_room, args=(tmp_path,))
    child.start()
    child.join(timeout=60)
    of_checkpoint, of_run = json.loads((tmp_path / "said.json").read_text())
    assert "the checkpoint of round 1 cannot be written" in of_checkpoint
    assert "model.safetensors cannot be written" in of_run
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["said.json"]
    assert not checkpoints.found(tmp_path / "checkpoints")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="file"):
        checkpointed(tmp_path / "file" / "checkpoints")


@pytest.mark.parametrize("name", ["state.json", "tensors.safetensors"])
@pytest.mark.parametrize("keep", [0, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused_by_path(tmp_path, name, keep):
    checkpointed(tmp_path, 3)
    path = tmp_path / "checkpoint-000003" / name
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(StorageError, match=r"checkpoint-000003 cannot be read.*Remove it"):
        resumed(tmp_path)


def test_after_removing_a_damaged_checkpoint_the_one_before_goes_on(tmp_path):
    import shutil

    checkpointed(tmp_path, 3)
    shutil.rmtree(tmp_path / "checkpoint-000003")
    assert torch.equal(weights(resumed(tmp_path)), weights(checkpointed(tmp_path / "whole")))


@pytest.mark.parametrize("content", ["[]", "null", '"text"', "{}", '{"version": 99}'])
def test_a_state_of_another_kind_or_version_is_refused(tmp_path, content):
    checkpointed(tmp_path, 2)
    (tmp_path / "checkpoint-000002" / "state.json").write_text(content)
    with pytest.raises(StorageError, match="has version"):
        resumed(tmp_path)


def test_a_checkpoint_that_lacks_a_part_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    checkpointed(tmp_path, 2)
    path = tmp_path / "checkpoint-000002" / "tensors.safetensors"
    tensors = load_file(path)
    del tensors["state.c"]
    save_file(tensors, path)
    with pytest.raises(StorageError, match=r"state\.c"):
        resumed(tmp_path)


def test_nothing_to_resume_from_is_said(tmp_path):
    with pytest.raises(StorageError, match="there is no checkpoint in"):
        resumed(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="resume=True needs checkpoint"):
        federation(clean()).run(2, resume=True, progress=False)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"algorithm": tacit.Scaffold(SOLVER, server_lr=0.5)}, "algorithm was"),
        ({"algorithm": tacit.FedAvg(SOLVER)}, "algorithm was"),
        ({"selection": tacit.Uniform(2)}, "selection was"),
        ({"data": clean(6)}, "the clients are others, or have other numbers of examples"),
        ({"data": clean(seed=1)}, "the data of the clients are others"),
        ({"loss": torch.nn.functional.l1_loss}, "the loss is another"),
        ({"stages": [tacit.NormBound(1.0)]}, "stages was"),
        ({"net": torch.nn.Linear(3, 1, bias=False)}, "bias: parameter (1,) float32"),
        ({"net": model().double()}, "dtype was float32, is float64"),
    ],
    ids=["seed", "settings", "method", "selection", "clients", "data", "loss", "stages", "model", "dtype"],
)
def test_resuming_as_another_run_is_refused_with_what_differs(tmp_path, change, part):
    checkpointed(tmp_path, 2)
    with pytest.raises(UsageError, match="the checkpoint belongs to another run") as caught:
        resumed(tmp_path, **change)
    assert part in str(caught.value)


def test_a_folder_that_holds_another_run_is_not_written_over(tmp_path):
    """Its checkpoints of later rounds would be taken for this run's, and this run's be removed as older."""
    checkpointed(tmp_path, 3)
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(UsageError, match=r"holds the checkpoints of a run: give resume=True"):
        checkpointed(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_what_a_killed_process_left_half_written_is_cleared(tmp_path):
    import os

    tmp_path.joinpath(f".checkpoint-000001.{os.getpid()}").mkdir()
    tmp_path.joinpath(".checkpoint-000009.1").mkdir()
    checkpointed(tmp_path, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-000001"]


def test_foreign_files_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "checkpoint-best" / "state.json").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    checkpointed(tmp_path, 4)
    assert (tmp_path / "checkpoint-best" / "state.json").read_text() == "mine"
    assert [p.name for p in checkpoints.found(tmp_path)] == ["checkpoint-000003", "checkpoint-000004"]


@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(b""), lambda p: p.unlink(), lambda p: p.write_text("{}")])
@pytest.mark.parametrize("name", ["model.safetensors", "run.json"])
def test_a_saved_run_that_is_damaged_is_refused_by_path(tmp_path, name, damage):
    federation(clean()).run(1, progress=False).save(tmp_path)
    damage(tmp_path / name)
    with pytest.raises(StorageError) as caught:
        tacit.Run.load(tmp_path)
    assert name in str(caught.value)


def test_a_saved_run_of_another_version_is_refused(tmp_path):
    federation(clean()).run(1, progress=False).save(tmp_path)
    content = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(content | {"version": 99}))
    with pytest.raises(StorageError, match="version"):
        tacit.Run.load(tmp_path)


def test_weights_to_start_from_in_a_damaged_file_are_refused_by_path(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(StorageError, match=r"model\.safetensors cannot be read as safetensors"):
        federation(clean()).run(1, start=tmp_path / "model.safetensors", progress=False)
