r"""Whether the boot loader loads a service's driver.

The rules for NT 5 are those that an NT 5 like kernel was seen to follow, and where it is known to
differ from Windows, the comment says so. The rules for later ones rest on Microsoft's
documentation ("HKLM\SYSTEM\CurrentControlSet\Services Registry Tree") and on what people met.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from offline_mig.diagnosis import catalogue as kinds
from offline_mig.diagnosis.boot_facts import BootFacts, terminated, value_evidence
from offline_mig.diagnosis.finding import Confidence, Finding

#: SERVICE_BOOT_START of winnt.h.
_BOOT_START = 0
#: SERVICE_KERNEL_DRIVER and SERVICE_FILE_SYSTEM_DRIVER of winnt.h: what the loader loads.
_DRIVER_TYPES = (1, 2)
#: Modules that the loader has loaded before any driver.
_ALWAYS_LOADED = frozenset({"ntoskrnl.exe", "hal.dll", "kdcom.dll", "bootvid.dll", "ci.dll"})
#: Services without which no disk is reached, from the boot-start services of installed Windows
#: XP, 7 and 10. ACPI is not among them: a Windows on a "Standard PC" HAL has none.
_CORE = ("pci", "partmgr", "mountmgr")
_SYSTEM_ROOT = re.compile(r"\\systemroot\\", re.IGNORECASE)


def image_of(facts: BootFacts, control_set: str, service: str) -> str:
    r"""Return the path of a service's image below the Windows directory, with slashes.

    Without ImagePath it is ``system32\drivers\NAME.sys``. What is not below the Windows directory
    comes as it is written.
    """
    path = facts.text(service_key(control_set, service), "ImagePath")
    path = _SYSTEM_ROOT.sub("", path, count=1) if _SYSTEM_ROOT.match(path) else path
    return (path or rf"system32\drivers\{service}.sys").replace("\\", "/")


def core_services(facts: BootFacts) -> tuple[str, ...]:
    """Return the services without which this Windows reaches no disk."""
    return (*_CORE, "ftdisk" if facts.nt5 else "volmgr")


def service_key(control_set: str, service: str) -> str:
    """Return the key of a service."""
    return rf"{control_set}\Services\{service}"


def service_findings(
    facts: BootFacts, control_set: str, service: str, purpose: str
) -> Iterator[Finding]:
    """Yield why the loader does not load ``service``, which is wanted for ``purpose``."""
    key = service_key(control_set, service)
    system = facts.system
    if not system.has_key(key):
        yield Finding(
            kinds.NO_SERVICE,
            f"There is no service {service}, {purpose}.",
            (rf"SYSTEM\{key}: no such key",),
            service=service,
            key=key,
        )
        return
    yield from _start_findings(facts, key, service, purpose)
    yield from _image_findings(facts, control_set, service, purpose)


def _start_findings(facts: BootFacts, key: str, service: str, purpose: str) -> Iterator[Finding]:
    system = facts.system
    start = system.value(key, "Start")
    # A REG_SZ "0" does not count: only numbers do.
    if start is None or start.as_int() != _BOOT_START:
        yield Finding(
            kinds.NOT_BOOT_START,
            f"The service {service}, {purpose}, is not loaded at boot.",
            (value_evidence(key, "Start", start),),
            service=service,
            key=key,
        )
    override = system.value(rf"{key}\StartOverride", "0")
    # NT 5 does not know the key and was seen to boot with it.
    if not facts.nt5 and override is not None and override.as_int() not in (None, _BOOT_START):
        yield Finding(
            kinds.START_OVERRIDE,
            f"Windows itself has put {service}, {purpose}, off until its device appears, which it "
            "does too late.",
            (value_evidence(rf"{key}\StartOverride", "0", override),),
            service=service,
            key=rf"{key}\StartOverride",
        )
    kind = system.value(key, "Type")
    if kind is None or kind.as_int() not in _DRIVER_TYPES:
        yield Finding(
            kinds.SERVICE_TYPE,
            f"The service {service}, {purpose}, is not marked as a driver.",
            (value_evidence(key, "Type", kind),),
            service=service,
            key=key,
        )


def _image_findings(
    facts: BootFacts, control_set: str, service: str, purpose: str
) -> Iterator[Finding]:
    key = service_key(control_set, service)
    value = facts.system.value(key, "ImagePath")
    if value is not None and not _loadable_path(facts, value.as_text() or ""):
        yield Finding(
            kinds.IMAGE_PATH,
            f"The boot loader cannot follow the path of {service}, {purpose}.",
            (value_evidence(key, "ImagePath", value),),
            # Seen with an NT 5 like loader, which takes every path as relative to the Windows
            # directory; that winload and ntldr do so for drive letters is sure.
            Confidence.MEDIUM,
            service=service,
            key=key,
        )
        return
    if value is not None and facts.nt5 and not terminated(value):
        yield Finding(
            kinds.UNTERMINATED,
            f"The path of {service} lacks its terminator, and the loader reads on behind it.",
            (value_evidence(key, "ImagePath", value),),
            service=service,
            key=key,
            name="ImagePath",
        )
        return
    yield from file_findings(facts, image_of(facts, control_set, service), service, purpose)


def _loadable_path(facts: BootFacts, path: str) -> bool:
    if not path or re.match(r"system32\\", path, re.IGNORECASE):
        return True
    # winload knows \SystemRoot\, as Windows 10 itself writes it for drivers in the driver store.
    if _SYSTEM_ROOT.match(path):
        return not facts.nt5
    return not path.startswith(("\\", "%")) and ":" not in path


def file_findings(facts: BootFacts, path: str, service: str, purpose: str) -> Iterator[Finding]:
    """Yield why the image at ``path`` below the Windows directory cannot be loaded."""
    file = facts.file(path)
    if not file.found:
        yield Finding(
            kinds.DRIVER_MISSING,
            f"The file of {service}, {purpose}, is missing: {file.path}.",
            (f"{file.path}: no such file",),
            service=service,
            name=path,
        )
        return
    if file.problem:
        yield Finding(
            kinds.DRIVER_UNREADABLE,
            f"The file of {service}, {purpose}, cannot be read: {file.problem}",
            (f"{file.path}: {file.problem}",),
            # The loader reads what CompactOS compressed, but not what lies behind other links.
            Confidence.LOW,
            service=service,
            name=path,
        )
        return
    wanted = facts.version.architecture
    if file.architecture != wanted:
        yield Finding(
            kinds.DRIVER_ARCHITECTURE,
            f"The file of {service}, {purpose}, is {_built_for(file.architecture)}, and this "
            f"Windows is for {wanted}.",
            (f"{file.path}: {_built_for(file.architecture)}",),
            service=service,
            name=path,
        )
        return
    if file.distrust:
        yield Finding(
            kinds.DRIVER_UNSIGNED,
            f"This Windows does not load {service}, {purpose}: {file.distrust}.",
            (f"{file.path}: {file.distrust}",),
            Confidence.MEDIUM,
            service=service,
            name=path,
        )
    for module in file.imports:
        if module in _ALWAYS_LOADED or module.endswith(".dll"):
            continue
        # Import names are looked up where drivers are, and then in system32.
        if any(facts.file(f"{folder}/{module}").found for folder in _MODULE_FOLDERS):
            continue
        yield Finding(
            kinds.DRIVER_IMPORTS,
            f"{service}, {purpose}, needs {module}, which is missing.",
            (f"{file.path}: imports {module}", f"{facts.file(module).path}: no such file"),
            service=service,
            name=f"{_MODULE_FOLDERS[0]}/{module}",
        )


_MODULE_FOLDERS = ("system32/drivers", "system32")


def _built_for(architecture: str | None) -> str:
    return f"built for {architecture}" if architecture else "no driver for any known processor"
