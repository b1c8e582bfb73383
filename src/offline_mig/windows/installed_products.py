r"""Programs that Windows Installer knows, and the records that it keeps of them.

A product code is written two ways: as a GUID below ``Uninstall``, and packed below ``Installer``
and ``Classes\Installer``: the first three groups backwards, and of the rest each two digits
swapped (Microsoft does not document it; the records of any product show it). What belongs to all
users lies below ``UserData\S-1-5-18``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from offline_mig.windows.hive import RegistryView

_CURRENT_VERSION = r"Microsoft\Windows\CurrentVersion"
#: Where programs are listed to be removed: those of the processor, and 32-bit ones beside them.
UNINSTALL = (
    rf"{_CURRENT_VERSION}\Uninstall",
    rf"WOW6432Node\{_CURRENT_VERSION}\Uninstall",
)
_MACHINE = rf"{_CURRENT_VERSION}\Installer\UserData\S-1-5-18"
_PRODUCTS = rf"{_MACHINE}\Products"
COMPONENTS = rf"{_MACHINE}\Components"
#: What a component that an installer never takes away again has beside its products.
PERMANENT = "0" * 32
#: Keys whose values are the products that can be upgraded to one another.
UPGRADE_CODES = (
    r"Classes\Installer\UpgradeCodes",
    rf"{_CURRENT_VERSION}\Installer\UpgradeCodes",
)
#: Values are folders that an installer made.
FOLDERS = rf"{_CURRENT_VERSION}\Installer\Folders"
#: Values are files that several programs use.
SHARED_FILES = (
    rf"{_CURRENT_VERSION}\SharedDLLs",
    rf"WOW6432Node\{_CURRENT_VERSION}\SharedDLLs",
)
_CODE = re.compile(r"\{[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}")
_PACKED = re.compile(r"[0-9A-Fa-f]{32}")
#: Lengths of the parts of a GUID that are written backwards: the rest goes by bytes.
_PARTS = (8, 4, 4, 2, 2, 2, 2, 2, 2, 2, 2)


@dataclass(frozen=True, slots=True)
class InstalledProduct:
    r"""A program: its ``name`` and version, and the keys in SOFTWARE that are its own.

    ``packed`` is its product code as Windows Installer writes it, "" for a program that another
    installer put there. ``installer`` is the copy of its installer (``C:\Windows\Installer\1.msi``)
    that Windows keeps, ``icons`` the name of its folder beside that, "" where there is none.
    """

    name: str
    version: str
    packed: str
    keys: tuple[str, ...]
    installer: str = ""
    icons: str = ""


def packed_code(code: str) -> str:
    """Return a product code as Windows Installer writes it; raises ValueError for what is none."""
    if not _CODE.fullmatch(code):
        raise ValueError(f"{code!r} is no product code")
    return _turned(code.strip("{}").replace("-", "")).upper()


def unpacked_code(packed: str) -> str:
    """Return a product code as a GUID; raises ValueError for what is no packed code."""
    if not _PACKED.fullmatch(packed):
        raise ValueError(f"{packed!r} is no packed product code")
    code = _turned(packed).upper()
    return f"{{{code[:8]}-{code[8:12]}-{code[12:16]}-{code[16:20]}-{code[20:]}}}"


def find_products(software: RegistryView, names: Collection[str]) -> tuple[InstalledProduct, ...]:
    """Return the programs of these names, whatever their letter case."""
    wanted = {name.casefold() for name in names}
    found = dict(_installed(software, wanted))
    for root in UNINSTALL:
        for key in software.subkeys(root):
            path = rf"{root}\{key}"
            if _text(software, path, "DisplayName").casefold() not in wanted:
                continue
            if _CODE.fullmatch(key):
                # Listed, though Windows Installer has lost it.
                packed = packed_code(key)
                found.setdefault(packed, _product(software, packed, path))
            else:
                found[path] = InstalledProduct(
                    _text(software, path, "DisplayName"),
                    _text(software, path, "DisplayVersion"),
                    "",
                    (path,),
                )
    return tuple(found.values())


def _installed(
    software: RegistryView, wanted: Collection[str]
) -> Iterator[tuple[str, InstalledProduct]]:
    for packed in software.subkeys(_PRODUCTS):
        properties = rf"{_PRODUCTS}\{packed}\InstallProperties"
        name = _text(software, properties, "DisplayName")
        if name.casefold() in wanted and _PACKED.fullmatch(packed):
            yield packed.upper(), _product(software, packed.upper(), properties)


def _product(software: RegistryView, packed: str, described: str) -> InstalledProduct:
    code = unpacked_code(packed)
    keys = [rf"{root}\{code}" for root in UNINSTALL]
    keys += [
        rf"{_PRODUCTS}\{packed}",
        rf"Classes\Installer\Products\{packed}",
        rf"Classes\Installer\Features\{packed}",
    ]
    return InstalledProduct(
        name=_text(software, described, "DisplayName"),
        version=_text(software, described, "DisplayVersion"),
        packed=packed,
        keys=tuple(key for key in keys if software.has_key(key)),
        installer=_text(software, rf"{_PRODUCTS}\{packed}\InstallProperties", "LocalPackage"),
        icons=code,
    )


def _turned(digits: str) -> str:
    parts = []
    at = 0
    for length in _PARTS:
        parts.append(digits[at : at + length][::-1])
        at += length
    return "".join(parts)


def _text(software: RegistryView, key: str, name: str) -> str:
    value = software.value(key, name)
    return (value.as_text() if value else None) or ""
