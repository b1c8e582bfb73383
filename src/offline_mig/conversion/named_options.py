"""The options of a conversion by the names that users have for them.

The command line calls them ``--allow-unsigned``, a plan file ``allow-unsigned``: one name, read in
one place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offline_mig.conversion.address_override import parse_override
from offline_mig.conversion.engines import EngineChoice
from offline_mig.conversion.options import ConvertOptions
from offline_mig.conversion.reproducible import result_moment
from offline_mig.machine import DiskFormat
from offline_mig.sources.options import SourceOptions
from offline_mig.targets.devices import DiskBus, Graphics, MachineType, VideoModel
from offline_mig.targets.network import parse_attachment, parse_mapping
from offline_mig.targets.options import TargetKind, TargetOptions
from offline_mig.targets.processors import parse_model
from offline_mig.windows.short_name import parse_short_name


def named_options(output: Path, given: Mapping[str, Any]) -> ConvertOptions:
    """Return the options that ``given`` names; what it does not name is as by default.

    The values are those that the command line takes: text, truth values and lists of them. Raises
    ValueError for a value that an option does not have, HostNotReadyError for a SOURCE_DATE_EPOCH
    that is no time.
    """
    default = ConvertOptions(output, drivers=())
    machine_type, video = given.get("machine"), given.get("video")
    targets, define = given.get("target", default.targets), given.get("define")
    if define is not None:
        # What is defined is examined and written down as any other target.
        targets = (*targets, TargetKind.LIBVIRT)
    networks = tuple(map(parse_attachment, given.get("network", ())))
    return ConvertOptions(
        output=output,
        drivers=tuple(map(Path, given.get("drivers", ()))),
        agents=tuple(map(Path, given.get("agent", ()))),
        format=DiskFormat(given.get("format", default.format)),
        name=given.get("name"),
        allow_unsigned=given.get("allow-unsigned", default.allow_unsigned),
        keep_tools=given.get("keep-vmware-tools", default.keep_tools),
        undoable=given.get("undoable", default.undoable),
        discard_hibernation=given.get("discard-hibernation", default.discard_hibernation),
        overwrite=given.get("overwrite", default.overwrite),
        checksum=given.get("checksum", default.checksum),
        provenance=given.get("provenance", default.provenance),
        moment=result_moment() if given.get("reproducible") else None,
        trim=given.get("trim", default.trim),
        system_partition=given.get("system-partition"),
        ip=tuple(map(parse_override, given.get("ip", ()))),
        source=named_source(given),
        targets=tuple(map(TargetKind, dict.fromkeys(targets))),
        define=define,
        target=TargetOptions(
            machine_type=None if machine_type is None else MachineType(machine_type),
            disk_bus=DiskBus(given.get("bus", default.target.disk_bus)),
            processor=parse_model(given.get("cpu", default.target.processor)),
            networks=networks or default.target.networks,
            network_map=tuple(map(parse_mapping, given.get("network-map", ()))),
            graphics=Graphics(given.get("graphics", default.target.graphics)),
            video=None if video is None else VideoModel(video),
            tpm=given.get("tpm"),
            resolution=resolution(given["resolution"])
            if "resolution" in given
            else default.target.resolution,
        ),
    )


def named_source(given: Mapping[str, Any]) -> SourceOptions:
    """Return how a source is to be read by ``given``; raises ValueError as named_options() does."""
    domain, like = given.get("xml"), given.get("os-like")
    return SourceOptions(
        allow_outside=tuple(map(Path, given.get("allow-outside", ()))),
        rebuild_descriptor=given.get("rebuild-descriptor", False),
        domain=None if domain is None else Path(domain),
        like=None if like is None else parse_short_name(like),
    )


def named_engine(given: Mapping[str, Any]) -> EngineChoice:
    """Return the engine that ``given`` names."""
    default = EngineChoice.USERSPACE if given.get("reproducible") else EngineChoice.GUESTFS
    return EngineChoice(given.get("engine", default))


def resolution(text: str) -> tuple[int, int]:
    """Return width and height of WIDTHxHEIGHT; raises ValueError."""
    width, _, height = text.lower().partition("x")
    if not all(re.fullmatch("[1-9][0-9]{0,4}", number) for number in (width, height)):
        raise ValueError(f"{text!r} is not WIDTHxHEIGHT, such as 1920x1080.")
    return int(width), int(height)
