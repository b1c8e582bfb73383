"""Addresses that the user gives to network cards."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

import pytest

from offline_mig.conversion.address_override import (
    AddressOverride,
    parse_override,
    settings_given,
    with_given,
)
from offline_mig.windows.interface_settings import Gateway, InterfaceSettings

MAC = "00:50:56:0a:0b:0c"


@pytest.mark.parametrize(
    ("text", "override"),
    [
        (f"{MAC}=192.0.2.10/24", AddressOverride(MAC, IPv4Interface("192.0.2.10/24"))),
        (
            "00-50-56-0A-0B-0C=192.0.2.10/24,192.0.2.1,192.0.2.2,2001:db8::2",
            AddressOverride(
                MAC,
                IPv4Interface("192.0.2.10/24"),
                IPv4Address("192.0.2.1"),
                (IPv4Address("192.0.2.2"), IPv6Address("2001:db8::2")),
            ),
        ),
        (
            f"{MAC}=192.0.2.10/24,,192.0.2.2",
            AddressOverride(MAC, IPv4Interface("192.0.2.10/24"), None, (IPv4Address("192.0.2.2"),)),
        ),
        (
            f"{MAC}=2001:db8::10/64,fe80::1",
            AddressOverride(MAC, IPv6Interface("2001:db8::10/64"), IPv6Address("fe80::1")),
        ),
        # A link between two has neither a network address nor a broadcast address.
        (
            f"{MAC}=192.0.2.0/31,192.0.2.1",
            AddressOverride(MAC, IPv4Interface("192.0.2.0/31"), IPv4Address("192.0.2.1")),
        ),
    ],
)
def test_what_is_understood(text: str, override: AddressOverride) -> None:
    assert parse_override(text) == override


@pytest.mark.parametrize(
    "text",
    [
        "",
        "192.0.2.10/24",
        f"{MAC}",
        f"{MAC}=",
        f"{MAC}=192.0.2.10",
        f"{MAC}=192.0.2.300/24",
        f"{MAC}=192.0.2.10/33",
        f"{MAC}=192.0.2.10/24,198.51.100.1",
        f"{MAC}=192.0.2.10/24,fe80::1",
        f"{MAC}=192.0.2.10/24,192.0.2.1,dns.example.test",
        f"{MAC}=192.0.2.0/24",
        f"{MAC}=192.0.2.255/24",
        f"{MAC}=127.0.0.1/8",
        f"{MAC}=224.0.0.1/4",
        "00:50:56:0a:0b=192.0.2.10/24",
        f"{MAC}=2001:db8::2/64,fe80::1%12",
        f"{MAC}=2001:db8::2%1/64",
        f"{MAC}=192.0.2.10/24,,fe80::1%\u30c4",
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        parse_override(text)


def test_several_make_one_cards_settings_and_leave_the_rest() -> None:
    given = settings_given(
        map(
            parse_override,
            (
                f"{MAC}=192.0.2.10/24,192.0.2.1,192.0.2.2",
                f"{MAC}=192.0.2.11/24,192.0.2.1",
                f"{MAC}=2001:db8::10/64",
            ),
        )
    )
    assert given.addresses == (IPv4Interface("192.0.2.10/24"), IPv4Interface("192.0.2.11/24"))
    assert given.gateways == (Gateway(IPv4Address("192.0.2.1")),)
    own = InterfaceSettings(
        dns=("198.51.100.1",), domain="example.test", ipv6=(IPv6Interface("2001:db8::1/64"),)
    )
    mixed = with_given(own, settings_given([parse_override(f"{MAC}=192.0.2.10/24")]))
    assert (mixed.dhcp, mixed.dns, mixed.domain) == (False, ("198.51.100.1",), "example.test")
    assert mixed.ipv6 == own.ipv6
    assert with_given(own, given).dns == ("192.0.2.2",)
