"""What can be chosen of a conversion, wherever guests are converted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from offline_mig.cli.parameters import DISCARD_HIBERNATION, ENGINE, PATH, SYSTEM_PARTITION
from offline_mig.cli.source_parameters import FILE_OPTIONS, HARDWARE_OPTIONS
from offline_mig.conversion.named_options import resolution
from offline_mig.machine import DiskFormat
from offline_mig.targets.devices import DiskBus, MachineType
from offline_mig.targets.options import TargetKind

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _check_resolution(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        resolution(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return value


#: Each is known by the same name in a plan file, see conversion/named_options.py.
_OPTIONS = (
    click.option(
        "--drivers",
        type=PATH,
        multiple=True,
        help="A virtio-win ISO or RPM, or a driver folder; may be given several times. [required "
        "from Windows XP on]",
    ),
    click.option(
        "--agent",
        type=PATH,
        multiple=True,
        help="A guest agent to put in place: the RPM, MSI or zip of the SPICE agent, the MSI of "
        "the QEMU guest agent, a folder or virtio-win ISO with them; may be given several times.",
    ),
    click.option(
        "--format",
        type=click.Choice([DiskFormat.QCOW2.value, DiskFormat.RAW.value]),
        default=DiskFormat.QCOW2.value,
        show_default=True,
        help="Format of the converted disks.",
    ),
    click.option(
        "--target",
        type=click.Choice([kind.value for kind in TargetKind]),
        multiple=True,
        default=[TargetKind.LIBVIRT.value],
        show_default=True,
        help="What the machine is written down for; may be given several times.",
    ),
    click.option(
        "--allow-unsigned",
        is_flag=True,
        help="Let a boot driver without a good signature through.",
    ),
    DISCARD_HIBERNATION,
    *HARDWARE_OPTIONS,
    *FILE_OPTIONS,
    click.option("--overwrite", is_flag=True, help="Replace earlier results of this guest."),
    click.option(
        "--trim/--no-trim",
        default=True,
        show_default=True,
        help="Leave out the free space of clean NTFS volumes, and deleted files with it.",
    ),
    click.option(
        "--checksum", is_flag=True, help="Hash the source before and after, and the results."
    ),
    click.option(
        "--provenance",
        is_flag=True,
        help="Write NAME.provenance.json (in-toto, SLSA): what results were made from, with "
        "hashes.",
    ),
    click.option(
        "--reproducible",
        is_flag=True,
        help="The same inputs at the same places give the same results, byte for byte; times are "
        "that of SOURCE_DATE_EPOCH. Implies --engine userspace and --checksum.",
    ),
    SYSTEM_PARTITION,
    ENGINE,
    click.option(
        "--machine",
        type=click.Choice([kind.value for kind in MachineType]),
        help="Machine type. [default: pc before Windows Vista, else q35]",
    ),
    click.option(
        "--bus",
        type=click.Choice([DiskBus.VIRTIO.value, DiskBus.VIRTIO_SCSI.value]),
        default=DiskBus.VIRTIO.value,
        show_default=True,
        help="What the disks hang on.",
    ),
    click.option("--network", default="default", show_default=True, help="libvirt network."),
    click.option(
        "--bridge",
        help="Bridge of the host, instead of a libvirt network; on KubeVirt a "
        "NetworkAttachmentDefinition.",
    ),
    click.option(
        "--resolution",
        metavar="WIDTHxHEIGHT",
        default="1920x1080",
        show_default=True,
        callback=_check_resolution,
        help="Largest screen, for the video memory.",
    ),
)


def convert_options(command: _Command) -> _Command:
    """Give a command all of them; it gets them as keyword arguments."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def by_name(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was chosen, by the names that users have for the options."""
    return {
        name.replace("_", "-"): value for name, value in parameters.items() if value is not None
    }
