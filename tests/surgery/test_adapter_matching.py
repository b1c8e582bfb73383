"""Which interface belongs to which card."""

from __future__ import annotations

from offline_mig.machine import Nic
from offline_mig.surgery.adapter_matching import AdapterMatches, MatchedBy, match_adapters
from offline_mig.windows.interface_settings import InterfaceSettings
from offline_mig.windows.network_interfaces import NetworkInterface

A, B, C = "00:50:56:00:00:0a", "00:50:56:00:00:0b", "00:50:56:00:00:0c"


def interface(name: str, mac: str | None = None, slot: int | None = None) -> NetworkInterface:
    return NetworkInterface(
        guid=f"{{{name}}}",
        name=name,
        driver_key=name,
        device=f"PCI\\VEN_8086&DEV_100F\\{name}",
        description=name,
        service="E1G60",
        config_flags=0,
        settings=InterfaceSettings(),
        mac=mac,
        slot=slot,
    )


def found(matches: AdapterMatches) -> list[tuple[int, str, MatchedBy]]:
    return [(m.position, m.interface.name, m.by) for m in matches.matched]


def test_the_address_is_surest() -> None:
    matches = match_adapters(
        [Nic(0, mac=A, pci_slot=160), Nic(1, mac=B, pci_slot=192)],
        [interface("0001", B, 160), interface("0002", A, 192), interface("0003", C, 224)],
    )
    assert found(matches) == [(0, "0002", MatchedBy.ADDRESS), (1, "0001", MatchedBy.ADDRESS)]
    assert [i.name for i in matches.absent] == ["0003"]


def test_slots_tell_cards_apart_whose_address_the_guest_does_not_know() -> None:
    matches = match_adapters(
        [Nic(0, mac=A, pci_slot=35), Nic(1, mac=B, pci_slot=33)],
        [interface("0001", slot=33), interface("0002", slot=35), interface("0003", slot=37)],
    )
    assert found(matches) == [(0, "0002", MatchedBy.SLOT), (1, "0001", MatchedBy.SLOT)]


def test_the_slot_of_a_card_with_another_address_is_not_believed() -> None:
    matches = match_adapters([Nic(0, mac=A, pci_slot=160)], [interface("0001", C, 160)])
    assert matches.matched == ()
    assert matches.unknown_nics == ((0, Nic(0, mac=A, pci_slot=160)),)


def test_two_remainders_in_one_slot_decide_nothing() -> None:
    matches = match_adapters(
        [Nic(0, mac=A, pci_slot=33)], [interface("0001", slot=33), interface("0002", slot=33)]
    )
    assert matches.matched == ()


def test_the_only_card_is_the_only_interface() -> None:
    matches = match_adapters([Nic(0, mac=A)], [interface("0001", slot=33)])
    assert found(matches) == [(0, "0001", MatchedBy.ONLY)]


def test_as_many_cards_as_interfaces_go_by_their_order() -> None:
    matches = match_adapters(
        [Nic(0, mac=A, pci_slot=40), Nic(1, mac=B, pci_slot=38)],
        [interface("0001", slot=33), interface("0002", slot=32)],
    )
    assert found(matches) == [(0, "0001", MatchedBy.ORDER), (1, "0002", MatchedBy.ORDER)]


def test_fewer_cards_than_interfaces_are_not_guessed_at() -> None:
    matches = match_adapters([Nic(0, mac=A)], [interface("0001"), interface("0002")])
    assert matches.matched == ()
    assert len(matches.absent) == 2
