"""A reader who knows conformance/README.md and none of our code: what it says must be enough to play the server."""

from __future__ import annotations

import hashlib
import json
import struct
from io import BytesIO

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.aggregation.secure.golden import PATH

KEPT = json.loads(PATH.read_text())
P = b"tacit/secagg/1/"
PRIME = 2**256 + 297
SESSION = bytes.fromhex(KEPT["session"])


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def u32(number):
    return struct.pack(">I", number)


def hkdf(secret, info):
    return HKDF(hashes.SHA256(), 16, salt=SESSION, info=P + info).derive(secret)


def agreed(secret, public):
    return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))


def fields(data, kind, *sizes):
    """Fields of fixed size after the head, and what follows them."""
    found = BytesIO(data)
    assert found.read(5) == b"TSA1" + bytes([kind])
    return [found.read(size) for size in sizes], found.read()


def listed(rest, *sizes):
    found = BytesIO(rest)
    count = int.from_bytes(found.read(4), "big")
    entries = [tuple(found.read(size) for size in sizes) for _ in range(count)]
    assert not found.read()
    return [(int.from_bytes(entry[0], "big"), *entry[1:]) for entry in entries]


def sent(kind):
    return {m.get("from", m.get("to")): bytes.fromhex(m["bytes"]) for m in KEPT["messages"] if m["kind"] == kind}


def masked_by(key):
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(32))
    return np.frombuffer(stream, "<u4")


def bits(members):
    return bytes([sum(1 << i for i in members)])


ADVERTS = {
    name: fields(data, 2, 32, 2, 4, 32, 32, 32, 1, 32, 32, 64, 64)[0] for name, data in sent("advertise").items()
}
NAMES = list(ADVERTS)


def test_the_session_is_of_settings_and_roster():
    config = bytes.fromhex(KEPT["config"]["bytes"])
    found, rest = fields(config, 1, 16, 8, 4, 8, 1, 4, 8, 8, 2, 2, 1, 1, 32)
    assert not rest
    assert (found[3], found[4], found[5]) == (struct.pack(">Q", 8), b"\x20", u32(3))
    assert struct.unpack(">dd", found[6] + found[7]) == (0.1, 0.4)
    roster = sent("roster")["c000"]
    assert sha(P, b"session", sha(config), sha(roster)) == SESSION
    entries = b"".join(struct.pack(">H", len(data)) + data for _, data in sorted(sent("advertise").items()))
    assert roster == b"TSA1\x03" + u32(5) + entries


@pytest.mark.parametrize("name", NAMES)
def test_keys_are_certified_and_signed(name):
    _, size, text, _, _, _, flag, identity, authority, certificate, signature = ADVERTS[name]
    assert (size, text, flag) == (b"\0\4", name.encode(), b"\1")
    Ed25519PublicKey.from_public_bytes(authority).verify(certificate, b"TSA1\0" + size + text + identity)
    Ed25519PublicKey.from_public_bytes(identity).verify(signature, sent("advertise")[name][:-64])


def test_boxes_open_for_their_holders_and_hold_what_was_committed_to():
    secrets = {one["name"]: bytes.fromhex(one["seal_secret"]) for one in KEPT["clients"]}
    for owner, name in enumerate(NAMES):
        (session, proof), rest = fields(sent("shares")[name], 4, 32, 32)
        assert session == SESSION
        assert proof == sha(P, b"seed", SESSION, u32(owner), bytes.fromhex(KEPT["clients"][owner]["seed"]))
        for holder, box, *proofs in listed(rest, 4, 82, 16, 16):
            shared = agreed(secrets[NAMES[holder]], ADVERTS[name][3])
            place = u32(owner) + u32(holder)
            shares = AESGCM(hkdf(shared, b"seal" + place)).decrypt(bytes(12), box, SESSION + place)
            for kind, share in enumerate((shares[:33], shares[33:])):
                assert proofs[kind] == sha(P, b"share", SESSION, place, bytes([kind]), share)[:16]
            (_, _), boxes = fields(sent("inbox")[NAMES[holder]], 5, 32, 1)
            assert (owner, box, *proofs) in listed(boxes, 4, 82, 16, 16)


@pytest.mark.parametrize("name", sent("masked"))
def test_an_upload_is_the_vector_and_its_masks(name):
    index, client = NAMES.index(name), KEPT["clients"][NAMES.index(name)]
    total = np.array(client["vector"], dtype=np.int32).view(np.uint32)
    total = total + masked_by(hkdf(bytes.fromhex(client["seed"]), b"self"))
    for j, other in enumerate(NAMES):
        if j != index:
            shared = agreed(bytes.fromhex(client["mask_secret"]), ADVERTS[other][4])
            mask = masked_by(hkdf(shared, b"mask" + u32(min(index, j)) + u32(max(index, j))))
            total = total + mask if j > index else total - mask
    assert sent("masked")[name] == b"TSA1\x06" + SESSION + total.astype("<u4").tobytes()


def test_confirmations_are_of_who_shared_and_who_survived():
    said = P + b"confirm" + SESSION + sha(bits(KEPT["sharing"])) + sha(bits(KEPT["survivors"]))
    for name, data in sent("confirm").items():
        (session, signature), rest = fields(data, 8, 32, 64)
        assert session == SESSION
        assert not rest
        Ed25519PublicKey.from_public_bytes(ADVERTS[name][7]).verify(signature, said)
    (_,), rest = fields(sent("confirmed")["c000"], 9, 32)
    assert listed(rest, 4, 64) == [(NAMES.index(name), data[-64:]) for name, data in sent("confirm").items()]
    assert fields(sent("survivors")["c000"], 7, 32)[1] == bits(KEPT["survivors"])


def test_the_answers_unmask_the_sum():
    held = {}
    for name, data in sent("unmask").items():
        (session, survivors), rest = fields(data, 10, 32, 32)
        assert (session, survivors) == (SESSION, sha(bits(KEPT["survivors"])))
        for owner, share in listed(rest, 4, 33):
            held.setdefault(owner, {})[NAMES.index(name) + 1] = int.from_bytes(share, "big")
    total = sum(np.frombuffer(data[37:], "<u4") for data in sent("masked").values())
    for owner, shares in held.items():
        secret = 0
        for x, y in shares.items():
            for other in shares:
                y = y if other == x else y * other * pow(other - x, -1, PRIME) % PRIME
            secret += y
        secret = (secret % PRIME).to_bytes(32, "big")
        if owner in KEPT["survivors"]:
            total = total - masked_by(hkdf(secret, b"self"))
            continue
        for j in KEPT["survivors"]:
            mask = masked_by(
                hkdf(agreed(secret, ADVERTS[NAMES[j]][4]), b"mask" + u32(min(j, owner)) + u32(max(j, owner)))
            )
            total = total - mask if j < owner else total + mask
    assert total.astype("<u4").view("<i4").tolist() == KEPT["total"]
