"""What a participant in another language must compute, written once more from the page of the protocol alone."""

from __future__ import annotations

import hashlib
import json
import struct
from fractions import Fraction
from math import floor, log2
from typing import Any

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tacit.network.deployment import task_digest
from tacit.network.terms import Terms
from tacit.network.training import Standing, Training, written_parts
from tacit.rounds.server import Server
from tests.network.house import data, names, plan, schema, task
from tests.network.vectors.make import FOLDER

VECTORS: dict[str, Any] = json.loads((FOLDER / "reports.json").read_text())
M64 = 2**64 - 1


def key(*parts: str | int) -> bytes:
    said = "".join(f"str:{len(part)}:{part}\x1f" if isinstance(part, str) else f"int:{part}\x1f" for part in parts)
    return hashlib.blake2b(said.encode(), digest_size=16).digest()


def rows(seed: int, round: int, client: str, examples: int, batch_size: int, steps: int) -> list[list[int]]:
    state = int.from_bytes(key(seed, "batches", round, client)[:8], "little")
    order, found = list(range(examples)), []
    while len(found) < steps:
        if batch_size < examples:
            for i in reversed(range(1, examples)):
                state = (state + 0x9E3779B97F4A7C15) & M64
                z = state
                z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
                z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
                j = int(((z ^ (z >> 31)) >> 11) * 2.0**-53 * (i + 1))
                order[i], order[j] = order[j], order[i]
        found += [order[at : at + batch_size] for at in range(0, examples, batch_size)]
    return found[:steps]


def point(bits: int, range: float, weight: float, clients: int) -> int:
    room = min((2 ** (bits - 1) - 1) // clients - 1, 2**50 - 1)
    return max(
        f for f in np.arange(-64, 128).tolist() if floor(Fraction(weight) * Fraction(range) * Fraction(2) ** f) <= room
    )


def words(report: dict[str, Any], weight: float, f: int, bits: int) -> list[int]:
    vector = [round(float(number) * (weight * 2.0**f)) for number in report["update"]]
    scalars = [report["loss"], float(np.float32(report["examples"] / weight)), 1.0]
    for scalar in scalars:
        whole = round(scalar * weight * 2.0**20)
        vector += [whole >> 16 * i & 0xFFFF for i in range(3)] + [whole >> 48]
    half = 2 ** (bits - 1)
    return [(number + half) % 2**bits - half for number in vector]


def config(run: bytes, round: int, attempt: int, length: int, bits: int, minimum: int, layout: bytes) -> bytes:
    head = struct.pack(">4sB16sQIQBI", b"TSA1", 1, run, round, attempt, length, bits, minimum)
    return head + struct.pack(">ddHHBB", 0.1, 0.1, 40, 20, 1, 1) + layout


@pytest.mark.parametrize("vector", VECTORS["keys"])
def test_a_key_is_the_digest_of_its_parts(vector: dict[str, Any]) -> None:
    assert key(*vector["parts"]).hex() == vector["digest"]


@pytest.mark.parametrize("vector", VECTORS["batches"])
def test_batches_follow_from_seed_round_and_name(vector: dict[str, Any]) -> None:
    given = {name: value for name, value in vector.items() if name != "rows"}
    assert rows(**given) == vector["rows"]


@pytest.mark.parametrize("vector", VECTORS["draws"])
def test_words_are_those_of_aes_in_counter_mode(vector: dict[str, Any]) -> None:
    stream = Cipher(algorithms.AES(bytes.fromhex(vector["key"])), modes.CTR(bytes(16))).encryptor().update(bytes(40))
    assert [f"{word:016x}" for word in struct.unpack("<5Q", stream)] == vector["words"]


@pytest.mark.parametrize("vector", VECTORS["sums"])
def test_a_report_goes_on_the_grid_word_by_word(vector: dict[str, Any]) -> None:
    given = vector["range"], vector["most_weight"], vector["clients"]
    assert vector["point"] == point(vector["bits"], *given)
    assert vector["bits"] == 64 or point(32, *given) + log2(vector["range"]) >= 16
    assert words(vector["report"], vector["weight"], vector["point"], vector["bits"]) == vector["words"]
    layout = hashlib.sha256(vector["layout"].encode()).digest()
    session = config(bytes(16), 0, 0, len(vector["words"]), vector["bits"], 5, layout)
    assert session.hex() == vector["config"]
    packed = struct.pack(f"<{len(vector['words'])}{'i' if vector['bits'] == 32 else 'q'}", *vector["words"])
    assert (b"TSA1\x06" + hashlib.sha256(session).digest() + packed).hex() == vector["without_masks"]


def test_what_a_participant_of_tacit_sends_is_laid_out_as_the_vectors_are() -> None:
    made = plan(5, rounds=2)
    terms = Terms("ab" * 16, made, schema(), 5, task_digest(task()), "cd" * 32, True)
    training = Training(terms, Standing(names(5)[0], 0, 5), tuple(map(torch.tensor, data(0))), task())  # type: ignore[arg-type]
    assert training.securing is not None
    size = training.federation.task.d
    grid = "FixedPoint(range=4.0, weight=64.0, clients=5, bits=32)"
    said = f"(('update', 'loss', 'examples', 'weight'), (({size},), (4,), (4,), (4,)), {grid}, ())"
    layout = hashlib.sha256(said.encode()).digest()
    expected = config(bytes.fromhex("ab" * 16), 1, 2, size + 12, 32, 5, layout)
    assert training.securing.config(1, 2).encode() == expected
    server = Server(training.federation.task, training.federation.algorithm, training.federation.chain, 5, None)
    layout_down, down = server.broadcast()
    training.train(written_parts(down, layout_down), 0)
    trained = training._trained
    assert trained is not None
    row = trained[0].reports[0].clone()
    report = {"update": row[:size].tolist(), "loss": float(row[size]), "examples": training.examples}
    sent = training.report(0, 0).tolist()
    assert sent == words(report, float(training.examples), 20, 32)
    assert training.federation.chain.grid is not None
    assert training.federation.chain.grid.point == 20
