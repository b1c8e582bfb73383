r"""The Winsock catalogue: which library serves which protocol and name space.

``Services\WinSock2\Parameters`` has two of them. The entries of each are keys that are numbered
without a gap from 000000000001 (in twelve digits), and a value beside them says how many there
are; on 64-bit Windows there is a second set for 64-bit programs. The layout of
``PackedCatalogItem`` is the path of the library in 260 bytes of ANSI text, and then a
WSAPROTOCOL_INFOW (winsock2.h).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from offline_mig.windows.hive import RegistryView
from offline_mig.windows.registry import RegistryValue

_PARAMETERS = r"Services\WinSock2\Parameters"
_CATALOGUES = ("Protocol_Catalog9", "NameSpace_Catalog5")
_BRANCHES = {
    "Catalog_Entries": "Num_Catalog_Entries",
    "Catalog_Entries64": "Num_Catalog_Entries64",
}
#: MAX_PATH: bytes of the library's path in front of the WSAPROTOCOL_INFOW.
_PATH_SIZE = 260
#: dwCatalogEntryId, ProtocolChain.ChainLen and its seven entries in a WSAPROTOCOL_INFOW, behind
#: five numbers of flags and the GUID of the provider.
_IDENTITY_AND_CHAIN = struct.Struct("<36xIi7I")


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """An entry: its library's path as it stands there, and its values.

    ``identity`` is what chains of layered protocols name it by, ``chain`` what it is layered over.
    """

    library: str
    identity: int
    chain: tuple[int, ...]
    values: Mapping[str, RegistryValue] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A set of entries, in order: ``key`` is that of the set, ``counter`` the value beside it."""

    key: str
    counter: str
    entries: tuple[CatalogueEntry, ...]

    @property
    def counter_key(self) -> str:
        """The key that has the counter."""
        return self.key.rpartition("\\")[0]

    def entry_key(self, number: int) -> str:
        """Return the key of an entry, counted from 0."""
        return rf"{self.key}\{number + 1:012d}"


def read_catalogues(system: RegistryView, control_set: str) -> tuple[Catalogue, ...]:
    """Return the catalogues of a control set."""
    return tuple(
        Catalogue(
            key := rf"{control_set}\{_PARAMETERS}\{catalogue}\{branch}",
            counter,
            tuple(_entries(system, key)),
        )
        for catalogue in _CATALOGUES
        for branch, counter in _BRANCHES.items()
    )


def _entries(system: RegistryView, key: str) -> Iterator[CatalogueEntry]:
    for name in sorted(system.subkeys(key)):
        values = system.values(rf"{key}\{name}")
        packed = values.get("PackedCatalogItem")
        if packed is not None:
            path, rest = packed.data[:_PATH_SIZE], packed.data[_PATH_SIZE:]
            library = path.split(b"\0", 1)[0].decode("latin-1")
            identity, chain = _numbers(rest)
        else:
            named = values.get("LibraryPath")
            library = (named.as_text() if named else None) or ""
            identity, chain = 0, ()
        yield CatalogueEntry(library, identity, chain, values)


def _numbers(protocol: bytes) -> tuple[int, tuple[int, ...]]:
    if len(protocol) < _IDENTITY_AND_CHAIN.size:
        return 0, ()
    identity, length, *chain = _IDENTITY_AND_CHAIN.unpack_from(protocol)
    return identity, tuple(chain[: max(length, 0)])
