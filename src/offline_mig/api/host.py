"""Whether this host can do the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

from offline_mig.conversion.host_check import HostCheck, check_host
from offline_mig.conversion.plain_data import plain


class CheckForm(TypedDict):
    """What ``check`` found, point by point."""

    schema: Literal["offline-mig/check/1"]
    checks: list[HostCheck]


def check() -> tuple[HostCheck, ...]:
    """Try everything that a conversion needs of this host."""
    return check_host()


def check_record(checks: Sequence[HostCheck]) -> CheckForm:
    """Return the points of a host check as plain data."""
    return {"schema": "offline-mig/check/1", "checks": plain(checks)}
