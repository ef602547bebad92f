"""Images: drawn ones where none are at hand, and files that are what they are said to be."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import tacit
from tacit.attacks.pictures import HOLDS, drawn, idx, pictures


def test_drawn_digits_are_images_that_differ_and_are_the_same_every_time() -> None:
    one, again = drawn(60), drawn(60)
    assert one.x.shape == (60, 1, 28, 28)
    assert one.x.dtype == np.float32
    assert one.x.min() >= 0
    assert one.x.max() <= 1
    assert (one.x.reshape(60, -1).max(1) > 0.5).all()
    assert np.array_equal(one.x, again.x)
    assert len(np.unique(one.x.reshape(60, -1), axis=0)) == 60
    assert set(drawn(300).y.tolist()) == set(range(10))


def test_drawn_digits_look_like_others_of_their_class() -> None:
    found = drawn(600)
    flat = found.x.reshape(600, -1)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    near = flat[:100] @ flat[100:].T
    assert np.mean(found.y[100:][near.argmax(1)] == found.y[:100]) > 0.8


def test_without_the_dataset_images_are_drawn_and_clients_hold_ten(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TACIT_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = pictures(7)
    assert "drawn" in found.source
    clients = found.population()
    assert clients.sizes.tolist() == [HOLDS] * 7
    assert clients.synthetic


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_of_images_is_read_plain_or_packed(tmp_path: Path, packed: bool) -> None:
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    content = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]) + images.tobytes()
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert np.array_equal(idx(path, (2, 3, 4)), images)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes([0, 0, 8, 1, 0, 0, 0, 9]) + bytes(4),
        bytes([0, 0, 13, 1, 0, 0, 0, 4]) + bytes(4),
        bytes([0, 0, 8, 1, 0, 0, 0, 4]) + bytes(3),
        bytes([0, 0, 8, 1, 0, 0, 0, 4]) + bytes(5),
    ],
    ids=["empty", "another size", "another type", "cut off", "too long"],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(tacit.DataError, match="IDX"):
        idx(path, (4,))
