"""What this host remembers from one run to the next: verdicts on machines, and how fast it is.

A SQLite file in the user's cache folder. Nothing depends on it: where it cannot be read or
written, everything is looked at anew.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from offline_mig.batch.preflight import (
    PUBLISHED_RATES,
    PreflightRow,
    Rates,
    rates_from,
    recorded_row,
    row_record,
)

#: Changes when the form of what is kept does; of another number everything is forgotten.
_VERSION = 1
#: Days that a verdict is kept that nobody asks for.
_KEPT = 90
#: The last conversions that rates are taken from, of each engine.
_CONVERSIONS = 100
_DAY = 24 * 3600
_TABLES = """
    CREATE TABLE verdict (fingerprint TEXT PRIMARY KEY, used REAL, record TEXT);
    CREATE TABLE conversion (engine TEXT, size INTEGER, seconds REAL, ended REAL);
"""


class HostMemory:
    """What was kept; see ``open_memory``."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def verdict(self, fingerprint: str) -> PreflightRow | None:
        """Return the verdict on work with this fingerprint, None where there is none."""
        found = None
        with suppress(sqlite3.Error):
            found = self._database.execute(
                "SELECT record FROM verdict WHERE fingerprint = ?", (fingerprint,)
            ).fetchone()
        if found is None:
            return None
        # Another run may be writing, or the disk be full: then it only seems unused for longer.
        with suppress(sqlite3.Error):
            self._database.execute(
                "UPDATE verdict SET used = ? WHERE fingerprint = ?", (time.time(), fingerprint)
            )
        with suppress(ValueError, KeyError, TypeError):
            return recorded_row(json.loads(found[0]))
        return None

    def keep(self, fingerprint: str, row: PreflightRow) -> None:
        """Keep a verdict."""
        with suppress(sqlite3.Error):
            self._database.execute(
                "INSERT OR REPLACE INTO verdict VALUES (?, ?, ?)",
                (fingerprint, time.time(), json.dumps(row_record(row))),
            )

    def rates(self, engine: str) -> Rates:
        """Return how fast conversions by an engine were here, as published where nobody knows."""
        try:
            rows = self._database.execute(
                "SELECT size, seconds FROM conversion WHERE engine = ? ORDER BY ended DESC LIMIT ?",
                (engine, _CONVERSIONS),
            ).fetchall()
        except sqlite3.Error:
            return PUBLISHED_RATES
        return rates_from(rows)

    def converted(self, engine: str, size: int, seconds: float) -> None:
        """Keep how long a conversion took whose result takes ``size`` bytes."""
        with suppress(sqlite3.Error):
            self._database.execute(
                "INSERT INTO conversion VALUES (?, ?, ?, ?)", (engine, size, seconds, time.time())
            )


@contextmanager
def open_memory() -> Iterator[HostMemory]:
    """Open what this host remembers, for the time of a ``with`` block."""
    with closing(_database()) as database:
        yield HostMemory(database)


def _database() -> sqlite3.Connection:
    try:
        path = _cache_folder() / "offline-mig" / "batch.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _prepared(sqlite3.connect(path, isolation_level=None))
        except sqlite3.OperationalError:
            # Another run may be writing; what it keeps stays.
            pass
        except sqlite3.DatabaseError:
            # It is damaged, or no database at all.
            path.unlink()
    except (OSError, RuntimeError):
        # No folder that can be written, or nobody knows where this user's is.
        pass
    return _prepared(sqlite3.connect(":memory:", isolation_level=None))


def _cache_folder() -> Path:
    """Return the user's folder for caches; raises RuntimeError for a user without a home."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG Base Directory Specification has a relative path ignored.
    return named if named.is_absolute() else Path.home() / ".cache"


def _prepared(database: sqlite3.Connection) -> sqlite3.Connection:
    # Losing the last verdicts with the host's power is no harm.
    database.execute("PRAGMA synchronous = OFF")
    if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
        database.executescript(
            "BEGIN IMMEDIATE; DROP TABLE IF EXISTS verdict; DROP TABLE IF EXISTS conversion;"
            f"{_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;"
        )
    database.execute("DELETE FROM verdict WHERE used < ?", (time.time() - _KEPT * _DAY,))
    return database
