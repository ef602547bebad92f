"""Packing: several small whole numbers in one word of a sum, so that words add up to the packed sums.

A word is `sum_i t_i 2^(c i)` with signed numbers t_i. Adding words adds the numbers, as long as no sum of them leaves c
bits; so one client's number gets as many bits as it needs, and `log2(clients)` more for what is carried.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """How whole numbers are packed into words.

    The law: `unpack(sum of pack(t)) == sum of t`, for up to `clients` vectors of numbers from `-most` to `most`.

    Attributes:
        bits: of a word.
        clients: most vectors in a sum.
        most: largest absolute value of a number.
    """

    bits: int
    clients: int
    most: int

    @property
    def width(self) -> int:
        """Bits c that a number of the sum has, with its sign."""
        return (self.clients * self.most).bit_length() + 1

    @property
    def each(self) -> int:
        """How many numbers a word holds."""
        return self.bits // self.width

    def words(self, length: int) -> int:
        """How many words hold `length` numbers."""
        return -(-length // self.each)

    def pack(self, numbers: Tensor) -> Tensor:
        """(K, d) whole numbers, of any type, to (K, words(d)) int64."""
        count, length = numbers.shape
        padded = torch.zeros(count, self.words(length) * self.each, dtype=torch.int64)
        padded[:, :length] = torch.round(numbers)
        columns, packed = padded.view(count, -1, self.each), torch.zeros(count, self.words(length), dtype=torch.int64)
        for i in reversed(range(self.each)):
            packed = (packed << self.width) + columns[:, :, i]
        return packed

    def unpack(self, total: Tensor, length: int) -> Tensor:
        """A sum of packed words, (words,) int64, to the sums of the numbers, (length,) float64."""
        found = torch.empty(len(total), self.each, dtype=torch.float64)
        half, left = 1 << (self.width - 1), total.clone()
        for i in range(self.each):
            lowest = ((left + half) & ((1 << self.width) - 1)) - half
            found[:, i] = lowest
            left = (left - lowest) >> self.width
        return found.view(-1)[:length]
