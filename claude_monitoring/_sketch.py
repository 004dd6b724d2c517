"""How many different values went by, in one kilobyte: HyperLogLog (Flajolet and others, 2007), and linear counting.

Python's own 64-bit hash of text is salted and well mixed, so it serves as the hash; a sketch never leaves its process.
"""

from __future__ import annotations

import math
from collections.abc import Hashable

__all__ = ["BITS", "MASK", "Sketch"]

BITS = 10
_SIZE = 1 << BITS
MASK = _SIZE - 1
_ALPHA = 0.7213 / (1 + 1.079 / _SIZE)  # the paper's constant for 128 registers and more


class Sketch:
    """An estimate of the number of different items added; the standard error is 3 %. Empty, it takes no memory."""

    __slots__ = ("registers",)

    def __init__(self) -> None:
        self.registers: bytearray | None = None

    def __bool__(self) -> bool:
        return self.registers is not None

    def add(self, item: Hashable) -> None:
        """Add an item: text, or a tuple with some text in it (a number's hash is the number, which is not mixed)."""
        registers = self.registers
        if registers is None:
            registers = self.registers = bytearray(_SIZE)
        mixed = hash(item)
        rest = mixed >> BITS
        rank = (rest & -rest).bit_length()  # the place of the lowest bit that is set
        registers[mixed & MASK] = max(registers[mixed & MASK], rank)

    def estimate(self) -> int:
        """About how many different items were added."""
        registers = self.registers
        if registers is None:
            return 0
        found = _ALPHA * _SIZE * _SIZE / sum(2.0**-rank for rank in registers)
        empty = registers.count(0)
        if found <= 2.5 * _SIZE and empty:
            found = _SIZE * math.log(_SIZE / empty)
        return round(found)
