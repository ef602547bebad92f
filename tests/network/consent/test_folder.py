"""The participant's folder: where it is, and the terms that wait in it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tacit.errors import DamagedFile, MalformedMessage, StorageError
from tacit.network.consent.folder import Folder, replace_file
from tests.network.consent.asked import terms


def test_the_folder_is_as_given_or_as_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("TACIT_PARTICIPANT", str(tmp_path / "there"))
    assert Folder.at().path == tmp_path / "there"
    assert Folder.at(tmp_path / "here").path == tmp_path / "here"
    monkeypatch.delenv("TACIT_PARTICIPANT")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert Folder.at().path == tmp_path / "tacit" / "participant"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert Folder.at().path == Path.home() / ".local" / "share" / "tacit" / "participant"
    assert not (tmp_path / "tacit").exists()


def test_nobody_else_may_read_it(tmp_path):
    folder = Folder(tmp_path / "deep" / "down").make().make()
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.wait_for(terms())
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.path.iterdir()} == {0o600}
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        Folder(tmp_path / "file" / "folder").make()


def test_terms_wait_byte_for_byte(tmp_path):
    folder, asked = Folder(tmp_path), terms()
    assert folder.waiting_terms() is None
    folder.wait_for(asked, 500)
    assert folder.waiting.read_bytes() == asked.encode()
    assert folder.waiting_terms() == asked
    assert folder.waiting_records == 500
    folder.wait_for(terms(rounds=11))
    assert folder.waiting_terms() == terms(rounds=11)
    assert folder.waiting_records is None


def test_what_waits_goes_when_it_is_meant(tmp_path):
    folder, asked = Folder(tmp_path), terms()
    folder.wait_for(asked)
    folder.nothing_waits("ab" * 32)
    assert folder.waiting_terms() == asked
    folder.nothing_waits(asked.hash)
    assert folder.waiting_terms() is None
    folder.nothing_waits()
    folder.nothing_waits(asked.hash)


def test_what_are_no_terms_is_told(tmp_path):
    folder = Folder(tmp_path)
    folder.waiting.write_bytes(b"{}")
    with pytest.raises(MalformedMessage):
        folder.waiting_terms()
    with folder.waiting.open("wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(DamagedFile, match="larger than terms can be"):
        folder.waiting_terms()


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    replace_file(tmp_path / "file", b"old")
    replace_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    with pytest.raises(StorageError, match="cannot be written"):
        replace_file(tmp_path / "no" / "file", b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        replace_file(tmp_path / "folder", b"x")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}
