"""Addresses that the user gives to network cards, by MAC address (``--ip``)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from offline_mig.windows.interface_settings import Gateway, InterfaceSettings

_FORM = "MAC=ADDRESS/LENGTH[,GATEWAY[,DNS...]], such as 00:50:56:01:02:03=192.0.2.10/24,192.0.2.1"
_MAC = re.compile(r"(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}", re.IGNORECASE)

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class AddressOverride:
    """An address for the card ``mac`` (lower case, colons), its gateway and name servers."""

    mac: str
    address: Interface
    gateway: Address | None = None
    dns: tuple[Address, ...] = ()


def parse_override(text: str) -> AddressOverride:
    """Read an override as the user writes it; raises ValueError, with what is wrong."""
    if "%" in text:
        raise ValueError(f"{text!r}: an address with a zone (%) is of one machine alone.")
    mac, separator, rest = text.partition("=")
    parts = [part.strip() for part in rest.split(",")]
    if not separator or not _MAC.fullmatch(mac.strip()):
        raise ValueError(f"{text!r} is not {_FORM}.")
    address = _interface(parts[0], text)
    gateway = _address(parts[1], text) if len(parts) > 1 and parts[1] else None
    dns = tuple(_address(part, text) for part in parts[2:] if part)
    if gateway is not None and not _reaches(address, gateway):
        raise ValueError(
            f"{text!r}: the gateway {gateway} is not in the network {address.network}."
        )
    return AddressOverride(mac.strip().lower().replace("-", ":"), address, gateway, dns)


def settings_given(overrides: Iterable[AddressOverride]) -> InterfaceSettings:
    """Return the settings that all overrides of one card make."""
    overrides = tuple(overrides)
    addresses = [o.address for o in overrides]
    gateways = dict.fromkeys(o.gateway for o in overrides)
    return InterfaceSettings(
        dhcp=not any(isinstance(address, ipaddress.IPv4Interface) for address in addresses),
        addresses=tuple(a for a in addresses if isinstance(a, ipaddress.IPv4Interface)),
        gateways=tuple(Gateway(g) for g in gateways if isinstance(g, ipaddress.IPv4Address)),
        dns=tuple(dict.fromkeys(str(server) for o in overrides for server in o.dns)),
        ipv6=tuple(a for a in addresses if isinstance(a, ipaddress.IPv6Interface)),
        ipv6_gateways=tuple(g for g in gateways if isinstance(g, ipaddress.IPv6Address)),
    )


def with_given(settings: InterfaceSettings, given: InterfaceSettings) -> InterfaceSettings:
    """Return settings with what is given in the place of their own, each family by itself."""
    if given.addresses:
        settings = replace(settings, dhcp=False, addresses=given.addresses, gateways=given.gateways)
    if given.ipv6:
        settings = replace(settings, ipv6=given.ipv6, ipv6_gateways=given.ipv6_gateways)
    return replace(settings, dns=given.dns) if given.dns else settings


def _interface(part: str, text: str) -> Interface:
    if "/" not in part:
        raise ValueError(f"{text!r}: {part!r} has no length of the network, as in 192.0.2.10/24.")
    try:
        interface = ipaddress.ip_interface(part)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}.") from error
    address, network = interface.ip, interface.network
    small = network.prefixlen >= network.max_prefixlen - 1
    special = address.is_multicast or address.is_unspecified or address.is_loopback
    ends = (network.network_address, network.broadcast_address)
    if special or (address.version == 4 and not small and address in ends):
        raise ValueError(f"{text!r}: {address} is no address of a network card.")
    return interface


def _address(part: str, text: str) -> Address:
    try:
        return ipaddress.ip_address(part)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}.") from error


def _reaches(interface: Interface, gateway: Address) -> bool:
    if gateway.version != interface.version:
        return False
    # Routers of IPv6 are named by their link-local address as a rule.
    return gateway in interface.network or (gateway.version == 6 and gateway.is_link_local)
