"""The parameters of the encryption: derived from what is summed, and held against the security standard.

BFV ([Brakerski12] ePrint 2012/078, [FV12] ePrint 2012/144) in the ring of degree N, whose plaintexts pack N whole
numbers modulo a prime t = 1 mod 2N, slot by slot. Nothing is multiplied, so the ciphertext modulus q is as small as the
noise of the sum allows: ciphertexts are small, and no more is asked of the ring than security does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil, log2, prod
from typing import Any

from tacit.errors import BitBudgetError, UsageError

DEGREE = 4096
"""Degree N of the ring: the smallest at which TenSEAL encrypts so large numbers."""
SECURITY = 128
"""Bits of security against classical computers, by the table of the HomomorphicEncryption.org standard (2018)."""
FRESH = 22
"""The noise of a new ciphertext is below: SEAL draws each coefficient from -21 to 21 (centred binomial), and rounding a
plaintext up to q adds half."""
PRIME = 33
"""Bits of a plaintext modulus: it is above 2^32, so that one holds a signed sum in a word of 32 bits, and two (by the
Chinese remainder theorem) one of 64."""
INSTALL = "pip install 'tacit[he]'"


def library() -> Any:
    """TenSEAL.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import tenseal
        import tenseal.sealapi
    except ImportError as error:
        raise UsageError(f"homomorphic encryption needs TenSEAL, which is not installed: {INSTALL}") from error
    return tenseal


@dataclass(frozen=True)
class Parameters:
    """What all silos encrypt with.

    Attributes:
        bits: of the word that holds a sum, signed: 32 or 64.
        clients: most ciphertexts in a sum.
        moduli: plaintext moduli t, different primes: what is summed is known modulo their product.

    Raises:
        BitBudgetError: the sum could overflow the plaintext moduli, or its noise the ciphertext modulus.
        UsageError: TenSEAL is not installed.
    """

    bits: int
    clients: int
    moduli: tuple[int, ...]

    def __post_init__(self) -> None:
        missing = self.bits - log2(prod(self.moduli))
        if missing > 0:
            raise BitBudgetError(
                f"signed sums of {self.bits} bits need {ceil(missing)} more bits than the plaintext moduli have, "
                f"{self.moduli}: add a modulus"
            )
        over = 2 * self.modulus_bits - self.most_bits
        if over > 0:
            raise BitBudgetError(
                f"the noise of {self.clients} ciphertexts needs {ceil(over / 2)} more bits than a ring of degree "
                f"{DEGREE} has at {SECURITY} bits of security: sum fewer silos"
            )

    @classmethod
    def fitting(cls, bits: int, clients: int) -> Parameters:
        """As many moduli as words of `bits` need, for sums of so many clients at most."""
        batching = library().sealapi.PlainModulus.Batching
        return cls(bits, clients, tuple(t.value() for t in batching(DEGREE, [PRIME] * ceil(bits / (PRIME - 1)))))

    @cached_property
    def modulus_bits(self) -> int:
        """Bits of the ciphertext modulus q, a prime: decryption is right, without exception, where `2 t noise < q`."""
        need = 2 * max(self.moduli) * (FRESH * self.clients + 1)
        create = library().sealapi.CoeffModulus.Create
        bits = need.bit_length()
        while min(prime.value() for prime in create(DEGREE, [bits, bits])) <= need:
            bits += 1
        return bits

    @property
    def most_bits(self) -> int:
        """Bits of all moduli together, at most, for the security that is promised: SEAL's table of the standard.

        SEAL keeps a second prime beside q, for keys that are not made here; it counts as if it were used.
        """
        seal = library().sealapi
        return int(seal.CoeffModulus.MaxBitCount(DEGREE, seal.SEC_LEVEL_TYPE.TC128))

    @property
    def largest(self) -> int:
        """Largest absolute value of a number of one client: sums of them fit their word."""
        return ((1 << self.bits - 1) - 1) // self.clients

    @property
    def ciphertext_bytes(self) -> int:
        """Most bytes of one ciphertext as it travels: two polynomials of N words of 8 bytes, and its head."""
        return 2 * 8 * DEGREE + 1024

    def ciphertexts(self, length: int) -> int:
        """How many ciphertexts hold a vector of so many words."""
        return len(self.moduli) * ceil(length / DEGREE)
