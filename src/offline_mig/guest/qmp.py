"""Commands to a QEMU program over its monitor: the QEMU Machine Protocol, as far as needed."""

from __future__ import annotations

import json
import socket
from typing import Any

from offline_mig.errors import ToolFailedError

#: Answers are short; a program that parses guest data may have been taken over.
_LONGEST_LINE = 1024 * 1024


class CommandRefusedError(Exception):
    """The program answered with an error; the text is its own."""


class Monitor:
    """The client's end of a monitor. ``name`` is what to call the program in messages."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        self._name = name
        self._connection = connection
        self._lines = connection.makefile("rb")

    def greet(self) -> None:
        """Wait for the program to come up and begin; raises ToolFailedError when it does not."""
        self._answer("QMP")
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> None:
        """Have a command carried out.

        Raises CommandRefusedError, or ToolFailedError when there is no proper answer.
        """
        request = {"execute": command, "arguments": arguments}
        try:
            self._connection.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise self._failed(error.strerror or "it is gone") from error
        self._answer("return")

    def close(self) -> None:
        """Let go of the monitor."""
        self._lines.close()
        self._connection.close()

    def _answer(self, wanted: str) -> None:
        while True:
            try:
                line = self._lines.readline(_LONGEST_LINE)
                said = json.loads(line) if line else None
            except OSError as error:
                raise self._failed("it does not answer") from error
            except ValueError as error:
                raise self._failed("its answer makes no sense") from error
            if not isinstance(said, dict):
                raise self._failed("it is gone")
            if wanted in said:
                return
            if "error" in said:
                described = said["error"]
                text = described.get("desc") if isinstance(described, dict) else described
                raise CommandRefusedError("".join(c for c in str(text) if c.isprintable()))

    def _failed(self, reason: str) -> ToolFailedError:
        return ToolFailedError(
            f"{self._name} failed: {reason}.", "See whether the storage answers, then try again."
        )
