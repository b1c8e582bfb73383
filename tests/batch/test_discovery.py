"""Which files of a folder are machines, and what belongs to them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fixtures.ovf import File, descriptor, pack
from offline_mig.batch.discovery import FoundMachine, find_machines, unique_names
from offline_mig.batch.plan_guests import plan_at
from offline_mig.errors import OutputRefusedError, SourceUnreadableError

_MIB = 1024 * 1024


def vmx(path: Path, *disks: str, name: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ['.encoding = "UTF-8"', 'config.version = "8"', 'scsi0.present = "TRUE"']
    lines += [f'displayName = "{name}"'] if name else []
    for number, disk in enumerate(disks):
        lines += [f'scsi0:{number}.present = "TRUE"', f'scsi0:{number}.fileName = "{disk}"']
    path.write_text("\n".join(lines) + "\n")
    return path


def image(path: Path, *options: str, size: str = "20M") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {".raw": "raw", ".img": "raw", ".qcow2": "qcow2"}.get(path.suffix, "vmdk")
    command = ["qemu-img", "create", "-q", "-f", kind, *options, path.name, size]
    subprocess.run(command, cwd=path.parent, check=True)
    return path


def found(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the machines, by their source, with the files of each."""
    machines = find_machines(folder).machines
    return {
        str(machine.source.relative_to(folder)): tuple(
            str(file.relative_to(machine.source.parent)) for file in machine.files
        )
        for machine in machines
    }


def test_a_machine_has_its_disks_and_extents_and_those_below(tmp_path: Path) -> None:
    image(tmp_path / "a/base.vmdk", "-o", "subformat=monolithicFlat")
    image(tmp_path / "a/snap.vmdk", "-b", "base.vmdk", "-F", "vmdk")
    image(tmp_path / "a/other.vmdk", "-b", "base.vmdk", "-F", "vmdk")
    vmx(tmp_path / "a/a.vmx", "SNAP.vmdk")
    # A snapshot that is not the current one is no machine of its own.
    assert found(tmp_path) == {"a/a.vmx": ("a.vmx", "snap.vmdk", "base.vmdk", "base-flat.vmdk")}


def test_a_branch_of_snapshots_beside_the_current_one_is_no_machine(tmp_path: Path) -> None:
    image(tmp_path / "vm.vmdk", "-o", "subformat=monolithicFlat")
    image(tmp_path / "vm-000003.vmdk", "-b", "vm.vmdk", "-F", "vmdk")
    # As ESXi splits them: a descriptor, and what has changed in a file of its own.
    for name, parent in (("1", "vm"), ("2", "vm-000001")):
        (tmp_path / f"vm-00000{name}-delta.vmdk").write_bytes(b"COWD" + bytes(4096))
        (tmp_path / f"vm-00000{name}.vmdk").write_text(
            "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=fffffffe\n"
            f'createType="vmfsSparse"\nparentFileNameHint="{parent}.vmdk"\n'
            f'RW 40960 VMFSSPARSE "vm-00000{name}-delta.vmdk"\n'
        )
    vmx(tmp_path / "vm.vmx", "vm-000003.vmdk")
    assert found(tmp_path) == {
        "vm.vmx": ("vm.vmx", "vm-000003.vmdk", "vm.vmdk", "vm-flat.vmdk"),
    }


def test_a_libvirt_domain_is_the_machine_of_the_disks_beside_it(tmp_path: Path) -> None:
    def domain(name: str, *disks: str) -> None:
        sources = "".join(f'<disk><source file="/images/{disk}"/></disk>' for disk in disks)
        text = f"<domain><name>My {name}</name><devices>{sources}</devices></domain>"
        (tmp_path / f"{name}.xml").write_text(text)

    for name in ("a.qcow2", "b.qcow2", "c.qcow2", "alone.qcow2"):
        image(tmp_path / name)
    image(tmp_path / "v.vmdk")
    vmx(tmp_path / "v.vmx", "v.vmdk")
    domain("box", "a.qcow2", "b.qcow2")
    # Its disks lie elsewhere; it describes what a VMX file does; it is no domain.
    domain("elsewhere", "gone.qcow2")
    domain("twice", "v.vmdk", "c.qcow2")
    (tmp_path / "other.xml").write_text('<network><source file="c.qcow2"/></network>')
    assert found(tmp_path) == {
        "alone.qcow2": ("alone.qcow2",),
        "box.xml": ("box.xml", "a.qcow2", "b.qcow2"),
        "c.qcow2": ("c.qcow2",),
        "v.vmx": ("v.vmx", "v.vmdk"),
    }
    names = {m.source.name: m.name for m in find_machines(tmp_path).machines}
    assert names["box.xml"] == "My box"


def test_several_machines_in_one_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        image(tmp_path / f"{name}.vmdk")
        vmx(tmp_path / f"{name}.vmx", f"{name}.vmdk")
    image(tmp_path / "three.vmdk", "-o", "subformat=twoGbMaxExtentSparse", size="3G")
    assert found(tmp_path) == {
        "one.vmx": ("one.vmx", "one.vmdk"),
        "three.vmdk": ("three.vmdk", "three-s001.vmdk", "three-s002.vmdk"),
        "two.vmx": ("two.vmx", "two.vmdk"),
    }


def test_disks_that_belong_to_no_machine(tmp_path: Path) -> None:
    image(tmp_path / "base.qcow2")
    image(tmp_path / "top.qcow2", "-b", "base.qcow2", "-F", "qcow2")
    image(tmp_path / "disk.raw")
    image(tmp_path / "floppy.img", size="1440K")
    (tmp_path / "notes.txt").write_text("no machine")
    (tmp_path / "setup.iso").write_bytes(bytes(20 * _MIB))
    assert found(tmp_path) == {
        "disk.raw": ("disk.raw",),
        "top.qcow2": ("top.qcow2", "base.qcow2"),
    }


def test_ovf_and_ova(tmp_path: Path) -> None:
    for name in ("plain", "packed"):
        image(tmp_path / f"{name}/{name}-disk1.vmdk")
        text = descriptor([File(f"{name}-disk1.vmdk")])
        (tmp_path / f"{name}/{name}.ovf").write_text(text)
    folder = tmp_path / "packed"
    pack(tmp_path / "packed.ova", [folder / "packed.ovf", folder / "packed-disk1.vmdk"])
    for file in folder.iterdir():
        file.unlink()
    assert found(tmp_path) == {
        "packed.ova": ("packed.ova",),
        "plain/plain.ovf": ("plain.ovf", "plain-disk1.vmdk"),
    }


def test_of_two_descriptions_of_one_machine_the_vmx_counts(tmp_path: Path) -> None:
    image(tmp_path / "box.vmdk")
    vmx(tmp_path / "box.vmx", "box.vmdk")
    (tmp_path / "box.ovf").write_text(descriptor([File("box.vmdk")]))
    assert list(found(tmp_path)) == ["box.vmx"]


def test_broken_machines_are_found_as_well(tmp_path: Path) -> None:
    vmx(tmp_path / "lost/lost.vmx", "gone.vmdk")
    (tmp_path / "empty.vmx").write_text("")
    (tmp_path / "junk.ova").write_bytes(b"junk")
    (tmp_path / "page.vmdk").write_text("<html>not found</html>")
    assert found(tmp_path) == {
        "empty.vmx": ("empty.vmx",),
        "junk.ova": ("junk.ova",),
        "lost/lost.vmx": ("lost.vmx",),
        "page.vmdk": ("page.vmdk",),
    }


def test_names_that_lead_elsewhere_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.vmdk").write_bytes(b"KDMV")
    vmx(tmp_path / "in/evil.vmx", "/etc/passwd.vmdk", "../secret.vmdk")
    assert found(tmp_path / "in") == {"evil.vmx": ("evil.vmx",)}


def test_what_is_no_disk_though_it_ends_like_one(tmp_path: Path) -> None:
    image(tmp_path / "a.vmdk")
    (tmp_path / "a-ctk.vmdk").write_bytes(b"tracking")
    # Data of a guest that happen to look like a name in a descriptor.
    (tmp_path / "b.vmdk").write_bytes(b'RW 1 FLAT "a.vmdk" 0\n' + bytes(_MIB))
    assert found(tmp_path) == {"a.vmdk": ("a.vmdk",), "b.vmdk": ("b.vmdk",)}


def test_places_that_are_left_out(tmp_path: Path) -> None:
    for name in (".hidden/a.qcow2", "out/b.qcow2", "in/c.qcow2", "in/.d.qcow2"):
        image(tmp_path / name)
    (tmp_path / "in/loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "in/pipe.vmdk").mkdir()
    machines = find_machines(tmp_path, [tmp_path / "out"]).machines
    assert [machine.source for machine in machines] == [tmp_path / "in/c.qcow2"]


@pytest.mark.parametrize("spelled", ["out", "in/../out", "link"])
def test_the_output_is_left_out_however_it_is_spelled(tmp_path: Path, spelled: str) -> None:
    for name in ("ex/in/c.qcow2", "ex/out/b.qcow2", "ex/earlier/a.qcow2"):
        image(tmp_path / name)
    (tmp_path / "ex/link").symlink_to(tmp_path / "ex/out", target_is_directory=True)
    # The results of another batch.
    (tmp_path / "ex/earlier/batch").mkdir()
    (tmp_path / "ex/earlier/batch/journal.jsonl").touch()
    machines = plan_at(tmp_path / "ex", tmp_path / "ex" / spelled).plan.guests
    assert [machine.source for machine in machines] == [tmp_path / "ex/in/c.qcow2"]
    with pytest.raises(OutputRefusedError, match="both searched"):
        plan_at(tmp_path / "ex", tmp_path / "ex/in/..")


def test_a_single_machine_can_be_named(tmp_path: Path) -> None:
    disk = image(tmp_path / "a.vmdk")
    source = vmx(tmp_path / "a.vmx", "a.vmdk", name="The Box")
    assert find_machines(source).machines == (FoundMachine(source, "The Box", (source, disk)),)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadableError, match="does not exist"):
        find_machines(tmp_path / "nothing")


def test_names_of_results_are_unique_and_sound(tmp_path: Path) -> None:
    names = ("Box", "box", "box-2", "../up", "", "-rf")
    machines = [FoundMachine(tmp_path / str(number), name, ()) for number, name in enumerate(names)]
    assert list(unique_names(machines).values()) == [
        "Box", "box-2", "box-2-2", "up", "windows", "rf",
    ]  # fmt: skip


@pytest.mark.parametrize("names", [("web", "web-disk1"), ("WEB-disk1", "web")])
def test_no_machine_is_called_as_a_disk_of_another(tmp_path: Path, names: tuple[str, str]) -> None:
    machines = [FoundMachine(tmp_path / name, name, ()) for name in names]
    assert list(unique_names(machines).values()) == [names[0], f"{names[1]}-2"]
