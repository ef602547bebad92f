"""Vectors of whole numbers to ciphertexts, their sum, and back: TenSEAL's BFV, one flat vector packed slot by slot.

The silos share the secret key, so they encrypt with it (symmetric encryption): half the time of a public key, and less
noise. A ciphertext hides its numbers; it does not prove who made it, and whoever carries it may replace it. Signatures
around it are for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.aggregation.shared_key.parameters import DEGREE, Parameters, library
from tacit.errors import BitBudgetError, MalformedMessage, OutOfRange

Int = NDArray[np.int64]
HALF = 17
"""Bits of the halves in which numbers below 2^34 are multiplied, modulo such a number, in words of 64 bits."""
SECRET_BYTES = 128 * 1024
"""Most bytes of one secret key with its parameters."""


class Adder:
    """Adds ciphertexts, without a key: what the server does.

    Args:
        parameters: of the encryption.
        length: words in a vector.
    """

    def __init__(self, parameters: Parameters, length: int) -> None:
        self.parameters, self.length = parameters, length
        self._contexts = [_keyless(_context(parameters, t)) for t in parameters.moduli]
        self._sum: list[Any] = []

    def add(self, ciphertexts: Sequence[bytes]) -> None:
        """Adds one client's.

        Raises:
            MalformedMessage: they are no ciphertexts of these parameters and this length. Nothing was added.
        """
        found = loaded(self._contexts, self.length, ciphertexts)
        if not self._sum:
            self._sum = found
            return
        for total, one in zip(self._sum, found, strict=True):
            total.add_(one)

    def total(self) -> list[bytes]:
        """The ciphertexts of the sum."""
        return [one.serialize() for one in self._sum]


class Keyring:
    """The secret key, one for each plaintext modulus: what every silo has.

    Args:
        parameters: of the encryption.
        contexts: TenSEAL's, with their secret keys.
    """

    def __init__(self, parameters: Parameters, contexts: Sequence[Any]) -> None:
        self.parameters, self._contexts = parameters, list(contexts)

    @classmethod
    def made(cls, parameters: Parameters) -> Keyring:
        """A new one; SEAL draws the keys from the operating system's randomness."""
        return cls(parameters, [_context(parameters, t) for t in parameters.moduli])

    @classmethod
    def of(cls, parameters: Parameters, secrets: Sequence[bytes]) -> Keyring:
        """One that another silo made.

        Raises:
            MalformedMessage: these bytes hold no secret keys of these parameters.
        """
        if len(secrets) != len(parameters.moduli) or max(map(len, secrets)) > SECRET_BYTES:
            raise MalformedMessage(f"a key ring holds {len(parameters.moduli)} keys of at most {SECRET_BYTES} bytes")
        return cls(
            parameters, [_secret(parameters, t, data) for t, data in zip(parameters.moduli, secrets, strict=True)]
        )

    def secrets(self) -> list[bytes]:
        """Its bytes: whoever has them can decrypt."""
        return [_bytes(context, secret=True) for context in self._contexts]

    def encrypt(self, vector: Int) -> list[bytes]:
        """A vector's ciphertexts: N words to each, modulus by modulus.

        Raises:
            OutOfRange: a number is so large that the sum could overflow.
        """
        most = self.parameters.largest
        if max(-int(vector.min()), int(vector.max())) > most:
            raise OutOfRange(
                f"the vector reaches from {vector.min()} to {vector.max()}: sums of {self.parameters.clients} in "
                f"{self.parameters.bits} bits allow {most} at most"
            )
        make = library().bfv_vector
        return [
            make(context, part.tolist()).serialize()
            for context, t in zip(self._contexts, self.parameters.moduli, strict=True)
            for part in _parts(vector % t)
        ]

    def decrypt(self, ciphertexts: Sequence[bytes], length: int) -> Int:
        """The vector in a sum's ciphertexts.

        Raises:
            MalformedMessage: they are none.
            BitBudgetError: the sum does not fit its word, so somebody added other numbers than were agreed.
        """
        found = [np.array(one.decrypt(), dtype=np.int64) for one in loaded(self._contexts, length, ciphertexts)]
        each = len(found) // len(self._contexts)
        residues = [np.concatenate(found[i * each : (i + 1) * each]) for i in range(len(self._contexts))]
        total = joined(residues, self.parameters.moduli)
        most = 2 ** (self.parameters.bits - 1)
        if not -most <= int(total.min()) <= int(total.max()) < most:
            raise BitBudgetError(
                f"the sum reaches from {total.min()} to {total.max()}, which {self.parameters.bits} bits do not hold: "
                "a silo sent numbers beyond the range"
            )
        return total


def loaded(contexts: Sequence[Any], length: int, ciphertexts: Sequence[bytes]) -> list[Any]:
    """Ciphertexts of a vector of `length` words under each of the contexts, checked.

    Raises:
        MalformedMessage: they are none, or of other parameters, or another number.
    """
    sizes = [min(DEGREE, length - at) for at in range(0, length, DEGREE)]
    if len(ciphertexts) != len(contexts) * len(sizes):
        raise MalformedMessage(f"{len(ciphertexts)} ciphertexts: {len(contexts) * len(sizes)} hold the vector")
    places = [(context, size) for context in contexts for size in sizes]
    return [_one(context, size, data) for (context, size), data in zip(places, ciphertexts, strict=True)]


def joined(residues: Sequence[Int], moduli: Sequence[int]) -> Int:
    """The signed numbers with these residues, one row for each of one or two moduli, by Garner's algorithm.

    They lie within half of the moduli's product, and within 64 bits.
    """
    if len(moduli) == 1:
        return _signed(residues[0] % moduli[0], moduli[0])
    first, second = moduli
    low = residues[0] % first
    high = _times((residues[1] - low) % second, pow(first, -1, second), second)
    return low + first * _signed(high, second)


def _one(context: Any, size: int, data: bytes) -> Any:
    try:
        found = library().bfv_vector_from(context, bytes(data))
        parts = found.ciphertext()
        good = found.size() == size and len(parts) == 1 and parts[0].size() == 2 and not parts[0].is_transparent()
    except (ValueError, RuntimeError) as error:
        raise MalformedMessage(f"{len(data)} bytes are no ciphertext of these parameters: {error}") from error
    if not good:
        raise MalformedMessage(f"a ciphertext is not one of {size} numbers, under a key")
    return found


def _context(parameters: Parameters, t: int) -> Any:
    """A context with new keys; TenSEAL refuses parameters of less than 128 bits of security."""
    he = library()
    bits = [parameters.modulus_bits] * 2
    kind = he.ENCRYPTION_TYPE.SYMMETRIC
    return he.context(he.SCHEME_TYPE.BFV, DEGREE, t, bits, encryption_type=kind, n_threads=1)


def _secret(parameters: Parameters, t: int, data: bytes) -> Any:
    """A context with its secret key: ours but for the key, so that nobody chooses weaker parameters for us."""
    try:
        found = library().context_from(data, 1)
        alike = _bytes(found, secret=False) == _bytes(_context(parameters, t), secret=False)
    except (ValueError, RuntimeError) as error:
        raise MalformedMessage(f"{len(data)} bytes are no secret key: {error}") from error
    if not alike or not found.is_private():
        raise MalformedMessage("a secret key of other parameters than these, or none")
    return found


def _keyless(context: Any) -> Any:
    return library().context_from(_bytes(context, secret=False), 1)


def _bytes(context: Any, secret: bool) -> bytes:
    return bytes(
        context.serialize(save_public_key=False, save_secret_key=secret, save_galois_keys=False, save_relin_keys=False)
    )


def _parts(vector: Int) -> Iterator[Int]:
    return (vector[at : at + DEGREE] for at in range(0, len(vector), DEGREE))


def _signed(residues: Int, t: int) -> Int:
    return np.where(residues > t // 2, residues - t, residues)


def _times(numbers: Int, factor: int, t: int) -> Int:
    """Products modulo t, of numbers and a factor below t: no step leaves 64 bits."""
    high = numbers * (factor >> HALF) % t
    return ((high << HALF) + numbers * (factor & (1 << HALF) - 1)) % t
