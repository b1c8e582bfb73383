"""What becomes of a guest's network connections, decided before anything is copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from offline_mig.conversion.address_override import (
    AddressOverride,
    settings_given,
    with_given,
)
from offline_mig.conversion.driver_choice import ChosenDrivers
from offline_mig.conversion.options import ConvertOptions
from offline_mig.errors import UnfitRequestError
from offline_mig.machine import Machine
from offline_mig.surgery.adapter_driver import choose_adapter_driver, plan_adapter_driver
from offline_mig.surgery.adapter_matching import (
    AdapterMatches,
    MatchedAdapter,
    MatchedBy,
    match_adapters,
)
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.first_boot import FirstBootStep, supports_first_boot
from offline_mig.surgery.network_identity import (
    NewAdapter,
    installs_by_itself,
    plan_network_identity,
)
from offline_mig.surgery.network_script import CardSettings, can_be_named, network_script
from offline_mig.surgery.plan import PlanBlock
from offline_mig.targets.devices import DEFAULT_NETWORK
from offline_mig.targets.hardware import plan_chipset
from offline_mig.targets.identity import unicast_mac
from offline_mig.targets.nic_places import nic_place
from offline_mig.targets.options import TargetKind
from offline_mig.windows.device_instance import PlacedDevice
from offline_mig.windows.interface_settings import InterfaceSettings
from offline_mig.windows.network_interfaces import (
    NetworkInterface,
    NetworkState,
    read_network,
)

_NT6 = (6, 0)


class Kept(StrEnum):
    """What becomes of a connection on the new card."""

    IN_PLACE = "kept"
    """It is bound to the new card: name, addresses, everything."""
    CHECKED = "kept, and looked at when Windows first starts"
    """It is bound to the new card, which Windows installs; should that go wrong it is set again."""
    FIRST_BOOT = "set again when Windows first starts"
    """The card comes up as a new connection, which gets the settings of the old one."""
    NOT = "not kept"
    """The new card comes up as a new connection, by DHCP."""


@dataclass(frozen=True, slots=True)
class ConnectionOutcome:
    """A card of the machine, the connection that it had, and what becomes of that.

    ``position`` counts the machine's cards from 0. ``matched_by`` says what tells that the two
    belong together; ``reason`` why a connection is not kept in place, and ``given`` what the user
    gives the card when Windows first starts.
    """

    position: int
    mac: str | None
    interface: NetworkInterface
    matched_by: MatchedBy
    kept: Kept
    reason: str | None = None
    given: InterfaceSettings | None = None


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """What is done for the network. ``placed`` are the positions of cards with a fixed place."""

    state: NetworkState
    connections: tuple[ConnectionOutcome, ...]
    absent: tuple[NetworkInterface, ...]
    blocks: tuple[PlanBlock, ...]
    steps: tuple[FirstBootStep, ...]
    placed: frozenset[int]
    notes: tuple[str, ...]


def plan_network(
    facts: GuestFacts, machine: Machine, drivers: ChosenDrivers, options: ConvertOptions
) -> NetworkPlan:
    """Decide what becomes of the guest's connections on the new machine.

    Raises UnfitRequestError for addresses that are given to a card that is not there, or to a
    Windows that cannot have them.
    """
    given = _given(facts, machine, options)
    state = read_network(facts.system, facts.control_sets.current)
    matches = match_adapters(machine.nics, state.interfaces)
    adapters: list[NewAdapter] = []
    connections: list[ConnectionOutcome] = []
    of_others = bool(state.virtual)
    for match in matches.matched:
        adapter, reason = _new_adapter(facts, machine, drivers, options, match)
        if adapter is not None:
            adapters.append(adapter)
        mac = unicast_mac(match.nic.mac)
        own = given.get(mac or "")
        if adapter is not None and own is not None:
            _require_enabled(match)
        connections.append(
            ConnectionOutcome(
                match.position,
                mac,
                match.interface,
                match.by,
                _kept(facts, match, bound=adapter is not None, of_others=of_others),
                reason,
                own,
            )
        )
    return NetworkPlan(
        state,
        tuple(connections),
        matches.absent,
        _blocks(facts, adapters),
        _steps(facts, state, connections, matches, given),
        frozenset(adapter.match.position for adapter in adapters),
        (
            *_notes_of_connections(connections),
            *_notes_of_cards(matches, given),
            *_notes_of_targets(facts, machine, drivers, options, connections),
            *_notes_of_pods(options, connections, given),
            *_notes_of_virtual(state),
        ),
    )


def _given(
    facts: GuestFacts, machine: Machine, options: ConvertOptions
) -> dict[str, InterfaceSettings]:
    """Return the settings that the user gives cards, by their addresses."""
    present = {unicast_mac(nic.mac) for nic in machine.nics}
    by_card: dict[str, list[AddressOverride]] = {}
    for override in options.ip:
        if override.mac not in present:
            known = ", ".join(sorted(mac for mac in present if mac)) or "none with a known address"
            raise UnfitRequestError(
                f"The machine has no network card with the address {override.mac}.",
                f"Name one of its cards with --ip: {known}.",
            )
        if override.address.version == 6 and facts.version.nt < _NT6:
            raise UnfitRequestError(
                f"{facts.version.product_name} cannot be given the IPv6 address "
                f"{override.address}: its commands know no length of a network.",
                "Set it in the guest, or give the card an IPv4 address with --ip.",
            )
        by_card.setdefault(override.mac, []).append(override)
    if by_card and not supports_first_boot(facts):
        raise UnfitRequestError(
            f"{facts.version.product_name} has no programs to be given addresses with.",
            "Leave --ip out, and set them in the guest.",
        )
    return {mac: settings_given(overrides) for mac, overrides in by_card.items()}


def _require_enabled(match: MatchedAdapter) -> None:
    if match.interface.disabled:
        raise UnfitRequestError(
            f'The network card {match.nic.mac} is disabled in the guest ("{match.interface.name}") '
            "and stays so: no address can be set on it when Windows first starts.",
            "Leave --ip out for this card, and set its address in the guest when it is enabled.",
        )


def _kept(facts: GuestFacts, match: MatchedAdapter, *, bound: bool, of_others: bool) -> Kept:
    """Return what becomes of a connection; ``of_others`` is whether cards may be in a team.

    A disabled card shows nowhere by its address, and what was set on it is not to come to life. A
    member of a team has settings of before, and no address that could be looked at.
    """
    # The new machine's card has another address where the source's is none for a card.
    mac = unicast_mac(match.nic.mac)
    lasting = match.interface.settings.set_by_hand and mac is not None
    helped = lasting and supports_first_boot(facts) and not match.interface.disabled
    if bound:
        checked = helped and installs_by_itself(facts) and not of_others
        return Kept.CHECKED if checked else Kept.IN_PLACE
    return Kept.FIRST_BOOT if helped else Kept.NOT


def _steps(
    facts: GuestFacts,
    state: NetworkState,
    connections: Sequence[ConnectionOutcome],
    matches: AdapterMatches,
    given: Mapping[str, InterfaceSettings],
) -> tuple[FirstBootStep, ...]:
    """Return what is to be done for network cards when Windows first starts."""
    cards = []
    for connection in connections:
        mac, interface = connection.mac, connection.interface
        own = connection.kept in (Kept.CHECKED, Kept.FIRST_BOOT)
        if mac is None or not (own or mac in given):
            continue
        settings = interface.settings if own else None
        if settings is not None and mac in given:
            settings = with_given(settings, given[mac])
        cards.append(
            CardSettings(
                mac,
                interface.guid,
                interface.name,
                settings,
                given.get(mac),
                state.routes,
                interface.own_mac,
            )
        )
    for _, nic in matches.unknown_nics:
        mac = unicast_mac(nic.mac)
        if mac is not None and mac in given:
            cards.append(CardSettings(mac, None, None, None, given[mac]))
    if not cards:
        return ()
    commands = network_script(cards, nt6=facts.version.nt >= _NT6, virtual=state.virtual)
    macs = ", ".join(card.mac for card in cards)
    title = f"see that the network cards have their settings ({macs})"
    return (FirstBootStep("network", title, commands),)


def _new_adapter(
    facts: GuestFacts,
    machine: Machine,
    drivers: ChosenDrivers,
    options: ConvertOptions,
    match: MatchedAdapter,
) -> tuple[NewAdapter | None, str | None]:
    """Return the new card of a match, or why Windows will take it for another one."""
    netkvm = next((d for d in drivers.drivers.others if d.name == "netkvm"), None)
    if netkvm is None:
        return None, "its card becomes an emulated one, whose place is not known beforehand"
    kind = options.targets[0]
    device = _device(facts, machine, drivers, options, kind, match.position)
    if device is None:
        return None, f"the place of card {match.position + 1} on {kind} is not known beforehand"
    if installs_by_itself(facts):
        return NewAdapter(match, device), None
    driver = choose_adapter_driver(facts, netkvm, device.identity)
    if driver is None:
        return None, f"{netkvm.package.inf_name} does not know the card {device.identity.device_id}"
    return NewAdapter(match, device, driver), None


def _device(
    facts: GuestFacts,
    machine: Machine,
    drivers: ChosenDrivers,
    options: ConvertOptions,
    kind: TargetKind,
    position: int,
) -> PlacedDevice | None:
    machine_type, transitional = plan_chipset(
        machine, facts.version, options.target, drivers.in_place
    )
    return nic_place(kind, machine_type, position, transitional=transitional)


def _blocks(facts: GuestFacts, adapters: Sequence[NewAdapter]) -> tuple[PlanBlock, ...]:
    driver = next((adapter.driver for adapter in adapters if adapter.driver is not None), None)
    blocks = [] if driver is None else [plan_adapter_driver(facts, driver)]
    identity = plan_network_identity(facts, adapters)
    if identity is not None and identity.changes:
        blocks.append(identity)
    return tuple(blocks)


def _notes_of_connections(connections: Sequence[ConnectionOutcome]) -> Iterator[str]:
    """Yield what of the guest's connections the user should know before anything is copied."""
    for connection in connections:
        interface = connection.interface
        if connection.kept is Kept.FIRST_BOOT:
            yield (
                f'The settings of "{interface.name}" ({interface.settings.summary}) are set '
                f"again when Windows first starts, as {connection.reason}: till then its card "
                "asks DHCP. What is bound to the connection besides, such as a firewall profile, "
                "is as of a new one, and the old card stays as a hidden device."
            )
            if interface.settings.ipv6 and not (connection.given and connection.given.ipv6):
                yield (
                    f'A gateway of IPv6 that was set by hand on "{interface.name}" is not known '
                    "and not set again: look at it after the first start."
                )
            if not can_be_named(interface.name):
                yield f'Name the connection "{interface.name}" again: its name is beyond a script.'
        if connection.kept is Kept.NOT:
            yield from _notes_of_lost(connection)
        if connection.matched_by is MatchedBy.ORDER:
            yield (
                f'Network card {connection.position + 1} is taken to be "{interface.name}" by '
                "the order of the cards: neither address nor slot tells. Look at the connections "
                "after the first start."
            )


def _notes_of_lost(connection: ConnectionOutcome) -> Iterator[str]:
    interface = connection.interface
    if interface.settings.set_by_hand:
        yield (
            f'The settings of "{interface.name}" ({interface.settings.summary}) stay with a '
            f"card that is gone: {connection.reason}. Set them again on the new connection."
        )
    elif interface.name != interface.guid:
        yield (
            f'The name "{interface.name}" stays with a card that is gone: {connection.reason}. '
            f"The card comes up as a new connection, {_how(connection.given)}."
        )
    if interface.disabled:
        yield f'"{interface.name}" is disabled in the guest; the new connection is not.'


def _how(given: InterfaceSettings | None) -> str:
    """Say what address a new connection has."""
    if given is None:
        return "by DHCP"
    return f"which is given {given.summary} when Windows first starts"


def _notes_of_cards(
    matches: AdapterMatches, given: Mapping[str, InterfaceSettings]
) -> Iterator[str]:
    """Yield what does not belong together: cards without a connection, and the other way round."""
    if matches.matched or matches.absent:
        for position, nic in matches.unknown_nics:
            how = _how(given.get(unicast_mac(nic.mac) or ""))
            yield (
                f"Network card {position + 1} ({nic.mac or 'without a fixed address'}) is none "
                f"that the guest is known to have had; it comes up as a new connection, {how}."
            )
    for interface in matches.absent:
        if interface.settings.set_by_hand:
            yield (
                f'"{interface.name}" ({interface.settings.summary}) belongs to a card that the '
                "machine does not have; it is left as it is, a hidden device."
            )


def _notes_of_virtual(state: NetworkState) -> Iterator[str]:
    for interface in state.virtual:
        yield (
            f'"{interface.name}" ({interface.settings.summary}) is {interface.kind}. It is left '
            "as it is: its members keep their identity, but whether its driver accepts VirtIO "
            "cards shows at the first start only."
        )


def _notes_of_targets(
    facts: GuestFacts,
    machine: Machine,
    drivers: ChosenDrivers,
    options: ConvertOptions,
    connections: Sequence[ConnectionOutcome],
) -> Iterator[str]:
    first, *others = options.targets
    kept = [c for c in connections if c.kept in (Kept.IN_PLACE, Kept.CHECKED)]
    for kind in others:
        if any(
            _device(facts, machine, drivers, options, kind, c.position)
            != _device(facts, machine, drivers, options, first, c.position)
            for c in kept
        ):
            yield (
                f"The guest's network connections are prepared for {first}, where the cards are "
                f"in other places than on {kind}: there Windows takes them for new ones. Convert "
                f"with '--target {kind}' alone to have them kept there."
            )


def _notes_of_pods(
    options: ConvertOptions,
    connections: Sequence[ConnectionOutcome],
    given: Mapping[str, InterfaceSettings],
) -> Iterator[str]:
    pods = TargetKind.KUBEVIRT in options.targets and options.target.networks[0] == DEFAULT_NETWORK
    settings = (*(c.interface.settings for c in connections), *given.values())
    if pods and any(not one.dhcp for one in settings):
        yield (
            "KubeVirt's pod network gives the guest its address by DHCP; the fixed addresses of "
            "this guest do not work there. Choose a NetworkAttachmentDefinition with --network."
        )
