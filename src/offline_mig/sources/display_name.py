"""The name of a machine as its source gives it, made fit for messages."""

from __future__ import annotations

#: Printable, although Python does not say so; Japanese and Chinese names have it.
_WIDE_SPACE = "\u3000"


def display_name(text: str | None) -> str | None:
    """Return a name without what is not printable, None when nothing is left.

    Control characters would reach file names, XML and the terminal.
    """
    kept = "".join(c for c in text or "" if c.isprintable() or c == _WIDE_SPACE)
    return kept.strip() or None
