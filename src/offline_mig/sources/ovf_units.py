"""Amounts with a unit, as OVF states memory and disk sizes.

Units are programmatic, ``byte * 2^20`` (DMTF DSP0004, annex on programmatic units), or the words
that VMware wrote in OVF 0.9 and others after it, ``MegaBytes``; those mean powers of 1024.
"""

from __future__ import annotations

import re

#: More than any machine has: the largest size of a file on Linux.
LARGEST = 2**63 - 1

_FACTOR = re.compile(r"(\d{1,19})(?:\s*\^\s*(\d{1,2}))?")
_PREFIXES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_WORD = re.compile(r"(kilo|mega|giga|tera|peta|[kmgtp]i?)?\s*(?:bytes?|b)", re.IGNORECASE)


def unit_bytes(unit: str | None) -> int | None:
    """Return how many bytes a unit stands for, 1 for none; None for one that is not known."""
    if unit is None or not unit.strip():
        return 1
    product = 1
    bytes_seen = False
    for part in unit.split("*"):
        word = part.strip()
        if number := _FACTOR.fullmatch(word):
            product *= int(number[1]) ** int(number[2] or 1)
        elif (named := _WORD.fullmatch(word)) and not bytes_seen:
            bytes_seen = True
            product *= 1024 ** _PREFIXES[(named[1] or "").lower()[:1]]
        else:
            return None
        if product > LARGEST:
            return None
    return product if bytes_seen and product else None


def amount_bytes(quantity: str | None, unit: str | None) -> int | None:
    """Return an amount in bytes; None for none, and for what is no whole number or too large."""
    factor = unit_bytes(unit)
    text = (quantity or "").strip()
    if factor is None or not re.fullmatch(r"[0-9]{1,19}", text):
        return None
    amount = int(text) * factor
    return amount if amount <= LARGEST else None
