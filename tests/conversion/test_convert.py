"""Whole guests converted by the command, judged by ntfscat, hivexget, reglookup and libvirt."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from fixtures import libvirt_oracles
from fixtures.conversion_run import Case, Converted, offline_mig
from fixtures.guests import GuestKind, GuestSpec, RealHives, Variant, VmdkKind, build_guest
from fixtures.result import hivexget, reglookup, system_volume, tree_state
from fixtures.vmware import MACHINES

pytestmark = pytest.mark.conversion

SPECS = {
    "xp": GuestSpec(GuestKind.XP),
    "w7": GuestSpec(GuestKind.WINDOWS_7),
    "w10": GuestSpec(GuestKind.WINDOWS_10),
    "real-xp": GuestSpec(GuestKind.XP, Variant(real_hives=RealHives.XP)),
    "real-w7": GuestSpec(GuestKind.WINDOWS_7, Variant(real_hives=RealHives.WINDOWS_7)),
    "real-w10": GuestSpec(GuestKind.WINDOWS_10, Variant(real_hives=RealHives.WINDOWS_10)),
}
XP = SPECS["xp"]


def case(name: str, engine: str) -> ParameterSet:
    marks = [pytest.mark.data] if name.startswith("real") else []
    if engine == "guestfs":
        marks.append(pytest.mark.appliance)
    return pytest.param(Case(SPECS[name], engine), id=f"{name}-{engine}", marks=marks)


#: All guests by the quick engine, and one of each branch by the appliance.
ALL = [
    *(case(name, "userspace") for name in SPECS),
    *(case(name, "guestfs") for name in ("xp", "w7", "real-w10")),
]
Convert = Callable[[Case], Converted]


def config(spec: GuestSpec, hive: str) -> str:
    if spec.kind is GuestKind.XP:
        return f"/WINDOWS/system32/config/{hive.lower()}"
    return f"/Windows/System32/config/{hive}"


def hive_names(spec: GuestSpec) -> tuple[str, ...]:
    """The hives that are edited."""
    later = ("DRIVERS",) if spec.kind is GuestKind.WINDOWS_10 else ()
    return ("SYSTEM", "SOFTWARE", *later)


@pytest.mark.parametrize("case", ALL)
def test_source_is_as_it_was(converted: Convert, case: Case) -> None:
    done = converted(case)
    assert tree_state(done.guest.folder) == done.source_before


@pytest.mark.parametrize("case", ALL)
def test_disk_is_whole_and_sparse(converted: Convert, case: Case) -> None:
    done = converted(case)
    subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", done.disk], check=True)
    told = subprocess.run(
        ["qemu-img", "info", "--output=json", "-f", "qcow2", done.disk],
        check=True,
        capture_output=True,
    )
    info = json.loads(told.stdout)
    assert info["virtual-size"] == done.guest.base_image.stat().st_size
    assert "backing-filename" not in info
    assert info["actual-size"] < info["virtual-size"] / 4
    assert {p.name for p in done.output.iterdir()} == {
        Path(done.printed["domain"]).name,
        Path(done.printed["report_file"]).name,
        done.disk.name,
    }


@pytest.mark.parametrize("case", ALL)
def test_boot_driver_is_registered_and_there(converted: Convert, case: Case) -> None:
    done = converted(case)
    system = done.volume.hive(config(case.spec, "SYSTEM"))
    names = {"viostor"} if case.spec.kind is GuestKind.XP else {"viostor", "vioscsi"}
    for name in names:
        key = rf"ControlSet001\Services\{name}"
        assert hivexget(system, key, "Start") == "0"
        assert hivexget(system, key, "Group") == "SCSI miniport"
        image = hivexget(system, key, "ImagePath")
        assert image == rf"system32\drivers\{name}.sys"
        folder = "/WINDOWS/system32" if case.spec.kind is GuestKind.XP else "/Windows/System32"
        assert done.volume.cat(f"{folder}/drivers/{name}.sys")[:2] == b"MZ"
        # What the INF sets: the bus type is 1 (SCSI) for viostor and 10 (SAS) for vioscsi.
        bus = {"viostor": "1", "vioscsi": "10"}[name]
        assert hivexget(system, rf"{key}\Parameters", "BusType") == bus
    if case.spec.kind is GuestKind.WINDOWS_10:
        devices = r"DriverDatabase\DeviceIds\PCI\VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00"
        assert "01,ff,00,00" in hivexget(system, devices)
    else:
        devices = r"ControlSet001\Control\CriticalDeviceDatabase\pci#ven_1af4&dev_1001"
        assert hivexget(system, devices, "Service") == "viostor"


@pytest.mark.parametrize("case", ALL)
def test_every_planned_change_is_in_the_image(converted: Convert, case: Case) -> None:
    """The report's plan, checked against the image by reglookup and ntfscat."""
    done = converted(case)
    hives = {
        name: reglookup(done.volume.hive(config(case.spec, name))) for name in hive_names(case.spec)
    }
    folded = {name: {path.lower() for path in found} for name, found in hives.items()}
    changes = [change for block in done.report["wanted"] for change in block["changes"]]
    assert changes
    for change in changes:
        if change["change"] == "write-file":
            continue
        if change["change"] == "delete-files":
            parent, _, name = change["path"].rpartition("/")
            there = done.volume.names(_real_case(done, parent)) if parent else set()
            assert name.lower() not in {present.lower() for present in there}
            continue
        path = _listed(change["key"])
        if change["change"] == "set-value":
            path += _listed(change["name"])
            assert path.lower() in folded[change["hive"]], path
        elif change["change"] == "delete-value":
            path += _listed(change["name"])
            assert path.lower() not in folded[change["hive"]], path
        elif change["change"] == "delete-key":
            assert path.lower() not in folded[change["hive"]], path
    for change in changes:
        if change["change"] == "write-file":
            content = done.volume.cat(_real_case(done, change["path"]))
            assert hashlib.sha256(content).hexdigest() == change["sha256"]


def _listed(name: str) -> str:
    """How reglookup writes a key or a value's name."""
    for character in "%/,":
        name = name.replace(character, f"%{ord(character):02X}")
    return "/" + name.replace("\\", "/")


def _real_case(done: Converted, path: str) -> str:
    real = ""
    for part in path.strip("/").split("/"):
        names = {name.lower(): name for name in done.volume.names(real or "/")}
        real += "/" + names[part.lower()]
    return real


@pytest.mark.parametrize("case", ALL)
def test_the_rest_of_each_hive_is_unchanged(converted: Convert, case: Case, tmp_path: Path) -> None:
    done = converted(case)
    original = system_volume(done.guest.disk, "vmdk", tmp_path)
    touched = {
        (entry["hive"], _listed(entry["key"]).lower())
        for entry in done.report["journal"]
        if "hive" in entry
    }
    for name in hive_names(case.spec):
        before = reglookup(original.hive(config(case.spec, name)))
        after = reglookup(done.volume.hive(config(case.spec, name)))
        keys = [key for hive, key in touched if hive == name]
        for path in before.keys() | after.keys():
            if before.get(path) == after.get(path):
                continue
            folded = path.lower()
            related = any(folded.startswith(key) or key.startswith(f"{folded}/") for key in keys)
            assert related, f"{name}{path}: {before.get(path)} became {after.get(path)}"


@pytest.mark.parametrize("case", ALL)
def test_domain_is_accepted_by_libvirt(converted: Convert, case: Case, tmp_path: Path) -> None:
    done = converted(case)
    libvirt_oracles.require_validator()
    libvirt_oracles.require_virsh()
    document = Path(shutil.copy(done.domain, tmp_path / "domain.xml"))
    libvirt_oracles.validate(document)
    libvirt_oracles.define(document)
    root = ET.parse(document).getroot()
    disk = root.find("./devices/disk[@device='disk']")
    assert disk is not None
    assert disk.find("driver").get("type") == "qcow2"  # type: ignore[union-attr]
    assert disk.find("source").get("file") == str(done.disk)  # type: ignore[union-attr]
    assert disk.find("target").attrib == {"dev": "vda", "bus": "virtio"}  # type: ignore[union-attr]
    machine = MACHINES[case.spec.kind]
    assert (root.findtext("uuid") or "").replace("-", "") == re.sub("[^0-9a-f]", "", machine.uuid)
    mac = root.find("./devices/interface/mac")
    assert mac is not None
    assert mac.get("address") == machine.mac
    channels = {c.get("name") for c in root.findall("./devices/channel/target")}
    assert channels == {"org.qemu.guest_agent.0", "com.redhat.spice.0"}
    assert root.find("./devices/memballoon[@model='virtio']") is not None
    # virtio-win has no viorng for XP; a device without a driver would only ask for one.
    assert (root.find("./devices/rng[@model='virtio']") is None) == (case.spec.kind is GuestKind.XP)
    assert root.find("./devices/video/model[@type='qxl']") is not None
    assert root.find("./devices/graphics[@type='spice']") is not None
    assert root.find("./clock").get("offset") == "localtime"  # type: ignore[union-attr]
    # Only network cards have a place, where Windows knows them; and the ports they hang on.
    placed = {device.tag for device in root.iterfind("./devices/*/address[@type='pci']/..")}
    assert placed <= {"interface", "controller"}
    chipset = root.find("./os/type").get("machine")  # type: ignore[union-attr]
    assert chipset == ("pc" if case.spec.kind is GuestKind.XP else "q35")
    assert (root.find("./features/hyperv") is None) == (case.spec.kind is GuestKind.XP)
    assert (root.find("./os").get("firmware") == "efi") == (  # type: ignore[union-attr]
        case.spec.kind is GuestKind.WINDOWS_10
    )


@pytest.mark.parametrize(
    "case", [case("xp", "userspace"), case("real-w10", "userspace"), case("w10", "guestfs")]
)
def test_converting_the_result_changes_nothing(
    converted: Convert, case: Case, drivers_iso: Path, tmp_path: Path
) -> None:
    done = converted(case)
    # Without trimming: what the first run itself freed is the only thing left to leave out.
    again = offline_mig(
        "convert", done.disk, "--drivers", drivers_iso, "-o", tmp_path / "again", "--json",
        "--allow-unsigned", "--no-trim", "--engine", case.engine,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    printed = json.loads(again.stdout)
    assert printed["report"]["journal"] == []
    assert printed["report"]["plan"] == []
    assert len(printed["report"]["wanted"]) > 0
    compared = subprocess.run(
        ["qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", done.disk, printed["disks"][0]],
        check=False,
        capture_output=True,
        text=True,
    )
    assert compared.returncode == 0, compared.stdout
    firmware = printed["report"]["source"]["machine"]["firmware"]
    assert firmware == ("uefi" if case.spec.kind is GuestKind.WINDOWS_10 else "bios")


def test_dry_run_shows_the_same_plan_and_touches_nothing(
    converted: Convert, drivers_iso: Path, tmp_path: Path
) -> None:
    done = converted(Case(XP))
    output = tmp_path / "never"
    as_json = offline_mig(
        "convert", done.guest.vmx, "--drivers", drivers_iso, "-o", output, "--dry-run", "--json",
        "--allow-unsigned", "--engine", "userspace",
    )  # fmt: skip
    assert as_json.returncode == 0, as_json.stderr
    planned = json.loads(as_json.stdout)["plan"]
    journal = done.report["journal"]
    changes = [change for block in planned for change in block["changes"]]
    assert len(changes) == len(journal)
    for change in changes:
        assert any(
            {key: value for key, value in entry.items() if key != "before"} == change
            for entry in journal
        )
    assert not output.exists()
    assert tree_state(done.guest.folder) == done.source_before

    as_text = offline_mig(
        "convert",
        done.guest.vmx,
        "--drivers",
        drivers_iso,
        "--allow-unsigned",
        "--dry-run",
        "--engine",
        "userspace",
    )
    assert as_text.returncode == 0, as_text.stderr
    assert r"[SYSTEM\ControlSet001\Services\viostor]" in as_text.stdout
    assert '+   "Start" = 0x0' in as_text.stdout
    assert "+ /WINDOWS/system32/drivers/viostor.sys" in as_text.stdout
    assert '<domain type="kvm">' in as_text.stdout


@pytest.mark.parametrize(
    "kind",
    [
        VmdkKind.MONOLITHIC_FLAT,
        VmdkKind.SPLIT_SPARSE,
        VmdkKind.SPLIT_FLAT,
        VmdkKind.STREAM_OPTIMIZED,
    ],
)
def test_every_vmdk_kind_comes_out_alike(
    converted: Convert, kind: VmdkKind, drivers_dir: Path, tmp_path: Path
) -> None:
    reference = converted(Case(XP))
    guest = build_guest(GuestKind.XP, tmp_path / "source", vmdk_kind=kind)
    before = tree_state(guest.folder)
    run = offline_mig(
        "convert", guest.vmx, "--drivers", drivers_dir, "--allow-unsigned", "-o", tmp_path / "out",
        "--format", "raw", "--json", "--engine", "userspace",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    printed = json.loads(run.stdout)
    (disk,) = printed["disks"]
    assert Path(disk).suffix == ".raw"
    assert 'type="raw"' in Path(printed["domain"]).read_text()
    assert Path(disk).stat().st_blocks * 512 < Path(disk).stat().st_size / 4
    assert tree_state(guest.folder) == before
    assert printed["report"]["source"]["machine"]["disks"][0]["image"]["kind"] == kind.value
    mine = system_volume(Path(disk), "raw", tmp_path)
    for hive in ("SYSTEM", "SOFTWARE"):
        path = config(XP, hive)
        # hivex writes the time of the edit into the header; the cells must be alike.
        assert mine.cat(path)[4096:] == reference.volume.cat(path)[4096:]
