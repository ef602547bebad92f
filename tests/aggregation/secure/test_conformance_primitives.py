"""The published vectors of `conformance/primitives.json` hold for our code, and for the library that it calls."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tacit.aggregation.secure.graph import degree, neighbours, ring
from tacit.aggregation.secure.prg import add_streams, remove_streams
from tacit.aggregation.secure.shamir import PRIME, combine, evaluate, split, weights

VECTORS = json.loads((Path(__file__).parents[3] / "conformance" / "primitives.json").read_text())
WORDS = {32: np.uint32, 64: np.uint64}


def raw(text):
    return bytes.fromhex(text)


def agree(private, public):
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


@pytest.mark.parametrize("vector", VECTORS["x25519"]["multiplications"])
def test_x25519_multiplies(vector):
    assert agree(raw(vector["scalar"]), raw(vector["point"])) == raw(vector["product"])


@pytest.mark.parametrize("vector", VECTORS["x25519"]["agreements"])
def test_x25519_agrees_from_both_sides(vector):
    private, public = [raw(key) for key in vector["private"]], [raw(key) for key in vector["public"]]
    made = [X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw() for key in private]
    assert made == public
    assert agree(private[0], public[1]) == agree(private[1], public[0]) == raw(vector["shared"])


def test_x25519_repeated():
    vector = VECTORS["x25519"]["iterated"]
    scalar = point = raw(vector["start"])
    for _ in range(vector["times"]):
        scalar, point = agree(scalar, point), scalar
    assert scalar == raw(vector["result"])


@pytest.mark.parametrize("point", VECTORS["x25519"]["refused"]["public"])
def test_x25519_refuses_points_of_low_order(point):
    with pytest.raises(ValueError):
        agree(bytes(range(32)), raw(point))


@pytest.mark.parametrize("vector", VECTORS["hkdf_sha256"]["derivations"])
def test_hkdf_derives(vector):
    hkdf = HKDF(SHA256(), vector["length"], raw(vector["salt"]), raw(vector["info"]))
    assert hkdf.derive(raw(vector["key"])) == raw(vector["okm"])


@pytest.mark.parametrize("vector", VECTORS["ed25519"]["signatures"])
def test_ed25519_signs_and_verifies(vector):
    private, message, signature = (raw(vector[name]) for name in ("private", "message", "signature"))
    key = Ed25519PrivateKey.from_private_bytes(private)
    assert key.public_key().public_bytes_raw() == raw(vector["public"])
    assert key.sign(message) == signature
    key.public_key().verify(signature, message)


@pytest.mark.parametrize("vector", VECTORS["aes_128_ctr"]["encryptions"])
def test_aes_counts(vector):
    cipher = Cipher(algorithms.AES(raw(vector["key"])), modes.CTR(raw(vector["counter"])))
    assert cipher.encryptor().update(raw(vector["plaintext"])) == raw(vector["ciphertext"])


@pytest.mark.parametrize("vector", VECTORS["masks"]["streams"])
def test_a_mask_is_the_stream_from_its_start(vector):
    target = np.zeros(len(vector["words"]), WORDS[vector["bits"]])
    add_streams(target, [raw(vector["key"])], [1], vector["start"])
    assert [str(word) for word in target] == vector["words"]


@pytest.mark.parametrize("vector", VECTORS["masks"]["sums"])
def test_masks_are_added_and_subtracted_modulo_the_word(vector):
    words = WORDS[vector["bits"]]
    keys, given = [raw(key) for key in vector["keys"]], np.array([int(word) for word in vector["target"]], words)
    target = given.copy()
    add_streams(target, keys, vector["signs"], vector["start"])
    assert [str(word) for word in target] == vector["sum"]
    whole = np.concatenate([np.zeros(vector["start"], words), given])
    add_streams(whole, keys, vector["signs"])
    assert [str(word) for word in whole[vector["start"] :]] == vector["sum"]
    remove_streams(whole, keys, vector["signs"])
    np.testing.assert_array_equal(whole[vector["start"] :], given)


def test_shamir_over_a_small_field():
    vector = VECTORS["shamir"]["by_hand"]
    prime, indices, subset = vector["prime"], vector["indices"], vector["subset"]
    assert evaluate(vector["coefficients"], indices, prime) == vector["values"]
    found = weights(tuple(subset), prime)
    assert list(found) == vector["weights"]
    values = [vector["values"][indices.index(index)] for index in subset]
    assert sum(w * y for w, y in zip(found, values, strict=True)) % prime == vector["secret"]


def test_shamir_over_the_field_of_the_protocol():
    vector = VECTORS["shamir"]["field"]
    assert int(vector["prime"]) == PRIME
    randomness = BytesIO(raw(vector["randomness"]))
    secret, threshold, indices = raw(vector["secret"]), vector["threshold"], vector["indices"]
    shares = split(secret, threshold, indices, randomness.read)
    assert [share.hex() for share in shares] == vector["shares"]
    assert not randomness.read()
    assert evaluate([int(c, 16) for c in vector["coefficients"]], indices) == [int(s, 16) for s in vector["shares"]]
    assert [format(weight, "066x") for weight in weights(tuple(vector["subset"]))] == vector["weights"]
    chosen = [shares[indices.index(index)] for index in vector["subset"]]
    assert combine(vector["subset"], chosen, threshold) == secret


@pytest.mark.parametrize("vector", VECTORS["graph"]["rings"])
def test_rings_and_neighbours(vector):
    seed, clients = raw(vector["seed"]), vector["clients"]
    positions, order = ring(seed, clients)
    assert (list(positions), list(order)) == (vector["positions"], vector["order"])
    found = [list(neighbours(seed, clients, vector["k"], index)) for index in range(clients)]
    assert found == vector["neighbours"]


@pytest.mark.parametrize("vector", VECTORS["graph"]["degrees"])
def test_degrees(vector):
    settings = {name: vector[name] for name in ("sigma", "eta", "semi_malicious")}
    found = degree(vector["clients"], vector["corrupt"], vector["dropout"], **settings)
    assert (found.neighbours, found.threshold) == (vector["neighbours"], vector["threshold"])
