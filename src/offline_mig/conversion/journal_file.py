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


def reserve_journal(image: Path, wanted: Path | None, announce: Callable[[Path], None]) -> Path:
    """Make sure of a name for a journal, by an empty file, and return its absolute path.

    Without a wish it is ``guest.qcow2.journal.json`` beside ``guest.qcow2``, or one with the next
    free number. ``announce`` is told each name before it is tried. Raises OutputRefusedError when
    the wanted file exists or cannot be written.
    """
    names = _names(image) if wanted is None else iter([wanted.absolute()])
    for path in names:
        if wanted is None and os.path.lexists(path):
            continue
        announce(path)
        try:
            # Only the owner: it has pieces of the registry in it.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        except FileExistsError as error:
            if wanted is None:
                continue
            raise _exists(path) from error
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise OutputRefusedError(
                f"The journal cannot be written to {path}: {reason}.",
                "Choose another place with --journal; nothing was changed.",
            ) from error
        return path
    raise OutputRefusedError(
        f"There are {_MAX_JOURNALS} journals of {image} already.",
        "Move away those of edits that need not be undone.",
    )


def refuse_existing_journal(wanted: Path | None) -> None:
    """Raise OutputRefusedError for a wanted journal that is there, before any work is done."""
    if wanted is not None and os.path.lexists(wanted):
        raise _exists(wanted)


def write_journal(journal: StoredJournal, path: Path) -> None:
    """Write a journal whose name is reserved, whole and on stable storage or not at all."""
    draft = draft_of(path, journal.identity)
    try:
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(journal_json(journal))
        sync(draft)
        draft.replace(path)
        sync(path.parent)
    except OSError as error:
        raise OutputRefusedError(
            f"The journal cannot be written to {path}: {error.strerror}.",
            "Free some space, or choose another place with --journal; nothing was changed.",
        ) from error


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
