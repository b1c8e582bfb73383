"""Filters of system calls (seccomp) for the programs that parse a guest's data.

Built with libseccomp, which knows the numbers of all architectures, as the BPF program that
bubblewrap's --seccomp and prctl(PR_SET_SECCOMP) take. libseccomp has no package on PyPI; its C
interface (seccomp_init(3), seccomp_rule_add(3), seccomp_export_bpf(3)) is called directly.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from functools import cache
from typing import Any

from offline_mig.errors import HostNotReadyError

#: <seccomp.h>: actions, comparisons, and the answer for a name that an architecture lacks.
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_NOT_EQUAL, _MASKED_EQUAL = 1, 7
_UNKNOWN = -1
#: <linux/sched.h>: the flags of clone(2) that make namespaces.
_NAMESPACES = (
    0x00000080,  # CLONE_NEWTIME
    0x00020000,  # CLONE_NEWNS
    0x02000000,  # CLONE_NEWCGROUP
    0x04000000,  # CLONE_NEWUTS
    0x08000000,  # CLONE_NEWIPC
    0x10000000,  # CLONE_NEWUSER
    0x20000000,  # CLONE_NEWPID
    0x40000000,  # CLONE_NEWNET
)
#: What no storage server needs, and what attacks on the kernel and ways out of a sandbox are
#: made of.
_FORBIDDEN = """
acct add_key bpf chroot clock_adjtime clock_settime delete_module fanotify_init fanotify_mark
finit_module fsconfig fsmount fsopen fspick init_module io_uring_enter io_uring_register
io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind
migrate_pages mknod mknodat mount mount_setattr move_mount move_pages name_to_handle_at nfsservctl
open_by_handle_at open_tree perf_event_open personality pidfd_getfd pidfd_open pivot_root
process_madvise process_vm_readv process_vm_writev ptrace quotactl quotactl_fd reboot request_key
set_mempolicy setdomainname sethostname setns settimeofday stime swapoff swapon syslog umount
umount2 unshare userfaultfd uselib vhangup
"""
#: All that reading and writing open descriptors, memory and ending take.
_PARSER_NEEDS = """
read readv write writev brk mmap mmap2 mremap munmap mprotect madvise futex futex_time64
rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall sched_yield getpid gettid
clock_gettime clock_gettime64 gettimeofday time getrandom close fstat fstat64 exit exit_group tgkill
"""


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


@cache
def server_filter() -> bytes:
    """Return the filter for a whole program: everything but what is certainly not its business.

    New namespaces, mounting, tracing, keys, modules, io_uring and all sockets but local ones are
    refused. Raises HostNotReadyError when libseccomp is not installed.
    """
    made = _Filter(_ALLOW)
    try:
        for name in _FORBIDDEN.split():
            made.add(_ERRNO | errno.EPERM, name)
        for flag in _NAMESPACES:
            made.add(_ERRNO | errno.EPERM, "clone", _Comparison(0, _MASKED_EQUAL, flag, flag))
        # Its flags lie in memory, where no filter can look; the C library then takes clone.
        made.add(_ERRNO | errno.ENOSYS, "clone3")
        local = _Comparison(0, _NOT_EQUAL, int(socket.AF_UNIX), 0)
        made.add(_ERRNO | errno.EAFNOSUPPORT, "socket", local)
        return made.as_bpf()
    finally:
        made.close()


@cache
def parser_filter() -> bytes:
    """Return the filter for a process that has all it needs open: it can only compute and talk.

    Raises HostNotReadyError when libseccomp is not installed.
    """
    made = _Filter(_ERRNO | errno.EPERM)
    try:
        for name in _PARSER_NEEDS.split():
            made.add(_ALLOW, name)
        return made.as_bpf()
    finally:
        made.close()


@cache
def load_libseccomp() -> Any:
    """Return libseccomp; raises HostNotReadyError when it is not installed."""
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError as error:
        raise HostNotReadyError(
            "The library libseccomp is not installed.",
            "Install libseccomp2 (Debian, Ubuntu) or libseccomp (Fedora, Arch).",
        ) from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    library.seccomp_release.argtypes = (ctypes.c_void_p,)
    library.seccomp_release.restype = None
    library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Comparison),
    )
    library.seccomp_export_bpf.argtypes = (ctypes.c_void_p, ctypes.c_int)
    return library


class _Filter:
    def __init__(self, default: int) -> None:
        self._library = load_libseccomp()
        self._context = self._library.seccomp_init(default)
        if not self._context:
            raise OSError(errno.ENOMEM, "libseccomp could not begin a filter")

    def add(self, action: int, name: str, *comparisons: _Comparison) -> None:
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number == _UNKNOWN:
            # Newer than this library, which then refuses or allows it like all it does not know.
            return
        array = (_Comparison * len(comparisons))(*comparisons)
        failed = self._library.seccomp_rule_add_array(
            self._context, action, number, len(comparisons), array
        )
        # A negative number is a call of other architectures only.
        if failed and number >= 0:
            raise OSError(-failed, f"libseccomp could not add a rule for {name}")

    def as_bpf(self) -> bytes:
        handle = os.memfd_create("filter")
        try:
            failed = self._library.seccomp_export_bpf(self._context, handle)
            if failed:
                raise OSError(-failed, "libseccomp could not write the filter")
            size = os.lseek(handle, 0, os.SEEK_CUR)
            return os.pread(handle, size, 0)
        finally:
            os.close(handle)

    def close(self) -> None:
        self._library.seccomp_release(self._context)
