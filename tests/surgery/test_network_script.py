"""The commands for network cards, run by Wine's cmd.exe with stand-ins for getmac and netsh."""

from __future__ import annotations

import shutil
from dataclasses import replace
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
)
from pathlib import Path

import pytest

from fixtures.wine import Wine, windows_path
from offline_mig.surgery.network_script import CardSettings, can_be_named, network_script
from offline_mig.windows.interface_settings import Gateway, InterfaceSettings
from offline_mig.windows.network_interfaces import PersistentRoute, VirtualInterface

_STAND_IN = Path(__file__).parents[1] / "fixtures" / "network_tools.c"
GUID = "{5C3A1F0E-9B1D-4E57-8A44-2F6D0C9E7B13}"
SECOND_GUID = "{0E6D9C0A-7F3B-4C1D-9B52-64A1D0C3E8F7}"
THIRD = "{BBBBBBBB-1111-2222-3333-444444444444}"
OTHER = "{AAAAAAAA-1111-2222-3333-444444444444}"
SETTINGS = InterfaceSettings(
    dhcp=False,
    addresses=(IPv4Interface("192.0.2.10/24"), IPv4Interface("192.0.2.11/24")),
    gateways=(Gateway(IPv4Address("192.0.2.1")), Gateway(IPv4Address("192.0.2.254"), 9)),
    dns=("192.0.2.2", "192.0.2.3", "2001:db8::53"),
    domain="example.test",
    metric=7,
    wins=("192.0.2.4", "& del C:\\x"),
    netbios=2,
    ipv6=(IPv6Interface("2001:db8::7/64"),),
    ipv6_gateways=(IPv6Address("fe80::1"),),
)
GIVEN = InterfaceSettings(dhcp=False, addresses=(IPv4Interface("198.51.100.7/25"),))
MAC, SHOWN = "00:50:56:1a:2b:10", "00-50-56-1A-2B-10"


class Guest:
    """A Wine with stand-ins for the programs that the script calls."""

    def __init__(self, wine: Wine, folder: Path) -> None:
        self.wine, self.folder = wine, folder
        program = wine.compile(_STAND_IN, name="network-tools.exe")
        for name in ("getmac", "netsh", "reg", "ping", "route"):
            shutil.copy(program, folder / f"{name}.exe")

    def run(
        self, *cards: CardSettings, nt6: bool = True, virtual: tuple[VirtualInterface, ...] = ()
    ) -> tuple[int, list[str]]:
        """Run the script; returns its exit code, and how it called the programs."""
        lines = ("@echo off", *network_script(cards, nt6=nt6, virtual=virtual))
        here = windows_path(self.folder)
        text = "\r\n".join((*lines, "")).replace(r"%SystemRoot%\System32", here)
        (self.folder / "network.cmd").write_bytes(text.encode("ascii"))
        called = self.folder / "called.log"
        called.unlink(missing_ok=True)
        code = self.wine.cmd(rf"{here}\network.cmd")
        return code, called.read_text().splitlines()

    def has(self, *cards: tuple[str, str, str]) -> None:
        """Say which cards getmac finds: name, address, and where it is or that it has no link."""
        rows = (f'"{name}","Adapter #2","{mac}","{there}"\n' for name, mac, there in cards)
        (self.folder / "getmac.out").write_text("".join(rows))


@pytest.fixture
def guest(running_wine: Wine, tmp_path: Path) -> Guest:
    return Guest(running_wine, tmp_path)


def test_a_card_that_kept_its_connection_is_left_alone(guest: Guest) -> None:
    guest.has(("Ethernet0", SHOWN, rf"\Device\Tcpip_{GUID}"))
    code, called = guest.run(CardSettings(MAC, GUID, "Ethernet0", SETTINGS, None))
    assert (code, called) == (0, ["getmac /v /fo csv /nh"])


def test_a_new_connection_gets_all_settings_and_the_name(guest: Guest) -> None:
    guest.has(
        ("Other", "00-50-56-1A-2B-99", rf"\Device\Tcpip_{GUID}"),
        ("Ethernet 2", SHOWN, rf"\Device\Tcpip_{OTHER}"),
    )
    routes = (
        PersistentRoute(IPv4Network("10.20.0.0/16"), IPv4Address("192.0.2.9"), 3),
        PersistentRoute(IPv4Network("10.30.0.0/16"), IPv4Address("198.51.100.1")),
    )
    code, called = guest.run(CardSettings(MAC, GUID, "Ethernet0", SETTINGS, None, routes))
    services = r"HKLM\SYSTEM\CurrentControlSet\Services"
    assert code == 0
    assert called[1:] == [
        'netsh interface ip set address "Ethernet 2" static 192.0.2.10 255.255.255.0 192.0.2.1',
        'netsh interface ip add address "Ethernet 2" 192.0.2.11 255.255.255.0',
        'netsh interface ip add address "Ethernet 2" gateway=192.0.2.254 gwmetric=9',
        'netsh interface ip set dns "Ethernet 2" static 192.0.2.2',
        'netsh interface ip add dns "Ethernet 2" 192.0.2.3',
        'netsh interface ipv6 set dnsserver "Ethernet 2" static 2001:db8::53',
        'netsh interface ip set wins "Ethernet 2" static 192.0.2.4',
        'netsh interface ipv6 delete address "Ethernet 2" 2001:db8::7',
        'netsh interface ipv6 add address "Ethernet 2" 2001:db8::7/64',
        'netsh interface ipv6 delete route ::/0 "Ethernet 2" fe80::1',
        'netsh interface ipv6 add route ::/0 "Ethernet 2" fe80::1',
        'netsh interface ipv4 set interface "Ethernet 2" metric=7',
        (
            rf"reg add {services}\Tcpip\Parameters\Interfaces\{OTHER} /v Domain /t REG_SZ "
            "/d example.test /f"
        ),
        (
            rf"reg add {services}\NetBT\Parameters\Interfaces\Tcpip_{OTHER} /v NetbiosOptions "
            "/t REG_DWORD /d 2 /f"
        ),
        "route -p add 10.20.0.0 mask 255.255.0.0 192.0.2.9 metric 3",
        (
            r"reg delete HKLM\SYSTEM\CurrentControlSet\Control\Network"
            rf"\{{4D36E972-E325-11CE-BFC1-08002BE10318}}\{GUID} /f"
        ),
        rf"reg delete {services}\Tcpip\Parameters\Interfaces\{GUID} /f",
        'netsh interface set interface "name=Ethernet 2" newname=Ethernet0',
    ]


def test_a_card_without_a_link_has_its_settings_too(guest: Guest) -> None:
    guest.has(("Ethernet 2", SHOWN, "Media disconnected"))
    code, called = guest.run(CardSettings(MAC, GUID, "Ethernet0", SETTINGS, None))
    assert code == 0
    assert any("static 192.0.2.10" in call for call in called)
    assert not any(call.startswith("reg") for call in called), "its GUID is not known"


def test_given_addresses_come_to_an_old_connection_and_to_a_new_card(guest: Guest) -> None:
    second = "00:50:56:1a:2b:11"
    guest.has(
        ("Ethernet0", SHOWN, rf"\Device\Tcpip_{GUID}"),
        ("LAN (2)", "00-50-56-1A-2B-11", rf"\Device\Tcpip_{OTHER}"),
    )
    code, called = guest.run(
        CardSettings(MAC, GUID, "Ethernet0", None, GIVEN),
        CardSettings(second, None, None, None, GIVEN),
    )
    assert code == 0
    assert [call for call in called if call.startswith("netsh")] == [
        f"netsh interface ip set address {name} static 198.51.100.7 255.255.255.128 none"
        for name in ("Ethernet0", '"LAN (2)"')
    ]


def test_xp_is_spared_what_it_does_not_know(guest: Guest) -> None:
    guest.has(("Local Area Connection 2", SHOWN, rf"\Device\Tcpip_{OTHER}"))
    code, called = guest.run(
        CardSettings(MAC, GUID, "Local Area Connection", SETTINGS, None), nt6=False
    )
    assert code == 0
    assert not any("ipv6" in call or "ipv4" in call for call in called)
    assert any(call.endswith("255.255.255.0 192.0.2.1 1") for call in called), "its least metric"
    services = r"HKLM\SYSTEM\CurrentControlSet\Services"
    metric = (
        rf"reg add {services}\Tcpip\Parameters\Interfaces\{OTHER} /v InterfaceMetric "
        "/t REG_DWORD /d 7 /f"
    )
    assert metric in called


def test_a_card_that_is_not_found_is_waited_for_and_told(guest: Guest) -> None:
    guest.has(("Other", "00-50-56-1A-2B-99", rf"\Device\Tcpip_{OTHER}"))
    code, called = guest.run(CardSettings(MAC, GUID, "Ethernet0", SETTINGS, None))
    assert code == 1
    assert called.count("ping -n 11 127.0.0.1") == 17
    assert not any(call.startswith(("netsh", "reg")) for call in called)


def test_an_address_that_windows_refuses_leaves_the_old_connection(guest: Guest) -> None:
    guest.has(
        ("Ethernet 2", SHOWN, rf"\Device\Tcpip_{OTHER}"),
        ("Ethernet 3", "00-50-56-1A-2B-11", rf"\Device\Tcpip_{THIRD}"),
    )
    (guest.folder / "netsh.refuses").write_text("192.0.2.10")
    second = replace(SETTINGS, addresses=(IPv4Interface("192.0.2.20/24"),))
    code, called = guest.run(
        CardSettings(MAC, GUID, "Ethernet0", SETTINGS, None),
        CardSettings("00:50:56:1a:2b:11", SECOND_GUID, "Ethernet1", second, None),
    )
    assert code == 1
    assert any("add address" in call for call in called), "the rest is done all the same"
    deleted = [call for call in called if call.startswith("reg delete")]
    assert len(deleted) == 2
    assert all(SECOND_GUID in call for call in deleted), "the other card's is known to be needless"
    assert not any("newname=Ethernet0" in call for call in called)


def test_a_name_that_windows_refuses_is_a_failure(guest: Guest) -> None:
    guest.has(("Ethernet 2", SHOWN, rf"\Device\Tcpip_{OTHER}"))
    (guest.folder / "netsh.refuses").write_text("newname=")
    code, called = guest.run(CardSettings(MAC, GUID, "Ethernet0", SETTINGS, GIVEN))
    assert code == 1
    assert called[-1].startswith('netsh interface ip set address "Ethernet 2" static 198.51.100.7')


def test_given_addresses_come_to_the_connection_by_its_new_name(guest: Guest) -> None:
    guest.has(("Ethernet 2", SHOWN, rf"\Device\Tcpip_{OTHER}"))
    code, called = guest.run(CardSettings(MAC, GUID, "Ethernet0", SETTINGS, GIVEN))
    assert code == 0
    assert called[-1].startswith("netsh interface ip set address Ethernet0 static 198.51.100.7")


def test_a_name_of_an_earlier_try_is_not_given_again(guest: Guest) -> None:
    guest.has(("Ethernet0", SHOWN, rf"\Device\Tcpip_{OTHER}"))
    code, called = guest.run(CardSettings(MAC, GUID, "Ethernet0", SETTINGS, None))
    assert code == 0
    assert not any("newname" in call for call in called)


@pytest.mark.parametrize("name", ["R&D", "DMZ, inner", "a=b;c", "a^b"])
def test_a_new_connection_of_any_name_is_found(guest: Guest, name: str) -> None:
    guest.has((name, SHOWN, rf"\Device\Tcpip_{OTHER}"))
    code, called = guest.run(CardSettings(MAC, GUID, "Ethernet0", SETTINGS, None))
    assert code == 0
    shown = f'"{name}"' if " " in name else name
    assert called[1].startswith(f"netsh interface ip set address {shown} static 192.0.2.10 ")
    assert any(OTHER in call for call in called), "its GUID is found behind the name"
    assert any(call.endswith("newname=Ethernet0") for call in called)


@pytest.mark.parametrize("there", [rf"\Device\Tcpip_{THIRD}", "Media disconnected"])
def test_a_team_with_the_address_of_its_member_is_none(guest: Guest, there: str) -> None:
    team = VirtualInterface(THIRD, "Team 1", "a team", InterfaceSettings())
    guest.has(("Ethernet 2", SHOWN, rf"\Device\Tcpip_{OTHER}"), ("Team 1", SHOWN, there))
    code, called = guest.run(CardSettings(MAC, GUID, "Member", SETTINGS, None), virtual=(team,))
    assert code == 0
    assert any('"Ethernet 2"' in call for call in called)
    assert not any("Team 1" in call or THIRD in call for call in called)


def test_a_card_is_found_by_the_address_that_the_user_gave_it(guest: Guest) -> None:
    guest.has(("Ethernet0", "02-00-00-00-00-42", rf"\Device\Tcpip_{GUID}"))
    card = CardSettings(MAC, GUID, "Ethernet0", SETTINGS, None, own_mac="02:00:00:00:00:42")
    code, called = guest.run(card)
    assert (code, called) == (0, ["getmac /v /fo csv /nh"])


def test_what_a_guest_says_of_its_name_servers_is_no_command() -> None:
    odd = replace(SETTINGS, dns=("fe80::1%&calc", "fe80::2%\u30c4", "2001:db8::53"))
    script = "\n".join(network_script([CardSettings(MAC, GUID, "Lan", odd, None)], nt6=True))
    assert "calc" not in script
    assert script.isascii()
    assert "2001:db8::53" in script


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Local Area Connection 2", True),
        ("Ethernet0", True),
        ("LAN (DMZ) #1", True),
        ('say "x"', False),
        ("100%", False),
        ("a&b", False),
        ("Połączenie lokalne", False),
    ],
)
def test_names_that_a_script_can_give(name: str, plain: bool) -> None:
    assert can_be_named(name) is plain
