"""The kernel inside of a bzImage, which unpacks itself when it is started.

Layout: Linux, Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".
"""

from __future__ import annotations

import struct
from contextlib import suppress

_SETUP_SECTORS_AT = 0x1F1
_MAGIC_AT, _MAGIC = 0x202, b"HdrS"
_VERSION_AT = 0x206
#: Protocol 2.08 (Linux 2.6.26) added where the packed kernel lies.
_FIRST_WITH_PAYLOAD = 0x0208
_PAYLOAD_AT = 0x248
_SECTOR = 512
_ELF = b"\x7fELF"
#: What the kernel can be packed with (CONFIG_KERNEL_GZIP and so on), as libarchive calls it.
_PACKERS = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x02\x21\x4c\x18": "lz4",
    b"BZh": "bzip2",
}
#: Bytes; a distribution's kernel has 50 to 80 MiB.
_LARGEST = 512 * 1024 * 1024


def unpacked_kernel(image: bytes) -> bytes | None:
    """Return the ELF file that is packed in a bzImage, None when it is not one that is known.

    Raises HostNotReadyError without libarchive.
    """
    payload = _payload(image)
    packer = next((name for magic, name in _PACKERS.items() if payload.startswith(magic)), None)
    if packer is None:
        return None
    # The build appends the size; gzip ends with it anyway.
    (size,) = struct.unpack("<I", payload[-4:])
    if size > _LARGEST:
        return None
    packed = payload if packer == "gzip" else payload[:-4]
    kernel = _unpacked(packed, packer, size)
    return kernel if len(kernel) == size and kernel.startswith(_ELF) else None


def _payload(image: bytes) -> bytes:
    try:
        (version,) = struct.unpack_from("<H", image, _VERSION_AT)
        offset, size = struct.unpack_from("<II", image, _PAYLOAD_AT)
    except struct.error:
        return b""
    magic = image[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)]
    if magic != _MAGIC or version < _FIRST_WITH_PAYLOAD or size < 4:
        return b""
    # 0 means 4, for the sake of very old loaders.
    start = ((image[_SETUP_SECTORS_AT] or 4) + 1) * _SECTOR + offset
    payload = image[start : start + size]
    return payload if len(payload) == size else b""


def _unpacked(packed: bytes, packer: str, size: int) -> bytes:
    # Needed once for each kernel of an appliance, and loaded no sooner.
    from offline_mig.drivers.archive import load_libarchive

    libarchive = load_libarchive()
    kernel = bytearray()
    with (
        suppress(libarchive.ArchiveError),
        libarchive.memory_reader(packed, "raw", packer) as entries,
    ):
        for entry in entries:
            for block in entry.get_blocks():
                kernel += block
                if len(kernel) > size:
                    return b""
    return bytes(kernel)
