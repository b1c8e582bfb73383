"""What a driver's PE header says."""

from __future__ import annotations

from offline_mig.windows.version import Architecture

#: IMAGE_FILE_MACHINE_* of winnt.h.
MACHINES = {
    0x014C: Architecture.X86,
    0x8664: Architecture.AMD64,
    0xAA64: Architecture.ARM64,
}


def pe_architecture(data: bytes) -> Architecture | None:
    """Return the architecture of a PE image, None when it is no PE or for another processor.

    Only the headers are looked at, so the first 4 KiB of a file will do.
    """
    if data[:2] != b"MZ" or len(data) < 0x40:
        return None
    header = int.from_bytes(data[0x3C:0x40], "little")
    if data[header : header + 4] != b"PE\0\0":
        return None
    return MACHINES.get(int.from_bytes(data[header + 4 : header + 6], "little"))


def pe_imports(data: bytes) -> tuple[str, ...]:
    """Return the names of the modules that a PE image imports, in lower case.

    An image that cannot be read has none.
    """
    import pefile

    try:
        image = pefile.PE(data=data, fast_load=True)
        image.parse_data_directories(
            directories=[pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_IMPORT"]]
        )
    except pefile.PEFormatError:
        return ()
    entries = getattr(image, "DIRECTORY_ENTRY_IMPORT", ())
    return tuple(entry.dll.decode("latin-1").lower() for entry in entries if entry.dll)


def pe_version(data: bytes) -> tuple[int, ...]:
    """Return the file version of a PE image, four numbers; empty when it has none."""
    import pefile

    try:
        image = pefile.PE(data=data, fast_load=True)
        image.parse_data_directories(
            directories=[pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_RESOURCE"]]
        )
    except pefile.PEFormatError:
        return ()
    for fixed in getattr(image, "VS_FIXEDFILEINFO", ()):
        high, low = fixed.FileVersionMS, fixed.FileVersionLS
        return (high >> 16, high & 0xFFFF, low >> 16, low & 0xFFFF)
    return ()
