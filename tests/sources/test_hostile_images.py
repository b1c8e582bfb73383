"""Images that name what is none of their business: refused before anything of it is opened."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest

from fixtures.source_images import MakeVmdk, qemu_img
from offline_mig.errors import SourceUnreadableError, SourceUnsafeError
from offline_mig.sources.disk_image import examine_disk_image, open_disk_image
from offline_mig.sources.options import SourceOptions

DESCRIPTOR = """# Disk DescriptorFile
version=1
CID=12345678
parentCID={parent_cid}
createType="{kind}"
{hint}
# Extent description
{extents}

# The Disk Data Base
#DDB
ddb.adapterType = "lsilogic"
"""

OUTSIDE_NAMES = [
    "{outside}",
    "../secret.vmdk",
    "sub/../../secret.vmdk",
    "..",
    "..\\secret.vmdk",
    "\\\\server\\share\\secret.vmdk",
    "\\\\.\\PhysicalDrive0",
    "C:\\VMs\\secret.vmdk",
    "D:/VMs/secret.vmdk",
    "/dev/sda",
    "/proc/self/mem",
    "file:secret.vmdk",
    "file:///etc/passwd",
    "nbd:localhost:10809",
    "nbd+unix:///?socket=x",
    "http://example.org/secret.vmdk",
    "ssh://root@host/secret.vmdk",
    'json:{{"driver":"null-co"}}'.replace('"', "'"),
    "fat:rw:secret",
    "host_device:sda",
    "link.vmdk",
    "sub/link.vmdk",
    "dangling.vmdk",
    "loop.vmdk",
    "bell\x07.vmdk",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with links that lead out of it, to ``tmp_path / "secret.vmdk"``."""
    secret = tmp_path / "secret.vmdk"
    secret.write_bytes(b"\x55\xaa" * 1024 * 1024)
    folder = tmp_path / "vm"
    (folder / "sub").mkdir(parents=True)
    (folder / "link.vmdk").symlink_to(secret)
    (folder / "sub" / "link.vmdk").symlink_to("../../secret.vmdk")
    (folder / "dangling.vmdk").symlink_to("../not-there.vmdk")
    (folder / "loop.vmdk").symlink_to("loop.vmdk")
    return folder


def descriptor(
    *extents: str, kind: str = "monolithicFlat", hint: str = "", parent_cid: str = "ffffffff"
) -> str:
    return DESCRIPTOR.format(
        kind=kind, hint=hint, extents="\n".join(extents), parent_cid=parent_cid
    )


def assert_refused(path: Path, opened: list[str]) -> SourceUnsafeError:
    opened.clear()
    with pytest.raises(SourceUnsafeError) as caught:
        open_disk_image(path)
    assert set(opened) <= {str(path), str(path.resolve())}, "something that is named was opened"
    assert caught.value.remedy
    return caught.value


def named(name: str, folder: Path) -> str:
    return name.format(outside=folder.parent / "secret.vmdk") if "{outside}" in name else name


@pytest.mark.parametrize("name", OUTSIDE_NAMES)
@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("monolithicFlat", 'RW 100 FLAT "{}" 0'),
        ("vmfs", 'RW 100 VMFS "{}"'),
        ("twoGbMaxExtentSparse", 'RW 100 SPARSE "{}"'),
    ],
)
def test_extents_stay_in_the_folder(
    folder: Path, opened: list[str], kind: str, line: str, name: str
) -> None:
    path = folder / "disk.vmdk"
    path.write_text(descriptor(line.replace("{}", named(name, folder)), kind=kind))
    assert_refused(path, opened)


@pytest.mark.parametrize("name", OUTSIDE_NAMES)
def test_parents_stay_in_the_folder(folder: Path, opened: list[str], name: str) -> None:
    path = folder / "disk.vmdk"
    (folder / "disk-flat.vmdk").write_bytes(bytes(51200))
    hint = f'parentFileNameHint="{named(name, folder)}"'
    extent = 'RW 100 FLAT "disk-flat.vmdk" 0'
    path.write_text(descriptor(extent, hint=hint, parent_cid="12345678"))
    opened.clear()
    with pytest.raises(SourceUnsafeError):
        open_disk_image(path)
    assert not [file for file in opened if Path(file).name not in {"disk.vmdk", "disk-flat.vmdk"}]


@pytest.mark.parametrize("name", OUTSIDE_NAMES)
@pytest.mark.parametrize("role", ["extent", "parent"])
def test_a_rebuilt_descriptor_leads_nowhere_else(
    tmp_path: Path, folder: Path, opened: list[str], role: str, name: str
) -> None:
    """What is looked for by other means than its name lies in the folder all the same."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    path = folder / "disk.vmdk"
    (folder / "disk-flat.vmdk").write_bytes(bytes(51200))
    hint = f'parentFileNameHint="{named(name, folder)}"' if role == "parent" else ""
    extent = "disk-flat.vmdk" if role == "parent" else named(name, folder)
    path.write_text(descriptor(f'RW 100 FLAT "{extent}" 0', hint=hint, parent_cid="12345670"))
    opened.clear()
    with pytest.raises((SourceUnsafeError, SourceUnreadableError)):
        examine_disk_image(path, None, SourceOptions(rebuild_descriptor=True), scratch)
    inside = {"disk.vmdk", "disk-flat.vmdk"}
    assert not [file for file in opened if Path(file).name not in inside and Path(file).is_file()]
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("name", OUTSIDE_NAMES)
def test_qcow2_backing_files_stay_in_the_folder(folder: Path, opened: list[str], name: str) -> None:
    path = folder / "disk.qcow2"
    placeholder = "x" * len(os.fsencode(named(name, folder)))
    options = ["-u", "-b", placeholder, "-F", "raw"]
    qemu_img("create", "-f", "qcow2", *options, path, "1M")
    content = path.read_bytes()
    path.write_bytes(content.replace(placeholder.encode(), os.fsencode(named(name, folder))))
    assert_refused(path, opened)


def test_a_link_inside_the_folder_is_followed(folder: Path) -> None:
    (folder / "real.vmdk").write_bytes(bytes(51200))
    (folder / "inner.vmdk").symlink_to("real.vmdk")
    path = folder / "disk.vmdk"
    path.write_text(descriptor('RW 100 FLAT "inner.vmdk" 0'))
    assert [file.name for file in open_disk_image(path).files] == ["disk.vmdk", "inner.vmdk"]


@pytest.mark.parametrize("make", ["fifo", "directory", "socket"])
def test_what_is_no_file_is_never_opened(
    folder: Path, opened: list[str], make: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if make == "fifo":
        os.mkfifo(folder / "odd.vmdk")
    elif make == "directory":
        (folder / "odd.vmdk").mkdir()
    else:
        import socket

        monkeypatch.chdir(folder)  # a socket's path must be short
        socket.socket(socket.AF_UNIX).bind("odd.vmdk")
    path = folder / "disk.vmdk"
    path.write_text(descriptor('RW 100 FLAT "odd.vmdk" 0'))
    assert_refused(path, opened)


@pytest.mark.parametrize(
    "text",
    [
        descriptor('RW 100 FLAT "/dev/sda" 0', kind="fullDevice"),
        descriptor('RW 63 FLAT "disk-pt.vmdk" 0', kind="partitionedDevice"),
        descriptor('RW 100 VMFSRDM "disk-rdm.vmdk"', kind="vmfsRawDeviceMap"),
        descriptor('RW 100 VMFSRDM "disk-rdmp.vmdk"', kind="vmfsPassthroughRawDeviceMap"),
        descriptor('RW 100 VMFSRAW "/vmfs/devices/disks/vml.1"', kind="vmfsRaw"),
        descriptor('RW 100 VMFSRDM "disk-rdm.vmdk"', kind="vmfs"),
    ],
)
def test_raw_device_mappings_are_refused_with_the_reason(
    folder: Path, opened: list[str], text: str
) -> None:
    path = folder / "disk.vmdk"
    path.write_text(text)
    assert "physical disk" in assert_refused(path, opened).message


# What qemu reads where a person sees nothing. Each test first shows that qemu does read it.


def qemu_sees(path: Path, word: str) -> bool:
    told = qemu_img("info", "-U", "-f", "vmdk", "--output=json", path)
    return word in json.dumps(json.loads(told))


def test_a_parent_in_a_comment_is_found(folder: Path, opened: list[str]) -> None:
    (folder / "disk-flat.vmdk").write_bytes(bytes(51200))
    path = folder / "disk.vmdk"
    hint = f'# see parentFileNameHint="{folder.parent}/secret.vmdk" for more'
    path.write_text(descriptor('RW 100 FLAT "disk-flat.vmdk" 0', hint=hint))
    assert qemu_sees(path, "secret.vmdk")
    assert "hides" in assert_refused(path, opened).message


def test_an_extent_spread_over_lines_is_found(folder: Path, opened: list[str]) -> None:
    (folder / "disk-flat.vmdk").write_bytes(bytes(51200))
    path = folder / "disk.vmdk"
    spread = f'RW\n100\nFLAT\n"{folder.parent}/secret.vmdk"\n0'
    path.write_text(descriptor('RW 100 FLAT "disk-flat.vmdk" 0').replace("\n#DDB", f"\n{spread}"))
    assert qemu_sees(path, "secret.vmdk")
    with pytest.raises((SourceUnsafeError, SourceUnreadableError)):
        open_disk_image(path)
    assert not [name for name in opened if "secret" in name]


def test_a_parent_outside_of_the_stated_descriptor_is_found(
    make_vmdk: MakeVmdk, opened: list[str], tmp_path: Path
) -> None:
    """The header sends readers to a harmless descriptor; qemu looks in sector 1 all the same."""
    secret = tmp_path / "secret.vmdk"
    qemu_img("create", "-f", "vmdk", secret, "1M")
    path = make_vmdk("monolithicSparse")
    data = bytearray(path.read_bytes())
    harmless = bytes(data[512 : 21 * 512])
    struct.pack_into("<Q", data, 28, len(data) // 512)
    hint = f'\nCID=1\nparentCID=1\nparentFileNameHint="{secret}"\n'.encode()
    data[512 : 512 + len(hint)] = hint
    path.write_bytes(bytes(data) + harmless)
    assert qemu_sees(path, "secret.vmdk")
    assert "hides" in assert_refused(path, opened).message


@pytest.mark.parametrize("inner", ["top", "part"])
def test_a_sparse_disk_of_size_0_opens_what_its_descriptor_names(
    make_vmdk: MakeVmdk, opened: list[str], tmp_path: Path, inner: str
) -> None:
    secret = tmp_path / "secret.vmdk"
    secret.write_bytes(bytes(51200))
    path = make_vmdk("monolithicSparse" if inner == "top" else "twoGbMaxExtentSparse")
    part = path if inner == "top" else path.with_name("disk-s001.vmdk")
    data = bytearray(part.read_bytes())
    struct.pack_into("<Q", data, 12, 0)
    text = descriptor(f'RW 100 FLAT "{secret}" 0').encode()
    data[512 : 21 * 512] = text.ljust(20 * 512, b"\0")
    part.write_bytes(bytes(data))
    assert qemu_sees(path, "secret.vmdk")
    opened.clear()
    with pytest.raises(SourceUnsafeError):
        open_disk_image(path)
    assert not [name for name in opened if "secret" in name]


@pytest.mark.parametrize("name", ["inside.raw", "/etc/passwd"])
def test_external_data_files_are_refused(folder: Path, opened: list[str], name: str) -> None:
    placeholder = str(folder / "inside.raw")
    path = folder / "disk.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={placeholder}", path, "1M")
    assert "keeps its data in another file" in assert_refused(path, opened).message


def test_the_parent_of_a_parent_is_checked_as_well(folder: Path, opened: list[str]) -> None:
    """A chain of qcow2 on VMDK on a VMDK outside."""
    for name, hint in (
        ("disk.vmdk", 'parentFileNameHint="base.vmdk"'),
        ("base.vmdk", f'parentFileNameHint="{folder.parent}/secret.vmdk"'),
    ):
        extent = f'RW 100 FLAT "{name}-flat.vmdk" 0'
        (folder / name).write_text(descriptor(extent, hint=hint, parent_cid="12345678"))
        (folder / f"{name}-flat.vmdk").write_bytes(bytes(51200))
    options = ["-u", "-b", "disk.vmdk", "-F", "vmdk"]
    qemu_img("create", "-f", "qcow2", *options, folder / "top.qcow2", "1M")
    opened.clear()
    with pytest.raises(SourceUnsafeError, match=r"base\.vmdk names"):
        open_disk_image(folder / "top.qcow2")
    assert not [name for name in opened if "secret" in name]


def test_messages_escape_what_a_terminal_would_obey(folder: Path) -> None:
    path = folder / "disk.vmdk"
    path.write_text(descriptor('RW 100 FLAT "/\x1b]0;owned\x07" 0'))
    with pytest.raises(SourceUnsafeError) as caught:
        open_disk_image(path)
    assert "\x1b" not in caught.value.message
    assert "\\x1b]0;owned" in caught.value.message
