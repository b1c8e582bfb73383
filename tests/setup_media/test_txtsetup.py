"""txtsetup.oem: as text mode reads it, beside a published one, and made of odd INFs.

``drivers/test_inf_and_setupapi.py`` has Wine read one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures import txtsetup
from fixtures.inf_texts import X86, inf_text, windows
from fixtures.published_drivers import write_published_tree
from offline_mig.drivers.media import open_media
from offline_mig.drivers.package import DriverPackage, read_package
from offline_mig.drivers.selection import choose_package
from offline_mig.errors import OutputRefusedError
from offline_mig.setup_media.contents import MediumDriver
from offline_mig.setup_media.floppy import FloppyContents, floppy_contents
from offline_mig.windows.version import Architecture

XP = windows("xp", X86)


def package(release: str = "xp", **options: str) -> DriverPackage:
    """Return a disk driver for an x86 Windows, with files of no content."""
    text = inf_text(decoration="NTx86", **options).encode()
    read = read_package("viostor.inf", text, windows(release, X86))
    return read.with_files({path: path.encode() for path in read.source_paths})


def floppy(*packages: DriverPackage, releases: tuple[str, ...] = ("xp", "2k3")) -> FloppyContents:
    return floppy_contents(
        [
            MediumDriver("viostor", windows(release, X86), it)
            for it, release in zip(packages, releases, strict=False)
        ]
    )


def by_lower_case(contents: FloppyContents) -> dict[str, bytes]:
    return {path.lower(): content for path, content in contents.files.items()}


def test_every_type_of_value_is_written_as_text_mode_reads_it() -> None:
    values = """
[ServiceReg]
HKR, , "", 0, "default"
HKR, Parameters, Plain, 0, text
HKR, Parameters, Text, 0, "a, b # c"
HKR, Parameters, Expand, 0x20000, "%%SystemRoot%%\\x"
HKR, Parameters, Number, 0x10001, 255
HKR, Parameters, Many, 0x10000, one, "two, three"
HKR, Parameters, Bytes, 1, 0,ff,1a
HKR, "With Blank\\Below", Set, 0x10001, 1
HKR, Parameters\\KeyOnly, , 0x10
HKR, Parameters, Gone, 4
HKLM, Elsewhere, Not, 0x10001, 1
"""
    contents = by_lower_case(floppy(package(extra=values)))
    (entry,) = txtsetup.menu(contents)
    written = txtsetup.choose(contents, entry).values
    parameters = {name: value for (_, key, name), value in written.items() if key == "parameters"}
    assert written["viostor", "", ""] == ("REG_SZ", "default")
    assert parameters == {
        "plain": ("REG_SZ", "text"),
        "text": ("REG_SZ", "a, b # c"),
        "expand": ("REG_EXPAND_SZ", "%SystemRoot%\\x"),
        "number": ("REG_DWORD", "ff"),
        "many": ("REG_MULTI_SZ", "one", "two, three"),
        "bytes": ("REG_BINARY", "00ff1a"),
    }
    assert written["viostor", r"with blank\below", "set"] == ("REG_DWORD", "1")
    assert written["viostor", r"parameters\pnpinterface", "5"] == ("REG_DWORD", "1")
    assert len(written) == 9


def test_all_ids_of_all_models_are_listed_once() -> None:
    models = "\n".join(
        (
            "%Device.Desc% = inst, PCI\\VEN_1AF4&DEV_1001&REV_00, PCI\\VEN_1AF4&DEV_1001",
            "%Device.Desc% = inst, PCI\\VEN_1AF4&DEV_1042, PCI\\VEN_1AF4&DEV_1001",
        )
    )
    contents = by_lower_case(floppy(package(models=models)))
    text = contents["txtsetup.oem"].decode()
    assert text.count("id =") == 3
    assert txtsetup.choose(contents, txtsetup.menu(contents)[0]).devices == {
        f"pci\\ven_1af4&{device}": "viostor"
        for device in ("dev_1001&rev_00", "dev_1001", "dev_1042")
    }


def test_a_driver_with_names_that_text_mode_cannot_take_is_told() -> None:
    contents = floppy(package(binary="viostorage.sys"))
    assert "txtsetup.oem" not in contents.files
    assert "i386/WinXP/viostorage.sys" in contents.files
    assert any("longer than 8.3, such as viostorage.sys" in note for note in contents.notes)


def test_the_library_of_a_driver_comes_with_it() -> None:
    contents = by_lower_case(floppy(package(more_files="helper.sys")))
    loaded = txtsetup.choose(contents, txtsetup.menu(contents)[0])
    assert loaded.files["driver", "helper.sys"] == b"helper.sys"


def test_two_windows_that_want_different_values_take_two_floppies() -> None:
    def with_value(number: int) -> str:
        return f"\n[ServiceReg]\nHKR, Parameters, BusType, 0x10001, {number}\n"

    same = floppy(package(extra=with_value(1)), package("2k3", extra=with_value(1)))
    assert len(same.menu) == 2
    with pytest.raises(OutputRefusedError, match="BusType") as refused:
        floppy(package(extra=with_value(1)), package("2k3", extra=with_value(10)))
    assert "floppy for each Windows" in refused.value.remedy


def test_text_of_an_inf_cannot_leave_its_place() -> None:
    """A description may have quotes and letters of any language."""
    hostile = '%Device.Desc% = inst, "PCI\\VEN_1AF4&DEV_1001"\n'
    text = inf_text(decoration="NTx86", models=hostile).replace(
        '"A storage controller"', '"Gerät ""x"", [scsi] ' + "y" * 200 + '"'
    )
    read = read_package("viostor.inf", text.encode("latin-1"), XP)
    read = read.with_files(dict.fromkeys(read.source_paths, b"x"))
    contents = by_lower_case(floppy(read))
    loaded = txtsetup.choose(contents, txtsetup.menu(contents)[0])
    assert loaded.description.startswith("Ger?t 'x', [scsi] yyy")
    assert loaded.description.endswith("(Windows XP, 32-bit)")
    assert len(loaded.description) <= 70


@pytest.mark.data
@pytest.mark.parametrize(
    ("published", "release", "architecture", "identity"),
    [
        ("txtsetup-i386.oem", "xp", Architecture.X86, "WXP32"),
        ("txtsetup-i386.oem", "2k3", Architecture.X86, "WNET32"),
        ("txtsetup-amd64.oem", "2k3", Architecture.AMD64, "WNET64"),
    ],
)
def test_it_says_what_the_published_one_said(
    shared_data: Path, tmp_path: Path,
    published: str, release: str, architecture: Architecture, identity: str,
) -> None:  # fmt: skip
    """virtio-win's own, for the very drivers of that time; ours has more devices and values."""
    version = windows(release, architecture)
    source = write_published_tree(shared_data / "drivers", tmp_path / "virtio-win")
    chosen = choose_package([open_media(source)], "viostor", version)
    assert chosen.package is not None
    ours = by_lower_case(floppy_contents([MediumDriver("viostor", version, chosen.package)]))
    # A floppy with the published file and the same drivers in the same folders.
    theirs = dict(ours) | {
        "txtsetup.oem": (shared_data / "drivers/vfd" / published).read_bytes(),
    }
    (entry,) = txtsetup.menu(ours)
    loaded, known = txtsetup.choose(ours, entry), txtsetup.choose(theirs, identity)
    assert loaded.files == known.files
    assert loaded.devices.items() >= known.devices.items()
    (lines,) = (
        lines
        for section, lines in txtsetup.sections(theirs["txtsetup.oem"].decode()).items()
        if section == f"config.{identity.lower()}"
    )
    for _, (subkey, name, *value) in lines:
        assert loaded.values["viostor", subkey.lower(), name.lower()] == tuple(value)
