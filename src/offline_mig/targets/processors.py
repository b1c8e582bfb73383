"""The virtual processors: their model, and how they are laid out in sockets and cores."""

from __future__ import annotations

import re
from dataclasses import dataclass

from offline_mig.windows.version import WindowsVersion

#: The host's own processor, as far as it can move to another host of its kind.
HOST_MODEL = "host-model"
#: The host's own processor, just as it is.
HOST_PASSTHROUGH = "host-passthrough"
#: What names of models are made of, by libvirt's cpu_map and QEMU's "-cpu help".
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")

#: Beginnings of EditionID that mean an edition for one socket: "Core" is Windows 8 and later
#: Home, "Home..." and "Starter" are Vista's and 7's, "Personal" is XP Home's product suite.
_HOME_EDITIONS = ("core", "home", "starter", "personal")


@dataclass(frozen=True, slots=True)
class Processors:
    """Sockets, and the cores in each of them."""

    sockets: int
    cores: int

    @property
    def count(self) -> int:
        """The number of virtual processors."""
        return self.sockets * self.cores


def parse_model(text: str) -> str:
    """Return a processor's name. Raises ValueError for what can be none."""
    if not _MODEL.fullmatch(text):
        raise ValueError(
            f"{text!r} is no name of a processor: {HOST_MODEL}, {HOST_PASSTHROUGH} or a model such "
            "as Skylake-Server-IBRS is."
        )
    return text


def socket_limit(windows: WindowsVersion) -> int | None:
    """Return how many sockets a Windows uses, None where the limit is out of practical reach.

    Home editions use one socket and every other client two, and leave the rest idle; cores they
    count up to hundreds (Microsoft, "Windows editions compared"; the licence terms of XP say the
    same in processors). Servers differ by edition and begin at four, which the source machine
    had to respect just as well.
    """
    if windows.server:
        return None
    home = windows.edition.casefold().startswith(_HOME_EDITIONS)
    return 1 if home or "home" in windows.product_name.casefold() else 2


def plan_processors(
    vcpus: int, cores_per_socket: int | None, windows: WindowsVersion
) -> Processors:
    """Lay out processors as the source did, with fewer sockets where Windows would idle some.

    ``cores_per_socket`` that does not divide the number, as a damaged source may say, is taken
    for one. A number of processors below 1 is taken for 1.
    """
    vcpus = max(vcpus, 1)
    cores = cores_per_socket or 1
    if cores < 1 or vcpus % cores:
        cores = 1
    sockets = vcpus // cores
    limit = socket_limit(windows)
    if limit is not None and sockets > limit:
        sockets = limit if vcpus % limit == 0 else 1
    return Processors(sockets, vcpus // sockets)
