"""What a host cannot give a machine, by libvirt's own words about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.qemu_oracle import QemuDriver
from fixtures.target_machines import SAMPLES
from offline_mig.targets.devices import Graphics, VideoModel
from offline_mig.targets.hardware import TargetMachine
from offline_mig.targets.host_capabilities import (
    HostCapabilities,
    doubts,
    lacks,
    read_capabilities,
)
from offline_mig.targets.video import plan_video

#: The one that names a processor, which no emulation can stand for.
NAMED_PROCESSOR = "2022-uefi"
SECURE = SAMPLES["11-uefi-secure-boot"].plan()


def listed(part: str, name: str, *values: str, supported: str = "yes") -> str:
    found = "".join(f"<value>{value}</value>" for value in values)
    return f"<{part} supported='{supported}'><enum name='{name}'>{found}</enum></{part}>"


def capabilities(devices: str = "", firmware: str = "", loader: str = "") -> HostCapabilities:
    return read_capabilities(
        f"<domainCapabilities><os supported='yes'><enum name='firmware'>{firmware}</enum>{loader}"
        f"</os><devices>{devices}</devices></domainCapabilities>"
    )


def sentences(target: TargetMachine, host: HostCapabilities) -> str:
    return " ".join(lack.found for lack in lacks(target, host))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_real_host_lacks_what_libvirt_would_refuse(name: str, qemu_driver: QemuDriver) -> None:
    target = SAMPLES[name].plan()
    host = read_capabilities(qemu_driver.capabilities(str(target.machine_type)))
    assert host.graphics is not None and "vnc" in host.graphics
    if "spice" not in host.graphics:
        pytest.skip("a QEMU without SPICE")
    expected = "Its processor cannot stand for Skylake-Server-noTSX-IBRS."
    assert sentences(target, host) == (expected if name == NAMED_PROCESSOR else "")
    # Emulated, QEMU has spinlocks alone of them.
    (told,) = doubts(target, host) if target.enlightenments else ("",)
    assert ("vpindex" in told) == bool(target.enlightenments)
    assert "spinlocks" not in told


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        (listed("tpm", "backendModel", "passthrough"), "no TPM emulator"),
        (listed("tpm", "backendModel", "emulator", supported="no"), "no TPM emulator"),
        (listed("graphics", "type", "vnc"), "no SPICE"),
        (listed("video", "modelType", "vga", "virtio"), "no qxl card"),
    ],
)
def test_devices_that_a_host_lacks_are_told(devices: str, words: str) -> None:
    host = capabilities(devices, "<value>efi</value>")
    (lack,) = lacks(SECURE, host)
    assert words in lack.found
    assert lack.remedy


def test_firmware_that_a_host_lacks_is_told() -> None:
    plain = replace(SECURE, secure_boot=False)
    assert "no UEFI firmware." in sentences(plain, capabilities())
    loader = listed("loader", "secure", "no")
    insecure = capabilities("", "<value>efi</value>", loader)
    assert "no UEFI firmware with Secure Boot" in sentences(SECURE, insecure)
    assert sentences(plain, insecure) == ""
    assert sentences(SAMPLES["10-bios"].plan(), capabilities()) == ""


def test_host_with_all_enlightenments_is_not_doubted() -> None:
    every = listed("hyperv", "features", *SECURE.enlightenments, "reset")
    host = read_capabilities(
        f"<domainCapabilities><features>{every}</features></domainCapabilities>"
    )
    assert doubts(SECURE, host) == ()


def test_nothing_is_held_against_a_libvirt_that_does_not_say() -> None:
    host = read_capabilities("<domainCapabilities/>")
    assert lacks(SECURE, host) == doubts(SECURE, host) == ()


def test_what_was_chosen_instead_is_not_missed() -> None:
    host = capabilities(listed("graphics", "type", "vnc") + listed("video", "modelType", "vga"))
    card = plan_video((1024, 768), VideoModel.VGA)
    target = replace(SAMPLES["10-bios"].plan(), graphics=Graphics.VNC, video=card)
    assert lacks(target, host) == ()
