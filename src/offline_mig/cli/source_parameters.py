"""Parameters that say how a source is read, shared by all commands that take one.

Each is known by the same name in a plan file, see conversion/named_options.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from offline_mig.cli.parameters import PATH
from offline_mig.windows.short_name import parse_short_name

_Command = TypeVar("_Command", bound=Callable[..., Any])
#: Two ways to say the hardware.
_OTHER = {"xml": "os_like", "os_like": "xml"}


def _check_hardware(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    if value is not None and context.params.get(_OTHER[parameter.name or ""]) is not None:
        raise click.UsageError("--xml says the hardware; leave --os-like out.")
    return value


def _check_windows(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    if value is not None:
        try:
            parse_short_name(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return _check_hardware(context, parameter, value)


FILE_OPTIONS = (
    click.option(
        "--allow-outside",
        type=PATH,
        multiple=True,
        metavar="FOLDER",
        help="A further folder that files of the source may lie in; may be given several times. "
        "[default: its own folder only]",
    ),
    click.option(
        "--rebuild-descriptor",
        is_flag=True,
        help="Make a VMDK descriptor for this run where the source's is missing or names its files "
        "by old names.",
    ),
)
HARDWARE_OPTIONS = (
    click.option(
        "--xml",
        type=PATH,
        callback=_check_hardware,
        help="A libvirt domain that says the hardware of a disk image or of a folder of them: "
        "name, memory, processors, firmware, network cards, further disks.",
    ),
    click.option(
        "--os-like",
        callback=_check_windows,
        metavar="NAME",
        help="The Windows whose usual hardware a lone disk image gets, such as xp-x86 or "
        "w11-amd64.",
    ),
)


def file_options(command: _Command) -> _Command:
    """Give a command the options about files; it gets them as keyword arguments."""
    for option in reversed(FILE_OPTIONS):
        command = option(command)
    return command


def source_options(command: _Command) -> _Command:
    """Give a command all options about a source; it gets them as keyword arguments."""
    for option in reversed((*HARDWARE_OPTIONS, *FILE_OPTIONS)):
        command = option(command)
    return command
