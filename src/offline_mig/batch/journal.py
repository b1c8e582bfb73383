"""The journal of a batch: one line of JSON for each thing that happened to a guest.

It lies in the output folder and is only ever added to. Each line of a guest holds all that was
known of it then, so that the last one counts and a torn line costs no more than itself. A line is
on stable storage before what it announces begins. Whoever writes holds a lock, which the kernel
gives up with the process: two batches never share an output folder, and a killed one blocks none.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from offline_mig import __version__
from offline_mig.batch.record import BatchRecord, GuestRecord, GuestState
from offline_mig.errors import OutputRefusedError, SourceUnreadableError

SCHEMA = "offline-mig/batch-journal/1"
#: Below the output folder: what belongs to the batch and to no guest alone.
FOLDER = "batch"
_NAME = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class Journal:
    """An open journal; ``before`` is what it held when it was opened."""

    descriptor: int
    before: BatchRecord | None

    def begin(self) -> float:
        """Write the first line of a new journal; returns when that was, by the storage's clock."""
        began = os.fstat(self.descriptor).st_mtime
        _append(self.descriptor, [{"schema": SCHEMA, "version": __version__, "began": began}])
        return began

    def add(self, *records: GuestRecord) -> None:
        """Add what is known of guests now. Raises OSError for a full disk."""
        _append(self.descriptor, map(guest_line, records))


def journal_path(output: Path) -> Path:
    """Return where the journal of a batch into ``output`` lies."""
    return output / FOLDER / _NAME


@contextmanager
def open_journal(output: Path) -> Iterator[Journal]:
    """Open the journal of a batch into ``output`` for writing, and make it where there is none.

    Raises OutputRefusedError when it cannot be written or another batch is writing it.
    """
    path = journal_path(output)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # With O_RDWR it can be locked on NFS, too, where flock(2) becomes a lock of fcntl(2).
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OutputRefusedError(
            f"The journal of the batch cannot be written to {path}: {error.strerror}.",
            "Choose a folder that you may write to with -o.",
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputRefusedError(
                f"Another batch is at work in {output}.",
                "Wait for it, or choose another folder with -o.",
            ) from error
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            # A write that was cut off: what comes next needs a line of its own.
            os.ftruncate(descriptor, whole)
        yield Journal(descriptor, _parse(data[:whole], output) if whole else None)
    finally:
        os.close(descriptor)


def read_batch(output: Path) -> BatchRecord | None:
    """Return what a batch left in ``output``, None where there is none.

    It can be asked for while the batch runs. Raises SourceUnreadableError.
    """
    path = journal_path(output)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SourceUnreadableError(
            f"The journal {path} cannot be read: {error.strerror}.",
            "Give this user the right to read it.",
        ) from error
    whole = data.rfind(b"\n") + 1
    return _parse(data[:whole], output) if whole else None


def _parse(data: bytes, output: Path) -> BatchRecord:
    first, *lines = data.splitlines()
    try:
        header = json.loads(first)
        records = [guest_record(json.loads(line)) for line in lines]
        if header["schema"] == SCHEMA:
            latest = {record.name: record for record in records}
            began = float(header.get("began", 0.0))
            return BatchRecord(output, str(header["version"]), tuple(latest.values()), began)
    except (ValueError, KeyError, TypeError):
        pass
    raise SourceUnreadableError(
        f"{journal_path(output)} is not the journal of a batch, or of another version of "
        "offline-mig.",
        "Choose another folder with -o, or move the journal away to begin anew.",
    )


def guest_line(record: GuestRecord) -> dict[str, Any]:
    """Return what is known of a guest as plain data."""
    line = {field.name: getattr(record, field.name) for field in fields(record)}
    return line | {
        "source": str(record.source),
        "state": record.state.value,
        "seconds": dict(record.seconds),
        "results": list(record.results),
        "notes": list(record.notes),
    }


def guest_record(line: Mapping[str, Any]) -> GuestRecord:
    """Return what a line says of a guest; raises KeyError, TypeError and ValueError."""
    return GuestRecord(
        **{
            **line,
            "source": Path(line["source"]),
            "state": GuestState(line["state"]),
            "results": tuple(line["results"]),
            "notes": tuple(line["notes"]),
        }
    )


def _append(descriptor: int, lines: Iterable[Mapping[str, Any]]) -> None:
    # ASCII: a name that is no text comes through as it is.
    data = "".join(json.dumps(line) + "\n" for line in lines).encode("ascii")
    end = os.fstat(descriptor).st_size
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    except OSError:
        # Half a line must not spoil the next.
        os.ftruncate(descriptor, end)
        raise
