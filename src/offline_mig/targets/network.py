"""Network cards of the target, and what each of them is plugged into."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from offline_mig.machine import Nic
from offline_mig.targets.devices import Attachment, AttachmentKind, NicDevice, NicModel
from offline_mig.targets.identity import unicast_mac
from offline_mig.targets.nic_places import FIRST_SLOT
from offline_mig.targets.options import DriversInPlace, TargetOptions
from offline_mig.windows.version import WindowsVersion

_ATTACHMENT = re.compile(r"(network|bridge)=(.+)", re.DOTALL)
#: The source's name may have equals signs of its own, the target's seldom has: the last one that
#: can be meant is.
_MAPPING = re.compile(r"(.+)=((?:network|bridge)=[^=]+)", re.DOTALL)


def parse_attachment(text: str) -> Attachment:
    """Read ``network=NAME`` or ``bridge=NAME``. Raises ValueError for anything else."""
    found = _ATTACHMENT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is neither network=NAME nor bridge=NAME.")
    return Attachment(AttachmentKind(found[1]), found[2])


def parse_mapping(text: str) -> tuple[str, Attachment]:
    """Read ``SOURCE=network=NAME`` or ``SOURCE=bridge=NAME``, SOURCE being the source's network.

    Raises ValueError for anything else.
    """
    found = _MAPPING.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is neither SOURCE=network=NAME nor SOURCE=bridge=NAME.")
    return found[1], parse_attachment(found[2])


def plan_nics(
    nics: Sequence[Nic],
    windows: WindowsVersion,
    options: TargetOptions,
    drivers: DriversInPlace,
    notes: list[str],
    *,
    placed: Collection[int] = (),
) -> tuple[NicDevice, ...]:
    """Return the cards that take the place of ``nics``: VirtIO, with the same addresses.

    What the user named for a network of the source holds for all cards on it. Of the rest the
    first card gets the first attachment and so on, and those beyond the last one share it. Cards
    at the positions ``placed`` get a slot of their own. What may surprise is added to ``notes``.
    """
    mapped = {name.casefold(): attachment for name, attachment in options.network_map}
    met: set[str] = set()
    taken = 0
    cards = []
    for index, nic in enumerate(nics):
        source = (nic.network or nic.attachment or "").casefold()
        if source in mapped:
            met.add(source)
            attachment = mapped[source]
        else:
            attachment = options.networks[min(taken, len(options.networks) - 1)]
            taken += 1
        slot = FIRST_SLOT + index if index in placed else None
        cards.append(_plan_nic(nic, attachment, slot, windows, drivers, notes))
    notes += [
        f'No network card of the source is on "{name}", which was to go to the {attachment}.'
        for name, attachment in options.network_map
        if name.casefold() not in met
    ]
    notes += [
        f"No network card is left for the {attachment}."
        for attachment in options.networks[max(taken, 1) :]
    ]
    return tuple(cards)


def _plan_nic(
    nic: Nic,
    attachment: Attachment,
    slot: int | None,
    windows: WindowsVersion,
    drivers: DriversInPlace,
    notes: list[str],
) -> NicDevice:
    number = nic.index + 1
    mac = unicast_mac(nic.mac)
    if mac is None:
        found = f'has the unusable MAC address "{nic.mac}"' if nic.mac else "has no fixed address"
        notes.append(f"Network card {number} {found} in the source; it gets a new one.")
    source = nic.network or nic.attachment
    if source:
        notes.append(f'Network card {number} moves from "{source}" to the {attachment}.')
    model = NicModel.VIRTIO if drivers.network else emulated_model(windows)
    if model is not NicModel.VIRTIO:
        notes.append(
            f"Network card {number} is an emulated {model}: the guest has no VirtIO network driver."
        )
    if not nic.connected:
        notes.append(f"Network card {number} is not connected at the start, as in the source.")
    return NicDevice(model, attachment, mac, slot, nic.connected)


def emulated_model(windows: WindowsVersion) -> NicModel:
    """Return a card that this Windows brings a driver for.

    rtl8139 is what virt-v2v gives Windows without drivers; the PRO/1000 MT has had one since
    Vista, and osinfo-db lists the 82574L (e1000e) from 7 and 2008 R2 on.
    """
    if windows.nt < (6, 0):
        return NicModel.RTL8139
    return NicModel.E1000 if windows.nt < (6, 1) else NicModel.E1000E
