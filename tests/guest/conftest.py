"""The userspace engine as root and as an ordinary user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.users import User

#: An id that is no account's.
_STRANGER = 54321


@pytest.fixture(params=["root", "ordinary"])
def user(request: pytest.FixtureRequest, userspace: None) -> Iterator[User]:
    """Root, and someone with no account, no group and no capability."""
    is_root = os.geteuid() == 0
    if request.param == "root" and not is_root:
        pytest.skip("only root can be root")
    # Below /tmp itself: pytest's own folders are closed to others.
    folder = Path(tempfile.mkdtemp(prefix="someone-"))
    prefix: tuple[str, ...] = ()
    try:
        if request.param == "ordinary" and is_root:
            numbers = ("--reuid", str(_STRANGER), "--regid", str(_STRANGER), "--clear-groups")
            prefix = ("setpriv", *numbers, "--inh-caps=-all", "--")
            os.chown(folder, _STRANGER, _STRANGER)
            reachable = subprocess.run(
                [*prefix, sys.executable, "-c", "import offline_mig"],
                check=False,
                capture_output=True,
                cwd=folder,
            )
            if reachable.returncode:
                pytest.skip("the checkout cannot be read by other users")
        someone = User(folder, prefix)
        if prefix:
            told = someone.run(
                "from offline_mig.guest.userspace_engine import userspace_problems\n"
                "print(*userspace_problems())"
            )
            if told.strip():
                pytest.skip(told.strip())
        yield someone
    finally:
        shutil.rmtree(folder)
