"""Images that are parts of files, by the name that qemu is given for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from offline_mig.errors import SourceUnreadableError
from offline_mig.images import qemu_img
from offline_mig.images.block_node import image_name
from offline_mig.machine import DiskFormat, Window

_WINDOW = Window(1024, 2048)


@pytest.mark.parametrize(
    "name", ["a b", 'a"b', "a\\b", "a,b", "nbd:a", "größe 虚拟机", "{a}", "%41"]
)
def test_archives_of_any_name_can_be_backing_files(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    archive = folder / name
    archive.write_bytes(bytes(8192))
    overlay = tmp_path / "overlay.qcow2"
    qemu_img.create_overlay(overlay, archive, DiskFormat.RAW, _WINDOW)
    assert qemu_img.info(archive, DiskFormat.RAW, _WINDOW).virtual_size == 2048
    assert qemu_img.info(overlay, DiskFormat.QCOW2).virtual_size == 2048


def test_paths_that_a_reference_cannot_hold_are_refused(tmp_path: Path) -> None:
    deep = tmp_path / "/".join(["x" * 200] * 5)
    with pytest.raises(SourceUnreadableError, match="too long"):
        image_name(deep / "a.ova", DiskFormat.VMDK, _WINDOW)
    assert image_name(deep / "a.vmdk", DiskFormat.VMDK, None) == str(deep / "a.vmdk")
    with pytest.raises(SourceUnreadableError, match="not valid UTF-8"):
        image_name(Path(os.fsdecode(b"/\xff.ova")), DiskFormat.VMDK, _WINDOW)
