"""What people read of media on the screen."""

from __future__ import annotations

import click

from offline_mig.cli.driver_screen import show_choices, show_notes
from offline_mig.conversion.setup_medium import MadeMedium
from offline_mig.sources.file_access import shown


def show_medium(made: MadeMedium) -> None:
    """Print what is on a medium, how a machine gets it, and what to do with it there."""
    for chosen in made.drivers:
        click.secho(f"{chosen.windows.release} {chosen.windows.architecture}", bold=True)
        show_choices(chosen.choices)
        click.echo()
    for choice in made.agents:
        click.echo(f"{choice.kind}: {shown(choice.agent.origin) if choice.agent else 'none'}")
    click.echo(f"{shown(made.path)}: a {made.kind} with {len(made.files)} files")
    if made.menu:
        click.echo("Press F6 when Windows' set-up begins, then S, and choose:")
        for line in made.menu:
            click.echo(f"  {shown(line)}")
    click.echo()
    click.echo("Among the devices of a libvirt domain:")
    click.echo(made.element)
    show_notes(tuple(map(shown, made.notes)))
