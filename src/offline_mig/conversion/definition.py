"""Defining a converted machine on a libvirt connection, and taking it back when the rest fails.

libvirt's Python binding (python3-libvirt, LGPL) is no dependency: without it everything but this
works. It comes from the distribution, made for the libvirt that is there.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from offline_mig.errors import (
    HostNotReadyError,
    OfflineMigError,
    OutputRefusedError,
    ToolFailedError,
)
from offline_mig.targets.devices import AttachmentKind
from offline_mig.targets.hardware import TargetMachine
from offline_mig.targets.host_capabilities import (
    HostCapabilities,
    doubts,
    lacks,
    read_capabilities,
)
from offline_mig.targets.libvirt import domain_xml

_WITHOUT = "Or leave --define out, and define the machine later with 'virsh define'."


@dataclass(frozen=True, slots=True)
class Definition:
    """Where a machine was defined: the connection's URI, and the domain's name there."""

    uri: str
    name: str


# A conversion takes long enough for a connection that waits to be cut: each step has its own.


def require_libvirt(uri: str | None) -> None:
    """Require that libvirt can be reached, where a URI is given. Raises HostNotReadyError."""
    if uri is not None:
        with libvirt_host(uri):
            pass


def fit_notes(
    uri: str | None, target: TargetMachine, replaced: Collection[Path]
) -> tuple[str, ...]:
    """Return what to know of defining a machine, see LibvirtHost; nothing where no URI is given."""
    if uri is None:
        return ()
    with libvirt_host(uri) as host:
        return host.require_fit(target, replaced)


@contextmanager
def defined(
    uri: str | None, target: TargetMachine, replaced: Collection[Path]
) -> Iterator[Definition | None]:
    """Define a machine for as long as the ``with`` block succeeds, where a URI is given."""
    if uri is None:
        yield None
        return
    with libvirt_host(uri) as host, host.defined(target, replaced) as definition:
        yield definition


@contextmanager
def libvirt_host(uri: str) -> Iterator[LibvirtHost]:
    """Connect to libvirt for the time of a ``with`` block.

    Raises HostNotReadyError when the binding is missing or there is no connection, ToolFailedError
    when libvirt fails later.
    """
    try:
        import libvirt
    except ImportError as error:
        raise HostNotReadyError(
            "--define needs libvirt's Python binding, which is not there.",
            "Install python3-libvirt (Debian, Ubuntu, Fedora) or libvirt-python (Arch), and run "
            f"offline-mig with the distribution's Python. {_WITHOUT}",
        ) from error
    # It prints every error besides raising it, unless there is a handler.
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    try:
        connection = libvirt.open(uri)
    except libvirt.libvirtError as error:
        raise HostNotReadyError(
            f"libvirt cannot be reached at {uri}: {error}.",
            f"See whether 'virsh -c {uri} list' works and you may use it. {_WITHOUT}",
        ) from error
    try:
        yield LibvirtHost(uri, libvirt, connection)
    except libvirt.libvirtError as error:
        raise ToolFailedError(
            f"libvirt at {uri} failed: {error}.", f"See its log. {_WITHOUT}"
        ) from error
    finally:
        # One that broke cannot be closed either.
        with suppress(libvirt.libvirtError):
            connection.close()


class LibvirtHost:
    """A connection to libvirt, through its binding."""

    def __init__(self, uri: str, binding: Any, connection: Any) -> None:
        self.uri = uri
        self._libvirt = binding
        self._connection = connection

    def require_fit(self, target: TargetMachine, replaced: Collection[Path]) -> tuple[str, ...]:
        """Require that a machine can be defined here and would start; return what else to know.

        An earlier domain of its name may be there if it is switched off and all its disks are
        among ``replaced``. Raises HostNotReadyError for what the host lacks and OutputRefusedError
        for a name or UUID that is taken.
        """
        self._require_free(target, replaced)
        host = self._capabilities(target)
        self._require_capable(target, host)
        notes = [*doubts(target, host), *self._missing_networks(target)]
        remote = urlsplit(self.uri).hostname
        if remote:
            notes.append(
                f"The domain is defined on {remote}, and its disks are here: it starts when they "
                "are there under the same paths."
            )
        return tuple(notes)

    @contextmanager
    def defined(
        self, target: TargetMachine, replaced: Collection[Path] = ()
    ) -> Iterator[Definition]:
        """Define a machine, and take that back when the ``with`` block fails.

        An earlier domain that it replaces is put back then. Raises ToolFailedError when libvirt
        refuses it, and OutputRefusedError as ``require_fit`` does: much may have happened since.
        """
        self._require_free(target, replaced)
        earlier = self._look_up(self._connection.lookupByName, target.name)
        before = None
        if earlier is not None:
            flags = self._libvirt.VIR_DOMAIN_XML_INACTIVE | self._libvirt.VIR_DOMAIN_XML_SECURE
            before = earlier.XMLDesc(flags)
            # A domain is the same one by both, its name and its UUID.
            target = replace(target, uuid=earlier.UUIDString())
        try:
            domain = self._connection.defineXML(domain_xml(target))
        except self._libvirt.libvirtError as error:
            raise ToolFailedError(
                f"libvirt at {self.uri} refuses the machine: {error}.",
                "Convert it without --define, and see what 'virsh define' says of the .xml.",
            ) from error
        try:
            yield Definition(self.uri, target.name)
        except BaseException as error:
            self._take_back(domain, before, error)
            raise

    def _take_back(self, domain: Any, before: str | None, cause: BaseException) -> None:
        try:
            if before is not None:
                self._connection.defineXML(before)
            else:
                self._undefine(domain)
        except self._libvirt.libvirtError as error:
            if error.get_error_code() == self._libvirt.VIR_ERR_NO_DOMAIN:
                return
            why = cause.message if isinstance(cause, OfflineMigError) else "The run was ended."
            raise ToolFailedError(
                f'{why} The domain "{domain.name()}" could not be taken back either: {error}.',
                f"Undefine it: {shlex.join(['virsh', '-c', self.uri, 'undefine', domain.name()])}",
            ) from cause

    def _undefine(self, domain: Any) -> None:
        """Undefine a domain that never ran; variables of UEFI by its name are another's."""
        try:
            domain.undefineFlags(self._libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)
        except self._libvirt.libvirtError as error:
            # Drivers without UEFI do not know the flag.
            if error.get_error_code() != self._libvirt.VIR_ERR_INVALID_ARG:
                raise
            domain.undefine()

    def _look_up(self, look: Callable[[str], Any], key: str) -> Any | None:
        try:
            return look(key)
        except self._libvirt.libvirtError as error:
            absent = (
                self._libvirt.VIR_ERR_NO_DOMAIN,
                self._libvirt.VIR_ERR_NO_NETWORK,
            )
            if error.get_error_code() in absent:
                return None
            raise

    def _require_free(self, target: TargetMachine, replaced: Collection[Path]) -> None:
        found = self._look_up(self._connection.lookupByName, target.name)
        other = None
        if target.uuid is not None:
            other = self._look_up(self._connection.lookupByUUIDString, target.uuid)
        if other is not None and other.name() != target.name:
            raise OutputRefusedError(
                f'The domain "{other.name()}" at {self.uri} has the UUID of the machine, '
                f"{target.uuid}.",
                "Undefine it, or leave --define out.",
            )
        if found is None:
            return
        if found.isActive():
            raise OutputRefusedError(
                f'The domain "{target.name}" at {self.uri} is running.',
                "Shut it down and undefine it, or choose another name with --name.",
            )
        if self._has_saved_state(found):
            # It would go on with its old memory on the new disks, and destroy their NTFS.
            raise OutputRefusedError(
                f'The domain "{target.name}" at {self.uri} has a saved state, with which its next '
                "start goes on.",
                "Start it and shut it down, or drop the state with 'virsh managedsave-remove', or "
                "choose another name with --name.",
            )
        kept = target.uuid in (None, found.UUIDString())
        disks = self._disks(found)
        if not (kept and disks and disks <= {str(path) for path in replaced}):
            raise OutputRefusedError(
                f'There is a domain "{target.name}" at {self.uri} already.',
                "Undefine it, or choose another name with --name; --overwrite replaces a domain "
                "that has the UUID and the disks of this very conversion.",
            )

    def _has_saved_state(self, domain: Any) -> bool:
        try:
            return bool(domain.hasManagedSaveImage(0))
        except self._libvirt.libvirtError as error:
            # A driver that saves no states.
            if error.get_error_code() == self._libvirt.VIR_ERR_NO_SUPPORT:
                return False
            raise

    def _disks(self, domain: Any) -> set[str]:
        from defusedxml import ElementTree

        root = ElementTree.fromstring(domain.XMLDesc(self._libvirt.VIR_DOMAIN_XML_INACTIVE))
        # A disk that is no file has no place among the replaced either.
        sources = root.findall("devices/disk[@device='disk']/source")
        return {source.get("file", "") for source in sources}

    def _capabilities(self, target: TargetMachine) -> HostCapabilities:
        try:
            text = self._connection.getDomainCapabilities(
                None, "x86_64", str(target.machine_type), "kvm"
            )
        except self._libvirt.libvirtError as error:
            if error.get_error_code() == self._libvirt.VIR_ERR_NO_SUPPORT:
                return HostCapabilities()
            raise HostNotReadyError(
                f"The host at {self.uri} cannot run the machine: {error}.",
                f"Choose a host with KVM and QEMU for x86_64. {_WITHOUT}",
            ) from error
        return read_capabilities(text)

    def _require_capable(self, target: TargetMachine, host: HostCapabilities) -> None:
        found = lacks(target, host)
        if found:
            sentences = " ".join(lack.found for lack in found)
            remedies = " ".join(lack.remedy for lack in found)
            raise HostNotReadyError(
                f"The host at {self.uri} cannot run the machine. {sentences}",
                f"{remedies} {_WITHOUT}",
            )

    def _missing_networks(self, target: TargetMachine) -> Iterator[str]:
        wanted = [nic.attachment for nic in target.nics]
        for attachment in dict.fromkeys(wanted):
            if attachment.kind is not AttachmentKind.NETWORK:
                continue
            network = self._look_up(self._connection.networkLookupByName, attachment.name)
            if network is None:
                yield (
                    f'There is no network "{attachment.name}" at {self.uri}: the machine starts '
                    "when there is. 'virsh net-define' makes one."
                )
            elif not network.isActive():
                yield (
                    f'The network "{attachment.name}" at {self.uri} is switched off: '
                    f"'virsh net-start {attachment.name}' before the machine is started."
                )
