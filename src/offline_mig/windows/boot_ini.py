r"""boot.ini: what NTLDR, the loader of Windows NT 4 to Server 2003, starts and from where.

Lines ``path = "title" /switches`` below ``[operating systems]``, and which of them is the default
below ``[boot loader]`` (Microsoft, KB 99743 and "Boot.ini boot parameter reference"). Paths begin
with an ARC name of a partition (KB 102873)::

    multi(A)disk(0)rdisk(D)partition(P)\WINDOWS       D: BIOS disk, from 0
    scsi(A)disk(T)rdisk(L)partition(P)\WINDOWS        T: SCSI target, L: its unit
    signature(S)disk(T)rdisk(L)partition(P)\WINDOWS   S: disk signature in hexadecimal, KB 227704

Partitions are counted from 1: first the primary ones in the order of their entries, then the
logical ones; extended partitions and empty entries are not counted.

NTLDR knows bytes and no encoding, and passes titles on to the screen in the OEM code page. They
are kept here as Latin-1, which has a letter for each byte, and are only there to be shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from offline_mig.errors import GuestRefusedError
from offline_mig.guest.partition_identity import PlacedPartition
from offline_mig.guest.partition_table import Partition, PartitionTable, TableKind
from offline_mig.windows.digits import small_number

#: What is read of a boot.ini: those of Windows have some hundred bytes.
MAX_SIZE = 64 * 1024
_MAX_ENTRIES = 256
#: Number of the first logical partition.
_FIRST_LOGICAL = 5
_ARC = re.compile(
    r"(?P<scheme>multi|scsi|signature)\((?P<adapter>[0-9a-f]{0,8})\)"
    r"disk\((?P<disk>[0-9]{0,3})\)rdisk\((?P<rdisk>[0-9]{0,3})\)partition\((?P<partition>[0-9]{0,3})\)"
    r"(?P<directory>.*)",
    re.IGNORECASE | re.ASCII,
)
_TITLE_AND_SWITCHES = re.compile(r'\s*(?:"(?P<title>[^"]*)"?|(?P<bare>[^/]*))(?P<switches>.*)')


class ArcScheme(StrEnum):
    """The first word of an ARC path: how NTLDR gets at the disk."""

    MULTI = "multi"
    SCSI = "scsi"
    SIGNATURE = "signature"


class Encoding(StrEnum):
    """How the text is kept; NTLDR reads only the plain one."""

    PLAIN = "plain"
    UTF8_WITH_MARK = "utf-8 with a byte order mark"
    UTF16 = "utf-16"


class BootIniFault(StrEnum):
    """What keeps NTLDR from the Windows that it is meant to start."""

    ENCODING = "the file is not plain text, so NTLDR cannot read it"
    NO_ENTRY = "no entry is listed and none is the default"
    OTHER_SYSTEM = "the default entry starts no Windows but a boot sector or another path"
    #: NTLDR reads such disks with ntbootdd.sys, which is the miniport of the old controller.
    OWN_DRIVER = "the default entry needs ntbootdd.sys, a driver for a controller that is gone"
    DISK_ABSENT = "the default entry names a disk that is not there"
    OTHER_DISK = "the default entry names another disk than that of Windows"
    PARTITION_ABSENT = "the default entry names a partition that is not there"
    OTHER_PARTITION = "the default entry names another partition than that of Windows"
    OTHER_DIRECTORY = "the default entry names another directory than that of Windows"


@dataclass(frozen=True, slots=True)
class ArcPath:
    r"""The ARC path of a Windows. ``directory`` begins with a backslash, such as ``\WINDOWS``.

    ``adapter`` is the controller's number, or the disk signature where the scheme says so.
    """

    scheme: ArcScheme
    adapter: int
    disk: int
    rdisk: int
    partition: int
    directory: str

    def __str__(self) -> str:
        """Write it as boot.ini has it."""
        adapter = self.adapter if self.scheme is not ArcScheme.SIGNATURE else f"{self.adapter:08x}"
        return (
            f"{self.scheme}({adapter})disk({self.disk})rdisk({self.rdisk})"
            f"partition({self.partition}){self.directory}"
        )


@dataclass(frozen=True, slots=True)
class BootEntry:
    r"""An entry: ``path`` as it is written, and what it means when it is an ARC path.

    Other paths, such as ``C:\`` or ``C:\CMDCONS\BOOTSECT.DAT``, name boot sectors. Switches keep
    their slash: ``/fastdetect``, ``/KERNEL=ntkrnlmp.exe``. ``listed`` is false when only the
    default line names it: NTLDR starts it then, without switches.
    """

    path: str
    title: str
    switches: tuple[str, ...]
    listed: bool = True

    @property
    def arc(self) -> ArcPath | None:
        """The ARC path; None for the path of a boot sector."""
        return parse_arc_path(self.path)

    def switch(self, name: str) -> str | None:
        """Return what follows a switch (``pae``: empty, ``kernel``: the file), None without it."""
        for text in self.switches:
            present, _, value = text[1:].replace(":", "=", 1).partition("=")
            if present.casefold() == name.casefold():
                return value
        return None


@dataclass(frozen=True, slots=True)
class BootIni:
    """What a boot.ini says; ``timeout`` in seconds, -1 waits for ever, None when it is not said."""

    content: bytes
    encoding: Encoding
    timeout: int | None
    default: str
    entries: tuple[BootEntry, ...]

    @property
    def starting(self) -> BootEntry | None:
        """The entry that starts when nobody chooses: the default one, else the first."""
        if not self.default:
            return self.entries[0] if self.entries else None
        wanted = _folded(self.default)
        listed = [entry for entry in self.entries if _folded(entry.path) == wanted]
        return listed[0] if listed else BootEntry(self.default, "", (), listed=False)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line ``key = value`` and where in the text its key and value are."""

    section: str
    key: str
    key_at: int
    value: str
    value_at: int


def parse_boot_ini(content: bytes) -> BootIni:
    """Return what a boot.ini says; lines that make no sense are passed over, as NTLDR does."""
    encoding, text = _decoded(content[:MAX_SIZE])
    timeout, default = None, ""
    entries: list[BootEntry] = []
    for line in _lines(text):
        if line.section == "[operating systems]" and len(entries) < _MAX_ENTRIES:
            entries.append(_entry(line))
        elif line.section == "[boot loader]" and line.key.casefold() == "default":
            default = default or line.value
        elif line.section == "[boot loader]" and line.key.casefold() == "timeout":
            waits = line.value.startswith("-")
            timeout = -1 if waits else small_number(line.value)
    return BootIni(content, encoding, timeout, default, tuple(entries))


def parse_arc_path(path: str) -> ArcPath | None:
    """Return an ARC path; None for what is none."""
    match = _ARC.fullmatch(path.strip())
    if match is None:
        return None
    scheme = ArcScheme(match["scheme"].lower())
    base = 16 if scheme is ArcScheme.SIGNATURE else 10
    if base == 10 and not re.fullmatch("[0-9]{0,8}", match["adapter"]):
        return None
    disk, rdisk, partition = (int(match[name] or "0") for name in ("disk", "rdisk", "partition"))
    adapter = int(match["adapter"] or "0", base)
    return ArcPath(scheme, adapter, disk, rdisk, partition, match["directory"])


def arc_partitions(table: PartitionTable) -> tuple[Partition, ...]:
    """Return the partitions that NTLDR counts on a disk, the one with number 1 first.

    None on GPT disks, which it cannot read.
    """
    if table.kind is TableKind.GPT:
        return ()
    primary = [p for p in table.partitions if p.number < _FIRST_LOGICAL]
    logical = [p for p in table.partitions if p.number >= _FIRST_LOGICAL]
    order = sorted(primary, key=lambda partition: partition.number)
    return (*order, *sorted(logical, key=lambda partition: partition.number))


def arc_path_of(
    tables: Sequence[PartitionTable], place: PlacedPartition, directory: str
) -> ArcPath | None:
    """Return the ``multi`` path of a Windows; None when its partition is none that NTLDR counts.

    ``tables`` are those of the disks in the BIOS's order, the one that it starts from first.
    """
    counted = arc_partitions(tables[place.disk])
    if place.partition not in counted:
        return None
    number = counted.index(place.partition) + 1
    return ArcPath(ArcScheme.MULTI, 0, 0, place.disk, number, directory)


def find_partition(tables: Sequence[PartitionTable], arc: ArcPath) -> PlacedPartition | None:
    """Return the partition that a path names, by BIOS disks or by a disk signature.

    None when it is not there, and for ``scsi`` paths: which disk a controller has under a number
    its driver alone knows.
    """
    disk = _disk_of(tables, arc)
    if disk is None:
        return None
    counted = arc_partitions(tables[disk])
    if not 0 < arc.partition <= len(counted):
        return None
    return PlacedPartition(disk, counted[arc.partition - 1])


def boot_ini_faults(
    ini: BootIni, tables: Sequence[PartitionTable], windows: PlacedPartition, directory: str
) -> tuple[BootIniFault, ...]:
    r"""Return what keeps a boot.ini from starting the Windows in ``directory`` of a partition.

    ``tables`` are those of the disks in the BIOS's order; ``directory`` is written ``\WINDOWS``.
    """
    faults = [] if ini.encoding is Encoding.PLAIN else [BootIniFault.ENCODING]
    entry = ini.starting
    if entry is None:
        return (*faults, BootIniFault.NO_ENTRY)
    arc = entry.arc
    if arc is None:
        return (*faults, BootIniFault.OTHER_SYSTEM)
    if arc.scheme is not ArcScheme.MULTI:
        faults.append(BootIniFault.OWN_DRIVER)
    if arc.scheme is not ArcScheme.SCSI:
        faults += _place_faults(arc, tables, windows)
    if arc.directory.rstrip("\\").casefold() != directory.rstrip("\\").casefold():
        faults.append(BootIniFault.OTHER_DIRECTORY)
    return tuple(faults)


def with_default_path(ini: BootIni, arc: ArcPath) -> bytes:
    """Return the file with another path for the entry that starts, everything else as it was.

    The path is changed where the default is named and in the entry itself.

    Raises GuestRefusedError for a text in UTF-16, in which there is nothing to keep for NTLDR, and
    for one without any entry.
    """
    entry = ini.starting
    if ini.encoding is Encoding.UTF16 or entry is None:
        found = "is encoded as UTF-16" if entry is not None else "lists no Windows"
        raise GuestRefusedError(
            f"The guest's boot.ini {found}, so NTLDR does not read an entry from it.",
            f"Replace it with a plain text file whose default entry is {arc}.",
        )
    _, text = _decoded(ini.content[:MAX_SIZE])
    defaults, listed = [], []
    for line in _lines(text):
        if line.section == "[boot loader]" and line.key.casefold() == "default" and line.value:
            defaults.append((line.value_at, line.value))
        elif line.section == "[operating systems]" and _folded(line.key) == _folded(entry.path):
            listed.append((line.key_at, line.key))
    content = ini.content
    mark = 3 if ini.encoding is Encoding.UTF8_WITH_MARK else 0
    # From the back, so that what comes before stays where it is; of several the first one counts.
    for at, old in sorted([*defaults[:1], *listed[:1]], reverse=True):
        begin, end = mark + at, mark + at + len(old)
        content = content[:begin] + str(arc).encode("latin-1", "replace") + content[end:]
    return content


def _decoded(content: bytes) -> tuple[Encoding, str]:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return Encoding.UTF16, content.decode("utf-16", "replace")
    if content[:3] == b"\xef\xbb\xbf":
        return Encoding.UTF8_WITH_MARK, content[3:].decode("latin-1")
    return Encoding.PLAIN, content.decode("latin-1")


def _lines(text: str) -> list[_Line]:
    found = []
    section, at = "", 0
    for raw in text.split("\n"):
        line = raw.strip()
        key, equals, value = raw.partition("=")
        if line.startswith("["):
            section = line.partition("]")[0].casefold() + "]"
        elif equals and key.strip() and not line.startswith(";"):
            key_at = at + len(key) - len(key.lstrip())
            value_at = at + len(key) + 1 + len(value) - len(value.lstrip())
            found.append(_Line(section, key.strip(), key_at, value.strip(), value_at))
        at += len(raw) + 1
    return found


def _entry(line: _Line) -> BootEntry:
    match = _TITLE_AND_SWITCHES.fullmatch(line.value)
    if match is None:
        return BootEntry(line.key, line.value, ())
    title = match["title"] if match["title"] is not None else match["bare"].strip()
    switches = tuple(word for word in match["switches"].split() if word.startswith("/"))
    return BootEntry(line.key, title, switches)


def _folded(path: str) -> str:
    return path.strip().rstrip("\\").casefold()


def _disk_of(tables: Sequence[PartitionTable], arc: ArcPath) -> int | None:
    if arc.scheme is ArcScheme.MULTI:
        return arc.rdisk if arc.rdisk < len(tables) else None
    if arc.scheme is ArcScheme.SIGNATURE:
        wanted = f"{arc.adapter:08x}"
        for disk, table in enumerate(tables):
            if table.kind is TableKind.MBR and table.signature == wanted:
                return disk
    return None


def _place_faults(
    arc: ArcPath, tables: Sequence[PartitionTable], windows: PlacedPartition
) -> list[BootIniFault]:
    disk = _disk_of(tables, arc)
    if disk is None:
        return [BootIniFault.DISK_ABSENT]
    if disk != windows.disk:
        return [BootIniFault.OTHER_DISK]
    place = find_partition(tables, arc)
    if place is None:
        return [BootIniFault.PARTITION_ABSENT]
    return [] if place == windows else [BootIniFault.OTHER_PARTITION]
