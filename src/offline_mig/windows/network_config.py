r"""The component list of the network configuration: ``Control\Network``, value ``Config``.

Windows 2000 to 7 keep in it what network components there are and what is bound to what; an
adapter's entry names its device. Microsoft does not document it. Read off the hives of a Windows
XP and a Windows 7: four zero bytes, the number of components (all numbers have four bytes, little
endian), for each its GUID, its class (0 adapter, 2 protocol, 3 client, 4 service), its
characteristics, its component id and its device instance path, both in UTF-16 with a terminator;
then the bindings, which name components by their position.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass, replace

_HEAD = struct.Struct("<II")
_COMPONENT = struct.Struct("<16sII")
#: A bound for hostile hives; a Windows with many filters and adapters has about a hundred.
_MAX_COMPONENTS = 10_000


@dataclass(frozen=True, slots=True)
class NetworkComponent:
    """A component; ``device`` is the instance path of an adapter, else empty."""

    guid: uuid.UUID
    kind: int
    characteristics: int
    component_id: str
    device: str


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The list; ``bindings`` is kept as it is."""

    components: tuple[NetworkComponent, ...]
    bindings: bytes

    def with_device(self, guid: uuid.UUID, component_id: str, device: str) -> NetworkConfig:
        """Return the list with another device for the adapter ``guid``."""
        return replace(
            self,
            components=tuple(
                replace(part, component_id=component_id, device=device)
                if part.guid == guid
                else part
                for part in self.components
            ),
        )

    def to_bytes(self) -> bytes:
        """Return the value as Windows keeps it."""
        parts = [_HEAD.pack(0, len(self.components))]
        for part in self.components:
            parts.append(_COMPONENT.pack(part.guid.bytes_le, part.kind, part.characteristics))
            parts += [f"{text}\0".encode("utf-16-le") for text in (part.component_id, part.device)]
        return b"".join((*parts, self.bindings))


def read_network_config(data: bytes) -> NetworkConfig | None:
    """Read the value; None for anything that is not exactly of the form above."""
    if len(data) < _HEAD.size:
        return None
    version, count = _HEAD.unpack_from(data)
    if version != 0 or count > _MAX_COMPONENTS:
        return None
    position = _HEAD.size
    components = []
    for _ in range(count):
        if position + _COMPONENT.size > len(data):
            return None
        guid, kind, characteristics = _COMPONENT.unpack_from(data, position)
        texts = []
        position += _COMPONENT.size
        for _ in range(2):
            end = position
            while data[end : end + 2] not in (b"\0\0", b""):
                end += 2
            texts.append(data[position:end].decode("utf-16-le", "replace"))
            position = end + 2
        components.append(NetworkComponent(uuid.UUID(bytes_le=guid), kind, characteristics, *texts))
    config = NetworkConfig(tuple(components), data[position:])
    # Whatever would not come back as it was is of a form that is not known.
    return config if config.to_bytes() == data else None
