"""What can be chosen of a conversion, wherever guests are converted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from offline_mig.cli.parameters import (
    DISCARD_HIBERNATION,
    ENGINE,
    PATH,
    SYSTEM_PARTITION,
    checked,
)
from offline_mig.cli.source_parameters import FILE_OPTIONS, HARDWARE_OPTIONS
from offline_mig.conversion.address_override import parse_override
from offline_mig.conversion.named_options import resolution
from offline_mig.machine import DiskFormat
from offline_mig.targets.devices import DiskBus, Graphics, MachineType, VideoModel
from offline_mig.targets.network import parse_attachment, parse_mapping
from offline_mig.targets.options import TargetKind
from offline_mig.targets.processors import HOST_MODEL, parse_model

_Command = TypeVar("_Command", bound=Callable[..., Any])


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
        "--define",
        metavar="URI",
        help="Define the machine on a libvirt connection too, such as qemu:///system; its host is "
        "asked first whether it can run the machine. With it goes --target libvirt.",
    ),
    click.option(
        "--allow-unsigned",
        is_flag=True,
        help="Let a boot driver without a good signature through.",
    ),
    click.option(
        "--keep-vmware-tools",
        is_flag=True,
        help="Leave VMware Tools, or another hypervisor's guest tools, in the guest.",
    ),
    click.option(
        "--undoable",
        is_flag=True,
        help="Keep what is deleted in the report, compressed, so that 'undo' can take the "
        "conversion back without the source.",
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
    click.option(
        "--cpu",
        callback=checked(parse_model),
        metavar="MODEL",
        default=HOST_MODEL,
        show_default=True,
        help="The processor: host-model, host-passthrough or a model by its name.",
    ),
    click.option(
        "--network",
        callback=checked(parse_attachment),
        metavar="network=NAME|bridge=NAME",
        multiple=True,
        help="What the network cards are on: a libvirt network or a bridge of the host (on "
        "KubeVirt a NetworkAttachmentDefinition). Given several times, the first is for the first "
        "card and so on; the last is for the rest. [default: network=default]",
    ),
    click.option(
        "--network-map",
        callback=checked(parse_mapping),
        metavar="SOURCE=network=NAME|SOURCE=bridge=NAME",
        multiple=True,
        help="What the network cards are on that the source has on its network SOURCE; goes "
        "before --network, and may be given several times.",
    ),
    click.option(
        "--graphics",
        type=click.Choice([kind.value for kind in Graphics]),
        default=Graphics.SPICE.value,
        show_default=True,
        help="How the screen is reached.",
    ),
    click.option(
        "--video",
        type=click.Choice([VideoModel.QXL.value, VideoModel.VIRTIO.value, VideoModel.VGA.value]),
        help="Video card. [default: QXL with SPICE and its driver, else what Windows itself "
        "drives]",
    ),
    click.option(
        "--ip",
        metavar="MAC=ADDRESS/LENGTH[,GATEWAY[,DNS...]]",
        multiple=True,
        callback=checked(parse_override),
        help="A fixed address, IPv4 or IPv6, that a network card is given when the guest first "
        "starts, in place of the guest's own; may be given several times.",
    ),
    click.option(
        "--resolution",
        metavar="WIDTHxHEIGHT",
        default="1920x1080",
        show_default=True,
        callback=checked(resolution),
        help="Largest screen, for the video memory.",
    ),
    click.option(
        "--tpm/--no-tpm",
        default=None,
        help="An empty TPM 2.0. [default: if the source had one and Windows can use it]",
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
