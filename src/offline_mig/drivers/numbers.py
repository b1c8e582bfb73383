"""Numbers as INF files spell them (Microsoft, "SetupGetIntField"; strtol of the C library).

Python's own ``int`` takes more: underscores and the digits of other scripts.
"""

from __future__ import annotations

import re

_BLANKS = " \t"
_NUMBER = re.compile("[+-]?(?:[0-9]+|0[xX][0-9a-fA-F]+)")
_HEXADECIMAL = re.compile("(?:0[xX])?[0-9a-fA-F]+")


def number_of(text: str) -> int | None:
    """Return a number that is decimal, or hexadecimal behind 0x; None for what is none.

    SetupAPI as Wine has it takes one with a leading zero for octal; Microsoft says nothing of it.
    """
    text = text.strip(_BLANKS)
    try:
        return int(text, 16 if "x" in text.lower() else 10) if _NUMBER.fullmatch(text) else None
    except ValueError:  # thousands of digits
        return None


def hexadecimal_of(text: str) -> int | None:
    """Return a number that is hexadecimal, with or without 0x; None for what is none."""
    text = text.strip(_BLANKS)
    return int(text, 16) if _HEXADECIMAL.fullmatch(text) else None
