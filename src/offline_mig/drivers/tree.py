"""Directories of drivers."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from offline_mig.drivers.inf import MAX_INF_SIZE
from offline_mig.drivers.listing import (
    INF_TOO_LARGE,
    MAX_ENTRIES,
    MAX_FILE_SIZE,
    MAX_INFS_SIZE,
    MAX_PACKAGE_SIZE,
    Listing,
    MediaInf,
    file_too_large,
    is_inf,
    safe_path,
    too_many_files,
)
from offline_mig.errors import SourceUnreadableError


def scan_tree(root: Path) -> Listing:
    """List a directory and all below it, and read its INF files.

    Symbolic links are followed within ``root`` only. Raises SourceUnreadableError.
    """
    files: dict[str, str] = {}
    infs: list[MediaInf] = []
    total = 0
    for name in _names(root):
        if name.lower() in files:
            continue  # A name that differs in letter case only: Windows sees the first.
        files[name.lower()] = name
        if is_inf(name):
            inf = _inf(root, name)
            infs.append(inf)
            total += len(inf.data or b"")
        if total > MAX_INFS_SIZE:
            raise too_many_files(root)
    return Listing(files, tuple(infs))


def read_from_tree(root: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """Read files by their paths as listed. Raises SourceUnreadableError."""
    contents: dict[str, bytes] = {}
    left = MAX_PACKAGE_SIZE
    for name in wanted:
        try:
            data = _content(root, name, min(MAX_FILE_SIZE, left))
        except OSError as error:
            raise SourceUnreadableError(
                f"{root.name}: {name} cannot be read: {error.strerror or error}.",
                "Check the file's permissions and the disk that it lies on.",
            ) from error
        if data is None:
            raise file_too_large(root.name, name)
        left -= len(data)
        contents[name] = data
    return contents


def _names(root: Path) -> Iterator[str]:
    """Yield the paths of all regular files below ``root``, relative to it and in order."""
    top = root.resolve()
    seen = {top}
    waiting = [(root, "")]
    count = 0
    while waiting:
        directory, prefix = waiting.pop()
        try:
            with os.scandir(directory) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            if directory == root:
                raise SourceUnreadableError(
                    f"The driver directory {root} cannot be read: {error.strerror or error}.",
                    "Check its permissions and the disk that it lies on.",
                ) from error
            continue  # One closed directory must not hide the others.
        for entry in entries:
            count += 1
            if count > MAX_ENTRIES:
                raise too_many_files(root)
            name = safe_path(prefix + entry.name)
            if name is None or (entry.is_symlink() and not _is_within(Path(entry.path), top)):
                continue
            if entry.is_file():
                yield name
            elif entry.is_dir():
                real = Path(entry.path).resolve()
                if real not in seen:  # Links may lead in a circle.
                    seen.add(real)
                    waiting.append((Path(entry.path), f"{name}/"))


def _is_within(path: Path, top: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(top)
    except (OSError, RuntimeError):  # A dangling link; before Python 3.13, a circle of links.
        return False


def _inf(root: Path, name: str) -> MediaInf:
    try:
        data = _content(root, name, MAX_INF_SIZE)
    except OSError as error:
        return MediaInf(name, None, f"it cannot be read: {error.strerror or error}")
    return MediaInf(name, data, "" if data is not None else INF_TOO_LARGE)


def _content(root: Path, name: str, limit: int) -> bytes | None:
    """Return the bytes of a file, None when they are more than ``limit``. Raises OSError."""
    with (root / name).open("rb") as file:
        data = file.read(limit + 1)
    return data if len(data) <= limit else None
