"""Keys in files: made once, for their owner alone, and never another than was certified."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tacit.errors import StorageError, TacitError, UsageError
from tacit.network.identity import Enrolment, new_authority, new_key, open_authority, read_key
from tacit.network.identity.enrolment import FILE, KEY


def test_a_key_is_made_for_its_owner_alone_and_read_back(tmp_path: Path) -> None:
    place = tmp_path / "new" / "key.pem"
    made = new_key(place)
    assert place.stat().st_mode & 0o777 == 0o600
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert read_key(place).private_bytes_raw() == made.private_bytes_raw()
    assert place.read_text().startswith("-----BEGIN PRIVATE KEY-----")


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    place = tmp_path / "key.pem"
    new_key(place)
    before = place.read_bytes()
    with pytest.raises(UsageError, match="not written over"):
        new_key(place)
    assert place.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_not_used(tmp_path: Path, mode: int) -> None:
    place = tmp_path / "key.pem"
    new_key(place)
    place.chmod(mode)
    with pytest.raises(StorageError, match="chmod 600"):
        read_key(place)


@pytest.mark.parametrize("data", [b"", b"key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_file_without_a_key_is_named(tmp_path: Path, data: bytes) -> None:
    place = tmp_path / "key.pem"
    place.write_bytes(data)
    place.chmod(0o600)
    with pytest.raises(StorageError, match="holds no Ed25519 key"):
        read_key(place)


def test_a_key_of_another_kind_or_that_is_missing_is_named(tmp_path: Path) -> None:
    place = tmp_path / "key.pem"
    with pytest.raises(StorageError, match="cannot be read"):
        read_key(place)
    other = ec.generate_private_key(ec.SECP256R1())
    place.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    place.chmod(0o600)
    with pytest.raises(StorageError, match="holds no Ed25519 key"):
        read_key(place)


def test_an_authority_is_the_same_after_it_was_opened_again(tmp_path: Path) -> None:
    place = tmp_path / "authority.pem"
    made, found = new_authority(place), open_authority(place)
    assert made.key == found.key
    assert found.certify("mercy", bytes(32)) == made.certify("mercy", bytes(32))
    assert made.certify("mercy", bytes(32)).holds("mercy", bytes(32))


def enrolled(folder: Path, name: str = "St. Anne's 医院") -> Enrolment:
    authority, key = new_authority(folder / "authority.pem"), new_key(folder / "mine" / KEY)
    certificate = authority.certify(name, key.public_key().public_bytes_raw())
    return Enrolment(name, "https://fl.example:8443", authority.key, certificate.signature, b"certificate")


def test_an_enrolment_is_kept_beside_the_key_and_gives_the_identity(tmp_path: Path) -> None:
    made = enrolled(tmp_path)
    made.write(tmp_path / "mine")
    found = Enrolment.read(tmp_path / "mine")
    assert found == made
    identity = found.identity(tmp_path / "mine")
    assert identity.name == made.name
    assert identity.certificate.holds(identity.name, identity.key)
    with pytest.raises(UsageError, match="not written over"):
        made.write(tmp_path / "mine")


def test_a_key_that_was_not_certified_gives_no_identity(tmp_path: Path) -> None:
    made = enrolled(tmp_path)
    (tmp_path / "mine" / KEY).unlink()
    new_key(tmp_path / "mine" / KEY)
    with pytest.raises(StorageError, match="not the one that was certified"):
        made.identity(tmp_path / "mine")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"version": 2}', "[" * 10_000, '{"version": 1, "name": 3}', "\ufeff{}"]
)
def test_a_damaged_enrolment_is_named(tmp_path: Path, text: str) -> None:
    place = tmp_path / FILE
    place.write_text(text)
    place.chmod(0o600)
    with pytest.raises(StorageError, match="damaged"):
        Enrolment.read(tmp_path)


def test_any_part_of_an_enrolment_that_is_missing_or_changed_is_noticed(tmp_path: Path) -> None:
    import json

    made = enrolled(tmp_path)
    made.write(tmp_path / "mine")
    document = json.loads((tmp_path / "mine" / FILE).read_text())
    for name in document:
        for value in (None, 3, "x", [], {}):
            changed = {**document, name: value}
            (tmp_path / "mine" / FILE).write_text(json.dumps(changed))
            try:
                Enrolment.read(tmp_path / "mine").identity(tmp_path / "mine")
            except TacitError:
                continue
            assert (name, value) in {("ca", None), ("url", "x")}


def test_where_there_is_no_enrolment_the_way_to_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tacit enroll"):
        Enrolment.read(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        new_key(tmp_path / "file" / "key.pem")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
