"""Which interface of the guest belongs to which network card of the machine.

The source says which cards the machine has; the guest remembers every card that it ever had. What
both know of a card is its address (Windows 10 and later keep it, a card on PCI Express has it in
its serial number) or its slot. Where neither helps, one card and one interface belong together,
and so do several in their order, which is the order of their slots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from offline_mig.machine import Nic
from offline_mig.windows.network_interfaces import NetworkInterface


class MatchedBy(StrEnum):
    """What tells that a card and an interface belong together, the surest first."""

    ADDRESS = "its MAC address"
    SLOT = "its PCI slot"
    ONLY = "being the only one"
    ORDER = "the order of the cards"


@dataclass(frozen=True, slots=True)
class MatchedAdapter:
    """The machine's card at ``position`` and the interface that it has in the guest."""

    position: int
    nic: Nic
    interface: NetworkInterface
    by: MatchedBy


@dataclass(frozen=True, slots=True)
class AdapterMatches:
    """All that belongs together, and what is left over on either side."""

    matched: tuple[MatchedAdapter, ...]
    unknown_nics: tuple[tuple[int, Nic], ...]
    absent: tuple[NetworkInterface, ...]


def match_adapters(nics: Sequence[Nic], interfaces: Sequence[NetworkInterface]) -> AdapterMatches:
    """Match the machine's cards with the guest's interfaces."""
    cards = dict(enumerate(nics))
    left = list(interfaces)
    matched: list[MatchedAdapter] = []

    def take(by: MatchedBy, same: Callable[[Nic, NetworkInterface], bool]) -> None:
        for position, nic in tuple(cards.items()):
            found = [interface for interface in left if same(nic, interface)]
            # Two that claim one card are no help: one is a remainder, and which is not known.
            if len(found) == 1:
                matched.append(MatchedAdapter(position, cards.pop(position), found[0], by))
                left.remove(found[0])

    take(MatchedBy.ADDRESS, lambda nic, i: nic.mac is not None and nic.mac == i.mac)
    take(
        MatchedBy.SLOT,
        # An interface that is known to have another address is not this card's.
        lambda nic, i: nic.pci_slot is not None and nic.pci_slot == i.slot and _may_be(nic, i),
    )
    candidates = [i for i in left if all(_may_be(nic, i) for nic in cards.values())]
    if cards and len(candidates) == len(cards):
        by = MatchedBy.ONLY if len(cards) == 1 and not matched else MatchedBy.ORDER
        # Without all slots on both sides: the order in the source, and that of installation.
        if all(nic.pci_slot for nic in cards.values()) and all(i.slot for i in candidates):
            cards = dict(sorted(cards.items(), key=lambda card: card[1].pci_slot or 0))
            candidates.sort(key=lambda interface: interface.slot or 0)
        for (position, nic), interface in zip(cards.items(), candidates, strict=True):
            matched.append(MatchedAdapter(position, nic, interface, by))
            left.remove(interface)
        cards = {}
    return AdapterMatches(
        tuple(sorted(matched, key=lambda match: match.position)),
        tuple(cards.items()),
        tuple(left),
    )


def _may_be(nic: Nic, interface: NetworkInterface) -> bool:
    return nic.mac is None or interface.mac is None or nic.mac == interface.mac
