"""What hypervisors put into their guests: by which names it is known again and taken out.

A name alone proves nothing: a service is taken for one of these only if what it runs is one of
their files, too. Only of Xen, Parallels and Nutanix the files are not known for every version;
their services go by the name, and are disabled at most. Microsoft's own drivers for virtual
machines (vmbus, vmgid, vmic..., vmstor...) have names like some of these, and none of them is in
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase


class Place(StrEnum):
    """Folders that tools have folders of their own in."""

    PROGRAM_FILES = "program files"
    COMMON_FILES = "common files"
    APPLICATION_DATA = "application data of all users"
    START_MENU = "start menu of all users"


@dataclass(frozen=True, slots=True)
class ToolsFolder:
    r"""Folders below ``parent`` (``VMware``), which goes with them if it holds nothing else.

    ``folders`` are theirs alone; other products of the vendor have others beside them.
    """

    place: Place
    parent: str
    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GuestTools:
    """The tools of one hypervisor. All names are in lower case.

    ``services`` maps a service to patterns of the files that it runs; kernel drivers among them
    lie in System32\\drivers. ``kept_services`` are never touched, nor are ``shared_services`` of
    another product, which is known by a service of its own. ``hardware`` are patterns of devices
    that the hypervisor alone has, as Windows names them below Enum. ``system_files`` are those in
    System32 and, for 32-bit programs, in SysWOW64.

    ``own_keys`` are keys in SOFTWARE that are theirs alone, by their parent, which goes with the
    last of them; ``registrations`` are further keys, and ``values`` values by their key, in
    SOFTWARE as well. ``event_sources`` are below Services\\EventLog.

    ``infs`` are the names of their driver packages. ``providers`` are their vendor, who may have
    packages of other products in the guest as well.

    Of what is not ``thoroughly`` known, filters are taken out of lists, services are disabled, and
    nothing is deleted.
    """

    name: str
    products: frozenset[str]
    services: Mapping[str, tuple[str, ...]]
    thoroughly: bool = True
    kept_services: frozenset[str] = frozenset()
    hardware: tuple[str, ...] = ()
    shared_services: Mapping[str, frozenset[str]] = field(default_factory=dict)
    system_files: frozenset[str] = frozenset()
    folders: tuple[ToolsFolder, ...] = ()
    own_keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    registrations: tuple[str, ...] = ()
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)
    event_sources: frozenset[str] = frozenset()
    time_providers: frozenset[str] = frozenset()
    print_monitors: frozenset[str] = frozenset()
    snapshot_providers: frozenset[str] = frozenset()
    infs: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()

    def runs(self, service: str, image: str) -> bool:
        """Tell whether a service of this name that runs ``image`` (a file name) is of the tools."""
        patterns = self.services.get(service.casefold(), ())
        return any(fnmatchcase(image.casefold(), pattern) for pattern in patterns)

    def is_hardware(self, instance: str) -> bool:
        """Tell whether a device instance is hardware of this hypervisor."""
        return any(fnmatchcase(instance.casefold(), pattern) for pattern in self.hardware)

    def is_driver_file(self, name: str) -> bool:
        """Tell whether a file in System32\\drivers, in lower case, is one of their drivers."""
        return any(
            fnmatchcase(name, pattern)
            for patterns in self.services.values()
            for pattern in patterns
            if pattern.endswith(".sys")
        )
