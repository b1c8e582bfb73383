"""Why something failed, as plain data."""

from __future__ import annotations

from typing import Literal, TypedDict


class ErrorForm(TypedDict):
    """Why a command failed; ``exit_code`` is one of the documented ones."""

    schema: Literal["offline-mig/error/1"]
    error: str
    remedy: str
    exit_code: int


def error_record(message: str, remedy: str, exit_code: int) -> ErrorForm:
    """Return why a command failed as plain data."""
    return {
        "schema": "offline-mig/error/1",
        "error": message,
        "remedy": remedy,
        "exit_code": exit_code,
    }
