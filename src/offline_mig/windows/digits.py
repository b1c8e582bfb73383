"""Numbers that a guest spells out in digits."""

from __future__ import annotations

import re


def small_number(text: str | None) -> int | None:
    """Return the number that ``text`` is, None when it is none or has more than nine digits.

    Only 0 to 9 count: ``str.isdigit`` takes "²" as well, on which ``int`` fails as it does on
    thousands of digits.
    """
    return int(text) if text and re.fullmatch("[0-9]{1,9}", text) else None
