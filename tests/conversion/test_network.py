"""Network connections by the whole command: what is said beforehand, and what comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from fixtures.conversion_run import Case, Converted, offline_mig
from fixtures.guests import BuildGuest, GuestKind, GuestSpec, Variant
from fixtures.published_schemas import require_valid
from fixtures.registry_parts import INTERFACE
from fixtures.result import hivexget

pytestmark = pytest.mark.conversion

Convert = Callable[[Case], Converted]
STATIC = GuestSpec(GuestKind.WINDOWS_10, Variant(static_address=True))
NEW = r"ControlSet001\Enum\PCI\VEN_1AF4&DEV_1041&SUBSYS_11001AF4&REV_01\4&1a7a54ae&0&0090"
NET = r"ControlSet001\Control\Class\{4D36E972-E325-11CE-BFC1-08002BE10318}"


def test_a_fixed_address_goes_with_the_guest(converted: Convert) -> None:
    done = converted(Case(STATIC))
    domain = ET.parse(done.printed["domain"])
    interface = domain.find("devices/interface")
    port = domain.find("devices/controller[@model='pcie-root-port']/address")
    assert interface is not None and port is not None
    assert port.get("slot") == "0x12"
    address = interface.find("address")
    assert address is not None
    assert address.get("bus") == "0x01"
    system = done.volume.hive("/Windows/System32/config/SYSTEM")
    number = hivexget(system, NEW, "Driver")[-4:]
    assert hivexget(system, rf"{NET}\{number}", "NetCfgInstanceId") == INTERFACE
    (connection,) = done.report["network"]["connections"]
    assert connection["interface"]["settings"]["addresses"] == ["192.0.2.10/24"]
    assert connection["kept"] == "kept, and looked at when Windows first starts"
    assert [step["id"] for step in done.report["first_boot"]["steps"]] == ["network", "put-back"]
    require_valid("report", done.report)


def test_a_dry_run_says_what_becomes_of_connections(
    guest: BuildGuest, drivers_dir: Path, tmp_path: Path
) -> None:
    built = guest(STATIC)
    common = (
        "convert", built.vmx, "--drivers", drivers_dir, "--allow-unsigned", "-o", tmp_path / "out",
        "--engine", "userspace", "--dry-run", "--ip",
    )  # fmt: skip
    done = offline_mig(*common, "00:50:56:1a:2b:10=198.51.100.7/24,198.51.100.1")
    assert done.returncode == 0, done.stderr
    assert (
        '"Local Area Connection" (192.0.2.10/24, gateway 192.0.2.1, DNS 192.0.2.2 192.0.2.3): '
        "kept, and looked at when Windows first starts, and given 198.51.100.7/24, gateway "
        "198.51.100.1"
    ) in done.stdout
    assert "see that the network cards have their settings" in done.stdout
    done = offline_mig(*common, "00:50:56:1a:2b:10=198.51.100.7/24", "--json")
    require_valid("plan", json.loads(done.stdout))
    done = offline_mig(*common, "00:50:56:00:00:01=198.51.100.7/24")
    assert done.returncode == 2
    assert "no network card with the address 00:50:56:00:00:01" in done.stderr
    assert "00:50:56:1a:2b:10" in done.stderr
    done = offline_mig(*common, "00:50:56:1a:2b:10=198.51.100.7")
    assert done.returncode == 2
    assert "has no length of the network" in done.stderr


def test_inspect_shows_them(guest: BuildGuest) -> None:
    vmx = guest(STATIC).vmx
    done = offline_mig("inspect", vmx, "--engine", "userspace")
    assert '"Local Area Connection", Network adapter: 192.0.2.10/24' in done.stdout
    done = offline_mig("inspect", vmx, "--engine", "userspace", "--json")
    record = json.loads(done.stdout)
    require_valid("inspect", record)
    assert [i["guid"] for i in record["guest"]["network"]] == [INTERFACE]
