"""Typed values as the data that JSON knows."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from datetime import date
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """Return a value of dataclasses, enums, paths and tuples as what JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        # A name that is no text is still told.
        return os.fsencode(value).decode("utf-8", "backslashreplace")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, IPv4Address | IPv6Address | IPv4Network):
        return str(value)
    if isinstance(value, tuple | list | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return value
