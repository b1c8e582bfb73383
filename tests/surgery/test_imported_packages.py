"""The driver store after surgery against what a real Windows made of the same packages.

The packages are virtio-win's for Windows 10, by the INFs and catalogues that were published.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.guest_spec import GuestKind, GuestSpec
from fixtures.memory_volume import MemoryVolume
from fixtures.published_drivers import write_published_tree
from fixtures.windows_tree import system_volume
from offline_mig.conversion.driver_choice import choose_drivers, open_sources
from offline_mig.surgery.changes import CreateKey, SetValue
from offline_mig.surgery.conversion_plan import plan_conversion
from offline_mig.surgery.facts import examine
from offline_mig.windows.registry import RegistryType, RegistryValue

CAPTURE = Path(__file__).parent / "golden" / "imported_packages.txt"
#: The captures call SCSIAdapter what the INFs do.
CLASSES = {
    "viostor": "{4d36e97b-e325-11ce-bfc1-08002be10318}",
    "vioscsi": "{4d36e97b-e325-11ce-bfc1-08002be10318}",
    "netkvm": "{4d36e972-e325-11ce-bfc1-08002be10318}",
    "vioserial": "{4d36e97d-e325-11ce-bfc1-08002be10318}",
}
#: Lines of the captures that surgery does not write, by what is in them, each with its reason.
NOT_WRITTEN = {
    "] tag =": "a tag orders drivers within their group, which none needs here; Windows gives one "
    "and adds it to GroupOrderList",
    "] filesize =": "only Windows 11 has it; written where the guest's own packages have it",
    "] catalogattributes =": "only Windows 11 has it; what its bits mean is not known",
    "\\properties\\": "an identifier that Windows makes up on import, of no known use",
}
#: ... and those that it writes otherwise.
OTHERWISE = {
    "vioscsi.sys] class = dword 0x5": "the capture of vioscsi alone says 5, all others "
    "say 4, as do VMware's in a real hive",
    "] signerscore = dword 0xd000005": "the viostor of the capture was tested by Microsoft, "
    "that of 0.1.217 is attested",
}
#: Written, and not in the captures.
MORE = {
    "viostor": ("\\deviceids\\class] oem = none",),
}


def captured() -> dict[str, set[str]]:
    drivers: dict[str, set[str]] = {}
    name = ""
    for line in CAPTURE.read_text().splitlines():
        if line.startswith("# ") and line[2:] in CLASSES:
            name = line[2:]
            drivers[name] = set()
        elif not line.startswith("#"):
            drivers[name].add(line.rstrip())
    return drivers


def shown(value: RegistryValue) -> str:
    match value.type:
        case RegistryType.DWORD:
            return f"dword {value.as_int():#x}"
        case RegistryType.SZ:
            return f"sz {value.as_text()}"
        case RegistryType.EXPAND_SZ:
            return f"expand {value.as_text()}"
        case RegistryType.MULTI_SZ:
            return "multi " + "|".join(value.as_texts())
        case RegistryType.BINARY:
            return f"binary {value.data.hex()}"
        case RegistryType.NONE:
            return f"none {value.data.hex()}"
    raise AssertionError(value)


@pytest.fixture(scope="module")
def written(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """What surgery writes for each driver, in the captures' notation."""
    scratch = tmp_path_factory.mktemp("imported")
    tree = write_published_tree(shared_data / "drivers" / "virtio-win-0.1.217-w10", scratch / "d")
    facts = examine(
        MemoryVolume(system_volume(GuestSpec(GuestKind.WINDOWS_10))), "/Windows", scratch
    )
    drivers = choose_drivers(open_sources([tree]), facts.version, allow_unsigned=True).drivers
    plan = plan_conversion(facts, drivers, {})
    found: dict[str, set[str]] = {}
    for driver in (*drivers.boot, *drivers.others):
        if driver.name not in CLASSES:
            continue
        block = next(it for it in plan.blocks if f" {driver.name} (" in it.title)
        oem = next(
            change.value.as_text()
            for change in block.changes
            if isinstance(change, SetValue) and change.name == "" and "DriverPackages" in change.key
        )
        label = next(
            change.value.as_text()
            for change in block.changes
            if isinstance(change, SetValue) and change.name == "Active"
        )
        assert oem
        assert label
        lines = set()
        for change in block.changes:
            if isinstance(change, CreateKey):
                continue
            if not isinstance(change, SetValue) or change.name in ("Version", "OemPath"):
                continue
            line = f"{change.hive} [{change.key}] {change.name} = {shown(change.value)}".lower()
            line = line.replace(label.lower(), "label").replace(oem.lower(), "oem")
            lines.add(line.replace(CLASSES[driver.name], "class").rstrip())
        found[driver.name] = lines
    return found


def is_known(line: str, known: dict[str, str]) -> bool:
    return any(part in line for part in known)


@pytest.mark.data
@pytest.mark.parametrize("driver", CLASSES)
def test_it_is_as_windows_imported_it(written: dict[str, set[str]], driver: str) -> None:
    capture, ours = captured()[driver], written[driver]
    missing = {line for line in capture - ours if not is_known(line, NOT_WRITTEN | OTHERWISE)}
    assert missing == set()
    keys = {line.split(" = ")[0] for line in capture}
    more = {
        line
        for line in ours - capture
        if line.split(" = ")[0] not in keys
        and not any(part in line for part in MORE.get(driver, ()))
    }
    assert more == set()


@pytest.mark.data
def test_every_difference_is_one(written: dict[str, set[str]]) -> None:
    """A reason for a difference that is none any more would hide the next one."""
    lines = {line for driver, capture in captured().items() for line in capture - written[driver]}
    for part in NOT_WRITTEN | OTHERWISE:
        assert any(part in line for line in lines), part
