r"""The commands that give network cards their settings when Windows first starts.

A card is found by its MAC address: ``getmac /v /fo csv /nh`` prints a line for each, with the name
of its connection, the address, and ``\Device\Tcpip_{GUID}``, whatever the language of Windows (XP
Professional and later have it). ``netsh`` does the rest: since Vista it is the one way to set an
address that both the registry and ``Control\Nsi`` learn of. Its positional arguments are the same
from XP to Server 2025 (Microsoft, "Netsh commands for Interface IP", "netsh interface ipv4").
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from offline_mig.windows.interface_settings import Gateway, InterfaceSettings
from offline_mig.windows.network_interfaces import PersistentRoute, VirtualInterface

#: How often a card is looked for, and the seconds between: its driver may be being installed.
_LOOKS, _PAUSE = 18, 10
#: What a script can have in quotes without a second thought.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9 #()*._-]{1,256}")
#: Notes that the command before failed. ("||" would be shorter, but Wine 8 takes it for "&".)
_NOTED = "if errorlevel 1 set BAD=1"
_NET_CLASS = "{4D36E972-E325-11CE-BFC1-08002BE10318}"


@dataclass(frozen=True, slots=True)
class CardSettings:
    """What a card is to have: ``mac`` is lower case with colons.

    ``guid`` and ``name`` are those of the connection that it is expected to have, None for a card
    without one. ``settings`` are what it gets if it came up as another connection, ``given`` what
    it gets in any case; both may be None. Of ``routes`` it gets with the former those whose gateway
    it reaches. ``own_mac`` is an address that the user gave the card, which Windows may show.
    """

    mac: str
    guid: str | None
    name: str | None
    settings: InterfaceSettings | None
    given: InterfaceSettings | None
    routes: tuple[PersistentRoute, ...] = ()
    own_mac: str | None = None


def network_script(
    cards: Sequence[CardSettings], *, nt6: bool, virtual: Sequence[VirtualInterface] = ()
) -> tuple[str, ...]:
    """Return the lines of a cmd script, which ends with 0 if every card has its settings.

    ``nt6`` is whether it is for Windows Vista or later. ``virtual`` are interfaces that may have
    the address of a card that they are made of, and are not that card.
    """
    lines = list(_HEAD)
    for number, card in enumerate(cards, start=1):
        lines += _card(card, number, nt6=nt6)
    return (*lines, *_FIND, *_not_a_card(virtual), *_FOUND)


def can_be_named(name: str) -> bool:
    """Tell whether a connection can be given this name by the script."""
    return bool(_PLAIN_NAME.fullmatch(name))


_HEAD = (
    "setlocal enableextensions disabledelayedexpansion",
    r"set TOOLS=%SystemRoot%\System32",
    r"set SERVICES=HKLM\SYSTEM\CurrentControlSet\Services",
    rf"set CONNECTIONS=HKLM\SYSTEM\CurrentControlSet\Control\Network\{_NET_CLASS}",
    "set FAILED=0",
)
_FIND = (
    "exit /b %FAILED%",
    ":find",
    "rem Sets CONNECTION to the name of the card's connection, and GUID.",
    "set LOOKS=0",
    ":look",
    "set CONNECTION=",
    "set GUID=",
    (
        r"""for /f "delims=" %%l in ('%TOOLS%\getmac.exe /v /fo csv /nh') do """
        r"""(set "LINE=%%l"& call :line)"""
    ),
    "if defined CONNECTION goto :eof",
    "set /a LOOKS+=1",
    f"if %LOOKS% geq {_LOOKS} goto :eof",
    rf"%TOOLS%\ping.exe -n {_PAUSE + 1} 127.0.0.1 >nul",
    "goto look",
    ":line",
    "rem Parted at its quotes: a name may have commas, but neither a quote nor a bar.",
    'set "LINE=%LINE:"=|%"',
    (
        'for /f "tokens=1,5,7 delims=|" %%a in ("%LINE%") do '
        '(set "NAME=%%a"& set "SHOWN=%%b"& set "TRANSPORT=%%c")'
    ),
    'if /i "%SHOWN%"=="%MAC%" goto same',
    'if /i not "%SHOWN%"=="%OWN%" goto :eof',
    ":same",
    "set FOUND=",
    "rem What is not \\Device\\Tcpip_{GUID} says that there is no link.",
    'if /i "%TRANSPORT:~0,14%"=="\\Device\\Tcpip_" set "FOUND=%TRANSPORT:~14%"',
)
_FOUND = (
    'set "CONNECTION=%NAME%"',
    'set "GUID=%FOUND%"',
    "goto :eof",
)


def _not_a_card(virtual: Sequence[VirtualInterface]) -> Iterator[str]:
    """Yield what passes teams and the like by; one without a link shows its name alone."""
    for interface in virtual:
        yield f'if /i "%FOUND%"=="{interface.guid}" goto :eof'
        if can_be_named(interface.name):
            yield f'if /i "%NAME%"=="{interface.name}" goto :eof'


def _card(card: CardSettings, number: int, *, nt6: bool) -> Iterator[str]:
    mac = _as_shown(card.mac)
    yield f"set MAC={mac}"
    yield f"set OWN={_as_shown(card.own_mac or card.mac)}"
    yield "set BAD="
    yield "call :find"
    yield f"if not defined CONNECTION goto absent{number}"
    if card.guid is not None:
        yield f'if /i "%GUID%"=="{card.guid}" goto kept{number}'
    if card.settings is not None:
        yield f'echo {mac}: a new connection, "%CONNECTION%", gets the settings of the old one'
        yield from _apply(card.settings, nt6=nt6)
        yield from _routes(card)
        if card.guid is not None:
            yield from _forget(card.guid, card.name, f"given{number}")
    if card.guid is not None:
        yield f"goto given{number}"
        yield f":kept{number}"
        yield f"echo {mac}: has its old connection"
        yield f":given{number}"
    if card.given is not None:
        yield f"echo {mac}: gets the addresses that were given"
        yield from _apply(card.given, nt6=nt6)
    yield "if defined BAD set FAILED=1"
    yield f"goto next{number}"
    yield f":absent{number}"
    yield f"echo {mac}: no such card was found"
    yield "set FAILED=1"
    yield f":next{number}"


def _as_shown(mac: str) -> str:
    return mac.upper().replace(":", "-")


def _apply(settings: InterfaceSettings, *, nt6: bool) -> Iterator[str]:
    """Yield what sets a connection; a name server that does not answer is no failure."""
    netsh = r"%TOOLS%\netsh.exe interface"
    card = '"%CONNECTION%"'
    if settings.addresses:
        first, *others = settings.addresses
        gateways = [_gateway(gateway, nt6=nt6) for gateway in settings.gateways]
        head = " ".join(gateways[0]) if gateways else "none"
        yield f"{netsh} ip set address {card} static {first.ip} {first.netmask} {head}"
        yield _NOTED
        for address in others:
            yield f"{netsh} ip add address {card} {address.ip} {address.netmask}"
            yield _NOTED
        for more, *metric in gateways[1:]:
            named = f" gwmetric={metric[0]}" if metric else ""
            yield f"{netsh} ip add address {card} gateway={more}{named}"
    yield from _name_servers(settings.dns, netsh, card, nt6=nt6)
    for index, server in enumerate(_of_version(settings.wins, 4)):
        verb = "add wins" if index else "set wins"
        yield f"{netsh} ip {verb} {card} {'' if index else 'static '}{server}"
    if nt6:
        for six in settings.ipv6:
            # Of an earlier try: adding it once more would be an error.
            yield f"{netsh} ipv6 delete address {card} {six.ip} >nul"
            yield f"{netsh} ipv6 add address {card} {six}"
            yield _NOTED
        for route in settings.ipv6_gateways:
            yield f"{netsh} ipv6 delete route ::/0 {card} {route} >nul"
            yield f"{netsh} ipv6 add route ::/0 {card} {route}"
            yield _NOTED
        if settings.metric:
            yield f"{netsh} ipv4 set interface {card} metric={settings.metric}"
    interface = r'"%SERVICES%\Tcpip\Parameters\Interfaces\%GUID%"'
    if settings.metric and not nt6:
        # The netsh of NT 5 has no word for it; Windows reads it when it next starts.
        yield (
            rf"if defined GUID %TOOLS%\reg.exe add {interface} /v InterfaceMetric /t REG_DWORD "
            f"/d {settings.metric} /f"
        )
    if settings.domain and re.fullmatch(r"[A-Za-z0-9._-]+", settings.domain):
        yield (
            rf"if defined GUID %TOOLS%\reg.exe add {interface} /v Domain /t REG_SZ "
            f"/d {settings.domain} /f"
        )
    if settings.netbios:
        netbt = r'"%SERVICES%\NetBT\Parameters\Interfaces\Tcpip_%GUID%"'
        yield (
            rf"if defined GUID %TOOLS%\reg.exe add {netbt} /v NetbiosOptions /t REG_DWORD "
            f"/d {settings.netbios} /f"
        )


def _name_servers(servers: Sequence[str], netsh: str, card: str, *, nt6: bool) -> Iterator[str]:
    for index, server in enumerate(_of_version(servers, 4)):
        verb = "add dns" if index else "set dns"
        yield f"{netsh} ip {verb} {card} {'' if index else 'static '}{server}"
    for index, server in enumerate(_of_version(servers, 6) if nt6 else ()):
        verb = "add dnsserver" if index else "set dnsserver"
        yield f"{netsh} ipv6 {verb} {card} {'' if index else 'static '}{server}"


def _gateway(gateway: Gateway, *, nt6: bool) -> tuple[str, ...]:
    """Return a gateway as netsh takes it: without a metric Vista chooses one, XP wants one."""
    if gateway.metric or not nt6:
        return (str(gateway.address), str(gateway.metric or 1))
    return (str(gateway.address),)


def _of_version(servers: Sequence[str], version: int) -> tuple[str, ...]:
    """Return the addresses of an IP version; a guest's registry may have anything beside them.

    Behind a "%" an address of IPv6 may have any text, which cmd.exe would take for its own.
    """
    found = []
    for server in servers:
        if "%" in server:
            continue
        try:
            address = ipaddress.ip_address(server)
        except ValueError:
            continue
        if address.version == version:
            found.append(str(address))
    return tuple(found)


def _routes(card: CardSettings) -> Iterator[str]:
    """Yield what sets the persistent routes again whose gateway the card reaches."""
    networks = [address.network for address in card.settings.addresses] if card.settings else []
    for route in card.routes:
        if any(route.gateway in network for network in networks):
            metric = f" metric {route.metric}" if route.metric else ""
            yield (
                rf"%TOOLS%\route.exe -p add {route.network.network_address} mask "
                f"{route.network.netmask} {route.gateway}{metric}"
            )


def _forget(guid: str, name: str | None, after: str) -> Iterator[str]:
    """Yield what takes the old connection away, and gives its name to the new one.

    It goes only when the new one has all settings, and with its GUID it is known that this is
    another one than the old: else the script goes on at the label ``after``.
    """
    yield f"if defined BAD goto {after}"
    yield f"if not defined GUID goto {after}"
    yield rf'%TOOLS%\reg.exe delete "%CONNECTIONS%\{guid}" /f'
    yield rf'%TOOLS%\reg.exe delete "%SERVICES%\Tcpip\Parameters\Interfaces\{guid}" /f'
    if name is not None and can_be_named(name):
        # Of an earlier try.
        yield f'if /i "%CONNECTION%"=="{name}" goto {after}'
        yield (
            r'%TOOLS%\netsh.exe interface set interface name="%CONNECTION%" '
            f'newname="{name}"'
        )
        yield _NOTED
        yield f'if not defined BAD set "CONNECTION={name}"'
