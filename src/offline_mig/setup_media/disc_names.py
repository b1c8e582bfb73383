"""Names on a disc: what Joliet holds, and what plain ISO 9660 makes of it.

Microsoft, "Joliet Specification" (1995), allows 64 characters, with some exceptions; ECMA-119, 6.8
and 7.5, eight levels of directories and, at its lowest level of interchange, which every system
reads, names of 8.3 capital letters, digits and underscores.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Bytes of a name in UTF-8. Joliet counts 64 characters; the library that writes it, bytes.
_LONGEST_NAME = 64
#: Levels of a file, of which the root is the first and the file itself counts.
_DEEPEST = 8
#: What Joliet does not allow, and what Windows cannot open besides: control characters, some
#: signs, and half a pair of surrogates, as which Python holds a name that is no UTF-8.
_NOT_IN_NAMES = re.compile(r'[*/:;?\\"<>|\x00-\x1f\x7f\ud800-\udfff]')
_NOT_IN_PLAIN = re.compile("[^A-Z0-9_]")
_LONGEST_ENDING = 10


def name_problem(path: str) -> str | None:
    """Return why a disc cannot hold a path, as the end of a sentence; None if it can."""
    if path.count("/") + 2 > _DEEPEST:
        return f"a disc has {_DEEPEST} levels of folders at most"
    for name in path.split("/"):
        if len(name.encode("utf-8", "surrogateescape")) > _LONGEST_NAME:
            return f"a name on a disc has {_LONGEST_NAME} bytes at most"
        if name != _allowed(name):
            return 'a name on a disc has none of * / : ; ? \\ " < > | and no dot at its end'
    return None


def holdable_paths(paths: Iterable[str]) -> dict[str, str]:
    """Return what files are called on a disc that cannot hold all of their names.

    A name that is too long loses its middle, what is not allowed becomes an underscore, and a
    number keeps apart what would become the same.
    """
    found: dict[str, str] = {"": ""}
    taken: set[str] = set()
    result = {}
    for path in paths:
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            whole = "/".join(parts[:depth])
            if whole in found:
                continue
            folder = found["/".join(parts[: depth - 1])]
            prefix = f"{folder}/" if folder else ""
            name = _shortened(parts[depth - 1], prefix, taken)
            taken.add((prefix + name).lower())
            found[whole] = prefix + name
        result[path] = found[path]
    return result


def _allowed(name: str) -> str:
    cleaned = _NOT_IN_NAMES.sub("_", name)
    kept = cleaned.rstrip(". ")
    return kept + "_" * (len(cleaned) - len(kept))


def _shortened(name: str, prefix: str, taken: set[str]) -> str:
    name = _allowed(name)
    stem, dot, ending = name.rpartition(".")
    if not dot or not stem or len(ending.encode()) > _LONGEST_ENDING:
        stem, ending = name, ""
    else:
        ending = f".{ending}"
    number = 0
    while True:
        mark = f"~{number}" if number else ""
        fitting = _cut(stem, _LONGEST_NAME - len((mark + ending).encode())) + mark + ending
        if (prefix + fitting).lower() not in taken:
            return fitting
        number += 1


def _cut(text: str, size: int) -> str:
    """Return as much of a text as has ``size`` bytes."""
    return text.encode()[:size].decode("utf-8", "ignore")


def plain_paths(paths: Iterable[str]) -> dict[str, str]:
    """Return the ISO 9660 paths of files and of the folders that hold them, by their Joliet paths.

    They begin with a slash; files have their version (";1") at the end. A folder comes before what
    is in it.
    """
    found = {"": ""}
    taken: set[str] = set()
    for path in paths:
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            whole, above = "/".join(parts[:depth]), "/".join(parts[: depth - 1])
            if whole in found:
                continue
            is_file = depth == len(parts)
            plain = _plain_name(parts[depth - 1], found[above], taken, is_file=is_file)
            taken.add(f"{found[above]}/{plain}")
            found[whole] = f"{found[above]}/{plain}" + (";1" if is_file else "")
    del found[""]
    return found


def _plain_name(name: str, folder: str, taken: set[str], *, is_file: bool) -> str:
    stem, dot, ending = name.upper().rpartition(".")
    if not (dot and stem and is_file):
        stem, ending = name.upper(), ""
    stem, ending = _NOT_IN_PLAIN.sub("_", stem), _NOT_IN_PLAIN.sub("_", ending)[:3]
    number = 0
    while True:
        mark = str(number) if number else ""
        fitting = stem[: 8 - len(mark)] + mark + (f".{ending}" if ending else "")
        if f"{folder}/{fitting}" not in taken:
            return fitting
        number += 1
