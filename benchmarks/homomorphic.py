"""What a round costs for silos: secure aggregation beside encryption under a shared key, in one process and one run.

    python -m benchmarks.homomorphic --parameters 10000 100000

Both sum the same integers and run whole, byte for byte, without a network; seconds are of one silo (the mean) and of
the server. What is done once in a run, sharing the key, stands apart. A second table shows why the parameters of the
encryption are what they are: bytes and seconds for each million words, for other choices that hold the same sums.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe
from tacit.aggregation.secure.config import Config, Policy
from tacit.aggregation.secure.rehearsal import Rehearsal as Masked
from tacit.aggregation.secure.rehearsal import identities
from tacit.aggregation.shared_key.parameters import DEGREE, library
from tacit.aggregation.shared_key.rehearsal import Rehearsal as Encrypted
from tacit.aggregation.shared_key.settings import Settings

RESULTS = Path("benchmarks/results/homomorphic.json")
CHOICES = {
    "N=4096, one modulus t of 33 bits, q of 41 bits (ours, 5 silos)": (4096, [41, 41], [33]),
    "N=4096, one modulus t of 33 bits, SEAL's default q": (4096, [36, 36, 37], [33]),
    "N=4096, two moduli t of 17 bits, q of 26 bits": (4096, [26, 26], [17, 17]),
    "N=8192, one modulus t of 33 bits, SEAL's default q": (8192, [43, 43, 44, 44, 44], [33]),
}
"""Degree, bits of the primes of q and of one for keys, bits of the plaintext moduli; each with 128 bits of security."""


class Timed:
    """An object whose methods are timed, all together under one name."""

    def __init__(self, inner: Any, name: str, seconds: defaultdict[str, float]) -> None:
        self._inner, self._name, self._seconds = inner, name, seconds

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._inner, attribute)
        if not callable(found):
            return found

        def call(*args: Any) -> Any:
            began = time.perf_counter()
            try:
                return found(*args)
            finally:
                self._seconds[self._name] += time.perf_counter() - began

        return call


def masked(vectors: np.ndarray) -> dict[str, Any]:
    """A round of secure aggregation with identities, against a server that may lie."""
    silos, length = vectors.shape
    names = [f"{k:010d}" for k in range(silos)]
    config = Config(run=os.urandom(16), round=0, length=length, bits=32, minimum=3, layout=bytes(32), corrupt=0.2)
    authority, known = identities(names)
    policy = Policy(minimum=3, corrupt=0.2, authorities=(authority,))
    play, seconds = Masked(config, names, bytes(32), identities=known, policy=policy), defaultdict[str, float](float)
    play.server = Timed(play.server, "server", seconds)  # type: ignore[assignment]
    play.clients = {name: Timed(client, "silo", seconds) for name, client in play.clients.items()}  # type: ignore[misc]
    play.begin()
    for name, vector in zip(names, vectors, strict=True):
        play.upload(name, vector)
    _require_exact(play.finish(), vectors)
    return _told(silos, seconds, play.up, play.down)


def encrypted(vectors: np.ndarray) -> dict[str, Any]:
    """A round of encryption under a shared key, and what came before it."""
    silos, length = vectors.shape
    names = [f"{k:010d}" for k in range(silos)]
    began = time.perf_counter()
    play = Encrypted(Settings(os.urandom(16), length, 32, 3, silos, bytes(32)), names)
    once, before, seconds = (
        time.perf_counter() - began,
        (play.up.copy(), play.down.copy()),
        defaultdict[str, float](float),
    )
    play.server = Timed(play.server, "server", seconds)  # type: ignore[assignment]
    play.silos = {name: Timed(silo, "silo", seconds) for name, silo in play.silos.items()}  # type: ignore[misc]
    play.server.begin(0)
    for name, vector in zip(names, vectors, strict=True):
        play.report(name, 0, vector)
    _require_exact(play.finish(names), vectors)
    told = _told(silos, seconds, play.up - before[0], play.down - before[1])
    sent = sum(before[0].values()) + sum(before[1].values())
    return told | {"seconds_once_all": once, "bytes_once_all": sent}


def choice(degree: int, primes: list[int], moduli: list[int]) -> dict[str, float]:
    """Bytes and seconds for each million words, with these parameters."""
    he, ciphertexts, words = library(), list[bytes](), 32 * degree
    rng, spent = np.random.default_rng(0), defaultdict[str, float](float)
    for t in he.sealapi.PlainModulus.Batching(degree, moduli):
        kind = he.ENCRYPTION_TYPE.SYMMETRIC
        context = he.context(he.SCHEME_TYPE.BFV, degree, t.value(), primes, encryption_type=kind, n_threads=1)
        vectors = rng.integers(0, t.value() // 5, (words // degree, degree)).tolist()
        began = time.perf_counter()
        made = [he.bfv_vector(context, vector).serialize() for vector in vectors]
        spent["encrypt"] += time.perf_counter() - began
        began = time.perf_counter()
        read = [he.bfv_vector_from(context, data).decrypt() for data in made]
        spent["decrypt"] += time.perf_counter() - began
        if [[n % t.value() for n in row] for row in read] != vectors:
            raise RuntimeError(f"degree {degree}, {primes}, {moduli}: not what was encrypted comes back")
        ciphertexts += made
    scale = 1e6 / words
    return {
        "bytes": sum(map(len, ciphertexts)) * scale,
        "seconds_encrypt": spent["encrypt"] * scale,
        "seconds_decrypt": spent["decrypt"] * scale,
    }


def _require_exact(found: np.ndarray, vectors: np.ndarray) -> None:
    if not np.array_equal(found, vectors.sum(axis=0)):
        raise RuntimeError("the sum is not exact")


def _told(silos: int, seconds: defaultdict[str, float], up: Counter[str], down: Counter[str]) -> dict[str, float]:
    return {
        "seconds_silo": seconds["silo"] / silos,
        "seconds_server": seconds["server"],
        "bytes_up_silo": sum(up.values()) / silos,
        "bytes_down_silo": sum(down.values()) / silos,
    }


def _mb(count: float) -> str:
    return f"{count / 1e6:.3g} MB"


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--silos", type=int, default=5)
    asked = parser.parse_args()
    rng, found, console = np.random.default_rng(0), list[dict[str, Any]](), Console()
    machine = describe()
    table = Table("parameters", "how", "silo", "server", "up", "down", title=f"one round of {asked.silos} silos")
    for d in asked.parameters:
        most = (2**31 - 1) // asked.silos
        vectors = rng.integers(-most, most, (asked.silos, d))
        for name, how in (("SecureSum", masked), ("SharedKeySum", encrypted)):
            how(vectors[:, :1000])
            one = how(vectors)
            found.append({"parameters": d, "how": name, **one})
            seconds = [f"{one[f'seconds_{who}'] * 1e3:.1f} ms" for who in ("silo", "server")]
            table.add_row(f"{d:,}", name, *seconds, _mb(one["bytes_up_silo"]), _mb(one["bytes_down_silo"]))
    console.print(table)
    last = found[-1]
    console.print(f"sharing the key, once, all silos: {last['seconds_once_all']:.2f} s, {_mb(last['bytes_once_all'])}")
    choices = {name: choice(*values) for name, values in CHOICES.items()}
    other = Table("parameters", "bytes", "encrypt", "decrypt", title="for each million words of 32 bits")
    for name, one in choices.items():
        other.add_row(name, _mb(one["bytes"]), *(f"{one[f'seconds_{s}']:.2f} s" for s in ("encrypt", "decrypt")))
    console.print(other)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    told = {"machine": machine, "silos": asked.silos, "degree": DEGREE, "rounds": found, "choices": choices}
    RESULTS.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
