from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from zipfile import ZipFile

import pytest

from tacit.errors import DataError, UsageError
from tacit.scenarios import catalogue, datasets
from tacit.scenarios.catalogue import Dataset, DatasetFile

TEXT = b"user,item\na,x\n"
SHA = hashlib.sha256(TEXT).hexdigest()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry of one dataset with two files, looked for in an empty folder and an empty cache."""
    origin = tmp_path / "origin"
    origin.mkdir()
    (origin / "a.csv").write_bytes(TEXT)
    with ZipFile(origin / "all.zip", "w") as archive:
        archive.writestr("inside/b.csv", TEXT)
    files = (
        DatasetFile("a.csv", SHA, len(TEXT), (origin / "a.csv").as_uri()),
        DatasetFile("b.csv", SHA, len(TEXT), (origin / "all.zip").as_uri(), "inside/b.csv"),
    )
    entry = Dataset("toys", "two toy tables", "a folder of this test", "none", files)
    monkeypatch.setitem(catalogue.CATALOGUE, "toys", entry)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TACIT_DATA", str(tmp_path / "data"))
    return tmp_path


def test_missing_files_are_all_named_with_where_to_put_them(shelf: Path):
    with pytest.raises(DataError) as caught:
        datasets.locate("toys")
    message = str(caught.value)
    assert "2 problems" in message
    assert all(
        word in message for word in ("bring a.csv", "bring b.csv", str(shelf / "data" / "toys"), "tacit data toys")
    )
    assert datasets.status("toys").missing == ("a.csv", "b.csv")


def test_a_download_is_checked_and_then_found_without_the_origin(shelf: Path):
    found = datasets.download("toys")
    assert {name: path.read_bytes() for name, path in found.items()} == {"a.csv": TEXT, "b.csv": TEXT}
    for path in (shelf / "origin").iterdir():
        path.unlink()
    assert datasets.download("toys") == datasets.locate("toys") == found
    assert sorted(p.name for p in (shelf / "cache" / "tacit" / "datasets" / "toys").iterdir()) == ["a.csv", "b.csv"]


def test_the_users_folder_comes_first_and_may_hold_gzip(shelf: Path):
    folder = shelf / "data" / "toys"
    folder.mkdir(parents=True)
    (folder / "a.csv.gz").write_bytes(gzip.compress(TEXT))
    (folder / "b.csv").write_bytes(TEXT)
    assert datasets.locate("toys") == {"a.csv": folder / "a.csv.gz", "b.csv": folder / "b.csv"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (TEXT[:-1] + b"!", "its sha256 is"),
        (TEXT + b"more", "larger than the 14 bytes"),
        (TEXT[:3], "its sha256 is"),
    ],
)
def test_another_file_of_the_same_name_is_refused(shelf: Path, content: bytes, reason: str):
    folder = shelf / "data" / "toys"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_bytes(content)
    (folder / "b.csv").write_bytes(TEXT)
    with pytest.raises(DataError, match=reason):
        datasets.locate("toys")


def test_a_truncated_gzip_and_a_gzip_that_unpacks_without_end_are_refused(shelf: Path):
    folder = shelf / "data" / "toys"
    folder.mkdir(parents=True)
    (folder / "a.csv.gz").write_bytes(gzip.compress(TEXT)[:-9])
    (folder / "b.csv.gz").write_bytes(gzip.compress(bytes(50_000_000)))
    with pytest.raises(DataError) as caught:
        datasets.locate("toys")
    assert "cannot be read" in str(caught.value)
    assert "larger than the 14 bytes" in str(caught.value)


def test_a_changed_origin_leaves_nothing_behind(shelf: Path):
    (shelf / "origin" / "a.csv").write_bytes(b"something else")
    (shelf / "origin" / "all.zip").write_bytes(b"not a zip")
    with pytest.raises(DataError) as caught:
        datasets.download("toys")
    assert "no longer gives the recorded file" in str(caught.value)
    assert "is not the archive that holds inside/b.csv" in str(caught.value)
    assert list((shelf / "cache" / "tacit" / "datasets" / "toys").iterdir()) == []


def test_offline_every_file_to_bring_is_named(shelf: Path):
    for path in (shelf / "origin").iterdir():
        path.unlink()
    with pytest.raises(DataError) as caught:
        datasets.download("toys")
    assert all(word in str(caught.value) for word in ("cannot be fetched", "bring a.csv", "bring b.csv"))
    assert "--download" not in str(caught.value)  # it was just tried


def test_an_unknown_dataset_suggests_the_nearest():
    with pytest.raises(UsageError, match="did you mean"):
        datasets.dataset("movielens-latest-smal")


def test_every_entry_says_what_it_is_whence_and_under_which_terms():
    for name in datasets.names():
        entry = datasets.dataset(name)
        assert entry.about and entry.origin and entry.terms and entry.files
        for file in entry.files:
            assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32
            assert file.url is None or file.sha256 is not None, "nothing is fetched that cannot be checked"
