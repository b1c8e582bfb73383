r"""Where Windows pages to and dumps its memory.

``Control\Session Manager\Memory Management`` lists the page files as PagingFiles, each with its
smallest and largest size in MiB (Microsoft KB 314834); ``?:`` and no sizes let Windows choose.
``Control\CrashControl`` names the file for dumps (KB 254649).
"""

from __future__ import annotations

import re

from offline_mig.windows import crash_control
from offline_mig.windows.hive import RegistryView

_KEY = r"Control\Session Manager\Memory Management"
_LETTER = re.compile(r'\s*"?([A-Z]):\\', re.ASCII | re.IGNORECASE)


def page_file_letters(system: RegistryView, control_set: str) -> tuple[str, ...]:
    """Return the letters of the drives that have page files by the user's choice."""
    value = system.value(rf"{control_set}\{_KEY}", "PagingFiles")
    return _letters(value.as_texts() if value else ())


def dump_letters(system: RegistryView, control_set: str) -> tuple[str, ...]:
    """Return the letters of the drives that dumps go to, other than that of Windows."""
    key = rf"{control_set}\{crash_control.KEY}"
    values = (system.value(key, name) for name in crash_control.DUMP_FILES)
    return _letters(tuple(text for value in values if value for text in value.as_texts()))


def _letters(texts: tuple[str, ...]) -> tuple[str, ...]:
    found = (match[1].upper() for text in texts if (match := _LETTER.match(text)))
    return tuple(dict.fromkeys(found))
