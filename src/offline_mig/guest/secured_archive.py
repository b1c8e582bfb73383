"""A new file or directory as an archive, by which it gets into the appliance whole.

libguestfs takes the values of extended attributes as texts, which end at the first zero byte.
tar carries them as they are, and with a file's content at once.
"""

from __future__ import annotations

import io
import tarfile
import time
from typing import IO

#: The extended attribute by which ntfs-3g gives and takes a security descriptor (ntfs-3g(8)).
DESCRIPTOR_ATTRIBUTE = "system.ntfs_acl"
#: How GNU tar names extended attributes in the headers of POSIX.1-2001.
_KEYWORD = f"SCHILY.xattr.{DESCRIPTOR_ATTRIBUTE}"


def write_archive(target: IO[bytes], name: str, data: bytes | None, descriptor: bytes) -> None:
    """Write an archive of one file, or with ``data`` None of one empty directory, to ``target``.

    ``descriptor`` is its security descriptor.
    """
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
    entry.mode = 0o777
    entry.mtime = int(time.time())
    entry.size = len(data or b"")
    # As a text with what is no UTF-8 marked, which tarfile writes as the bytes that it was.
    entry.pax_headers = {_KEYWORD: descriptor.decode("utf-8", "surrogateescape")}
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(entry, io.BytesIO(data or b""))
