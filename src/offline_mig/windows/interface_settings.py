r"""What a user set for a network interface: addresses, gateways, name servers, NetBIOS.

IPv4 settings lie in ``Services\Tcpip\Parameters\Interfaces\{GUID}`` in every Windows since 2000
(Microsoft, "TCP/IP and NBT configuration parameters"). Windows Vista and later keep addresses and
gateways once more in ``Control\Nsi``, and those of IPv6 only there, in values whose names begin
with the interface's LUID: 10 of {eb004a00-...} has the addresses of IPv4, 16 its routes, as read
off a Windows 7 with two fixed addresses. {eb004a01-...}, which is IPv6's, is taken to be alike.
Name servers of IPv6 are in ``Services\Tcpip6``, by the same names as those of IPv4.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from offline_mig.windows.hive import RegistryView

_TCPIP = r"Services\Tcpip\Parameters\Interfaces"
_TCPIP6 = r"Services\Tcpip6\Parameters\Interfaces"
_NETBT = r"Services\NetBT\Parameters\Interfaces"
_NSI_IPV6 = r"Control\Nsi\{eb004a01-9b1a-11d4-9123-0050047759bc}\10"
#: In such a value of Control\Nsi the prefix's length lies behind two lifetimes and two origins.
_NSI_PREFIX = 16
#: IF_TYPE_ETHERNET_CSMACD of ipifcons.h, which all cards of VMware's are.
_ETHERNET = 6
#: What stands for "no address" in NT 5.
_NONE = ("", "0.0.0.0")  # noqa: S104
#: NetbiosOptions that are the user's own: 1 on, 2 off; 0 leaves it to DHCP.
_NETBIOS = (1, 2)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A default gateway; ``metric`` is 0 where Windows chooses it."""

    address: ipaddress.IPv4Address
    metric: int = 0


@dataclass(frozen=True, slots=True)
class InterfaceSettings:
    """The settings of an interface; all but ``dhcp`` are empty where nothing was set by hand.

    ``dhcp`` is whether IPv4 addresses come by DHCP. ``metric`` is the interface's own, 0 where
    Windows chooses it, ``netbios`` 1 for on, 2 for off, 0 for what DHCP says. ``ipv6_gateways`` are
    given by the user: where a guest keeps its own is not known well enough to read them.
    """

    dhcp: bool = True
    addresses: tuple[ipaddress.IPv4Interface, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    dns: tuple[str, ...] = ()
    domain: str = ""
    metric: int = 0
    wins: tuple[str, ...] = ()
    netbios: int = 0
    ipv6: tuple[ipaddress.IPv6Interface, ...] = ()
    ipv6_gateways: tuple[ipaddress.IPv6Address, ...] = ()

    @property
    def summary(self) -> str:
        """The settings in a few words."""
        parts = ["DHCP"] if self.dhcp else []
        parts += [str(address) for address in (*self.addresses, *self.ipv6)]
        parts += [f"gateway {gateway.address}" for gateway in self.gateways]
        parts += [f"gateway {gateway}" for gateway in self.ipv6_gateways]
        if self.dns:
            parts.append(f"DNS {' '.join(self.dns)}")
        return ", ".join(parts) or "no address"

    @property
    def set_by_hand(self) -> bool:
        """Whether there is anything that the user would miss."""
        return not self.dhcp or bool(
            self.dns or self.domain or self.metric or self.wins or self.netbios or self.ipv6
        )


def read_interface_settings(
    system: RegistryView, control_set: str, guid: str, luid_index: int | None
) -> InterfaceSettings:
    """Return the settings that are kept for the interface ``guid``; odd ones are left out.

    ``luid_index`` is the NetLuidIndex of its card, which Windows has given since Vista.
    """
    key = rf"{control_set}\{_TCPIP}\{guid}"
    dhcp = _number(system, key, "EnableDHCP") != 0
    netbt = rf"{control_set}\{_NETBT}\Tcpip_{guid}"
    netbios = _number(system, netbt, "NetbiosOptions") or 0
    return InterfaceSettings(
        dhcp=dhcp,
        addresses=() if dhcp else tuple(_addresses(system, key)),
        gateways=() if dhcp else tuple(_gateways(system, key)),
        dns=(
            *_name_servers(system, key),
            *_name_servers(system, rf"{control_set}\{_TCPIP6}\{guid}"),
        ),
        domain=_text(system, key, "Domain"),
        metric=_number(system, key, "InterfaceMetric") or 0,
        wins=_strings(system, netbt, "NameServerList"),
        netbios=netbios if netbios in _NETBIOS else 0,
        ipv6=tuple(_ipv6_addresses(system, control_set, luid_index)),
    )


def _name_servers(system: RegistryView, key: str) -> list[str]:
    return re.findall(r"[^\s,]+", _text(system, key, "NameServer"))


def _addresses(system: RegistryView, key: str) -> Iterator[ipaddress.IPv4Interface]:
    masks = _strings(system, key, "SubnetMask")
    for address, mask in zip(_strings(system, key, "IPAddress"), masks, strict=False):
        if address not in _NONE:
            try:
                yield ipaddress.IPv4Interface(f"{address}/{mask}")
            except ValueError:
                continue


def _gateways(system: RegistryView, key: str) -> Iterator[Gateway]:
    metrics = _strings(system, key, "DefaultGatewayMetric")
    for number, text in enumerate(_strings(system, key, "DefaultGateway")):
        if text in _NONE:
            continue
        metric = metrics[number] if number < len(metrics) else "0"
        try:
            yield Gateway(ipaddress.IPv4Address(text), max(int(metric), 0))
        except ValueError:
            continue


def _ipv6_addresses(
    system: RegistryView, control_set: str, luid_index: int | None
) -> Iterator[ipaddress.IPv6Interface]:
    luid = _luid(luid_index)
    for name, value in system.values(rf"{control_set}\{_NSI_IPV6}").items():
        folded = name.casefold()
        if luid is None or not re.fullmatch(f"{luid}[0-9a-f]{{32,}}", folded):
            continue
        if len(value.data) > _NSI_PREFIX and value.data[_NSI_PREFIX] <= 128:
            address = bytes.fromhex(folded[16:48])
            yield ipaddress.IPv6Interface((address, value.data[_NSI_PREFIX]))


def _luid(luid_index: int | None) -> str | None:
    """Return the NET_LUID of ifdef.h in hexadecimal: 24 bits reserved, 24 of index, 16 of type."""
    if luid_index is None or luid_index >= 1 << 24:
        return None
    return struct.pack("<Q", luid_index << 24 | _ETHERNET << 48).hex()


def _number(system: RegistryView, key: str, name: str) -> int | None:
    value = system.value(key, name)
    return value.as_int() if value else None


def _text(system: RegistryView, key: str, name: str) -> str:
    value = system.value(key, name)
    return (value.as_text() or "").strip() if value else ""


def _strings(system: RegistryView, key: str, name: str) -> tuple[str, ...]:
    value = system.value(key, name)
    return value.as_texts() if value else ()
