"""Whether Windows loads the boot driver that is in place, by who signed it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.code_signing import (
    Signer,
    authority,
    made_roots,
    microsoft,
    self_signed,
    signed_catalogue,
)
from fixtures.memory_volume import MemoryVolume
from fixtures.nt5_machine import control_set, nt5_facts
from fixtures.pe import MACHINE_AMD64, minimal_pe
from offline_mig.diagnosis.boot_bus import BootBus, boot_controller
from offline_mig.diagnosis.boot_drivers import with_drivers
from offline_mig.drivers import code_signature
from offline_mig.windows.version import Architecture, WindowsVersion

DRIVER = minimal_pe(MACHINE_AMD64, imports=("storport.sys",))
CATALOGUES = "/Windows/System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}"
WINDOWS_10 = WindowsVersion(10, 0, 19045, Architecture.AMD64)
MICROSOFT = microsoft().issue("Made PCA").issue("Publisher")
VENDOR = authority().issue("Made CA").issue("Red Hat, Inc.")


@pytest.fixture(autouse=True)
def roots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows trusts the authorities that these tests make."""
    monkeypatch.setattr(code_signature, "WINDOWS_ROOTS", made_roots())


def distrust(
    signer: Signer | None,
    windows: WindowsVersion = WINDOWS_10,
    *,
    content: bytes = DRIVER,
    trusted: bool = False,
    test_signing: bool = False,
    secure_boot: bool = False,
) -> str:
    files = {"/Windows/System32/drivers/viostor.sys": DRIVER}
    if signer is not None:
        signed = signed_catalogue(signer, {"viostor.sys": content}, windows="2:6.1,2:10.0")
        files[f"{CATALOGUES}/oem3.cat"] = signed
        files[f"{CATALOGUES}/oem4.cat"] = b"no catalogue"
    controller = boot_controller(BootBus.VIRTIO, modern=False, nt=windows.nt)
    with nt5_facts({1: control_set()}) as facts:
        guest = replace(facts.guest, version=windows, root="/Windows")
        volume = MemoryVolume(files)
        found = with_drivers(
            guest,
            controller,
            volume,
            trusted=trusted,
            test_signing=test_signing,
            secure_boot=secure_boot,
        )
        return found.file("system32/drivers/viostor.sys").distrust


@pytest.mark.parametrize("signer", [MICROSOFT, VENDOR], ids=["Microsoft", "a vendor"])
def test_listed_by_a_catalogue_of_the_guest(signer: Signer) -> None:
    assert distrust(signer) == ""


def test_not_signed_or_by_nobody_or_another_file() -> None:
    assert "no catalogue lists it" in distrust(None)
    assert "no authority vouches" in distrust(self_signed("Red Hat Inc."))
    assert "no catalogue lists it" in distrust(MICROSOFT, content=DRIVER + b"changed")


def test_where_windows_does_not_ask() -> None:
    assert distrust(None, replace(WINDOWS_10, architecture=Architecture.X86)) == ""
    assert distrust(None, WindowsVersion(5, 2, 3790, Architecture.AMD64)) == ""
    assert distrust(None, trusted=True) == ""


def test_secure_boot_takes_microsofts_signature_only() -> None:
    assert distrust(MICROSOFT, secure_boot=True) == ""
    assert "Secure Boot" in distrust(VENDOR, secure_boot=True)
    # Windows 8.1 takes cross-signed drivers with Secure Boot on.
    windows_8 = WindowsVersion(6, 3, 9600, Architecture.AMD64)
    assert distrust(VENDOR, windows_8, secure_boot=True) == ""


def test_test_signing_takes_anybodys_signature_but_wants_one() -> None:
    assert distrust(self_signed("Red Hat Inc."), test_signing=True) == ""
    assert "no catalogue lists it" in distrust(None, test_signing=True)
    changed = distrust(self_signed("Red Hat Inc."), content=DRIVER + b"changed", test_signing=True)
    assert "no catalogue lists it" in changed
