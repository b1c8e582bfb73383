"""Files and folders of this host that a user wants on a disc besides the drivers."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import SourceUnreadableError
from offline_mig.setup_media.disc_image import LARGEST_FILE
from offline_mig.sources.file_access import unreadable

#: A disc with more than these is no driver disc; it keeps a wrong folder (/, say) from being read.
_MAX_FILES = 20_000


@dataclass(frozen=True, slots=True)
class AddedFiles:
    """Files of this host by the paths that they get, and notes about what was left out."""

    files: Mapping[str, Path]
    notes: tuple[str, ...]


def collect_added(sources: Iterable[Path]) -> AddedFiles:
    """Return the files of ``sources``: a file goes into the root, a folder with its name there.

    In a folder, symbolic links to files within it are followed; other links, and what is neither a
    file nor a folder, are left out with a note. Raises SourceUnreadableError.
    """
    files: dict[str, Path] = {}
    notes: list[str] = []
    for path, source in _named(sources, notes):
        if path in files:
            raise SourceUnreadableError(
                f"{files[path]} and {source} would both be called {path} on the disc.",
                "Rename one of them, or put it into a folder and add that.",
            )
        _require_readable(source)
        files[path] = source
        if len(files) > _MAX_FILES:
            raise SourceUnreadableError(
                f"There are more than {_MAX_FILES} files to add.",
                "Give a folder with nothing but what belongs on the disc.",
            )
    return AddedFiles(files, tuple(notes))


def _require_readable(source: Path) -> None:
    try:
        with source.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise unreadable(source, error) from error
    if size > LARGEST_FILE:
        raise SourceUnreadableError(
            f"{source} has {size} bytes, and a file on a disc has {LARGEST_FILE} at most.",
            "Split it, or carry it over the network.",
        )


def _named(sources: Iterable[Path], notes: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield files with their paths on the disc."""
    for source in sources:
        try:
            real = source.resolve(strict=True)
            mode = real.stat().st_mode
        except OSError as error:
            raise unreadable(source, error) from error
        if stat.S_ISREG(mode):
            yield source.name, real
        elif stat.S_ISDIR(mode) and real.name:
            for path in _below(real, notes):
                yield f"{real.name}/{path.relative_to(real).as_posix()}", path
        else:
            raise SourceUnreadableError(
                f"{source} is neither a file nor a folder with a name.",
                "Give files and folders with --add.",
            )


def _below(top: Path, notes: list[str]) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise unreadable(Path(error.filename or top), error)

    for folder, folders, names in os.walk(top, onerror=refuse):
        folders.sort()
        for name in [name for name in folders if Path(folder, name).is_symlink()]:
            folders.remove(name)
            notes.append(f"{Path(folder, name)} was left out: it is a link to a folder.")
        for name in sorted(names):
            path = Path(folder, name)
            if not path.is_file():
                notes.append(f"{path} was left out: it is no file.")
            elif path.is_symlink() and not path.resolve().is_relative_to(top):
                notes.append(f"{path} was left out: it is a link that leads out of {top.name}.")
            else:
                yield path
