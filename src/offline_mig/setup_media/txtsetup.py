r"""txtsetup.oem: how the text mode of Windows' set-up learns of disk drivers on a floppy.

Windows 2000, XP and Server 2003 start from a CD in a text mode that knows the disk controllers of
its time. After F6 it reads this file in the root of a floppy, offers what it lists, loads the
driver that the user chose, and copies it into the new Windows. The form is Microsoft's,
"TxtSetup.oem File Format" (Windows Driver Kit) with its pages about each section.

Only drivers of disk controllers are listed: text mode has no other component that an INF could
describe. What is said of them is said by the INF: which devices they drive, which files they have,
and the values below their service.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from offline_mig.drivers.copyfiles import CopyFile
from offline_mig.drivers.directories import DirId
from offline_mig.drivers.install import ServiceInstall
from offline_mig.drivers.package import DriverPackage
from offline_mig.errors import OutputRefusedError
from offline_mig.windows.registry import RegistryType, RegistryValue
from offline_mig.windows.version import Architecture, WindowsVersion

#: Where set-up looks for it.
FILE_NAME = "txtsetup.oem"
#: By this file set-up knows that the right disk is in the drive; virtio-win's floppies had it too.
TAG_FILE = "disk1"
#: Windows Vista and later are set up by Windows PE, which takes INF files as they are.
_FIRST_WINDOWS_PE = (6, 0)
#: The classes SCSIAdapter and hdc (devguid.h): controllers that a disk may hang on.
_DISK_CLASSES = frozenset(
    {"{4d36e97b-e325-11ce-bfc1-08002be10318}", "{4d36e96a-e325-11ce-bfc1-08002be10318}"}
)
#: "Files.HwComponent.ID Section": names have eight letters and three at most.
_SHORT_NAME = re.compile(r"[^ .]{1,8}(?:\.[^ .]{1,3})?")
#: What needs no quotes: strings with blanks, commas or hashes do ("TxtSetup.oem File Format").
_BARE = re.compile(r"[A-Za-z0-9_.\\%&-]+")
#: Letters of a line in the menu of an 80-column screen, its frame apart.
_MENU_WIDTH = 70
_NAMES = {"2k": "Windows 2000", "xp": "Windows XP", "2k3": "Windows Server 2003"}


@dataclass(frozen=True, slots=True)
class TextModeDriver:
    """A disk driver in the menu of text mode; ``directory`` is where on the floppy it lies."""

    package: DriverPackage
    windows: WindowsVersion
    directory: str

    @property
    def service(self) -> ServiceInstall:
        """The service of its devices; there is one where ``is_disk_driver`` says so."""
        return next(it for it in self.package.services if it.is_function_driver)

    @property
    def identity(self) -> str:
        """What the file calls it."""
        text = f"{self.service.name}_{self.windows.release}_{self.windows.architecture}"
        return re.sub("[^A-Za-z0-9_]", "_", text)

    @property
    def description(self) -> str:
        """Its line in the menu."""
        name = _windows_name(self.windows)
        device = self.package.models[0].description[: _MENU_WIDTH - len(name) - 3]
        return f"{device} ({name})"


def has_text_mode(windows: WindowsVersion) -> bool:
    """Tell whether the set-up of a Windows has a text mode that asks for F6."""
    return windows.nt < _FIRST_WINDOWS_PE


def is_disk_driver(package: DriverPackage) -> bool:
    """Tell whether a package drives a controller of disks, by its class and its service."""
    return package.class_guid.lower() in _DISK_CLASSES and any(
        service.is_function_driver for service in package.services
    )


def text_mode_problem(package: DriverPackage) -> str | None:
    """Return why text mode cannot take a disk driver, as the end of a sentence; None if it can."""
    names = [package.inf_name, package.catalog_name]
    names += [file.source for file in _files_of(package)]
    for name in names:
        if name and not _SHORT_NAME.fullmatch(name):
            return f"text mode takes no name that is longer than 8.3, such as {name}"
    for file in _files_of(package):
        if file.source_directory:
            return f"text mode looks for {file.source} beside its INF, where it is not"
        if file.target.lower() != file.source.lower():
            return f"text mode cannot copy {file.source} under another name"
    return None


def txtsetup_oem(drivers: Sequence[TextModeDriver]) -> bytes:
    """Return the file for disk drivers, the first of which is offered first.

    Raises OutputRefusedError when two of them want different values for one service: the file
    has one place for both.
    """
    disks = list(dict.fromkeys((driver.windows, driver.directory) for driver in drivers))
    numbers = {directory: f"d{number}" for number, (_, directory) in enumerate(disks, 1)}
    lines = [
        "[Disks]",
        *(_disk_line(number, disk) for number, disk in enumerate(disks, 1)),
        "",
        "[Defaults]",
        f"scsi = {drivers[0].identity}",
        "",
        "[scsi]",
        *(f"{driver.identity} = {_quoted(driver.description)}" for driver in drivers),
    ]
    for driver in drivers:
        lines += ["", f"[Files.scsi.{driver.identity}]"]
        lines += _file_lines(driver, numbers[driver.directory])
        lines += ["", f"[HardwareIds.scsi.{driver.identity}]"]
        lines += _hardware_lines(driver)
    for service, values in _values(drivers).items():
        lines += ["", f"[Config.{service}]", *(f"value = {value}" for value in values)]
    # A file of MS-DOS: its lines end so, and its letters are those that all code pages share.
    return "".join(f"{line}\r\n" for line in lines).encode("ascii", "replace")


def _disk_line(number: int, disk: tuple[WindowsVersion, str]) -> str:
    windows, directory = disk
    name = _quoted(f"Drivers for {_windows_name(windows)}")
    place = directory.replace("/", "\\")
    return f"d{number} = {name}, \\{TAG_FILE}, \\{place}"


def _windows_name(windows: WindowsVersion) -> str:
    bits = "32-bit" if windows.architecture is Architecture.X86 else "64-bit"
    return f"{_NAMES.get(windows.release, windows.release)}, {bits}"


def _files_of(package: DriverPackage) -> list[CopyFile]:
    """Return what has to be there before the INF is installed: co-installers come with it."""
    wanted = (DirId.DRIVERS, DirId.SYSTEM32)
    files = (file for install in package.installs for file in install.copy_files)
    return list(dict.fromkeys(file for file in files if file.directory in wanted))


def _file_lines(driver: TextModeDriver, disk: str) -> list[str]:
    package = driver.package
    keys = {service.binary.name.lower(): service.name for service in package.services}
    lines = []
    for file in _files_of(package):
        key = keys.get(file.target.lower())
        kind = "driver" if file.directory == DirId.DRIVERS else "dll"
        lines.append(f"{kind} = {disk}, {file.source}" + (f", {key}" if key else ""))
    lines.append(f"inf = {disk}, {package.inf_name}")
    if package.catalogue_present:
        lines.append(f"catalog = {disk}, {package.catalog_name}")
    return lines


def _hardware_lines(driver: TextModeDriver) -> list[str]:
    """Return the devices with their services: "by the file name without a .sys extension"."""
    lines: dict[str, None] = {}
    for model in driver.package.models:
        service = driver.package.install_for(model).function_driver
        if service is None:
            continue
        name = re.sub(r"\.sys$", "", service.binary.name, flags=re.IGNORECASE)
        for identity in (model.hardware_id, *model.compatible_ids):
            if identity:
                lines[f"id = {_quoted(identity)}, {_quoted(name)}"] = None
    return list(lines)


def _values(drivers: Iterable[TextModeDriver]) -> dict[str, list[str]]:
    r"""Return the values of each service's key as the file has them.

    virtio-win's own floppies had such sections named after the entry of the menu; by Microsoft's
    page and its example it is the key of the service.
    """
    found: dict[str, dict[tuple[str, str], str]] = {}
    for driver in drivers:
        for service in driver.package.services:
            values = found.setdefault(service.name, {})
            for line in service.registry:
                if line.root != "HKR" or line.name is None or line.value is None:
                    continue
                written = _value(line.value)
                if written is None:
                    continue  # Plug and play writes it when it goes by the INF.
                text = f"{_token(line.subkey)},{_token(line.name)},{written}"
                place = (line.subkey.lower(), line.name.lower())
                if values.setdefault(place, text) != text:
                    raise OutputRefusedError(
                        f"The drivers for {service.name} want different values of {line.name}, "
                        f"and {FILE_NAME} has room for one.",
                        "Make a floppy for each Windows.",
                    )
    return {service: list(values.values()) for service, values in found.items() if values}


def _value(value: RegistryValue) -> str | None:
    number, text = value.as_int(), value.as_text()
    if value.type == RegistryType.DWORD and number is not None:
        return f"REG_DWORD,{number:x}"
    if text is not None:
        kind = "REG_SZ" if value.type == RegistryType.SZ else "REG_EXPAND_SZ"
        return f"{kind},{_quoted(text)}"
    if value.type == RegistryType.MULTI_SZ:
        return ",".join(("REG_MULTI_SZ", *map(_quoted, value.as_texts())))
    if value.type == RegistryType.BINARY and value.data:
        return f"REG_BINARY,{value.data.hex()}"
    return None


def _token(text: str) -> str:
    return text if _BARE.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    # There is no way to write a quote within quotes.
    return '"' + text.replace('"', "'") + '"'
