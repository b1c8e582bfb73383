"""Floppies and discs with drivers, for Windows' own set-up and for its Device Manager."""
