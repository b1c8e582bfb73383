"""What the headers of drivers and programs (PE images) say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
    return _file_version(image)


@dataclass(frozen=True, slots=True)
class PeImage:
    """What the headers of a PE image say of where it runs.

    ``subsystem_version`` is what the loader of Windows holds against its own version,
    ``system_version`` only what the linker says besides. ``imports`` are the functions by module
    in lower case; those imported by number are left out. ``file_version`` has the four numbers of
    the version resource, none without one.
    """

    architecture: Architecture | None
    subsystem_version: tuple[int, int]
    system_version: tuple[int, int]
    imports: Mapping[str, tuple[str, ...]]
    file_version: tuple[int, ...]


def read_pe(data: bytes) -> PeImage | None:
    """Return what a PE image says of itself, None when it is none or cannot be read."""
    import pefile

    wanted = ("IMAGE_DIRECTORY_ENTRY_IMPORT", "IMAGE_DIRECTORY_ENTRY_RESOURCE")
    try:
        image = pefile.PE(data=data, fast_load=True)
        image.parse_data_directories(directories=[pefile.DIRECTORY_ENTRY[name] for name in wanted])
    except pefile.PEFormatError:
        return None
    header = image.OPTIONAL_HEADER
    imports: dict[str, tuple[str, ...]] = {}
    for entry in getattr(image, "DIRECTORY_ENTRY_IMPORT", ()):
        if entry.dll:
            module = entry.dll.decode("latin-1").lower()
            names = tuple(f.name.decode("latin-1") for f in entry.imports if f.name)
            imports[module] = (*imports.get(module, ()), *names)
    return PeImage(
        architecture=MACHINES.get(image.FILE_HEADER.Machine),
        subsystem_version=(header.MajorSubsystemVersion, header.MinorSubsystemVersion),
        system_version=(
            header.MajorOperatingSystemVersion,
            header.MinorOperatingSystemVersion,
        ),
        imports=imports,
        file_version=_file_version(image),
    )


def _file_version(image: Any) -> tuple[int, ...]:
    for fixed in getattr(image, "VS_FIXEDFILEINFO", ()):
        high, low = fixed.FileVersionMS, fixed.FileVersionLS
        return (high >> 16, high & 0xFFFF, low >> 16, low & 0xFFFF)
    return ()
