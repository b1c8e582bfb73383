"""How a failed command ends: one sentence, what to do, a documented exit code."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import click

from offline_mig.api.failures import error_record
from offline_mig.errors import OfflineMigError
from offline_mig.interruption import Terminated, interruptions
from offline_mig.scratch import own_scratch
from offline_mig.sources.file_access import shown

#: What a shell reports for a program that Ctrl-C ended.
INTERRUPTED = 130
_JSON = "offline_mig.json"


class Commands(click.Group):
    """A group whose commands never end in a traceback for what the user can mend."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Note whether JSON is asked for, before anything can go wrong."""
        ctx.meta[_JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turns the project's errors into messages and exit codes."""
        try:
            with interruptions(), own_scratch():
                return super().invoke(ctx)
        except click.UsageError as error:
            if _wants_json(ctx):
                _print_json(error.format_message(), "See --help.", error.exit_code)
            raise
        except OfflineMigError as error:
            fail(error.message, error.remedy, error.exit_code, as_json=_wants_json(ctx))
        except BrokenPipeError:
            # Whoever read the output has enough of it; click ends the run quietly.
            raise
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            fail(f"{name}{error.strerror or error}.", "", 1, as_json=_wants_json(ctx))
        except (KeyboardInterrupt, Terminated):
            click.echo(err=True)
            # Results appear only when they are whole, and may have in the last moment.
            message = "Interrupted; nothing was left half done."
            fail(message, "", INTERRUPTED, as_json=_wants_json(ctx))


def fail(message: str, remedy: str, code: int, *, as_json: bool) -> NoReturn:
    """Print why the command failed and end it."""
    click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(_safe(message), err=True)
    if remedy:
        click.secho("What to do: ", bold=True, nl=False, err=True)
        click.echo(_safe(remedy), err=True)
    if as_json:
        _print_json(message, remedy, code)
    raise SystemExit(code)


def _safe(text: str) -> str:
    """Return a message fit for a terminal; what a program printed may have several lines."""
    return "\n".join(shown(line) for line in text.split("\n"))


def _print_json(message: str, remedy: str, code: int) -> None:
    # One line, which may come in a stream of them.
    click.echo(json.dumps(error_record(message, remedy, code)))


def _wants_json(ctx: click.Context) -> bool:
    return bool(ctx.meta.get(_JSON))
