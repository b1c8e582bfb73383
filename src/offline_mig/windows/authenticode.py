"""What a signature of a PE image is about: its hash and the signature that is in it.

The layout: Microsoft, "Windows Authenticode Portable Executable Signature Format" and "PE Format".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

#: Offsets in the optional header: CheckSum, and the data directories of PE32 and PE32+.
_CHECKSUM = 64
_DIRECTORIES = {0x10B: 96, 0x20B: 112}
#: IMAGE_DIRECTORY_ENTRY_SECURITY; unlike the others it has an offset in the file.
_SECURITY = 4
#: WIN_CERT_TYPE_PKCS_SIGNED_DATA of wintrust.h, behind length and revision.
_PKCS_SIGNED_DATA = 2


@dataclass(frozen=True, slots=True)
class _Layout:
    """File offsets of what the hash leaves out; the certificates end the image."""

    checksum: int
    entry: int
    certificates: int
    end: int


def authenticode_digest(image: bytes, algorithm: str) -> bytes | None:
    """Return the hash that signatures of a PE image hold; None for what is no PE image.

    ``algorithm`` is a name of hashlib's, such as sha256.
    """
    layout = _layout(image)
    if layout is None:
        return None
    digest = hashlib.new(algorithm)
    digest.update(image[: layout.checksum])
    digest.update(image[layout.checksum + 4 : layout.entry])
    digest.update(image[layout.entry + 8 : layout.certificates])
    digest.update(image[layout.end :])
    return digest.digest()


def embedded_signature(image: bytes) -> bytes | None:
    """Return the PKCS #7 signature that is in a PE image, None when it has none."""
    layout = _layout(image)
    if layout is None or layout.end - layout.certificates < 8:
        return None
    table = image[layout.certificates : layout.end]
    length = int.from_bytes(table[:4], "little")
    if int.from_bytes(table[6:8], "little") != _PKCS_SIGNED_DATA:
        return None
    return table[8:length] or None


def _layout(image: bytes) -> _Layout | None:
    if image[:2] != b"MZ" or len(image) < 0x40:
        return None
    header = int.from_bytes(image[0x3C:0x40], "little")
    if image[header : header + 4] != b"PE\0\0":
        return None
    optional = header + 24
    directories = _DIRECTORIES.get(int.from_bytes(image[optional : optional + 2], "little"))
    if directories is None:
        return None
    entry = optional + directories + 8 * _SECURITY
    if entry + 8 > len(image):
        return None
    start = int.from_bytes(image[entry : entry + 4], "little")
    size = int.from_bytes(image[entry + 4 : entry + 8], "little")
    if not start or not size:
        start, size = len(image), 0
    if start < entry + 8 or start + size > len(image):
        return None
    return _Layout(optional + _CHECKSUM, entry, start, start + size)
