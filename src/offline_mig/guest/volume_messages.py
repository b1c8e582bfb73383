"""How the engine and the confined worker that reads a volume talk: frames of fields on a socket.

A frame is its length (4 bytes, little endian) and then fields, each its length and its bytes. The
first field says what is wanted, or how it went. Nothing in a frame can mean more than its bytes,
so that a worker taken over by what it parses can lie about the guest and do nothing else.
"""

from __future__ import annotations

import os
import struct

from offline_mig.guest.nbd import read_exactly

#: Bytes of file content in one frame.
PIECE = 1024 * 1024
#: A frame holds a piece, or a directory: 65536 names of the greatest length are 50 MB.
LONGEST_FRAME = 64 * 1024 * 1024

#: What is asked for: a path, and what else the operation needs.
RESOLVE, LIST, READ, TRUNCATE, WRITE, MAKE_DIRECTORY, DELETE, FREE, CLOSE = (
    bytes([number]) for number in range(1, 10)
)
#: How it went. UNSAFE (not to be written) comes with the reason, if there are several; FAILED and
#: FULL (the image cannot grow) with an error number and a text; ODD with a path and with what is
#: there that is no plain file or directory.
DONE, MISSING, UNSAFE, FAILED, FULL, ODD = (bytes([number]) for number in range(16, 22))


def send(fd: int, *fields: bytes) -> None:
    """Send one frame; raises OSError."""
    body = b"".join(struct.pack("<I", len(field)) + field for field in fields)
    if len(body) > LONGEST_FRAME:
        raise OSError(f"a message of {len(body)} bytes is too long")
    view = memoryview(struct.pack("<I", len(body)) + body)
    while view:
        view = view[os.write(fd, view) :]


def receive(fd: int) -> list[bytes]:
    """Return the fields of the next frame.

    Raises OSError when the connection ends or what comes is no frame.
    """
    (length,) = struct.unpack("<I", read_exactly(fd, 4))
    if length > LONGEST_FRAME:
        raise OSError(f"a message of {length} bytes is too long")
    body = read_exactly(fd, length)
    fields = []
    at = 0
    while at < length:
        end = at + 4 + int.from_bytes(body[at : at + 4], "little")
        if at + 4 > length or end > length:
            raise OSError("a message is damaged")
        fields.append(body[at + 4 : end])
        at = end
    return fields


def number(value: int) -> bytes:
    """Return a field that holds a number."""
    return struct.pack("<q", value)


def as_number(field: bytes) -> int:
    """Return the number in a field; raises OSError when there is none."""
    if len(field) != 8:
        raise OSError("a message is damaged")
    return int(struct.unpack("<q", field)[0])


def text(value: str) -> bytes:
    """Return a field that holds a text, which may have the lone surrogates of NTFS names."""
    return value.encode("utf-8", "surrogatepass")


def as_text(field: bytes) -> str:
    """Return the text in a field; raises OSError when there is none."""
    try:
        return field.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise OSError("a message is damaged") from error
