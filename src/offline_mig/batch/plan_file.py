"""Plan files: which guests to convert and how, as TOML.

``plan.schema.json`` beside this module says what may stand in one; an option has the name that it
has on the command line. What a guest says goes before what the command line says, and that before
the table ``[options]``.
"""

from __future__ import annotations

import difflib
import errno
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import tomlkit

from offline_mig.conversion.named_options import named_options
from offline_mig.conversion.result_cache import DEFAULT_SIZE, ResultCache
from offline_mig.errors import OutputRefusedError, PlanFileError
from offline_mig.sources.file_access import shown

#: Options whose values are names of files.
_PATHS = ("drivers", "agent", "allow-outside")
_PATH = "xml"
#: What a guest says of itself and is no option of its conversion.
_OWN = ("source", "name", "skip")
_SCHEMA_FILE = "plan.schema.json"


@dataclass(frozen=True, slots=True)
class PlannedGuest:
    """A guest of a plan; ``given`` are its own options, ``name`` is None for the machine's."""

    source: Path
    name: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    skip: bool = False
    remark: str = ""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """A plan; ``given`` are options of all guests that do not have them themselves.

    ``cache`` is where results are kept and taken from, ``remark`` is on the plan as a whole.
    """

    guests: tuple[PlannedGuest, ...]
    output: Path | None = None
    jobs: int | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    cache: ResultCache | None = None
    remark: str = ""


def plan_schema() -> dict[str, Any]:
    """Return the JSON schema of plan files."""
    text = resources.files(__package__).joinpath(_SCHEMA_FILE).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def read_plan(path: Path) -> BatchPlan:
    """Return the plan in a file, with every path absolute. Raises PlanFileError."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise PlanFileError(
            f"The plan file {shown(path)} cannot be read: {error.strerror}.",
            "Give the name of a plan file; --write-plan makes one from a folder.",
        ) from error
    except ValueError as error:
        raise PlanFileError(
            f"{shown(path)} is no TOML file: {error}", "Mend that place."
        ) from error
    _require_sound(shown(path), content)
    folder = path.absolute().parent
    guests = tuple(
        PlannedGuest(
            folder / guest["source"],
            guest.get("name"),
            absolute({k: v for k, v in guest.items() if k not in _OWN}, folder),
            guest.get("skip", False),
        )
        for guest in content.get("guest", [])
    )
    _require_single(path, guests)
    general = content.get("options", {})
    _require_understood(f"{shown(path)}, options", general)
    for number, guest in enumerate(guests):
        place = _place(("guest", number), content)
        _require_understood(f"{shown(path)}{place}", {**general, **guest.given})
    output = content.get("output")
    return BatchPlan(
        guests,
        output=None if output is None else folder / output,
        jobs=content.get("jobs"),
        given=absolute(content.get("options", {}), folder),
        cache=_cache(content.get("cache"), folder),
    )


def _cache(found: Mapping[str, Any] | None, folder: Path) -> ResultCache | None:
    if found is None:
        return None
    return ResultCache.of_size(folder / found["folder"], found.get("size", DEFAULT_SIZE))


def chosen_options(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return options that a caller gave, with absolute paths.

    Raises PlanFileError for what could not stand in a plan file either.
    """
    found = {key: _as_written(value) for key, value in (given or {}).items()}
    where = "What was asked for"
    _require_sound(where, {"version": 1, "options": found})
    _require_understood(where, found)
    return absolute(found, Path.cwd())


def _as_written(value: object) -> object:
    """Return a value as it would stand in a plan file: paths as text, lists for tuples."""
    if isinstance(value, tuple | list):
        return [_as_written(item) for item in value]
    return os.fspath(value) if isinstance(value, Path) else value


def absolute(given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return options whose names of files are relative to ``folder``, with absolute ones."""
    found = dict(given)
    for key, value in given.items():
        if key in _PATHS:
            found[key] = [str(folder / name) for name in value]
        elif key == _PATH:
            found[key] = str(folder / value)
    return found


def _require_sound(whose: str, content: Mapping[str, Any]) -> None:
    schema = plan_schema()
    # Loading it takes 0.05 s, and only a plan in a file needs it.
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema)
    error = next(iter(sorted(validator.iter_errors(content), key=lambda e: list(e.path))), None)
    if error is None:
        return
    place = _place(error.absolute_path, content)
    where = f"{whose}{place}"
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = next(key for key in error.instance if key not in known)
        close = difflib.get_close_matches(unknown, known, n=1)
        raise PlanFileError(
            f"{where} has the unknown key {shown(unknown)!r}.",
            f"Did you mean {close[0]!r}?" if close else f"Known are: {', '.join(known)}.",
        )
    raise PlanFileError(
        f"{where}: {shown(error.message)}.",
        "'offline-mig batch --help' says what an option takes; docs/batch.md has the form.",
    )


def _require_understood(where: str, given: Mapping[str, Any]) -> None:
    """Refuse a value that has the right form and no meaning, such as an address 10.0.0.999."""
    try:
        named_options(Path(), given)
    except ValueError as error:
        raise PlanFileError(
            f"{where}: {shown(str(error))}",
            "'offline-mig batch --help' says what an option takes; docs/batch.md has the form.",
        ) from error


def _place(steps: Sequence[Any], content: Mapping[str, Any]) -> str:
    """Return where in a plan something is, in words."""
    words = [f"number {step + 1}" if isinstance(step, int) else shown(str(step)) for step in steps]
    if len(words) > 1 and words[0] == "guest":
        guest = content["guest"][list(steps)[1]]
        source = guest.get("source") if isinstance(guest, dict) else None
        words[1] += f" ({shown(source)})" if source and isinstance(source, str) else ""
    return f", {' '.join(words)}" if words else ""


def _require_single(path: Path, guests: Sequence[PlannedGuest]) -> None:
    seen: set[str] = set()
    for guest in guests:
        for what in (str(guest.source), (guest.name or "").casefold()):
            if what and what in seen and not guest.skip:
                raise PlanFileError(
                    f"{shown(path)} has {shown(what)} twice.",
                    "Give every guest once, under a name that no other has.",
                )
            seen.add(what)


def require_new(path: Path) -> None:
    """Raise OutputRefusedError when a plan could not be written as ``path``, as far as is seen."""
    if os.path.lexists(path):
        raise _unwritten(path, os.strerror(errno.EEXIST))
    if not path.parent.is_dir():
        raise _unwritten(path, "there is no such folder")


def write_plan(plan: BatchPlan, path: Path) -> None:
    """Write a plan as a new file, with what is remarked on it and on guests as comments.

    Raises OutputRefusedError.
    """
    document = tomlkit.document()
    document.add(tomlkit.comment("A plan for 'offline-mig batch'; docs/batch.md explains it."))
    for line in plan.remark.splitlines():
        document.add(tomlkit.comment(shown(line)))
    document.add("version", tomlkit.item(1))
    if plan.output is not None:
        document.add("output", tomlkit.item(str(plan.output)))
    if plan.jobs is not None:
        document.add("jobs", tomlkit.item(plan.jobs))
    if plan.cache is not None:
        cache = tomlkit.table()
        cache.update(
            {"folder": str(plan.cache.folder), "size": max(1, plan.cache.limit // 1024**3)}
        )
        document.add("cache", cache)
    options = tomlkit.table()
    options.update(plan.given)
    document.add("options", options)
    guests = tomlkit.aot()
    for guest in plan.guests:
        table = tomlkit.table()
        for line in guest.remark.splitlines():
            table.add(tomlkit.comment(shown(line)))
        table.add("source", str(guest.source))
        if guest.name is not None:
            table.add("name", guest.name)
        if guest.skip:
            table.add("skip", value=True)
        table.update(guest.given)
        guests.append(table)
    document.add("guest", guests)
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(tomlkit.dumps(document))
    except (OSError, UnicodeEncodeError) as error:
        reason = "a name in it is not valid UTF-8"
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
        raise _unwritten(path, reason) from error


def _unwritten(path: Path, reason: str) -> OutputRefusedError:
    return OutputRefusedError(
        f"The plan cannot be written to {shown(path)}: {reason}.",
        "Give a new file in a folder that you may write to.",
    )
