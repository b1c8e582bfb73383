"""Running a program that parses a guest's data where it can do no harm.

bubblewrap gives it namespaces of its own (mounts, processes, network, IPC, host name, and users),
a file system that holds the system's programs and libraries and the files named, no capability,
no way to gain one, a filter of system calls and limits of memory.

When this process ends, however it ends, the sandbox does. Its first process waits for the end of a
pipe that this process holds, and takes all others of its process namespace along. Besides,
bubblewrap asks to be killed with its parent, and the first process with bubblewrap, whatever an
exploited program does to that wait. That alone would not do: bubblewrap asks for it only when it
has made the sandbox, some 10 ms after it began.

An ordinary user gets a user namespace. Root does not: in one, root could open only what belongs
to root, while the images of a machine belong to whoever ran it. So root's sandbox is made without
one, and the program in it runs as the user nobody, at most with the capability to open files
whoever owns them (CAP_DAC_OVERRIDE), which reaches nothing but what the sandbox holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from offline_mig.errors import HostNotReadyError
from offline_mig.guest.syscall_filter import server_filter
from offline_mig.processes import Running, require_program, running

#: What programs and libraries are made of; links to /usr on merged systems.
_SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_LINKER_CACHE = "/etc/ld.so.cache"
_NULL = "/dev/null"
#: The user that owns nothing.
_NOBODY = "65534"
#: What setting up root's sandbox takes, dropped before the program in it starts.
_ROOT_SETUP = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
#: Whether this is the host's root and not one of a container's user namespace.
_UID_MAP = Path("/proc/self/uid_map")
_WHOLE_MAP = ["0", "0", "4294967295"]
#: Settings that keep ordinary users from making user namespaces, and what to do about each.
_SWITCHES = {
    "kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "AppArmor keeps ordinary users from making user namespaces: give bwrap a profile for it",
    ),
    "kernel/unprivileged_userns_clone": (
        "0",
        "Ordinary users may not make user namespaces: 'sysctl kernel.unprivileged_userns_clone=1'",
    ),
    "user/max_user_namespaces": (
        "0",
        "User namespaces are turned off: 'sysctl user.max_user_namespaces=10000'",
    ),
}
#: The first process: it starts the program and ends with it, or when the pipe does that it has as
#: standard output (a shell gives what it starts in the background another standard input).
#: It also sets the limits, of which cores are none: guest data has no place in core dumps.
_FIRST = """
ulimit -c 0
ulimit -v "$0"
trap 'exit 143' TERM
{ read -r _ <&1; kill -TERM $$; } &
"$@" >/dev/null &
wait $!
exit $?
"""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a program gets to see and to use.

    ``readable`` and ``writable`` files and folders appear under their own paths. ``memory`` is its
    address space in bytes. ``opens_files`` is false for a program that needs nothing of others but
    what it was given open.
    """

    memory: int
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    opens_files: bool = False


@contextmanager
def sandboxed(
    argv: Sequence[str | os.PathLike[str]],
    confinement: Confinement,
    *,
    pass_fds: Sequence[int] = (),
) -> Iterator[Running]:
    """Run a program confined for the time of a ``with`` block, then kill it.

    Raises HostNotReadyError when bubblewrap or what it needs is not installed.
    """
    filter_fd = open_bytes(server_filter())
    try:
        command = [*_command(confinement, filter_fd), *(os.fspath(part) for part in argv)]
        environment = {"MALLOC_ARENA_MAX": "2"}  # each arena takes 64 MiB of address space
        with running(command, pass_fds=(*pass_fds, filter_fd), environment=environment) as program:
            yield program
    finally:
        os.close(filter_fd)


def open_bytes(content: bytes) -> int:
    """Return a file descriptor that reads ``content``; the caller closes it."""
    handle = os.memfd_create("offline-mig")
    os.write(handle, content)
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


def is_host_root() -> bool:
    """Tell whether this process is root of the host itself."""
    return os.geteuid() == 0 and _UID_MAP.read_text().split() == _WHOLE_MAP


def why_not(said: str) -> HostNotReadyError:
    """Return the error for a sandbox that did not come up; ``said`` is what was printed."""
    remedy = (
        "In a container, run it with the right to make namespaces (--privileged, or "
        "--cap-add SYS_ADMIN with seccomp and AppArmor unconfined); or use --engine guestfs."
    )
    for switch, (refusing, meaning) in _SWITCHES.items():
        path = Path("/proc/sys") / switch
        if not is_host_root() and path.exists() and path.read_text().strip() == refusing:
            remedy = f"{meaning}; or run offline-mig as root, or use --engine guestfs."
    return HostNotReadyError(f"No sandbox can be made on this host: {said}.", remedy)


def _command(confinement: Confinement, filter_fd: int) -> list[str]:
    command = [
        require_program("bwrap"),
        "--die-with-parent",
        # bubblewrap's own first process would be left for the system to reap.
        "--as-pid-1",
        "--new-session",
        "--unshare-ipc",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-uts",
        "--unshare-cgroup-try",
        *("--cap-drop", "ALL"),
        *("--seccomp", str(filter_fd)),
        *_system_folders(),
    ]
    for path in confinement.readable:
        command += ["--ro-bind", os.fspath(path), os.fspath(path)]
    for path in confinement.writable:
        command += ["--bind", os.fspath(path), os.fspath(path)]
    # The rest is an empty file system in memory; nothing is to be put there.
    command += ["--remount-ro", "/", "--chdir", "/"]
    first = ["--", "/bin/sh", "-c", _FIRST, str(confinement.memory // 1024)]
    if not is_host_root():
        return [*command, "--unshare-user", *first]
    kept = ("CAP_DAC_OVERRIDE",) if confinement.opens_files else ()
    for capability in (*_ROOT_SETUP, *kept):
        command += ["--cap-add", capability]
    capabilities = "-all" + "".join(f",+{name.removeprefix('CAP_').lower()}" for name in kept)
    return [
        *command,
        # bubblewrap's end can kill the first process only while that has the same user.
        *first,
        require_program("setpriv"),
        *("--reuid", _NOBODY, "--regid", _NOBODY, "--clear-groups"),
        f"--inh-caps={capabilities}",
        f"--ambient-caps={capabilities}",
        f"--bounding-set={capabilities}",
    ]


def _system_folders() -> list[str]:
    options = ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM_FOLDERS:
        path = Path("/") / name
        if path.is_symlink():
            options += ["--symlink", os.fspath(path.readlink()), os.fspath(path)]
        elif path.is_dir():
            options += ["--ro-bind", os.fspath(path), os.fspath(path)]
    # qemu tries on /dev/null which kind of file locks there is.
    return [*options, "--ro-bind-try", _LINKER_CACHE, _LINKER_CACHE, "--dev-bind", *2 * [_NULL]]
