"""Network interfaces as they are read from hives, made and real."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface
from pathlib import Path

import pytest

from fixtures import real_hives, two_cards
from fixtures.guest_spec import RealHives
from fixtures.registry_parts import INTERFACE
from fixtures.two_cards import TwoCards
from offline_mig.windows.hive import Hive
from offline_mig.windows.interface_settings import Gateway
from offline_mig.windows.network_config import read_network_config
from offline_mig.windows.network_interfaces import (
    NetworkState,
    PersistentRoute,
    mac_of_serial,
    read_network,
    vmware_slot,
)


def read(contents: bytes, folder: Path) -> NetworkState:
    path = folder / "SYSTEM"
    path.write_bytes(contents)
    return read_network(Hive(path, "SYSTEM"), "ControlSet001")


@pytest.mark.parametrize("guest", [two_cards.XP, two_cards.WINDOWS_7, two_cards.WINDOWS_10])
def test_two_cards_with_fixed_addresses(guest: TwoCards, tmp_path: Path) -> None:
    state = read(guest.hives()["SYSTEM"], tmp_path)
    first, second = state.interfaces
    assert (first.guid, first.name, first.device) == (INTERFACE, guest.names[0], guest.devices[0])
    assert first.settings.addresses == (IPv4Interface("192.0.2.10/24"),)
    assert first.settings.gateways == (Gateway(IPv4Address("192.0.2.1")),)
    assert first.settings.dns == ("192.0.2.2", "192.0.2.3")
    assert (second.guid, second.driver_key, second.own_mac) == (
        two_cards.SECOND,
        "0004",
        "02:00:00:00:00:42",
    )
    settings = second.settings
    assert [str(address) for address in settings.addresses] == [
        "198.51.100.7/25",
        "198.51.100.8/25",
    ]
    assert settings.gateways == (Gateway(IPv4Address("198.51.100.1"), 5),)
    assert (settings.wins, settings.netbios) == (("198.51.100.3",), 2)
    expected = () if guest is two_cards.XP else (IPv6Interface("2001:db8::7/64"),)
    assert settings.ipv6 == expected
    assert state.routes == (
        PersistentRoute(IPv4Network("10.20.0.0/16"), IPv4Address("198.51.100.9"), 1),
    )


@pytest.mark.data
def test_a_real_windows_7(tmp_path: Path) -> None:
    if real_hives.data_folder() is None:
        pytest.skip("no shared data")
    state = read(real_hives.hives(RealHives.WINDOWS_7)["SYSTEM"], tmp_path)
    found = {
        i.name: (i.slot, [str(a) for a in i.settings.addresses], i.settings.dns)
        for i in state.interfaces
    }
    # The slots are VMware's own numbers: 33 and 35 are what a VMX of that time has.
    assert found == {
        "Local Area Connection": (33, ["192.168.1.123/24"], ("192.168.1.112",)),
        "Local Area Connection 2": (35, ["10.3.58.5/24"], ("10.3.58.4",)),
    }


@pytest.mark.data
def test_a_real_windows_10_tells_the_address_of_its_card(tmp_path: Path) -> None:
    if real_hives.data_folder() is None:
        pytest.skip("no shared data")
    (interface,) = read(real_hives.hives(RealHives.WINDOWS_10)["SYSTEM"], tmp_path).interfaces
    assert (interface.name, interface.mac, interface.slot) == (
        "Ethernet0",
        "00:0c:29:66:1a:a2",
        160,
    )
    # Its serial number says the same.
    assert mac_of_serial(interface.device.rpartition("\\")[2]) == interface.mac
    assert interface.settings.dhcp
    assert not interface.settings.set_by_hand


@pytest.mark.parametrize(
    ("instance", "mac"),
    [
        ("000C29FFFF661AA200", "00:0c:29:66:1a:a2"),
        ("FF565000BB0895FE00", "00:50:56:95:08:bb"),
        ("FF290C008E0E28FE00", "00:0c:29:28:0e:8e"),
        ("4&b70f118&0&0888", None),
        ("0000000000000000FF", None),
        ("001122334455667700", None),
    ],
)
def test_addresses_in_serial_numbers(instance: str, mac: str | None) -> None:
    assert mac_of_serial(instance) == mac


@pytest.mark.parametrize(
    ("instance", "slot"),
    [
        ("4&b70f118&0&0888", 33),
        ("4&b70f118&0&1888", 35),
        ("4&2732702b&0&00A8", 160),
        ("4&2732702b&0&00A9", 1184),
        ("3&61aaa01&0&88", 17),
        ("4&2732702b&0&0028", None),
        ("5&1ec51bf7&0&000000", None),
    ],
)
def test_slots_of_cards_without_serial_numbers(instance: str, slot: int | None) -> None:
    assert vmware_slot(instance) == slot


@pytest.mark.data
@pytest.mark.parametrize(("chosen", "adapters"), [(RealHives.XP, 1), (RealHives.WINDOWS_7, 2)])
def test_the_component_list_of_real_hives(chosen: RealHives, adapters: int, tmp_path: Path) -> None:
    if real_hives.data_folder() is None:
        pytest.skip("no shared data")
    path = tmp_path / "SYSTEM"
    path.write_bytes(real_hives.hives(chosen)["SYSTEM"])
    value = Hive(path, "SYSTEM").value(r"ControlSet001\Control\Network", "Config")
    assert value is not None
    config = read_network_config(value.data)
    assert config is not None
    cards = [part for part in config.components if part.device.startswith("PCI\\")]
    assert len(cards) == adapters
    changed = config.with_device(cards[0].guid, "pci\\x", "PCI\\A\\B")
    again = read_network_config(changed.to_bytes())
    assert again == changed
    assert [p for p in changed.components if p.guid != cards[0].guid] == [
        p for p in config.components if p.guid != cards[0].guid
    ]


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\0\0\0\0\xff\0\0\0", b"\1\0\0\0\0\0\0\0"])
def test_another_form_of_the_component_list_is_not_guessed_at(data: bytes) -> None:
    assert read_network_config(data) is None


def test_a_list_that_is_cut_off_is_not_guessed_at() -> None:
    whole = two_cards.network_config(("PCI\\A\\1", "PCI\\A\\2"))
    config = read_network_config(whole)
    assert config is not None
    assert config.to_bytes() == whole
    bindings = 5 * 4
    for length in range(len(whole) - bindings - 1):
        assert read_network_config(whole[:length]) is None, length
