"""Results that depend on their inputs alone.

With a moment that stands for the clock, whatever would be stamped with the time gets that moment
instead (files and folders on NTFS, the headers of hives), disks are copied in order once all is
done, so that the clusters of a qcow2 lie where they lay before, and a report says nothing of when
and how long.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from offline_mig.errors import HostNotReadyError

#: The variable by which builds agree on a time (reproducible-builds.org, "SOURCE_DATE_EPOCH").
VARIABLE = "SOURCE_DATE_EPOCH"
#: 2000-01-01 00:00:00 UTC. Any fixed time would do; this one is nobody's idea of now.
_DEFAULT = 946_684_800
#: 9999-12-31 23:59:59 UTC, the last second that everything on the way can hold.
_LAST = 253_402_300_799


def result_moment(environment: Mapping[str, str] = os.environ) -> int:
    """Return the time that results are stamped with, in seconds since 1970.

    It is that of SOURCE_DATE_EPOCH, or a fixed one. Raises HostNotReadyError for a variable that is
    no such number.
    """
    text = environment.get(VARIABLE)
    if text is None:
        return _DEFAULT
    if text.isascii() and text.isdecimal() and int(text) <= _LAST:
        return int(text)
    raise HostNotReadyError(
        f"The environment variable {VARIABLE} is {text[:40]!r}, which is no number of seconds "
        "since 1970.",
        "Set it to the time that the results are to be stamped with, or unset it.",
    )
