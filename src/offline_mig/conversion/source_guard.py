"""The promise that the source is not touched, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from offline_mig.errors import VerificationError


@dataclass(frozen=True, slots=True)
class FileState:
    """A source file: size in bytes, modification time in ns, and the SHA-256 when asked for.

    ``modified`` is None where nothing is to be told of times.
    """

    path: Path
    size: int
    modified: int | None
    sha256: str | None = None


def record_state(files: Sequence[Path], *, checksum: bool) -> tuple[FileState, ...]:
    """Return the state of all source files."""
    states = []
    for path in files:
        status = path.stat()
        digest = file_sha256(path) if checksum else None
        states.append(FileState(path, status.st_size, status.st_mtime_ns, digest))
    return tuple(states)


def require_unchanged(before: Sequence[FileState], *, checksum: bool) -> None:
    """Compare the source with what it was; raises VerificationError.

    A change can only come from elsewhere (the guest was started, a copy was still running), and
    then what was read is not to be trusted.
    """
    after = record_state([state.path for state in before], checksum=checksum)
    for old, new in zip(before, after, strict=True):
        if old != new:
            raise VerificationError(
                f"The source file {old.path} changed while it was converted.",
                "Make sure that the guest is powered off and nothing writes to it, then try again.",
            )


def without_times(states: Sequence[FileState]) -> tuple[FileState, ...]:
    """Return states that are the same for a copy of the source."""
    return tuple(replace(state, modified=None) for state in states)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
