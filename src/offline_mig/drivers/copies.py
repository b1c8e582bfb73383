"""Packages that lie on a medium more than once, such as in by-driver/ and by-os/ of an RPM."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from offline_mig.drivers.layout import Place, place_of
from offline_mig.drivers.listing import Listing, MediaInf

#: The directory of an RPM that has the layout of the ISO, where people look.
_PREFERRED = "by-driver"

#: What tells a package from others: its INF's name and bytes, and the Windows it is said to be for.
_Label = tuple[str, bytes, Place]


def without_copies(listing: Listing, contents: Mapping[str, bytes]) -> Listing:
    """Return a listing that has each package once for each Windows; the files stay as they are.

    ``contents`` are those of files by lower-case paths as ``listing.links`` leads to them. What is
    the same are the INF and all files beside it that it names.
    """
    beside: dict[str, list[str]] = {}
    for key in listing.files:
        beside.setdefault(key.rpartition("/")[0], []).append(key)
    chosen: dict[_Label, list[dict[str, bytes | str]]] = {}
    kept: list[MediaInf] = []
    for inf in sorted(listing.infs, key=_order):
        if inf.data is not None:
            label = (inf.name.lower(), inf.data, place_of(inf.path))
            files = _named_files(inf.data, beside[inf.directory.lower()], listing.links, contents)
            known = chosen.setdefault(label, [])
            if files in known:
                continue
            known.append(files)
        kept.append(inf)
    return replace(listing, infs=tuple(kept))


def _order(inf: MediaInf) -> tuple[bool, str]:
    path = inf.path.lower()
    return _PREFERRED not in path.split("/"), path


def _named_files(
    data: bytes, keys: Iterable[str], links: Mapping[str, str], contents: Mapping[str, bytes]
) -> dict[str, bytes | str]:
    """Return the files that an INF names, each by what is in it, or by its path if not known."""
    text = data.decode("latin-1").lower()
    found: dict[str, bytes | str] = {}
    for key in keys:
        name = key.rpartition("/")[2]
        if name in text:
            place = links.get(key, key)
            found[name] = contents.get(place, place)
    return found
