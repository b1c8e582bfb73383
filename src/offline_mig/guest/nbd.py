"""A block device behind an NBD connection: the client's half of the protocol, as far as needed.

From "The NBD protocol" (doc/proto.md of the NetworkBlockDevice project): fixed newstyle
negotiation with NBD_OPT_GO, simple replies. The server parses guest images and is not trusted:
what it says is checked, and it can at worst give wrong bytes. Runs in the confined worker as
well, so it is kept to file descriptors and to modules that load fast.
"""

from __future__ import annotations

import errno
import os
import struct

_MAGIC = b"NBDMAGIC"
_OPTION = b"IHAVEOPT"
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_OPT_GO = 7
_REPLY_MAGIC = 0x0003E889045565A9
_REP_ACK, _REP_INFO, _REP_ERROR = 1, 3, 0x80000000
_INFO_EXPORT = 0
_REQUEST_MAGIC, _SIMPLE_REPLY_MAGIC = 0x25609513, 0x67446698
_READ, _WRITE, _DISCONNECT, _FLUSH = 0, 1, 2, 3
#: The largest request that every server takes (32 MiB) is more than one piece needs to be.
PIECE = 1024 * 1024
#: Replies to options are short texts.
_LONGEST_REPLY = 64 * 1024


class BlockDevice:
    """An export that was chosen; ``size`` is in bytes. Errors are OSError.

    ``failure`` is the first write that failed, of which not everyone who has it written tells.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self.size = size
        self.failure: OSError | None = None

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the device, fewer at its end."""
        size = max(0, min(size, self.size - offset))
        parts = []
        while size:
            length = min(size, PIECE)
            self._request(_READ, offset, length)
            parts.append(read_exactly(self._fd, length))
            offset += length
            size -= length
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes; raises OSError with ENOSPC when the image cannot grow."""
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            self._request(_WRITE, offset + start, len(piece), piece)

    def flush(self) -> None:
        """Return when everything written has reached the image."""
        self._request(_FLUSH, 0, 0)

    def disconnect(self) -> None:
        """Take leave; the server then forgets the connection. The descriptor stays open."""
        _write_all(self._fd, struct.pack(">IHHQQI", _REQUEST_MAGIC, 0, _DISCONNECT, 0, 0, 0))

    def _request(self, command: int, offset: int, length: int, data: bytes = b"") -> None:
        head = struct.pack(">IHHQQI", _REQUEST_MAGIC, 0, command, 0, offset, length)
        _write_all(self._fd, head + data)
        magic, code, handle = struct.unpack(">IIQ", read_exactly(self._fd, 16))
        if magic != _SIMPLE_REPLY_MAGIC or handle:
            raise OSError(errno.EPROTO, "the storage server does not keep to the protocol")
        if code:
            # The protocol's numbers are those of Linux.
            error = OSError(code, os.strerror(code))
            if command != _READ:
                self.failure = self.failure or error
            raise error


def choose_export(fd: int, name: str) -> int:
    """Negotiate for an export on a fresh connection and return its size in bytes.

    Raises OSError.
    """
    magic, option, flags = struct.unpack(">8s8sH", read_exactly(fd, 18))
    if magic != _MAGIC or option != _OPTION or not flags & _FIXED_NEWSTYLE:
        raise OSError(errno.EPROTO, "the storage server does not speak NBD")
    _write_all(fd, struct.pack(">I", _FIXED_NEWSTYLE | (flags & _NO_ZEROES)))
    wanted = name.encode()
    body = struct.pack(">I", len(wanted)) + wanted + struct.pack(">H", 0)
    _write_all(fd, _OPTION + struct.pack(">II", _OPT_GO, len(body)) + body)
    size = None
    while True:
        magic, _, kind, length = struct.unpack(">QIII", read_exactly(fd, 20))
        if magic != _REPLY_MAGIC or length > _LONGEST_REPLY:
            raise OSError(errno.EPROTO, "the storage server does not keep to the protocol")
        said = read_exactly(fd, length)
        if kind == _REP_INFO and len(said) == 12 and said[:2] == struct.pack(">H", _INFO_EXPORT):
            (size,) = struct.unpack_from(">Q", said, 2)
        elif kind & _REP_ERROR:
            raise OSError(errno.ENOENT, f"the storage server has no export {name}")
        elif kind == _REP_ACK:
            break
    if size is None or size >= 1 << 63:
        raise OSError(errno.EPROTO, "the storage server does not tell the size of an export")
    return int(size)


def read_exactly(fd: int, size: int) -> bytes:
    """Read ``size`` bytes; raises OSError (ECONNRESET) when the other end is gone before."""
    first = os.read(fd, size) if size else b""
    if len(first) == size:
        return first
    parts = [first]
    missing = size - len(first)
    while missing and parts[-1]:
        parts.append(os.read(fd, missing))
        missing -= len(parts[-1])
    if missing:
        raise ConnectionResetError(errno.ECONNRESET, "the other end closed the connection")
    return b"".join(parts)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
