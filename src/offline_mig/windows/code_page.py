r"""The code page of a Windows' console, in which cmd.exe reads its scripts.

``Control\Nls\CodePage`` names it as OEMCP (Microsoft, "Code page identifiers"); scripts are bytes
to cmd.exe, and read in it unless ``chcp`` says otherwise.
"""

from __future__ import annotations

import codecs

from offline_mig.windows.hive import RegistryView

#: The code page of an English Windows. All that it shares with the others is ASCII.
_DEFAULT = "cp437"


def console_code_page(system: RegistryView, control_set: str) -> str:
    """Return the Python codec of a Windows' console; cp437 where it names none that is known."""
    value = system.value(rf"{control_set}\Control\Nls\CodePage", "OEMCP")
    number = (value.as_text() if value else None) or ""
    try:
        # 65001 is what "Use Unicode UTF-8 for worldwide language support" makes of it.
        return codecs.lookup("utf-8" if number == "65001" else f"cp{number}").name
    except LookupError:
        return _DEFAULT
