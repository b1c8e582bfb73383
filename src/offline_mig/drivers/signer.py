"""Who signed a driver package, as far as a signature tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SignerClass(StrEnum):
    """How far Windows trusts a package, the best first."""

    MICROSOFT = "Microsoft"
    #: A code-signing certificate that an authority gave to a vendor, such as Red Hat's.
    VENDOR = "vendor"
    #: Issued by nobody but its owner: trusted with test-signing on, and not otherwise.
    SELF_SIGNED = "self-signed"
    UNSIGNED = "unsigned"


@dataclass(frozen=True, slots=True)
class Signing:
    """What the catalogue of a package says.

    ``signer`` is the subject's common name, "" without a signature; ``digest`` the hash that was
    signed. ``unlisted`` are the files of the package (the INF, drivers) whose hashes the catalogue
    lacks: they were changed after it was signed, or never belonged to it. ``embedded`` are the
    drivers with a signature of their own, and how far that is trusted. ``windows`` are the
    versions that the catalogue is meant for, as it writes them (``2:6.1``, ``2:10.0``); empty when
    it names none. ``problem`` tells why there is no signature. ``attested`` tells that Microsoft
    signed by attestation, without tests of its own.
    """

    signer_class: SignerClass
    signer: str = ""
    digest: str = ""
    unlisted: tuple[str, ...] = ()
    embedded: tuple[tuple[str, SignerClass], ...] = ()
    windows: tuple[str, ...] = ()
    problem: str = ""
    attested: bool = False

    @property
    def unsigned_drivers(self) -> tuple[str, ...]:
        """The drivers that neither the catalogue nor a trusted signature of their own covers."""
        trusted = {
            name
            for name, signer_class in self.embedded
            if signer_class in (SignerClass.MICROSOFT, SignerClass.VENDOR)
        }
        return tuple(
            name for name in self.unlisted if name.endswith(".sys") and name not in trusted
        )
