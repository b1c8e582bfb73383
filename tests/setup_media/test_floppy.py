"""Driver floppies, as mtools, fsck.fat, text mode and libvirt see them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from fixtures import libvirt_oracles, txtsetup
from fixtures.fat_volumes import require_sound_fat
from fixtures.published_schemas import require_valid
from offline_mig.conversion import setup_medium
from offline_mig.drivers.media import open_media

Run = Callable[..., Result]
CopiedOut = Callable[[Path], dict[str, bytes]]
#: What QEMU's transitional virtio-blk says of itself on PCI.
VIRTIO_BLK = r"pci\ven_1af4&dev_1001&subsys_00021af4&rev_00"


def test_text_mode_loads_the_driver(
    media: Run, copied_out: CopiedOut, drivers_dir: Path, tmp_path: Path
) -> None:
    """The way that XP's set-up goes after F6, on files that mtools took from the floppy."""
    image = tmp_path / "viostor.vfd"
    made = media("floppy", "--drivers", drivers_dir, "--windows", "xp-x86", "-o", image)
    assert made.exit_code == 0, made.output
    assert image.stat().st_size == 1440 * 1024
    require_sound_fat(image)
    floppy = copied_out(image)
    (entry,) = txtsetup.menu(floppy)
    loaded = txtsetup.choose(floppy, entry)
    assert loaded.description == "Red Hat VirtIO SCSI controller (Windows XP, 32-bit)"
    assert loaded.description in made.output
    source = drivers_dir / "viostor/xp/x86"
    assert loaded.files == {
        ("driver", "viostor.sys"): (source / "viostor.sys").read_bytes(),
        ("inf", "viostor.inf"): (source / "viostor.inf").read_bytes(),
        ("catalog", "viostor.cat"): (source / "viostor.cat").read_bytes(),
    }
    assert loaded.devices[VIRTIO_BLK] == "viostor"
    assert loaded.values["viostor", r"parameters\pnpinterface", "5"] == ("REG_DWORD", "1")
    # Device Manager gets the network's from there later.
    network = drivers_dir / "NetKVM/xp/x86/netkvm.sys"
    assert floppy["i386/winxp/netkvm.sys"] == network.read_bytes()


def test_one_floppy_for_several_windows(
    media: Run, copied_out: CopiedOut, every_driver: Path, tmp_path: Path
) -> None:
    image = tmp_path / "servers.vfd"
    windows = ("2k3-x86", "2k3-amd64", "2k8R2-amd64")
    arguments = [part for name in windows for part in ("--windows", name)]
    made = media(
        "floppy", "--drivers", every_driver, *arguments, "--driver", "viostor", "-o", image,
        "--allow-unsigned",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    floppy = copied_out(image)
    entries = txtsetup.menu(floppy)
    assert [txtsetup.choose(floppy, entry).description for entry in entries] == [
        "Red Hat VirtIO SCSI controller (Windows Server 2003, 32-bit)",
        "Red Hat VirtIO SCSI controller (Windows Server 2003, 64-bit)",
    ]
    for entry, place in zip(entries, ("2k3/x86", "2k3/amd64"), strict=True):
        driver = txtsetup.choose(floppy, entry).files["driver", "viostor.sys"]
        assert driver == (every_driver / "viostor" / place / "viostor.sys").read_bytes()
    # What has no text mode takes the INF from its folder.
    assert "amd64/win2008r2/viostor.inf" in floppy
    # The program itself knows its own floppy's folders.
    unpacked = tmp_path / "servers.vfd.files"
    assert {inf.path.lower() for inf in open_media(unpacked).infs} == {
        "i386/win2003/viostor.inf",
        "amd64/win2003/viostor.inf",
        "amd64/win2008r2/viostor.inf",
    }


def test_a_newer_windows_gets_folders_and_no_menu(
    media: Run, copied_out: CopiedOut, drivers_dir: Path, tmp_path: Path
) -> None:
    image = tmp_path / "w7.vfd"
    made = media("floppy", "--drivers", drivers_dir, "--windows", "w7-x86", "-o", image)
    assert made.exit_code == 0, made.output
    assert "F6" not in made.output
    names = {path.rpartition("/")[2] for path in copied_out(image)}
    assert {"viostor.sys", "vioscsi.sys", "netkvm.sys"} <= names
    assert "txtsetup.oem" not in names


@pytest.mark.parametrize(
    ("padding", "asked", "size"),
    [(0, None, 1440), (0, "2.88", 2880), (1_600_000, None, 2880), (1_600_000, "1.44", 0),
     (3_000_000, None, 0)],
)  # fmt: skip
def test_the_size_is_the_smallest_that_holds_it(
    media: Run, large_driver: Callable[[int], Path], tmp_path: Path,
    padding: int, asked: str | None, size: int,
) -> None:  # fmt: skip
    image = tmp_path / "drivers.vfd"
    size_option = ["--size", asked] if asked else []
    made = media(
        "floppy", "--drivers", large_driver(padding), "--windows", "xp-x86", "-o", image,
        *size_option,
    )  # fmt: skip
    if size:
        assert made.exit_code == 0, made.output
        assert image.stat().st_size == size * 1024
        require_sound_fat(image)
    else:
        assert made.exit_code == 8
        assert "do not fit on a floppy" in made.output
        assert list(tmp_path.glob("*drivers.vfd*")) == []


def test_the_same_input_gives_the_same_bytes(
    media: Run, drivers_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [tmp_path / name for name in ("a.vfd", "b.vfd", "c.vfd")]
    for image in images:
        if image is images[2]:
            monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
        made = media("floppy", "--drivers", drivers_dir, "--windows", "xp-x86", "-o", image)
        assert made.exit_code == 0, made.output
    assert images[0].read_bytes() == images[1].read_bytes() != images[2].read_bytes()
    listing = subprocess.run(
        ["mdir", "-/", "-i", images[2], "::"], check=True, capture_output=True, text=True
    ).stdout
    assert listing.count("2001-09-09   1:46") > 5
    assert "1980" not in listing


def test_json_tells_all(media: Run, drivers_dir: Path, tmp_path: Path) -> None:
    image = tmp_path / "viostor.vfd"
    made = media("floppy", "--drivers", drivers_dir, "--windows", "xp-x86", "-o", image, "--json")
    record = json.loads(made.stdout)
    require_valid("media", record)
    assert record["file"] == str(image)
    assert record["size"] == image.stat().st_size
    (windows,) = record["windows"]
    assert windows["windows"]["release"] == "xp"
    assert {driver["driver"]: bool(driver["package"]) for driver in windows["drivers"]} == {
        "viostor": True,
        "vioscsi": False,
        "netkvm": True,
    }
    assert record["files"]["disk1"]["size"] == 0


def test_libvirt_takes_the_element(media: Run, drivers_dir: Path, tmp_path: Path) -> None:
    libvirt_oracles.require_validator()
    image = tmp_path / "a & b.vfd"
    made = media("floppy", "--drivers", drivers_dir, "--windows", "xp-x86", "-o", image, "--json")
    element = json.loads(made.stdout)["libvirt"]
    domain = tmp_path / "domain.xml"
    for machine in ("pc", "q35"):
        domain.write_text(
            f"<domain type='qemu'><name>g</name><memory>65536</memory><os><type arch='x86_64' "
            f"machine='{machine}'>hvm</type></os><devices>{element}</devices></domain>"
        )
        libvirt_oracles.validate(domain)
        assert "a &amp; b.vfd" in libvirt_oracles.define(domain)


def test_an_earlier_floppy_is_replaced_when_asked(
    media: Run, drivers_dir: Path, tmp_path: Path
) -> None:
    image = tmp_path / "viostor.vfd"
    image.write_text("earlier")
    arguments = ("floppy", "--drivers", drivers_dir, "--windows", "xp-x86", "-o", image)
    refused = media(*arguments)
    assert refused.exit_code == 8
    assert "--overwrite" in refused.output
    assert image.read_text() == "earlier"
    assert media(*arguments, "--overwrite").exit_code == 0
    require_sound_fat(image)
    assert [path.name for path in tmp_path.iterdir()] == ["viostor.vfd"]


@pytest.mark.parametrize(
    ("windows", "arguments", "code", "text"),
    [
        ("2k-x86", (), 7, "no VirtIO drivers for Windows 2000"),
        ("w8-amd64", (), 7, "There is no viostor driver for w8 amd64"),
        ("xp-x86", ("--driver", "vioscsi"), 7, "There is no vioscsi driver for xp x86"),
        ("w11-arm64", (), 6, "no floppy drive"),
        ("w12-x86", (), 2, "is no Windows"),
        ("xp-x86", ("--size", "720"), 2, "is not one of"),
        ("xp-x86", ("--timestamp", "soon"), 2, "not a valid integer"),
    ],
)  # fmt: skip
def test_refusals(
    media: Run, drivers_dir: Path, tmp_path: Path,
    windows: str, arguments: tuple[str, ...], code: int, text: str,
) -> None:  # fmt: skip
    image = tmp_path / "viostor.vfd"
    refused = media(
        "floppy", "--drivers", drivers_dir, "--windows", windows, "-o", image, *arguments
    )
    assert refused.exit_code == code, refused.output
    assert text in refused.output
    assert "Traceback" not in refused.output
    assert list(tmp_path.iterdir()) == []


def test_a_driver_that_f6_does_not_serve_is_told(
    media: Run, copied_out: CopiedOut, drivers_dir: Path, tmp_path: Path
) -> None:
    image = tmp_path / "network.vfd"
    made = media(
        "floppy", "--drivers", drivers_dir, "--windows", "xp-x86", "--driver", "netkvm", "-o", image
    )
    assert made.exit_code == 0, made.output
    assert "F6 finds nothing" in made.output
    assert "txtsetup.oem" not in copied_out(image)


def test_what_does_not_read_back_is_not_published(
    media: Run, drivers_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup_medium, "read_floppy", lambda data: {})
    image = tmp_path / "viostor.vfd"
    refused = media("floppy", "--drivers", drivers_dir, "--windows", "xp-x86", "-o", image)
    assert refused.exit_code == 10
    assert list(tmp_path.iterdir()) == []
