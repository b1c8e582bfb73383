"""Which machine a folder holds."""

from __future__ import annotations

from pathlib import Path

from offline_mig.errors import SourceUnreadableError
from offline_mig.sources.based_on import without_parents
from offline_mig.sources.disk_format import HEAD
from offline_mig.sources.file_access import open_file, shown, unreadable
from offline_mig.sources.libvirt_xml import looks_like_domain
from offline_mig.sources.vmdk_kinds import is_part_name

VMX_SUFFIXES = {".vmx", ".vmtx"}
OVF_SUFFIX = ".ovf"
_PACKAGE_SUFFIXES = {OVF_SUFFIX, ".ova"}
_DOMAIN_SUFFIX = ".xml"
_IMAGE_SUFFIXES = {
    ".vmdk",
    ".qcow2",
    ".raw",
    ".img",
    ".dd",
    ".bin",
    ".vdi",
    ".vhd",
    ".vpc",
    ".vhdx",
}
#: How many candidates an error lists.
_LISTED = 10


def only_machine(folder: Path) -> Path:
    """Return the one machine in a folder.

    That is its VMX file; where there is none the OVF or OVA, else the libvirt domain, else the
    only disk image, parts and what others are based on left out. Raises SourceUnreadableError for
    several and for none.
    """
    try:
        # Names that begin with a dot are what macOS leaves on foreign file systems.
        files = sorted(
            entry
            for entry in folder.iterdir()
            if not entry.name.startswith(".") and entry.is_file()
        )
    except OSError as error:
        raise unreadable(folder, error) from error
    kinds = (
        ("VMX files", [file for file in files if file.suffix.lower() in VMX_SUFFIXES]),
        ("OVF and OVA files", [f for f in files if f.suffix.lower() in _PACKAGE_SUFFIXES]),
        ("libvirt domains", [file for file in files if _is_domain(file)]),
        ("disk images", _images(files)),
    )
    for kind, found in kinds:
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(shown(file.name) for file in found[:_LISTED])
            if len(found) > _LISTED:
                names += f" and {len(found) - _LISTED} more"
            raise SourceUnreadableError(
                f"The folder {shown(folder)} holds {len(found)} {kind}: {names}.",
                "Give one of them.",
            )
    raise SourceUnreadableError(
        f"The folder {shown(folder)} holds no VMX, OVF or OVA file, no libvirt domain and no disk "
        "image.",
        "Give the folder of a machine, or a disk image.",
    )


def _is_domain(file: Path) -> bool:
    if file.suffix.lower() != _DOMAIN_SUFFIX:
        return False
    with open_file(file) as opened:
        return looks_like_domain(opened.read(0, HEAD))


def _images(files: list[Path]) -> list[Path]:
    images = [file for file in files if file.suffix.lower() in _IMAGE_SUFFIXES]
    whole = [file for file in images if not is_part_name(file)]
    return without_parents(whole) or images
