r"""The session that a guest left in its hiberfil.sys, and giving it up."""

from __future__ import annotations

from offline_mig.guest.filesystem import HIBERFIL, GuestFilesystem, UnreadableFileError
from offline_mig.surgery.changes import DiscardSession
from offline_mig.surgery.plan import PlanBlock
from offline_mig.windows.hibernation import HEADER_SIZE, Certainty, Hibernation, Session


def read_hiberfil(volume: GuestFilesystem) -> bytes:
    """Return the first page of a volume's hiberfil.sys, nothing when there is none."""
    if not volume.exists(HIBERFIL):
        return b""
    try:
        return volume.read_part(HIBERFIL, 0, HEADER_SIZE)
    except UnreadableFileError:
        # A directory, link or pipe of that name: Windows keeps no session in one.
        return b""


def named_session(hibernation: Hibernation) -> str:
    """Return what a guest did, as a sentence without its end."""
    if hibernation.session is Session.KERNEL:
        likely = "" if hibernation.certainty is Certainty.KNOWN else "most likely "
        return f"The guest was {likely}shut down with fast startup"
    if hibernation.certainty is Certainty.UNKNOWN:
        return "The guest is hibernated, or was shut down with fast startup, which cannot be told"
    return "The guest is hibernated"


def plan_discard(hibernation: Hibernation, *, in_place: bool) -> tuple[PlanBlock, str]:
    """Return what gives the session up, and a note that says what is lost.

    ``in_place`` tells that the guest's own image is changed, and no copy of it.

    HiberbootEnabled stays as the user has it: on its new machine the guest may be shut down with
    fast startup as before, since what it resumes on then is what it was shut down on.
    """
    change = DiscardSession(hibernation.session, "it would be resumed on another machine")
    if hibernation.session is Session.KERNEL:
        lost = "Of users nothing is lost: they were logged off before."
    else:
        lost = "What was open in it and not saved is lost."
    note = (
        f"{named_session(hibernation)}; on request its session is given up and hiberfil.sys "
        f"deleted. {lost} The file is too large for the journal, so that undoing does not bring "
        f"it back{'' if in_place else '; the source keeps it'}."
    )
    return PlanBlock("The session in hiberfil.sys", (change,)), note
