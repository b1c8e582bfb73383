"""The command that prints the JSON schemas."""

from __future__ import annotations

import click

from offline_mig.api.schemas import schema_names, schema_text


@click.command("schema")
@click.argument("name", type=click.Choice(schema_names()), required=False)
def schema_command(name: str | None) -> None:
    """Print the JSON schema of what NAME prints or writes; without NAME, which there are.

    "report", "journal" and "summary" are files, "plan-file" is what 'batch' takes and "batch-event"
    a line that it prints, "write-plan" is what its --write-plan prints, "plan" is the dry run of
    'convert', "error" is what --json prints when a command fails, and the others are named after
    their command.
    """
    if name is None:
        for known in schema_names():
            click.echo(known)
    else:
        click.echo(schema_text(name), nl=False)
