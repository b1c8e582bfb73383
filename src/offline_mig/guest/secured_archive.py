"""New files and directories as an archive, by which they get into the appliance whole.

libguestfs takes the values of extended attributes as texts, which end at the first zero byte.
tar carries them as they are, and with a file's content at once.
"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO

#: The extended attribute by which ntfs-3g gives and takes a security descriptor (ntfs-3g(8)).
DESCRIPTOR_ATTRIBUTE = "system.ntfs_acl"
#: How GNU tar names extended attributes in the headers of POSIX.1-2001.
_KEYWORD = f"SCHILY.xattr.{DESCRIPTOR_ATTRIBUTE}"


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """A file, or with ``data`` None an empty directory, and its security descriptor.

    ``name`` is its path below where the archive is unpacked.
    """

    name: str
    data: bytes | None
    descriptor: bytes


def write_archive(target: IO[bytes], members: Iterable[ArchiveMember]) -> None:
    """Write an archive of files and directories, in their order, to ``target``."""
    now = int(time.time())
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            data = member.data or b""
            entry = tarfile.TarInfo(member.name)
            entry.type = tarfile.DIRTYPE if member.data is None else tarfile.REGTYPE
            entry.mode = 0o777
            entry.mtime = now
            entry.size = len(data)
            # As a text with what is no UTF-8 marked, which tarfile writes as the bytes it was.
            entry.pax_headers = {_KEYWORD: member.descriptor.decode("utf-8", "surrogateescape")}
            archive.addfile(entry, io.BytesIO(data))
