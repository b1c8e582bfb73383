"""hiberfil.sys: whose session waits, by headers of all layouts, made ones and any bytes at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.hiberfil import SAVED, filetime, new_header, old_header
from fixtures.hives import build_hive
from fixtures.registry_parts import dword
from offline_mig.windows.hibernation import (
    Certainty,
    Hibernation,
    MemoryImage,
    PowerSettings,
    Session,
    judge_hibernation,
    read_memory_image,
    read_power_settings,
)
from offline_mig.windows.hive import Hive, HiveName
from offline_mig.windows.registry import RegistryType, RegistryValue

_XP, _7, _10 = (5, 1), (6, 1), (10, 0)
#: LengthSelf, the place of Hiberboot and the width, from the public symbols of each Windows.
_LAYOUTS = {
    "8.1": (0x360, 0x2FC, 64),
    "10 before 1607": (0x3B0, 0x34C, 64),
    "10 1607": (0x3C8, 0x354, 64),
    "10 22H2": (0x3E0, 0x364, 64),
    "11 22H2": (0x448, 0x3CC, 64),
    "11 24H2": (0x4D8, 0x464, 64),
    "10 1607 x86": (0x328, 0x2CC, 32),
    "10 22H2 x86": (0x340, 0x2DC, 32),
}


def judged(header: bytes, settings: PowerSettings | None = None) -> Hibernation:
    image = read_memory_image(header)
    assert image is not None
    return judge_hibernation(image, settings)


@pytest.mark.parametrize(
    "header",
    [b"", b"wake".ljust(4096, b"\0"), b"WAKE".ljust(4096, b"\0"), bytes(4096), b"\xff" * 4096],
)
def test_no_session_waits(header: bytes) -> None:
    assert read_memory_image(header) is None


@pytest.mark.parametrize("signature", [b"hibr", b"HIBR", b"RSTR", b"HORM", b"BRKP", b"link"])
def test_a_signature_alone_is_a_session(signature: bytes) -> None:
    image = read_memory_image(signature)
    assert image == MemoryImage(signature.decode())
    assert judge_hibernation(image).session is Session.USERS


@pytest.mark.parametrize(("bits", "nt5"), [(32, True), (64, True), (32, False), (64, False)])
def test_before_windows_8_it_is_the_users(bits: int, nt5: bool) -> None:
    found = judged(old_header(bits=bits, nt5=nt5))
    assert (found.session, found.certainty) == (Session.USERS, Certainty.KNOWN)
    assert found.image.saved == SAVED
    assert found.image.hiberboot is None


@pytest.mark.parametrize("layout", _LAYOUTS)
@pytest.mark.parametrize("hiberboot", [False, True])
def test_the_header_tells_fast_startup(layout: str, hiberboot: bool) -> None:
    length, at, bits = _LAYOUTS[layout]
    header = new_header(hiberboot=hiberboot, length=length, hiberboot_at=at, bits=bits)
    for settings in (None, PowerSettings(_10), PowerSettings(_10, hiberboot=True)):
        found = judged(header, settings)
        assert found.session is (Session.KERNEL if hiberboot else Session.USERS)
        assert found.certainty is Certainty.KNOWN
        assert found.image.saved == SAVED


def test_flags_beside_hiberboot_are_not_it() -> None:
    # Windows 11 24H2 has SecureBoot in the third bit.
    length, at, _ = _LAYOUTS["11 24H2"]
    header = bytearray(new_header(hiberboot=False, length=length, hiberboot_at=at))
    header[at] = 0b110
    assert judged(bytes(header)).session is Session.USERS


def test_a_windows_that_has_it_switched_off_contradicts_the_header() -> None:
    found = judged(new_header(hiberboot=True), PowerSettings(_10, hiberboot=False))
    assert (found.session, found.certainty) == (Session.USERS, Certainty.UNKNOWN)


_UNKNOWN = new_header(hiberboot=True, length=0x777)
_ON = PowerSettings(_10, hiberboot=True, hibernate=True)


@pytest.mark.parametrize(
    ("settings", "session", "certainty"),
    [
        (None, Session.USERS, Certainty.UNKNOWN),
        (_ON, Session.USERS, Certainty.UNKNOWN),
        (PowerSettings(_7), Session.USERS, Certainty.KNOWN),
        (PowerSettings(_10, hiberboot=False), Session.USERS, Certainty.LIKELY),
        (replace(_ON, shut_down=SAVED), Session.KERNEL, Certainty.LIKELY),
        (replace(_ON, shut_down=SAVED - timedelta(days=3)), Session.USERS, Certainty.UNKNOWN),
    ],
)
def test_an_unknown_layout_is_told_by_what_windows_says(
    settings: PowerSettings | None, session: Session, certainty: Certainty
) -> None:
    found = judged(_UNKNOWN, settings)
    assert (found.session, found.certainty) == (session, certainty)
    assert found.evidence[0] == "hiberfil.sys begins with HIBR: hibernated"


def test_settings_are_read_from_the_registry(tmp_path: Path) -> None:
    moment = datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)
    control = r"ControlSet001\Control"
    path = tmp_path / "SYSTEM"
    path.write_bytes(
        build_hive(
            "SYSTEM",
            {
                rf"{control}\Session Manager\Power": {"HiberbootEnabled": dword(1)},
                rf"{control}\Power": {"HibernateEnabled": dword(0)},
                rf"{control}\Windows": {
                    "ShutdownTime": RegistryValue(
                        RegistryType.BINARY, filetime(moment).to_bytes(8, "little")
                    )
                },
            },
        )
    )
    hive = Hive(path, HiveName.SYSTEM)
    assert read_power_settings(hive, "ControlSet001", _10) == PowerSettings(
        _10, hiberboot=True, hibernate=False, shut_down=moment
    )
    assert read_power_settings(hive, "ControlSet002", _XP) == PowerSettings(_XP)


_MOMENTS = st.none() | st.datetimes(timezones=st.just(UTC))
_SETTINGS = st.none() | st.builds(
    PowerSettings,
    st.sampled_from([_XP, _7, _10]),
    hiberboot=st.none() | st.booleans(),
    hibernate=st.none() | st.booleans(),
    shut_down=_MOMENTS,
)
_SIGNATURES = st.sampled_from([b"hibr", b"HIBR", b"RSTR", b"HORM", b"BRKP", b"wake"])


@st.composite
def _altered(draw: st.DrawFn) -> bytes:
    length, at, bits = draw(st.sampled_from(list(_LAYOUTS.values())))
    header = bytearray(
        new_header(hiberboot=draw(st.booleans()), length=length, hiberboot_at=at, bits=bits)
    )
    for _ in range(draw(st.integers(0, 6))):
        header[draw(st.integers(0, 0x500))] = draw(st.integers(0, 255))
    return bytes(header[: draw(st.integers(0, 4096))])


@given(st.binary(max_size=200) | _altered(), _SIGNATURES, _SETTINGS)
def test_any_header_is_read_and_never_taken_lightly(
    body: bytes, signature: bytes, settings: PowerSettings | None
) -> None:
    image = read_memory_image(signature + body[4:])
    assert (image is None) == (signature == b"wake")
    if image is None:
        return
    found = judge_hibernation(image, settings)
    if found.session is Session.KERNEL:
        # Nobody's work is held for a kernel's session without a word that says so.
        assert signature.isupper()
        assert settings is None or (settings.nt >= (6, 2) and settings.hiberboot is not False)
        assert image.hiberboot or (settings is not None and settings.hiberboot)
    assert all(sentence.isprintable() for sentence in found.evidence)
