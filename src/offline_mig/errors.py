"""What can go wrong, as a user meets it: one class per exit code.

Every error says what was found and where (``message``) and what to do next (``remedy``).
The exit codes are part of the interface and are listed in the README.
"""

from __future__ import annotations

from typing import ClassVar


class OfflineMigError(Exception):
    """An error that ends the run with a sentence, never with a traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class UnfitRequestError(OfflineMigError):
    """Something was asked for that does not fit this machine."""

    exit_code = 2


class HostNotReadyError(OfflineMigError):
    """A program, binding or engine that this host lacks or that does not work here."""

    exit_code = 3


class SourceUnreadableError(OfflineMigError):
    """The given machine or disk is missing, damaged, incomplete or of an unknown kind."""

    exit_code = 4


class SourceUnsafeError(OfflineMigError):
    """The given machine or disk names files that it has no business with."""

    exit_code = 5


class GuestRefusedError(OfflineMigError):
    """The guest inside the image is in a state, or of a kind, that must not be edited."""

    exit_code = 6


class NoDriverError(OfflineMigError):
    """The driver or agent sources hold nothing usable for this Windows."""

    exit_code = 7


class OutputRefusedError(OfflineMigError):
    """The results cannot be written where they were asked for."""

    exit_code = 8


class ToolFailedError(OfflineMigError):
    """An external program or the appliance failed; the message carries what it printed."""

    exit_code = 9


class VerificationError(OfflineMigError):
    """Something that was written does not read back as planned; nothing was published."""

    exit_code = 10


class NotMendedError(OfflineMigError):
    """A repair after which the guest would still stop; nothing was changed."""

    exit_code = 12


class GuestsLeftError(OfflineMigError):
    """Of the guests of a batch some could not be converted, or of a preflight some cannot be."""

    exit_code = 13


class PlanFileError(OfflineMigError):
    """A plan file that cannot be read or understood."""

    exit_code = 14
