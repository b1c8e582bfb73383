"""Hardware for a disk that comes without a description of its machine.

Memory and processors are what its Windows runs well on, within what all its editions take; the
disks keep what they are, and the firmware is what they are laid out for.
"""

from __future__ import annotations

from dataclasses import dataclass

from offline_mig.windows.version import WindowsVersion


@dataclass(frozen=True, slots=True)
class AssumedHardware:
    """Memory in MiB, virtual CPUs, whether there was a TPM, and VMware's word for a sound card."""

    memory: int
    vcpus: int
    tpm: bool = False
    sound: str | None = None


#: Where nothing is known of the Windows: enough for Windows 11, and not more than 32-bit Windows
#: XP can use.
UNKNOWN = AssumedHardware(memory=4096, vcpus=2)
_NT6, _NT61 = (6, 0), (6, 1)


def hardware_like(windows: WindowsVersion) -> AssumedHardware:
    """Return hardware of the kind that a Windows usually runs on.

    NT 5 gets one processor: the uniprocessor HAL that Setup installed on most such machines uses
    no second one. Windows 11 gets the TPM that its Setup insists on (Microsoft, "Windows 11
    specifications"). Clients have a sound card, servers none.
    """
    if windows.nt < _NT6:
        return AssumedHardware(1024, 1, sound=None if windows.server else "es1371")
    sound = None if windows.server else "hdaudio"
    if windows.nt < _NT61:
        return AssumedHardware(2048, 2, sound=sound)
    return AssumedHardware(4096, 2, tpm=windows.release == "w11", sound=sound)
