"""Marvin32, the checksum of entries in transaction logs since Windows 8.1.

The algorithm is Microsoft's, published under the MIT licence with .NET and SymCrypt.
"""

from __future__ import annotations

import struct
import sys
from array import array

#: The seed of registry logs (msuhanov's "Windows registry file format specification", section
#: "Log entries"; the bytes that are given there are those of a big-endian number).
REGISTRY_SEED = 0x82EF4D887A4E55C5
_MASK = 0xFFFFFFFF


def marvin32(data: bytes, seed: int = REGISTRY_SEED) -> bytes:
    """Return the 8 bytes of the checksum, as they stand in a log."""
    low, high = seed & _MASK, seed >> 32
    # One byte 0x80 ends the data, zeros fill the last word, and one more round follows.
    words = array("I", data[: len(data) & ~3])
    words.frombytes((data[len(data) & ~3 :] + b"\x80").ljust(4, b"\0") + bytes(4))
    if sys.byteorder == "big":
        words.byteswap()
    # Every word of a log goes through here: rotations are written out, as calls would take longer.
    for word in words:
        low = (low + word) & _MASK
        high ^= low
        low = ((low << 20 | low >> 12) + high) & _MASK
        high = (high << 9 | high >> 23) & _MASK ^ low
        low = ((low << 27 | low >> 5) + high) & _MASK
        high = (high << 19 | high >> 13) & _MASK
    return struct.pack("<II", low, high)
