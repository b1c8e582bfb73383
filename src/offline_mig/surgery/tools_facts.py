"""What of a hypervisor's guest tools a guest has: gathered once, never changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from offline_mig.guest.filesystem import DirectoryEntry, GuestFilesystem, UnreadableFileError
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.stored_package import is_oem_inf
from offline_mig.windows import driver_database
from offline_mig.windows.guest_tools import GuestTools, Place, ToolsFolder
from offline_mig.windows.hive import HiveName, RegistryView
from offline_mig.windows.installed_products import InstalledProduct, find_products
from offline_mig.windows.known_folders import KnownFolder, KnownFolders, read_known_folders

_DATABASE = driver_database.KEY
_REPOSITORY = "System32/DriverStore/FileRepository"
_CATALOGUES = "System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}"
_SHELL_FOLDERS = r"Microsoft\Windows\CurrentVersion\Explorer\Shell Folders"
_NT6 = (6, 0)
#: Classes whose devices stay, and their drivers (Microsoft, "System-defined device setup classes"):
#: Net, SCSIAdapter and hdc.
STAYING_CLASSES = ("{4d36e972-", "{4d36e97b-", "{4d36e96a-")
#: Drivers of Windows for PS/2 and USB mice (msmouse.inf), which VMware's mouse INFs ask for.
_DRIVERS_OF_MICE = frozenset({"i8042prt", "mouhid"})
#: The value of Shell Folders that names a place, and where it is by default on NT 6 and NT 5.
_SHARED_PLACES = {
    Place.APPLICATION_DATA: (
        "Common AppData",
        "/ProgramData",
        "/Documents and Settings/All Users/Application Data",
    ),
    Place.START_MENU: (
        "Common Programs",
        "/ProgramData/Microsoft/Windows/Start Menu/Programs",
        "/Documents and Settings/All Users/Start Menu/Programs",
    ),
}
_PROGRAM_PLACES = {
    Place.PROGRAM_FILES: (KnownFolder.PROGRAM_FILES, KnownFolder.PROGRAM_FILES_X86),
    Place.COMMON_FILES: (KnownFolder.COMMON_FILES, KnownFolder.COMMON_FILES_X86),
}


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """A file, or a directory with ``count`` files in it, of ``size`` bytes together."""

    path: str
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class ToolsPackage:
    """A package of theirs in the driver store; ``files`` are those of it in all places."""

    hive: HiveName
    label: str
    oem_inf: str
    inf_name: str
    files: tuple[FoundFiles, ...]


@dataclass(frozen=True)
class FoundTools:
    """Guest tools in a guest.

    ``services`` are the names of their services in any bootable control set, with their file
    names; ``missing`` are those, in lower case, that no control set has. ``infs`` are those by
    which a Windows without a DriverDatabase installed their drivers (``oem5.inf``). ``places`` are
    where their folders would be, ``folders`` those that are there with all that is in them.
    ``files`` are single files in the Windows directory, ``driver_files`` kernel drivers by their
    name in lower case.
    """

    tools: GuestTools
    folders_of_windows: KnownFolders
    services: Mapping[str, str]
    missing: frozenset[str]
    products: tuple[InstalledProduct, ...] = ()
    packages: tuple[ToolsPackage, ...] = ()
    infs: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    folders: tuple[FoundFiles, ...] = ()
    files: tuple[FoundFiles, ...] = ()
    driver_files: Mapping[str, FoundFiles] = field(default_factory=dict)


def find_tools(volume: GuestFilesystem, facts: GuestFacts, tools: GuestTools) -> FoundTools | None:
    """Return what a guest has of ``tools``, None when that is nothing."""
    known = read_known_folders(facts.software, facts.root, facts.version.architecture)
    services = dict(_services(facts, known, tools))
    missing = frozenset(tools.services.keys() - _all_services(facts))
    if not tools.thoroughly:
        return FoundTools(tools, known, services, missing) if services else None
    products = find_products(facts.software, tools.products)
    folders = tuple(_folders(volume, facts, known, tools.folders))
    listing = _Listing(volume)
    # A driver package alone does nothing; images made for several machines hold many of them.
    if not (services or products or any(folder.count for folder in folders)):
        return None
    infs = _infs(facts, tools)
    system = [f"{facts.root}/System32", f"{facts.root}/SysWOW64"]
    drivers = listing.matching(facts.drivers_directory, tools.is_driver_file)
    return FoundTools(
        tools=tools,
        folders_of_windows=known,
        services=services,
        missing=missing,
        products=products,
        packages=tuple(_packages(listing, facts, tools)),
        infs=infs,
        places=tuple(_own_places(volume, facts, known, tools.folders)),
        folders=folders,
        files=(
            *_old_infs(listing, facts, infs),
            *(file for place in system for file in listing.files(place, tools.system_files)),
            *_installers(listing, facts, products),
        ),
        driver_files={file.path.rpartition("/")[2].lower(): file for file in drivers},
    )


class _Listing:
    """Directories of a volume, each listed once."""

    def __init__(self, volume: GuestFilesystem) -> None:
        self._volume = volume
        self._entries: dict[str, dict[str, DirectoryEntry]] = {}

    def files(self, directory: str, names: Iterable[str]) -> tuple[FoundFiles, ...]:
        """Return those of ``names``, in lower case, that are in a directory."""
        entries = self._in(directory)
        return tuple(
            self._found(directory, entries[name]) for name in sorted(names) if name in entries
        )

    def matching(self, directory: str, is_wanted: Callable[[str], bool]) -> tuple[FoundFiles, ...]:
        """Return those in a directory whose name, in lower case, is wanted."""
        names = [name for name in self._in(directory) if is_wanted(name)]
        return self.files(directory, names)

    def _found(self, directory: str, entry: DirectoryEntry) -> FoundFiles:
        path = f"{directory}/{entry.name}"
        return tree(self._volume, path) if entry.is_directory else FoundFiles(path, 1, entry.size)

    def _in(self, directory: str) -> dict[str, DirectoryEntry]:
        if directory not in self._entries:
            there = self._volume.exists(directory)
            listed = self._volume.list_directory(directory) if there else ()
            self._entries[directory] = {entry.name.lower(): entry for entry in listed}
        return self._entries[directory]


def tree(volume: GuestFilesystem, path: str) -> FoundFiles:
    """Return a directory with what is in it."""
    files = [entry for entry in volume.walk(path) if not entry.is_directory]
    return FoundFiles(path, len(files), sum(entry.size for entry in files))


def image_name(known: KnownFolders, image_path: str) -> str:
    r"""Return the name of the file that an ImagePath names: ``vmci.sys``, in lower case."""
    text = known.expand(image_path).strip()
    if text.startswith('"'):
        text = text[1:].partition('"')[0]
    else:
        lower = text.lower()
        ends = [lower.find(end) + 4 for end in (".exe", ".sys") if end in lower]
        text = text[: min(ends)] if ends else text
    return text.replace("/", "\\").rpartition("\\")[2].lower()


def _services(
    facts: GuestFacts, known: KnownFolders, tools: GuestTools
) -> Iterator[tuple[str, str]]:
    own = [rf"\{folder.parent}\{name}".lower() + "\\" for folder in tools.folders
           for name in folder.folders]  # fmt: skip
    for control_set in facts.control_sets.bootable:
        root = rf"{control_set}\Services"
        for name in facts.system.subkeys(root):
            if name.lower() in tools.kept_services:
                continue
            value = facts.system.value(rf"{root}\{name}", "ImagePath")
            path = (value.as_text() if value else None) or ""
            # A driver without an ImagePath is the file of its name.
            image = image_name(known, path) if path else f"{name.lower()}.sys"
            if tools.runs(name, image) or any(folder in path.lower() for folder in own):
                yield name, image


def _all_services(facts: GuestFacts) -> set[str]:
    return {
        name.lower()
        for control_set in facts.control_sets.bootable
        for name in facts.system.subkeys(rf"{control_set}\Services")
    }


def _folders(
    volume: GuestFilesystem,
    facts: GuestFacts,
    known: KnownFolders,
    folders: Iterable[ToolsFolder],
) -> Iterator[FoundFiles]:
    for folder in folders:
        for place in dict.fromkeys(_places(facts, known, folder.place)):
            parent = f"{place}/{folder.parent}"
            try:
                if not volume.exists(parent):
                    continue
                entries = volume.list_directory(parent)
            except UnreadableFileError:
                continue  # A link: what is behind it is found where it is.
            own = [entry for entry in entries if entry.name.lower() in folder.folders]
            if len(own) == len(entries):
                yield tree(volume, parent)
                continue
            for entry in own:
                if entry.is_directory:
                    yield tree(volume, f"{parent}/{entry.name}")


def _own_places(
    volume: GuestFilesystem,
    facts: GuestFacts,
    known: KnownFolders,
    folders: Iterable[ToolsFolder],
) -> Iterator[str]:
    """Yield where their folders are or have been: a parent that is gone was theirs as well."""
    for folder in folders:
        for place in dict.fromkeys(_places(facts, known, folder.place)):
            parent = f"{place}/{folder.parent}"
            yield from (f"{parent}/{name}" for name in sorted(folder.folders))
            if volume.exists(place) and not volume.exists(parent):
                yield parent


def _places(facts: GuestFacts, known: KnownFolders, place: Place) -> Iterator[str]:
    for folder in _PROGRAM_PLACES.get(place, ()):
        path = known.on_volume(known.paths[folder])
        if path is not None:
            yield path
    if place in _SHARED_PLACES:
        name, nt6, nt5 = _SHARED_PLACES[place]
        value = facts.software.value(_SHELL_FOLDERS, name)
        named = known.on_volume((value.as_text() if value else None) or "")
        yield named or (nt6 if facts.version.nt >= _NT6 else nt5)


def _packages(listing: _Listing, facts: GuestFacts, tools: GuestTools) -> Iterator[ToolsPackage]:
    if not facts.has_driver_database:
        return
    for hive, view in ((HiveName.SYSTEM, facts.system), (HiveName.DRIVERS, facts.drivers)):
        if view is None:
            continue
        root = rf"{_DATABASE}\DriverPackages"
        for label in view.subkeys(root):
            values = {name.lower(): v for name, v in view.values(rf"{root}\{label}").items()}
            texts = {
                name: (values[name].as_text() or "").lower() if name in values else ""
                for name in ("", "infname")
            }
            inf = texts["infname"] or label.lower().partition(".inf")[0] + ".inf"
            # Part of Windows, what a disk may hang on, or another product's: the vendor alone
            # says nothing, since VMware Horizon and Workstation have packages in guests, too.
            if not is_oem_inf(texts[""]) or inf not in tools.infs:
                continue
            number = texts[""].removesuffix(".inf")
            files = (
                *listing.files(f"{facts.root}/{_REPOSITORY}", [label.lower()]),
                *listing.files(f"{facts.root}/INF", [f"{number}.inf", f"{number}.pnf"]),
                *listing.files(f"{facts.root}/{_CATALOGUES}", [f"{number}.cat"]),
            )
            yield ToolsPackage(hive, label, texts[""], inf, files)


def _old_infs(listing: _Listing, facts: GuestFacts, infs: Iterable[str]) -> Iterator[FoundFiles]:
    """Yield INFs of an NT 5, with what it made of them.

    It would take them for a mouse that it meets anew, and ask for their files.
    """
    for name in infs if facts.version.nt < _NT6 else ():
        number = name.removesuffix(".inf")
        yield from listing.files(f"{facts.root}/inf", [name, f"{number}.pnf"])
        yield from listing.files(f"{facts.root}/{_CATALOGUES}", [f"{number}.cat"])


def _infs(facts: GuestFacts, tools: GuestTools) -> tuple[str, ...]:
    """Return the INFs by which their drivers were installed, of classes whose devices go.

    Windows does not note down by which name their maker had them. One by which a device runs on
    another driver is of another product of the vendor, such as the sound of VMware Horizon.
    """
    if facts.has_driver_database:
        return ()
    names = set()
    foreign = set()
    for control_set in facts.control_sets.bootable:
        root = rf"{control_set}\Control\Class"
        others = set(_drivers_of_others(facts.system, control_set, tools))
        for guid in facts.system.subkeys(root):
            if guid.lower().startswith(STAYING_CLASSES):
                continue
            for number in facts.system.subkeys(rf"{root}\{guid}"):
                values = facts.system.values(rf"{root}\{guid}\{number}").items()
                texts = {name.lower(): (value.as_text() or "").lower() for name, value in values}
                if texts.get("providername") in tools.providers:
                    names.add(texts.get("infpath", ""))
                    if rf"{guid}\{number}".lower() in others:
                        foreign.add(texts.get("infpath", ""))
    return tuple(sorted(filter(is_oem_inf, names - foreign)))


def _drivers_of_others(system: RegistryView, control_set: str, tools: GuestTools) -> Iterator[str]:
    r"""Yield the keys below Control\Class, in lower case, of devices that are driven by others.

    The mice of the tools run on drivers of Windows; hardware of the hypervisor may need none.
    """
    for instance, key in device_keys(system, control_set):
        values = {name.lower(): value.as_text() or "" for name, value in system.values(key).items()}
        service = values.get("service", "").lower()
        own = service in tools.services or service in _DRIVERS_OF_MICE
        if not own and (service or not tools.is_hardware(instance)):
            yield values.get("driver", "").lower()


def device_keys(system: RegistryView, control_set: str) -> Iterator[tuple[str, str]]:
    """Yield the device instances of a control set, each with its key in the hive SYSTEM."""
    root = rf"{control_set}\Enum"
    for bus in system.subkeys(root):
        for device in system.subkeys(rf"{root}\{bus}"):
            for instance in system.subkeys(rf"{root}\{bus}\{device}"):
                yield rf"{bus}\{device}\{instance}", rf"{root}\{bus}\{device}\{instance}"


def _installers(
    listing: _Listing, facts: GuestFacts, products: Iterable[InstalledProduct]
) -> Iterator[FoundFiles]:
    """Yield the copies of their installers that Windows keeps, and the icons beside them."""
    for product in products:
        names = {product.installer.rpartition("\\")[2].lower(), product.icons.lower()} - {""}
        yield from listing.files(f"{facts.root}/Installer", names)
