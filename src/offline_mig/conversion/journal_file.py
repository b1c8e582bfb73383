"""Where journals lie: beside the image unless asked otherwise, never one in place of another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from offline_mig.errors import OutputRefusedError, SourceUnreadableError
from offline_mig.images.commit import draft_of, sync
from offline_mig.surgery.journal_reader import parse_journal
from offline_mig.surgery.stored_journal import StoredJournal, journal_json

#: A journal holds every file that was replaced, in base64, and is held in memory as a whole.
_MAX_SIZE = 512 * 1024 * 1024
#: Journals of one image, after which somebody should tidy up.
_MAX_JOURNALS = 1000


def refuse_existing_journal(wanted: Path | None) -> None:
    """Raise OutputRefusedError for a wanted journal that is there, before any work is done."""
    if wanted is not None and os.path.lexists(wanted):
        raise _exists(wanted)


def write_journal(
    journal: StoredJournal, image: Path, wanted: Path | None, announce: Callable[[Path], None]
) -> Path:
    """Write a journal, whole and on stable storage, under a name that nothing has yet.

    Without a wish that is ``guest.qcow2.journal.json`` beside ``guest.qcow2``, or one with the
    next free number. ``announce`` is told each name before it is tried. Returns the absolute path.
    Raises OutputRefusedError when the wanted file exists or cannot be written.
    """
    names = _names(image) if wanted is None else iter([wanted.absolute()])
    for path in names:
        if wanted is None and os.path.lexists(path):
            continue
        announce(path)
        try:
            _write(path, draft_of(path, journal.identity), journal_json(journal).encode("ascii"))
        except FileExistsError as error:
            if wanted is None:
                continue
            raise _exists(path) from error
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise OutputRefusedError(
                f"The journal cannot be written to {path}: {reason}.",
                "Free some space, or choose another place with --journal; nothing was changed.",
            ) from error
        return path
    raise OutputRefusedError(
        f"There are {_MAX_JOURNALS} journals of {image} already.",
        "Move away those of edits that need not be undone.",
    )


def _write(path: Path, draft: Path, content: bytes) -> None:
    """Write a file that must not exist yet; it appears when it is whole, if names can be linked."""
    try:
        _write_new(draft, content)
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            raise
        except OSError:
            # No links on this file system; the image is not changed before it is written, either.
            _write_new(path, content)
    finally:
        draft.unlink(missing_ok=True)
    sync(path.parent)


def _write_new(path: Path, content: bytes) -> None:
    # Only the owner: it has pieces of the registry in it.
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def read_journal(path: Path) -> StoredJournal:
    """Return the journal in a file; raises SourceUnreadableError."""
    try:
        if not path.is_file():
            what = "is no file" if path.exists() else "does not exist"
            raise SourceUnreadableError(
                f"The journal {path} {what}.", "Give the file that the edit named when it was done."
            )
        with path.open("rb") as stream:
            text = stream.read(_MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SourceUnreadableError(
            f"The journal {path} cannot be read: {reason}.", "Check the path and its permissions."
        ) from error
    if len(text) > _MAX_SIZE:
        raise SourceUnreadableError(
            f"{path} has more than {_MAX_SIZE // 1024**2} MiB; no journal has.",
            "Give the file that the edit named when it was done.",
        )
    return parse_journal(text, f"The journal {path}")


def _exists(path: Path) -> OutputRefusedError:
    return OutputRefusedError(
        f"The journal {path} exists already, and a journal is never replaced.",
        "Choose another name with --journal, or give none.",
    )


def _names(image: Path) -> Iterator[Path]:
    yield image.with_name(f"{image.name}.journal.json")
    for number in range(2, _MAX_JOURNALS + 1):
        yield image.with_name(f"{image.name}.journal-{number}.json")
