"""Value layouts of the DriverDatabase, against what a real Windows 10 holds."""

from __future__ import annotations

from datetime import date

from offline_mig.windows.driver_database import (
    free_oem_number,
    oem_number_in_use,
    package_name,
    version_value,
    with_oem_number,
)
from offline_mig.windows.version import Architecture

SCSI_ADAPTER = "{4D36E97B-E325-11CE-BFC1-08002BE10318}"


def test_version_value_is_what_windows_10_wrote_for_pvscsi() -> None:
    # pvscsi.inf, DriverVer = 04/26/2021, 1.3.17.0, as imported by Windows 10 2004 amd64.
    assert version_value(
        Architecture.AMD64, SCSI_ADAPTER, date(2021, 4, 26), (1, 3, 17, 0)
    ).data == bytes.fromhex(
        "00ff0900000000007be9364d25e3ce11bfc108002be10318"
        "00c0b6192f3ad70100001100030001000000000000000000"
    )


def test_oem_numbers_are_bits_from_the_highest() -> None:
    in_use = bytes.fromhex("ff80")
    assert [number for number in range(16) if oem_number_in_use(in_use, number)] == list(range(9))
    assert free_oem_number(in_use, ()) == 9
    assert free_oem_number(in_use, {"oem9.inf", "oem10.inf"}) == 11
    assert with_oem_number(in_use, 9) == bytes.fromhex("ffc0")
    assert with_oem_number(b"", 17) == bytes.fromhex("000040")


def test_package_name_has_the_shape_that_pnputil_accepts() -> None:
    name = package_name("VioStor.inf", Architecture.AMD64, b"content")
    label, digits = name.rsplit("_", 1)
    assert label == "viostor.inf_amd64"
    assert len(digits) == 16
    assert int(digits, 16) >= 0
    assert name != package_name("VioStor.inf", Architecture.AMD64, b"other")
