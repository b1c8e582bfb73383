r"""hiberfil.sys: whether a session waits in it, and whose.

Windows hibernates by writing its memory into ``\hiberfil.sys``. Since Windows 8 it also does so
when it is shut down with fast startup (which it calls hiberboot): the users are logged off first,
and what is written is the session of the kernel and the services. Both look the same from outside;
a byte of the header tells which it is. The header is PO_MEMORY_IMAGE, whose layout depends on the
version and on the processor.

Sources: Sylve, Marziale, Richard, "Modern Windows hibernation file analysis" (2016) for the
signatures and what happens to the file; Volatility's wiki, "Hiber Address Space", for Windows up
to 7; the types in Microsoft's public symbols of ntoskrnl (the Vergilius project, ntdiff) for the
offsets since Windows 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from offline_mig.windows.hive import RegistryView

#: How much of the file is to be read: a page, which the header always fits into.
HEADER_SIZE = 4096
#: What the file begins with while a session waits in it: hibernated, being resumed (and stopped
#: amid it), to be resumed into the debugger, to be resumed at each start (Windows Embedded), on
#: another volume. After resuming it is "wake" or "WAKE", or the header is all zeros.
_WAITING = {
    b"hibr": "hibernated",
    b"HIBR": "hibernated",
    b"rstr": "stopped while it was resumed",
    b"RSTR": "stopped while it was resumed",
    b"BRKP": "to be resumed into the debugger",
    b"HORM": "to be resumed at every start",
    b"link": "kept on another volume",
}
#: Signatures of Windows 2000 to 7, which had small letters.
_OLD = (b"hibr", b"rstr", b"link")
_PAGE = 4096
#: PageSize is at 0x14 in a header of 32 bits and at 0x18 in one of 64; SystemTime stands behind it,
#: at 0x20 also in the 32-bit header of Windows 2000 to 2003, which has ImageType in between.
_PAGE_SIZE_AT = {32: 0x14, 64: 0x18}
_TIME_AT = {32: (0x18, 0x20), 64: (0x20,)}
#: Where the byte Hiberboot is, by LengthSelf, the size of the structure. Only its lowest bit
#: counts: in Windows 11 24H2 the others mean something else.
_HIBERBOOT_AT = {
    0x328: 0x2CC,  # Windows 10 up to 1607, 32 bits
    0x340: 0x2DC,  # Windows 10 2004 to 22H2, 32 bits
    0x360: 0x2FC,  # Windows 8.1
    0x3B0: 0x34C,  # Windows 10 before 1607
    0x3C8: 0x354,  # Windows 10 1607
    0x3E0: 0x364,  # Windows 10 2004 to 22H2
    0x448: 0x3CC,  # Windows 11 21H2 to 23H2
    0x4D8: 0x464,  # Windows 11 24H2
}
_LENGTH_AT = 0xC
_FILETIME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
#: Years that a Windows with hibernation can have been hibernated in.
_YEARS = range(1999, 2101)
#: The first Windows with fast startup: 8.
_FIRST_FAST_STARTUP = (6, 2)
#: How far the time of shutting down may be from that in the header for the two to be one event: a
#: kernel's session is written in seconds, on a slow disk in a minute or two.
_SAME_EVENT = timedelta(minutes=2)


class Session(StrEnum):
    """Whose session waits."""

    USERS = "hibernation"
    """All of it: users with their programs and their unsaved work."""
    KERNEL = "fast startup"
    """The kernel's and the services'; users were logged off."""


class Certainty(StrEnum):
    """How sure it is whose session waits."""

    KNOWN = "known"
    LIKELY = "likely"
    UNKNOWN = "unknown"
    """It cannot be told, and is taken for the users'."""


@dataclass(frozen=True, slots=True)
class MemoryImage:
    """The header of a hiberfil.sys in which a session waits.

    ``length`` is the size of the header in bytes as it says it itself, ``saved`` when it was
    written (UTC), ``hiberboot`` whether for fast startup; None where the layout is not known.
    """

    signature: str
    length: int | None = None
    saved: datetime | None = None
    hiberboot: bool | None = None

    @property
    def state(self) -> str:
        """What the signature says."""
        return _WAITING[self.signature.encode("ascii")]


@dataclass(frozen=True, slots=True)
class PowerSettings:
    """What a Windows says of hibernation; None what it does not say.

    ``hiberboot`` is whether it shuts down with fast startup, ``hibernate`` whether hibernation is
    switched on, ``shut_down`` when it was last shut down (UTC).
    """

    nt: tuple[int, int]
    hiberboot: bool | None = None
    hibernate: bool | None = None
    shut_down: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hibernation:
    """A session that waits in hiberfil.sys; ``evidence`` are sentences on what that rests on."""

    session: Session
    certainty: Certainty
    image: MemoryImage
    evidence: tuple[str, ...]


def read_memory_image(header: bytes) -> MemoryImage | None:
    """Return what the first page of a hiberfil.sys says, None when no session waits in it.

    Nothing is raised: what makes no sense is left out, since the signature alone counts for the
    loader.
    """
    signature = header[:4]
    if signature not in _WAITING:
        return None
    name = signature.decode("ascii")
    bits = _bits(header)
    if bits is None:
        return MemoryImage(name)
    length = _number(header, _LENGTH_AT, 4)
    hiberboot = None
    if signature not in _OLD:
        at = _HIBERBOOT_AT.get(length)
        if at is not None and at < len(header):
            hiberboot = bool(header[at] & 1)
    return MemoryImage(name, length, _saved(header, bits), hiberboot)


def read_power_settings(
    system: RegistryView, control_set: str, nt: tuple[int, int]
) -> PowerSettings:
    """Return what the hive SYSTEM says of hibernation."""
    shut_down = system.value(rf"{control_set}\Control\Windows", "ShutdownTime")
    return PowerSettings(
        nt,
        hiberboot=_flag(
            system, rf"{control_set}\Control\Session Manager\Power", "HiberbootEnabled"
        ),
        hibernate=_flag(system, rf"{control_set}\Control\Power", "HibernateEnabled"),
        shut_down=_time(int.from_bytes(shut_down.data[:8], "little")) if shut_down else None,
    )


def judge_hibernation(image: MemoryImage, settings: PowerSettings | None = None) -> Hibernation:
    """Say whose session waits. Without ``settings`` by the header alone.

    What cannot be told is taken for a session of users: giving that up may lose their work.
    """
    evidence = [f"hiberfil.sys begins with {image.signature}: {image.state}"]
    if image.saved is not None:
        evidence.append(f"it was written at {image.saved:%Y-%m-%d %H:%M:%S} UTC")
    if settings is not None:
        evidence += _told(settings)
    session, certainty, reason = _judged(image, settings)
    return Hibernation(session, certainty, image, (*evidence, reason))


def _judged(image: MemoryImage, settings: PowerSettings | None) -> tuple[Session, Certainty, str]:
    if image.signature.encode("ascii") in _OLD or (
        settings is not None and settings.nt < _FIRST_FAST_STARTUP
    ):
        return Session.USERS, Certainty.KNOWN, "before Windows 8 there is no fast startup"
    allowed = None if settings is None else settings.hiberboot
    if image.hiberboot is False:
        return Session.USERS, Certainty.KNOWN, "its header says that it is not for fast startup"
    if image.hiberboot and allowed is not False:
        return Session.KERNEL, Certainty.KNOWN, "its header says that it is for fast startup"
    if image.hiberboot:
        reason = "its header says fast startup, which this Windows has switched off"
        return Session.USERS, Certainty.UNKNOWN, reason
    if allowed is False:
        return Session.USERS, Certainty.LIKELY, "this Windows has fast startup switched off"
    shut_down = None if settings is None else settings.shut_down
    if (
        allowed
        and shut_down is not None
        and image.saved is not None
        and abs(image.saved - shut_down) <= _SAME_EVENT
    ):
        return Session.KERNEL, Certainty.LIKELY, "it was written when Windows was shut down"
    return Session.USERS, Certainty.UNKNOWN, "the layout of its header is not known"


def _told(settings: PowerSettings) -> Iterator[str]:
    for name, value in (
        ("HiberbootEnabled", settings.hiberboot),
        ("HibernateEnabled", settings.hibernate),
    ):
        if value is not None:
            yield f"{name} is {int(value)}"
    if settings.shut_down is not None:
        yield f"ShutdownTime is {settings.shut_down:%Y-%m-%d %H:%M:%S} UTC"


def _bits(header: bytes) -> int | None:
    """Return the width of the header, by where it has the size of a page."""
    # A 64-bit one has the upper half of PageSelf at 0x14, which is never that large.
    for bits, at in _PAGE_SIZE_AT.items():
        if _number(header, at, 4) == _PAGE:
            return bits
    return None


def _saved(header: bytes, bits: int) -> datetime | None:
    for at in _TIME_AT[bits]:
        time = _time(_number(header, at, 8))
        if time is not None and time.year in _YEARS:
            return time
    return None


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _time(filetime: int) -> datetime | None:
    try:
        return _FILETIME_EPOCH + timedelta(microseconds=filetime // 10)
    except OverflowError:
        return None


def _flag(system: RegistryView, key: str, name: str) -> bool | None:
    value = system.value(key, name)
    number = value.as_int() if value else None
    return None if number is None else bool(number)
