"""What a program in a sandbox can see and do, found out by a program in one."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from fixtures.users import User
from offline_mig.guest.sandbox import Confinement, open_bytes, sandboxed
from offline_mig.guest.syscall_filter import parser_filter

_LOOK = r"""
import ctypes, errno, json, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def outcome(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "allowed"
def system(name, *arguments):
    def call():
        if getattr(libc, name)(*arguments) == -1:
            raise OSError(ctypes.get_errno(), name)
    return outcome(call)
def files(folder):
    return [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]
def capabilities():
    # capget(2), version 3: effective, permitted and inheritable, each in two halves.
    head = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    libc.capget(head, data)
    return list(data)
theirs = ("/usr/", "/lib", "/sbin/", "/bin/")
seen = {
    "root": sorted(os.listdir("/")),
    "outside": [name for name in files("/") if not name.startswith(theirs)],
    "uid": os.getuid(), "pid": os.getpid(), "capabilities": capabilities(),
    "inet": outcome(socket.socket, socket.AF_INET),
    "inet6": outcome(socket.socket, socket.AF_INET6),
    "unix": outcome(socket.socket, socket.AF_UNIX),
    "unshare": system("unshare", 0x10000000),
    "mount": system("mount", b"none", b"/usr", b"tmpfs", 0, None),
    "ptrace": system("ptrace", 16, 1, 0, 0),
    "write": outcome(os.mkdir, "/new"),
    "write-usr": outcome(os.mkdir, "/usr/new"),
    "readable": outcome(os.open, sys.argv[2], os.O_RDONLY),
    "readable-written": outcome(os.open, sys.argv[2], os.O_RDWR),
    "writable": outcome(os.open, sys.argv[3], os.O_RDWR),
    "hidden": outcome(os.open, sys.argv[4], os.O_RDONLY),
    "passwd": outcome(os.open, "/etc/passwd", os.O_RDONLY),
    "environment": sorted(os.environ),
    "no-new-privileges": libc.prctl(39, 0, 0, 0, 0),
    "memory": outcome(lambda: None),
}
try:
    bytearray(512 * 1024 * 1024)
except MemoryError:
    seen["memory"] = "refused"
os.write(int(sys.argv[1]), json.dumps(seen).encode())
"""
_RUN = """
import os, sys
from pathlib import Path
from offline_mig.guest.sandbox import Confinement, sandboxed
look, readable, writable, hidden = sys.argv[1:]
confinement = Confinement(
    memory=256 * 1024**2, readable=(Path(readable),), writable=(Path(writable),), opens_files=True
)
mine, its = os.pipe()
command = [os.path.realpath(sys.executable), "-I", "-S", "-c", look]
with sandboxed(
    [*command, str(its), readable, writable, hidden], confinement, pass_fds=(its,)
) as program:
    os.close(its)
    code = program.wait(60)
    assert code == 0, program.last_words()
print(os.read(mine, 1 << 20).decode())
"""


def test_what_a_program_can_see_and_do(user: User) -> None:
    paths = [user.folder / name for name in ("readable", "writable", "hidden")]
    for path in paths:
        path.write_text("x")
        # Nobody's but the owner's, as the images of machines often are.
        path.chmod(0o600)
        os.chown(path, user.folder.stat().st_uid, -1)
    seen = json.loads(user.run(_RUN, _LOOK, *paths))
    assert set(seen["root"]) <= {
        "bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "sbin", "tmp", "usr",
    }  # fmt: skip
    shown = {"/etc/ld.so.cache", "/dev/null", *map(str, paths[:2])}
    assert set(seen["outside"]) == shown
    assert seen["uid"] != 0
    # Root's may open the images whoever owns them (CAP_DAC_OVERRIDE, 1), and nothing else.
    expected = 0 if user.prefix or os.geteuid() else 1 << 1
    assert seen["capabilities"] in ([expected, expected, expected, 0, 0, 0], [0] * 6)
    assert seen["inet"] == seen["inet6"] == "EAFNOSUPPORT"
    assert seen["unix"] == "allowed"
    assert seen["unshare"] == seen["mount"] == seen["ptrace"] == "EPERM"
    assert seen["write"] == seen["write-usr"] == seen["readable-written"] == "EROFS"
    assert seen["readable"] == seen["writable"] == "allowed"
    assert seen["hidden"] == seen["passwd"] == "ENOENT"
    assert set(seen["environment"]) <= {"LC_ALL", "PATH", "PWD", "MALLOC_ARENA_MAX", "OLDPWD", "_"}
    assert seen["no-new-privileges"] == 1
    assert seen["memory"] == "refused"


def test_a_parser_can_only_compute_and_talk() -> None:
    """The filter that the worker puts on before it reads the first byte of a guest."""
    program = """
import ctypes, errno, os, socket, sys
from offline_mig.guest.volume_worker import _confine
_confine(int(sys.argv[1]))
def outcome(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "allowed"
answers = [
    outcome(os.open, "/etc/passwd", os.O_RDONLY), outcome(socket.socket, socket.AF_UNIX),
    outcome(os.fork), outcome(os.execv, "/bin/true", ["true"]), outcome(os.kill, 1, 0),
    outcome(os.stat, "/"), outcome(os.ftruncate, 1, 0),
]
bytearray(64 * 1024 * 1024)
print(*answers)
"""
    filter_fd = open_bytes(parser_filter())
    done = subprocess.run(
        [sys.executable, "-c", program, str(filter_fd)],
        pass_fds=(filter_fd,),
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(filter_fd)
    assert done.stdout.split() == ["EPERM"] * 7, done.stderr


@pytest.mark.usefixtures("userspace")
def test_a_program_is_killed_with_its_block() -> None:
    with sandboxed(["/bin/sleep", "60"], Confinement(memory=256 * 1024**2)) as program:
        assert Path(f"/proc/{program.pid}").exists()
    assert not Path(f"/proc/{program.pid}").exists()


_KILLED = """
import os, random, signal, sys, time
from offline_mig.guest.sandbox import Confinement, sandboxed
from offline_mig.guest.syscall_filter import server_filter
server_filter()
chance = random.Random(1)
for _ in range(80):
    child = os.fork()
    if child == 0:
        with sandboxed(["/bin/sleep", sys.argv[1]], Confinement(memory=256 * 1024**2)) as program:
            program.wait(60)
    time.sleep(chance.uniform(0, 0.04))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def test_nothing_stays_of_a_run_killed_while_the_sandbox_comes_up(user: User) -> None:
    seconds = f"{60 + random.random():.9f}"
    user.run(_KILLED, seconds)

    def left() -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                found.append(path.read_text())
        return [command for command in found if seconds in command]

    deadline = time.monotonic() + 20
    while left() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left() == []
