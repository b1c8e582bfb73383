"""Network cards of the target."""

from __future__ import annotations

from offline_mig.machine import Nic
from offline_mig.targets.devices import NicDevice, NicModel
from offline_mig.targets.identity import unicast_mac
from offline_mig.targets.options import DriversInPlace, TargetOptions
from offline_mig.windows.version import WindowsVersion


def plan_nic(
    nic: Nic,
    windows: WindowsVersion,
    options: TargetOptions,
    drivers: DriversInPlace,
    notes: list[str],
    *,
    slot: int | None = None,
) -> NicDevice:
    """Return the card that takes the place of ``nic``: VirtIO, with the same address.

    ``slot`` is where it has to be. What may surprise is added to ``notes``.
    """
    number = nic.index + 1
    mac = unicast_mac(nic.mac)
    if mac is None:
        found = f'has the unusable MAC address "{nic.mac}"' if nic.mac else "has no fixed address"
        notes.append(f"Network card {number} {found} in the source; it gets a new one.")
    where = f'bridge "{options.bridge}"' if options.bridge else f'network "{options.network}"'
    source = nic.network or nic.attachment
    if source:
        notes.append(f'Network card {number} moves from "{source}" to the {where}.')
    model = NicModel.VIRTIO if drivers.network else emulated_model(windows)
    if model is not NicModel.VIRTIO:
        notes.append(
            f"Network card {number} is an emulated {model}: the guest has no VirtIO network driver."
        )
    return NicDevice(model, options.network, options.bridge, mac, slot)


def emulated_model(windows: WindowsVersion) -> NicModel:
    """Return a card that this Windows brings a driver for.

    rtl8139 is what virt-v2v gives Windows without drivers; the PRO/1000 MT has had one since
    Vista, and osinfo-db lists the 82574L (e1000e) from 7 and 2008 R2 on.
    """
    if windows.nt < (6, 0):
        return NicModel.RTL8139
    return NicModel.E1000 if windows.nt < (6, 1) else NicModel.E1000E
