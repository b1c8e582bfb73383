"""The manifest of an OVF: digests of its files (DMTF DSP0243, 5.2 "OVF package").

The specification has lines ``SHA1(disk.vmdk)= 3c5f...``. In the wild there are spaces around the
brackets and the sign, ``SHA-256`` and ``SHA2-256``, upper-case digits, a path before the name,
the files of PowerShell in UTF-16, and the lists of sha256sum.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from offline_mig.errors import SourceUnreadableError
from offline_mig.sources.file_access import shown
from offline_mig.sources.ovf_package import PackagedFile

#: Bytes; a line has some hundred, and machines have few disks.
MAX_MANIFEST = 4 * 1024 * 1024

_TAGGED = re.compile(
    r"SHA(?:2-|-)?(1|224|256|384|512)\s*\(\s*(.+?)\s*\)\s*=\s*([0-9a-f]+)", re.IGNORECASE
)
_LISTED = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{128})\s+\*?(.+)", re.IGNORECASE)
#: Hexadecimal digits of each digest that is in use.
_ALGORITHMS = {"1": ("sha1", 40), "256": ("sha256", 64), "512": ("sha512", 128)}
#: Characters; file systems have names of 255 bytes and paths of 4096.
_MAX_LINE = 5000
_BY_LENGTH = {length: name for name, length in _ALGORITHMS.values()}
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """The digest of a file in lower-case hexadecimal, and hashlib's name of the algorithm."""

    name: str
    algorithm: str
    digest: str


def parse_manifest(data: bytes, where: str) -> dict[str, ManifestEntry]:
    """Read a manifest; the entries are returned by the last part of the files' names.

    ``where`` is the manifest's name for messages. Raises SourceUnreadableError for a line that
    cannot be understood, for an unknown algorithm and for two digests of one file.
    """
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    # What is no UTF-8 are names in some old code page; they then differ and are said to miss.
    text = data.decode(encoding, "replace").removeprefix("\ufeff")
    entries: dict[str, ManifestEntry] = {}
    for raw in re.split(r"[\r\n]+", text):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        entry = _entry(line)
        if entry is None:
            raise SourceUnreadableError(
                f'{where} has a line that cannot be understood: "{shown(line[:100])}".',
                "Export the machine again. If you trust its files, delete the manifest from a "
                "copy of the folder.",
            )
        if entries.setdefault(entry.name, entry) != entry:
            raise SourceUnreadableError(
                f"{where} states two digests of {shown(entry.name)}.",
                "Export the machine again. If you trust its files, delete the manifest from a "
                "copy of the folder.",
            )
    return entries


def verify_files(
    entries: dict[str, ManifestEntry], files: Iterable[PackagedFile], where: str
) -> None:
    """Compare files with their digests; reads all of them.

    Raises SourceUnreadableError for a file that is not listed or differs.
    """
    for file in files:
        entry = entries.get(_base_name(file.name))
        if entry is None:
            raise SourceUnreadableError(
                f"{where} has no digest of {shown(file.name)}, which belongs to the machine.",
                "Export the machine again. If you trust its files, delete the manifest from a "
                "copy of the folder (unpack an OVA with 'tar -xf').",
            )
        digest = hashlib.new(entry.algorithm, usedforsecurity=False)
        for piece in file.pieces():
            digest.update(piece)
        if digest.hexdigest() != entry.digest:
            raise SourceUnreadableError(
                f"{shown(file.name)} is not what {where} says: its {entry.algorithm.upper()} is "
                f"{digest.hexdigest()} instead of {entry.digest}.",
                "Copy or download it again. If it was changed on purpose, delete the manifest "
                "from a copy of the folder (unpack an OVA with 'tar -xf').",
            )


def _entry(line: str) -> ManifestEntry | None:
    if len(line) > _MAX_LINE:
        return None
    if tagged := _TAGGED.fullmatch(line):
        algorithm, length = _ALGORITHMS.get(tagged[1], ("", 0))
        if len(tagged[3]) != length:
            return None
        return ManifestEntry(_base_name(tagged[2]), algorithm, tagged[3].lower())
    if listed := _LISTED.fullmatch(line):
        return ManifestEntry(_base_name(listed[2]), _BY_LENGTH[len(listed[1])], listed[1].lower())
    return None


def _base_name(name: str) -> str:
    return re.split(r"[\\/]", name)[-1]
