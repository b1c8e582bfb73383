"""Reading the drivers on the way to the system disk out of a guest."""

from __future__ import annotations

from collections.abc import Iterator

from offline_mig.diagnosis.boot_bus import BootController
from offline_mig.diagnosis.boot_facts import BootFacts, DriverFile
from offline_mig.diagnosis.boot_service import image_of
from offline_mig.diagnosis.disk_path import BUS_TYPES, services_on_the_path
from offline_mig.drivers.signing import judge_driver, secure_boot_problem, signing_problem
from offline_mig.errors import GuestRefusedError, ToolFailedError
from offline_mig.guest.filesystem import GuestFilesystem
from offline_mig.surgery.facts import GuestFacts
from offline_mig.windows.pe import pe_architecture, pe_imports, pe_version

#: Where the catalogues of third-party drivers lie (the system catalogue database).
_CATALOGUES = "System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}"
#: Catalogues that are looked through at most, and bytes of one: the in-box ones have some MiB.
_MOST_CATALOGUES = 2000
_LARGEST_CATALOGUE = 1024 * 1024


def with_drivers(
    guest: GuestFacts,
    controller: BootController,
    volume: GuestFilesystem,
    *,
    trusted: bool,
    test_signing: bool = False,
    secure_boot: bool = False,
) -> BootFacts:
    """Return the facts of the boot from ``controller``, with every driver on the way read.

    ``trusted`` says that this guest takes unsigned drivers, ``test_signing`` that it takes whatever
    signature there is, ``secure_boot`` that its firmware insists on Microsoft's.
    """
    facts = BootFacts(guest)
    files: dict[str, DriverFile] = {}
    for control_set, service in services_on_the_path(facts, controller):
        path = image_of(facts, control_set, service)
        if path.lower() in files or not _is_below_windows(path):
            continue
        judged = service.lower() in BUS_TYPES and not trusted
        file = _read(
            guest,
            volume,
            path,
            judged=judged,
            test_signing=test_signing,
            secure_boot=secure_boot,
        )
        if file is None:
            continue
        files[path.lower()] = file
        for module in file.imports:
            for folder in ("system32/drivers", "system32"):
                if volume.exists(f"{guest.root}/{folder}/{module}"):
                    found = DriverFile(f"{guest.root}/{folder}/{module}")
                    files.setdefault(f"{folder}/{module}", found)
    return BootFacts(guest, files)


def _is_below_windows(path: str) -> bool:
    return ":" not in path and not path.startswith(("/", "%")) and ".." not in path.split("/")


def _read(
    guest: GuestFacts,
    volume: GuestFilesystem,
    path: str,
    *,
    judged: bool,
    test_signing: bool,
    secure_boot: bool,
) -> DriverFile | None:
    where = f"{guest.root}/{path}"
    try:
        if not volume.exists(where):
            return None
        image = volume.read(where)
    except (GuestRefusedError, ToolFailedError) as error:
        return DriverFile(where, problem=error.message)
    except FileNotFoundError:  # A directory of that name.
        return DriverFile(where, problem="it is no file")
    distrust = ""
    if judged:
        signing = judge_driver(path.rpartition("/")[2].lower(), image, _catalogues(guest, volume))
        distrust = signing_problem(signing, guest.version, test_signing=test_signing) or ""
        if secure_boot and not distrust:
            distrust = secure_boot_problem(signing, guest.version) or ""
    return DriverFile(
        where,
        architecture=pe_architecture(image),
        imports=pe_imports(image),
        version=pe_version(image),
        distrust=distrust,
    )


def _catalogues(guest: GuestFacts, volume: GuestFilesystem) -> Iterator[bytes]:
    """Yield the catalogues of third-party drivers, where they are as small as those are."""
    folder = f"{guest.root}/{_CATALOGUES}"
    if not volume.exists(folder):
        return
    names = [
        entry.name
        for entry in volume.list_directory(folder)
        if entry.name.lower().endswith(".cat") and entry.size <= _LARGEST_CATALOGUE
    ]
    # oemN.cat first: what came with a driver is found there.
    for name in sorted(names, key=lambda name: not name.lower().startswith("oem"))[
        :_MOST_CATALOGUES
    ]:
        try:
            yield volume.read(f"{folder}/{name}", limit=_LARGEST_CATALOGUE)
        except (GuestRefusedError, ToolFailedError, FileNotFoundError):
            continue
