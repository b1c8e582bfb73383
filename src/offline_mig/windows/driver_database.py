r"""The DriverDatabase of Windows 8 and later: value layouts that Microsoft does not document.

Every layout here was read off the SYSTEM hive of an installed Windows 10 2004, whose
``DriverDatabase`` holds in-box and third-party packages side by side.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from collections.abc import Collection
from datetime import UTC, date, datetime

from offline_mig.windows.registry import RegistryValue
from offline_mig.windows.version import Architecture

KEY = "DriverDatabase"

#: PROCESSOR_ARCHITECTURE_* of winnt.h; the root value ``Architecture`` holds the same number.
_PROCESSOR_ARCHITECTURE = {Architecture.X86: 0, Architecture.AMD64: 9, Architecture.ARM64: 12}
#: StatusFlags of an imported third-party package.
STATUS_IMPORTED = 0x12
#: ... of one with a co-installer: so it is with viorng alone among virtio-win's as Windows
#: imported them, and with the two in-box packages whose configurations have CONFIG_FINISH.
STATUS_COINSTALLER = 0x8
#: ... and of one that includes another's INF: in the hive of an installed Windows 10 2004, the
#: packages with this bit are those whose configurations have IncludedInfs.
STATUS_INCLUDES = 0x100
#: ConfigFlags of a configuration that is not done before a co-installer has run: the number of
#: CONFIGFLAG_FINISH_INSTALL in regstr.h.
CONFIG_FINISH = 0x400
#: Bits of ConfigScope: which sections a configuration was made of. Read off the same hive, where
#: volsnap.inf alone has Interfaces, and off captures of virtio-win's packages.
SCOPE_OF_INSTALL = 0x1
SCOPE_OF_PART = {"hw": 0x2, "services": 0x4, "interfaces": 0x8, "wdf": 0x100}
#: SignerScore, the SIGNERSCORE_* of setupapi.h.
SIGNER_SCORE_WHQL = 0x0D000005
SIGNER_SCORE_UNCLASSIFIED = 0x0D000004
SIGNER_SCORE_AUTHENTICODE = 0x0F000000
SIGNER_SCORE_UNSIGNED = 0x80000000
#: FILETIME counts from 1601-01-01, in units of 100 ns.
_FILETIME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)


def package_name(inf_name: str, architecture: Architecture, content: bytes) -> str:
    """Return the name of a package in the driver store: ``viostor.inf_amd64_<16 hex digits>``.

    Windows derives the digits from the package in a way of its own; ours are the first of the
    SHA-256 of ``content``. The shape matters: pnputil and Windows Update refuse other names.
    """
    digits = hashlib.sha256(content).hexdigest()[:16]
    return f"{inf_name.lower()}_{architecture.lower()}_{digits}"


def version_value(
    architecture: Architecture, class_guid: str, driver_date: date, version: tuple[int, ...]
) -> RegistryValue:
    """Return the Version value of a package, 48 bytes.

    00 FF, the processor architecture, 5 zeros; the class GUID; the date as FILETIME; the version
    as four words, the lowest first; 8 zeros. Without it Windows 10 ignores the package.
    """
    major, minor, build, revision = (*version, 0, 0, 0, 0)[:4]
    midnight = datetime(driver_date.year, driver_date.month, driver_date.day, tzinfo=UTC)
    filetime = int((midnight - _FILETIME_EPOCH).total_seconds()) * 10_000_000
    return RegistryValue.binary(
        bytes((0x00, 0xFF, _PROCESSOR_ARCHITECTURE[architecture], 0, 0, 0, 0, 0))
        + uuid.UUID(class_guid).bytes_le
        + struct.pack("<QHHHH", filetime, revision, build, minor, major)
        + bytes(8)
    )


def match_value(feature_score: int, *, hardware_id: bool) -> RegistryValue:
    """Return the value of a device id under ``DeviceIds`` for a package that names it.

    01 for the hardware id and 02 for a compatible id, the package's FeatureScore, two zeros.
    """
    return RegistryValue.binary(bytes((1 if hardware_id else 2, feature_score, 0, 0)))


def oem_number_in_use(oem_inf_map: bytes, number: int) -> bool:
    """Tell whether the bitmap OemInfMap (highest bit first) marks ``oem<number>.inf`` as used."""
    index, bit = divmod(number, 8)
    return index < len(oem_inf_map) and bool(oem_inf_map[index] & (0x80 >> bit))


def with_oem_number(oem_inf_map: bytes, number: int) -> bytes:
    """Return the bitmap OemInfMap with ``oem<number>.inf`` marked as used."""
    index, bit = divmod(number, 8)
    grown = bytearray(oem_inf_map.ljust(index + 1, b"\0"))
    grown[index] |= 0x80 >> bit
    return bytes(grown)


def free_oem_number(oem_inf_map: bytes, taken: Collection[str]) -> int:
    """Return the lowest number whose ``oem<number>.inf`` is neither mapped nor among ``taken``.

    ``taken`` are lower-case file names.
    """
    number = 0
    while oem_number_in_use(oem_inf_map, number) or f"oem{number}.inf" in taken:
        number += 1
    return number


def driver_version(version: bytes) -> bytes:
    """Return what packages are ranked by, from a Version value: date, then version, to compare.

    Empty for a value that is too short to hold them.
    """
    if len(version) < 40:
        return b""
    return version[24:32][::-1] + version[32:40][::-1]
