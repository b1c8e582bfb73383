"""What a user asks of a conversion."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from offline_mig.conversion.address_override import AddressOverride
from offline_mig.machine import DiskFormat
from offline_mig.sources.options import SourceOptions
from offline_mig.targets.options import TargetKind, TargetOptions


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """Everything that can be chosen.

    ``agents`` are the sources of guest agents. ``system_partition`` is DISK:PARTITION, both from
    1, for guests with several Windows. ``checksum`` hashes the source before and after and the
    converted disks, which reads them once more each. ``name`` replaces the machine's own.
    ``discard_hibernation`` gives a session in the guest's hiberfil.sys up. ``trim`` leaves out
    what is free on the guest's volumes, deleted files with it. ``targets`` are what the machine is
    written down for, ``define`` is the URI of a libvirt that is told of it. ``ip`` are addresses
    that network cards are given. ``source`` is how the source is read. ``moment``, in seconds since
    1970, takes the place of the clock: results then depend on their inputs alone, see
    ``conversion.reproducible``. ``provenance`` writes down what the results were made from, and
    hashes as ``checksum`` does. ``keep_tools`` leaves the old hypervisor's guest tools in,
    ``undoable`` has the report keep what was deleted.
    """

    output: Path
    drivers: tuple[Path, ...]
    agents: tuple[Path, ...] = ()
    format: DiskFormat = DiskFormat.QCOW2
    name: str | None = None
    allow_unsigned: bool = False
    discard_hibernation: bool = False
    overwrite: bool = False
    checksum: bool = False
    trim: bool = True
    keep_tools: bool = False
    undoable: bool = False
    system_partition: str | None = None
    ip: tuple[AddressOverride, ...] = ()
    source: SourceOptions = field(default_factory=SourceOptions)
    targets: tuple[TargetKind, ...] = (TargetKind.LIBVIRT,)
    define: str | None = None
    target: TargetOptions = field(default_factory=TargetOptions)
    moment: int | None = None
    provenance: bool = False

    @property
    def source_files(self) -> tuple[Path, ...]:
        """The driver and agent sources that are files, and no folders."""
        return tuple(path for path in (*self.drivers, *self.agents) if path.is_file())

    @property
    def hashes(self) -> bool:
        """Whether the source and the converted disks are hashed.

        A reproducible report says nothing of times: only hashes tell what it was made from.
        """
        return self.checksum or self.provenance or self.moment is not None
