r"""Which new disks Windows Vista and later bring online by themselves: the SAN policy.

``Services\partmgr\Parameters`` keeps it as SanPolicy, in numbers of VDS_SAN_POLICY (vds.h;
Microsoft, "Microsoft-Windows-PartitionManager, SanPolicy"). The partition manager goes by it when
it first meets a disk, and writes the outcome into ``Attributes`` of that disk's own key
``Device Parameters\Partmgr`` (Microsoft KB 2849097), which holds from then on. On a new controller
every disk is a new one. The disk that Windows is on comes online always.
"""

from __future__ import annotations

from enum import IntEnum

from offline_mig.windows.hive import RegistryView

KEY = r"Services\partmgr\Parameters"
VALUE = "SanPolicy"
#: The cluster service, which decides itself about the disks that nodes share.
_CLUSTER = "ClusSvc"
#: SERVICE_DISABLED of winnt.h.
_DISABLED = 4


class SanPolicy(IntEnum):
    """Policies. Clients come with the first one, some servers with the second."""

    ONLINE_ALL = 1
    OFFLINE_SHARED = 2
    OFFLINE_ALL = 3
    OFFLINE_INTERNAL = 4


def in_cluster(system: RegistryView, control_set: str) -> bool:
    """Tell whether a Windows is a node of a failover cluster.

    The service is there, and disabled, as soon as the feature is installed.
    """
    start = system.value(rf"{control_set}\Services\{_CLUSTER}", "Start")
    return start is not None and start.as_int() != _DISABLED


def disks_kept_offline(system: RegistryView, control_set: str) -> tuple[str, ...]:
    """Return the names of disks that Windows keeps offline, as it last met them.

    Their Attributes are numbers of the policy, by which 0 and 1 are online.
    """
    found = []
    buses = rf"{control_set}\Enum"
    for bus in system.subkeys(buses):
        for device in system.subkeys(rf"{buses}\{bus}"):
            if not device.lower().startswith("disk"):
                continue
            for instance in system.subkeys(rf"{buses}\{bus}\{device}"):
                key = rf"{buses}\{bus}\{device}\{instance}"
                value = system.value(rf"{key}\Device Parameters\Partmgr", "Attributes")
                if value is not None and (value.as_int() or 0) > SanPolicy.ONLINE_ALL:
                    name = system.value(key, "FriendlyName")
                    found.append((name.as_text() if name else None) or device)
    return tuple(dict.fromkeys(found))
