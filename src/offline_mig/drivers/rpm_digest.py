"""Whether an RPM is as it was built: its own digests, which libarchive passes over.

Without them a damaged payload would give damaged programs: not every compression that rpm uses
carries a check of its own, and libarchive does not look at all that do. Layout and tags: rpm.org,
"RPM V4 Package format" and "Header tags".
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import BinaryIO

_LEAD_SIZE = 96
_HEADER_MARK = bytes.fromhex("8eade801")
#: The MD5 of header and payload, in the signature header; rpm 6 has left it out.
_MD5 = 1004
#: The digest of the compressed payload and its kind, in the header proper; since rpm 4.14.
_PAYLOAD_DIGEST, _PAYLOAD_DIGEST_KIND, _SHA256 = 5092, 5093, 8
#: Bytes that are read at a time.
_BLOCK = 1024 * 1024
#: Bytes of a header. That of a package with a hundred thousand files has some ten million.
_MAX_HEADER = 64 * 1024 * 1024


def rpm_damage(path: Path) -> str | None:
    """Say what is wrong with an RPM, None when its digests are right or it has none.

    Raises OSError.
    """
    with path.open("rb") as file:
        file.seek(_LEAD_SIZE)
        try:
            signature, size = _read_header(file)
            # The header proper begins at the next multiple of 8.
            file.seek(-size % 8, 1)
            start = file.tell()
            header, _ = _read_header(file)
        except (ValueError, struct.error) as error:
            return f"its headers are damaged ({error})"
        wanted = header.get(_PAYLOAD_DIGEST, b"").split(b"\0")[0].decode("latin-1")
        kind = header.get(_PAYLOAD_DIGEST_KIND, b"")[:4]
        if _MD5 in signature:
            file.seek(start)
            md5 = hashlib.md5(usedforsecurity=False)
            while block := file.read(_BLOCK):
                md5.update(block)
            right = md5.digest() == signature[_MD5][:16]
        elif wanted and kind == _SHA256.to_bytes(4, "big"):
            right = hashlib.file_digest(file, "sha256").hexdigest() == wanted.lower()
        else:
            return None
    return None if right else "its contents do not have the digest that its header says"


def _read_header(file: BinaryIO) -> tuple[dict[int, bytes], int]:
    """Return what the tags of a header point to, each up to the header's end, and its size."""
    mark, _, entries, size = struct.unpack(">4s4sII", file.read(16))
    if mark != _HEADER_MARK:
        raise ValueError("a header is not where it should be")
    if entries * 16 + size > _MAX_HEADER:
        raise ValueError(f"a header claims {entries} entries of {size} bytes")
    index, store = file.read(entries * 16), file.read(size)
    if len(index) < entries * 16 or len(store) < size:
        raise ValueError("a header ends early")
    wanted = (_MD5, _PAYLOAD_DIGEST, _PAYLOAD_DIGEST_KIND)
    found = {}
    for tag, _, offset, _ in struct.iter_unpack(">IIII", index):
        if tag in wanted:
            found[tag] = store[offset : offset + 256]
    return found, size
