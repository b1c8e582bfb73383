"""Making floppies and discs with drivers."""

from __future__ import annotations

from offline_mig.conversion.medium_record import medium_record
from offline_mig.conversion.setup_medium import make_disc, make_floppy

__all__ = ["make_disc", "make_floppy", "medium_record"]
