"""Which Windows a pair of hives and a kernel belong to."""

from __future__ import annotations

import re
from dataclasses import replace

from offline_mig.errors import GuestRefusedError
from offline_mig.windows.digits import small_number
from offline_mig.windows.hive import RegistryView
from offline_mig.windows.version import Architecture, WindowsVersion

_CURRENT_VERSION = r"Microsoft\Windows NT\CurrentVersion"


def read_version(
    software: RegistryView,
    system: RegistryView,
    control_set: str,
    kernel_architecture: Architecture | None,
) -> WindowsVersion:
    """Return the Windows that the hives describe.

    ``kernel_architecture`` comes from the PE header of ntoskrnl.exe. Windows 10 and later keep
    "6.3" in CurrentVersion and their true number in CurrentMajorVersionNumber; where that is
    missing, the build tells. Raises GuestRefusedError for NT 4, for hives that name no version
    and for processors that are not supported.
    """
    texts = {
        name.casefold(): text
        for name, value in software.values(_CURRENT_VERSION).items()
        if (text := value.as_text()) is not None
    }
    build = small_number(texts.get("currentbuildnumber")) or small_number(texts.get("currentbuild"))
    major_value = software.value(_CURRENT_VERSION, "CurrentMajorVersionNumber")
    minor_value = software.value(_CURRENT_VERSION, "CurrentMinorVersionNumber")
    major = major_value.as_int() if major_value else None
    minor = minor_value.as_int() if minor_value else None
    if major is None:
        match = re.fullmatch(r"([0-9]{1,3})\.([0-9]{1,3})", texts.get("currentversion", ""))
        if match is None:
            raise GuestRefusedError(
                f"The hive SOFTWARE names no Windows version in {_CURRENT_VERSION}.",
                "The guest's registry is incomplete; restore the SOFTWARE hive from a backup.",
            )
        major, minor = int(match[1]), int(match[2])
    product = texts.get("productname", f"Windows NT {major}.{minor}")
    if (major, minor or 0) < (5, 0):
        raise GuestRefusedError(
            f"The guest is {product} (NT {major}.{minor or 0}); no VirtIO driver exists for it, "
            "and it knows neither plug and play nor these registry entries.",
            "Only Windows 2000 and later can be converted. Run it with IDE disks instead.",
        )
    if kernel_architecture not in (Architecture.X86, Architecture.AMD64):
        raise GuestRefusedError(
            f"The guest is {product} for {kernel_architecture or 'an unknown processor'}.",
            "Only x86 and amd64 guests are supported.",
        )
    product_type = system.value(rf"{control_set}\Control\ProductOptions", "ProductType")
    kind = product_type.as_text() if product_type else None
    if not kind:
        kind = "ServerNT" if "server" in product.casefold() else "WinNT"
    version = WindowsVersion(
        major=major,
        minor=minor or 0,
        build=build or 0,
        architecture=kernel_architecture,
        server=kind.casefold() != "winnt",
        service_pack=_service_pack(system, control_set, texts.get("csdversion", "")),
        product_name=product,
        edition=texts.get("editionid", ""),
    )
    if version.release == "w11" and product.startswith("Windows 10"):
        # Windows 11 still calls itself "Windows 10" in this value; people must not be misled.
        product = product.replace("Windows 10", "Windows 11", 1)
        version = replace(version, product_name=product)
    return version


def _service_pack(system: RegistryView, control_set: str, text: str) -> int:
    # Control\Windows\CSDVersion holds the service pack in its high byte (0x300 = 3).
    value = system.value(rf"{control_set}\Control\Windows", "CSDVersion")
    number = value.as_int() if value else None
    if number:
        return number >> 8 & 0xFF
    match = re.search(r"(?<![0-9])([0-9]{1,3})(?![0-9])", text)
    return int(match[1]) if match else 0
