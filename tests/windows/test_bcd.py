"""BCD stores: made ones read as hives, edited, and read back by other programs."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

import pytest

from fixtures import bcd as made
from fixtures.hives import Keys, build_hive
from offline_mig.guest.partition_identity import GptIdentity, MbrIdentity
from offline_mig.windows.bcd import (
    APPLICATION_DEVICE,
    APPLICATION_PATH,
    BOOT_MANAGER,
    GRAPHICS_MODE_DISABLED,
    OS_DEVICE,
    BootStore,
    ElementEdit,
    ObjectType,
    boot_application,
    boot_manager,
    default_application,
    device_edit,
    device_edits,
    loaders,
    read_boot_store,
)
from offline_mig.windows.bcd_device import (
    BootVolume,
    DeviceElement,
    DiskPartition,
    RamDisk,
    UnknownDevice,
)
from offline_mig.windows.hive import Hive
from offline_mig.windows.registry import RegistryValue

MIB = 1024 * 1024
SIGNATURE = 0x5CBEA03F
DISK = uuid.UUID("8f2d7f3a-52c1-4f0e-9a64-0e1d5a7c9b01")
ESP = uuid.UUID("00000000-0000-4000-8000-0000000000e5")
WINDOWS = uuid.UUID("1e178d94-794e-41e9-865d-2e5b4328cd24")

BIOS = made.StoreSpec(
    system=made.mbr_device(SIGNATURE, MIB),
    windows=made.mbr_device(SIGNATURE, 33 * MIB),
    recovery=made.mbr_device(SIGNATURE, MIB),
)
UEFI = made.StoreSpec(
    system=made.gpt_device(DISK, ESP),
    windows=made.gpt_device(DISK, WINDOWS),
    recovery=made.gpt_device(DISK, WINDOWS),
    uefi=True,
)


class BcdFile:
    """A store in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, spec: made.StoreSpec) -> BootStore:
        return self.write_keys(made.store_keys(spec))

    def write_keys(self, keys: Keys) -> BootStore:
        self.path.write_bytes(build_hive("BCD", keys))
        return self.read()

    def read(self) -> BootStore:
        return read_boot_store(Hive(self.path, "BCD"))

    def apply(self, *edits: ElementEdit) -> BootStore:
        hive = Hive(self.path, "BCD", writable=True)
        for edit in edits:
            if edit.value is None:
                hive.delete_key(edit.key)
            else:
                hive.set_value(edit.key, "Element", edit.value)
        hive.commit(self.path)
        return self.read()

    def seen_by_reglookup(self, path: str) -> str:
        command = ["reglookup", "-p", path, self.path]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def file(tmp_path: Path) -> BcdFile:
    return BcdFile(tmp_path / "BCD")


def without(*elements: int) -> dict[int, RegistryValue | None]:
    return dict.fromkeys(elements)


def more(spec: made.StoreSpec, **objects: dict[int, RegistryValue | None]) -> made.StoreSpec:
    ids = {name: getattr(made, name.upper()) for name in objects}
    changes = {ids[name]: elements for name, elements in objects.items()}
    return made.StoreSpec(
        spec.system, spec.windows, spec.recovery, spec.uefi, spec.root, {**spec.more, **changes}
    )


def test_store_for_a_bios(file: BcdFile) -> None:
    store = file.write(BIOS)
    manager = boot_manager(store)
    assert manager is not None
    assert manager.device == DiskPartition(MbrIdentity(SIGNATURE, MIB))
    assert manager.default == made.LOADER
    assert manager.display_order == (made.LOADER,)
    assert manager.boot_sequence == ()
    assert manager.timeout == 30
    assert manager.resume == made.RESUME
    assert not manager.attempt_resume
    loader = default_application(store)
    assert loader is not None
    windows = DiskPartition(MbrIdentity(SIGNATURE, 33 * MIB))
    assert (loader.device, loader.os_device) == (windows, windows)
    assert loader.type == ObjectType.LOADER
    assert (loader.path, loader.system_root) == (r"\Windows\system32\winload.exe", r"\Windows")
    assert loader.recovery_sequence == (made.RECOVERY,)
    assert loader.recovery_enabled
    assert loader.resume == made.RESUME
    assert loader.safe_boot is None
    assert not loader.graphics_mode_disabled


def test_store_for_uefi(file: BcdFile) -> None:
    store = file.write(UEFI)
    loader = default_application(store)
    assert loader is not None
    assert loader.os_device == DiskPartition(GptIdentity(WINDOWS, DISK))
    assert loader.path == r"\Windows\system32\winload.efi"
    assert store.text(BOOT_MANAGER, APPLICATION_PATH) == r"\EFI\Microsoft\Boot\bootmgfw.efi"
    assert store.objects[made.FIRMWARE_MANAGER].type == ObjectType.FIRMWARE_MANAGER
    recovery = boot_application(store, made.RECOVERY)
    assert recovery is not None
    assert recovery.device == RamDisk(
        r"\Recovery\WindowsRE\Winre.wim", DiskPartition(GptIdentity(WINDOWS, DISK))
    )
    assert [found.id for found in loaders(store)] == [made.LOADER, made.RECOVERY]


def test_without_a_default_the_first_displayed_starts(file: BcdFile) -> None:
    order = made.references(made.RECOVERY, made.LOADER)
    spec = more(BIOS, boot_manager={0x23000003: None, 0x24000001: order})
    found = default_application(file.write(spec))
    assert found is not None
    assert found.id == made.RECOVERY


@pytest.mark.parametrize(
    "elements",
    [
        {0x23000003: made.text("{00000000-0000-0000-0000-000000000000}")},
        without(0x23000003, 0x24000001),
    ],
)
def test_a_default_that_is_not_there_starts_nothing(
    file: BcdFile, elements: dict[int, RegistryValue | None]
) -> None:
    assert default_application(file.write(more(BIOS, boot_manager=elements))) is None


def test_elements_are_inherited_and_overridden(file: BcdFile) -> None:
    inherited = more(
        BIOS,
        global_settings={GRAPHICS_MODE_DISABLED: made.flag(True)},
        loader_settings={0x25000080: made.number(1)},
    )
    loader = default_application(file.write(inherited))
    assert loader is not None
    assert loader.graphics_mode_disabled
    assert loader.safe_boot == 1  # the safe mode with a network
    overridden = more(inherited, loader={GRAPHICS_MODE_DISABLED: made.flag(False)})
    store = file.write(overridden)
    loader = default_application(store)
    assert loader is not None
    assert not loader.graphics_mode_disabled


def test_inheritance_in_circles_ends(file: BcdFile) -> None:
    circle = made.references(made.LOADER_SETTINGS, made.GLOBAL_SETTINGS)
    store = file.write(more(BIOS, global_settings={0x14000006: circle}))
    assert store.value(made.LOADER, 0x26000099) is None
    beyond = store.holder(made.LOADER, 0x250000F3)
    assert beyond is not None
    assert beyond.id == made.HYPERVISOR_SETTINGS


def test_devices_are_moved_to_another_disk(file: BcdFile) -> None:
    store = file.write(BIOS)
    old = MbrIdentity(SIGNATURE, 33 * MIB)
    new = MbrIdentity(0xAABBCCDD, 2048 * MIB)
    edits = device_edits(store, {old: new})
    assert {(edit.object_id, edit.element) for edit in edits} == {
        (made.LOADER, APPLICATION_DEVICE),
        (made.LOADER, OS_DEVICE),
        (made.RESUME, APPLICATION_DEVICE),
        (made.RESUME, OS_DEVICE),
    }
    moved = file.apply(*edits)
    loader = default_application(moved)
    assert loader is not None
    assert loader.os_device == DiskPartition(new)
    # Another reader of hives finds the bytes that Windows would have written.
    expected = made.mbr_device(0xAABBCCDD, 2048 * MIB)
    shown = file.seen_by_reglookup(rf"/Objects/{made.LOADER}/Elements/21000001/Element")
    content = shown.splitlines()[1].split(",")[2]
    assert unquoted(content) == expected


def unquoted(text: str) -> bytes:
    """Undo reglookup's quoting of bytes that are no letters (%XX)."""
    head, *parts = text.split("%")
    return head.encode("ascii") + b"".join(
        bytes([int(part[:2], 16)]) + part[2:].encode("ascii") for part in parts
    )


def test_ram_disks_move_with_their_partition(file: BcdFile) -> None:
    new = MbrIdentity(0xAABBCCDD, MIB)
    store = file.write(BIOS)
    edits = device_edits(store, {MbrIdentity(SIGNATURE, MIB): new})
    assert {edit.object_id for edit in edits} == {
        BOOT_MANAGER,
        made.MEMORY_TEST,
        made.RECOVERY,
        made.RECOVERY_OPTIONS,
    }
    moved = file.apply(*edits)
    target = made.StoreSpec(
        system=made.mbr_device(0xAABBCCDD, MIB),
        windows=BIOS.windows,
        recovery=made.mbr_device(0xAABBCCDD, MIB),
    )
    assert moved == BcdFile(file.path.with_name("other")).write(target)


def test_nothing_is_moved_that_is_elsewhere(file: BcdFile) -> None:
    store = file.write(UEFI)
    assert device_edits(store, {MbrIdentity(SIGNATURE, MIB): MbrIdentity(1, MIB)}) == ()


def test_a_device_is_set(file: BcdFile) -> None:
    file.write(BIOS)
    edit = device_edit(made.LOADER, APPLICATION_DEVICE, DeviceElement(BootVolume()))
    found = default_application(file.apply(edit))
    assert found is not None
    assert found.device == BootVolume()


def test_what_is_no_store_has_nothing(file: BcdFile) -> None:
    store = file.write_keys({"Select": {"Current": RegistryValue.dword(1)}})
    assert store.objects == {}
    assert boot_manager(store) is None
    assert default_application(store) is None
    assert loaders(store) == ()


def test_odd_keys_and_values_do_no_harm(file: BcdFile) -> None:
    loader = rf"Objects\{made.LOADER}"
    keys = dict(made.store_keys(BIOS))
    keys |= {
        r"Objects\no guid\Elements\11000001": {"Element": RegistryValue.binary(b"")},
        rf"{loader}\Description": {"Type": RegistryValue.sz("loader")},
        rf"{loader}\Elements\11000001": {"Element": RegistryValue.sz("C:")},
        rf"{loader}\Elements\12000002": {"Element": RegistryValue.binary(b"\1")},
        rf"{loader}\Elements\14000008": {"Element": RegistryValue.dword(5)},
        rf"{loader}\Elements\25000080": {"Element": RegistryValue.binary(bytes(900))},
        rf"{loader}\Elements\not hex": {"Element": RegistryValue.dword(5)},
        rf"{loader}\Elements\22000002": {"Other": RegistryValue.sz("x")},
    }
    store = file.write_keys(keys)
    assert "no guid" not in store.objects
    found = boot_application(store, made.LOADER)
    assert found is not None
    assert isinstance(found.device, UnknownDevice)
    assert (found.type, found.path, found.system_root) == (0, "", "")
    assert (found.recovery_sequence, found.safe_boot) == ((), None)


def test_ids_are_found_without_regard_to_case(file: BcdFile) -> None:
    spec = more(BIOS, boot_manager={0x23000003: made.text(made.LOADER.upper())})
    found = default_application(file.write(spec))
    assert found is not None
    assert found.id == made.LOADER


@pytest.mark.parametrize("spec", [BIOS, UEFI], ids=["BIOS", "UEFI"])
def test_other_readers_see_the_made_store(file: BcdFile, spec: made.StoreSpec) -> None:
    store = file.write(spec)
    listed = file.seen_by_reglookup("/Objects")
    for object_id, present in store.objects.items():
        assert f"/Objects/{object_id}/Description/Type,DWORD,0x{present.type:08X}" in listed
        assert listed.count(f"/Objects/{object_id}/Elements/") == 2 * len(present.elements)
