"""The commands by their names, each loaded when it is asked for: that keeps the others quick."""

from __future__ import annotations

from importlib import import_module

import click

from offline_mig import __version__
from offline_mig.cli.failure import Commands

#: Where each command is: a module of this package, and the name in it.
_PLACES = {
    "batch": ("batch_commands", "batch"),
    "check": ("check_command", "check"),
    "convert": ("convert_command", "convert_command"),
    "doctor": ("doctor_commands", "doctor"),
    "drivers": ("driver_commands", "drivers"),
    "explain": ("doctor_commands", "explain"),
    "inspect": ("inspect_command", "inspect"),
    "media": ("media_commands", "media"),
    "preflight": ("batch_commands", "preflight"),
    "recover": ("edit_commands", "recover"),
    "repair": ("repair_command", "repair_command"),
    "report": ("report_command", "report_command"),
    "schema": ("schema_command", "schema_command"),
    "undo": ("edit_commands", "undo"),
}

_EPILOG = """\b
Exit codes:
  0    done
  1    unexpected failure of the host; of doctor: the guest would stop
  2    wrong usage
  3    this host lacks something (see 'offline-mig check')
  4    the source is missing, damaged or incomplete
  5    the source names files that it has no business with
  6    the guest is in a state, or of a kind, that must not be edited
  7    no usable driver or agent for this Windows
  8    the results cannot be written
  9    an external program failed
  10   something did not read back as written
  11   of doctor: it cannot be told whether the guest boots
  12   of repair: what stops the guest cannot be mended; nothing was changed
  13   of batch and preflight: some guests were not, or cannot be, converted
  14   a plan file cannot be read or understood
  130  interrupted
"""


class _MainCommands(Commands):
    """The group of all commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, sorted."""
        return sorted(_PLACES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, loaded now; None for a name that there is not."""
        if cmd_name not in _PLACES:
            return None
        module, name = _PLACES[cmd_name]
        command: click.Command = getattr(import_module(f"offline_mig.cli.{module}"), name)
        return command


@click.group(
    cls=_MainCommands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="offline-mig")
def main() -> None:
    """Turn powered-off VMware Windows guests into VirtIO-only KVM guests, never booting them."""
