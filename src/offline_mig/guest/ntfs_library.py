"""libntfs-3g, and block devices of our own as it wants them.

ntfs-3g consists of a library that knows NTFS and of a program that offers it to the kernel by
FUSE. The library reads and writes through a table of functions (struct ntfs_device_operations),
so it works on an NBD connection as well, and needs no FUSE, no mount and no privilege.

The library is called by its C interface (include/ntfs-3g/*.h, ntfs-3g 2022.10.3), unchanged for
long, through opaque pointers; of its structures only the beginning of struct ntfs_attr is looked
into, and that is checked on every volume.

Runs in the confined worker: only modules that load fast, and nothing is opened after loading.
"""

from __future__ import annotations

import ctypes
import errno
import os
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_long, c_uint, c_uint64, c_void_p

TYPE_CHECKING = False  # typing itself takes long to load
if TYPE_CHECKING:
    from typing import Any

    from offline_mig.guest.nbd import BlockDevice

#: The library's names: 89 since 2021.8.22; 883 and 88 are the releases before it.
LIBRARY_NAMES = ("libntfs-3g.so.89", "libntfs-3g.so.883", "libntfs-3g.so.88")
#: A device's size in sectors and the like is asked for by ioctl; no answer is needed.
_NOT_SUPPORTED = -1

#: What ntfs_readdir calls for each entry.
Fill = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int, c_int64, c_uint64, c_uint)
_Open = CFUNCTYPE(c_int, c_void_p, c_int, use_errno=True)
_Plain = CFUNCTYPE(c_int, c_void_p, use_errno=True)
_Seek = CFUNCTYPE(c_int64, c_void_p, c_int64, c_int, use_errno=True)
_Transfer = CFUNCTYPE(c_int64, c_void_p, c_void_p, c_int64, use_errno=True)
_TransferAt = CFUNCTYPE(c_int64, c_void_p, c_void_p, c_int64, c_int64, use_errno=True)
_Stat = CFUNCTYPE(c_int, c_void_p, c_void_p, use_errno=True)
_Control = CFUNCTYPE(c_int, c_void_p, c_uint64, c_void_p, use_errno=True)


class _Operations(ctypes.Structure):
    """struct ntfs_device_operations (device.h)."""

    _fields_ = (
        ("open", _Open),
        ("close", _Plain),
        ("seek", _Seek),
        ("read", _Transfer),
        ("write", _Transfer),
        ("pread", _TransferAt),
        ("pwrite", _TransferAt),
        ("sync", _Plain),
        ("stat", _Stat),
        ("ioctl", _Control),
    )


class _Attribute(ctypes.Structure):
    """The beginning of struct ntfs_attr (attrib.h)."""

    _fields_ = (
        ("runlist", c_void_p),
        ("inode", c_void_p),
        ("type", ctypes.c_uint32),
        ("flags", ctypes.c_uint16),
        ("name", c_void_p),
        ("name_length", ctypes.c_uint32),
        ("state", ctypes.c_ulong),
        ("allocated_size", c_int64),
        ("data_size", c_int64),
    )


class SecurityContext(ctypes.Structure):
    """The beginning of struct SECURITY_CONTEXT (security.h), all that reading and setting use.

    The rest, which is about mapping users and asking what one may do, is left empty.
    """

    _fields_ = (("volume", c_void_p), ("rest", ctypes.c_char * 64))


def load_library() -> Any:
    """Return libntfs-3g with its functions declared; raises OSError when it is not installed."""
    for name in LIBRARY_NAMES:
        try:
            library = ctypes.CDLL(name, use_errno=True)
        except OSError:
            continue
        _declare(library)
        return library
    raise OSError(errno.ENOENT, "libntfs-3g is not installed")


def _declare(library: Any) -> None:
    pointer, number, long_number = c_void_p, c_int, c_int64
    context = POINTER(SecurityContext)
    for name, result, *arguments in (
        ("ntfs_device_alloc", pointer, c_char_p, c_long, POINTER(_Operations), pointer),
        ("ntfs_device_mount", pointer, pointer, ctypes.c_ulong),
        ("ntfs_umount", number, pointer, number),
        ("ntfs_set_shown_files", number, pointer, number, number, number),
        ("ntfs_volume_get_free_space", number, pointer),
        ("ntfs_attr_get_free_bits", long_number, POINTER(_Attribute)),
        ("ntfs_inode_open", pointer, pointer, c_uint64),
        ("ntfs_inode_close", number, pointer),
        ("ntfs_inode_close_in_dir", number, pointer, pointer),
        ("ntfs_inode_update_times", None, pointer, c_uint),
        ("ntfs_get_ntfs_attrib", number, pointer, c_char_p, ctypes.c_size_t),
        ("ntfs_set_ntfs_attrib", number, pointer, c_char_p, ctypes.c_size_t, number),
        ("ntfs_get_ntfs_acl", number, context, pointer, c_char_p, ctypes.c_size_t),
        ("ntfs_set_ntfs_acl", number, context, pointer, c_char_p, ctypes.c_size_t, number),
        ("ntfs_get_ntfs_reparse_data", number, pointer, c_char_p, ctypes.c_size_t),
        ("ntfs_readdir", number, pointer, POINTER(c_int64), pointer, Fill),
        ("ntfs_attr_open", POINTER(_Attribute), pointer, ctypes.c_uint32, pointer, ctypes.c_uint32),
        ("ntfs_attr_close", None, POINTER(_Attribute)),
        ("ntfs_attr_pread", long_number, POINTER(_Attribute), long_number, long_number, pointer),
        ("ntfs_attr_pwrite", long_number, POINTER(_Attribute), long_number, long_number, pointer),
        ("ntfs_attr_pclose", number, POINTER(_Attribute)),
        ("ntfs_attr_truncate", number, POINTER(_Attribute), long_number),
        ("ntfs_create", pointer, pointer, ctypes.c_uint32, c_char_p, ctypes.c_uint8, c_uint),
        ("ntfs_delete", number, pointer, c_char_p, pointer, pointer, c_char_p, ctypes.c_uint8),
        ("ntfs_log_set_handler", None, pointer),
    ):
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    # What the library says about a damaged volume goes to standard error.
    library.ntfs_log_set_handler(library.ntfs_log_handler_stderr)


class Device:
    """A block device as the library wants it."""

    def __init__(self, device: BlockDevice) -> None:
        self._device = device
        self._position = 0
        # Kept here, or they would be gone while the library still calls them.
        self.operations = _Operations(
            _Open(lambda _device, _flags: 0),
            _Plain(lambda _device: 0),
            _Seek(self._seek),
            _Transfer(self._read),
            _Transfer(self._write),
            _TransferAt(self._read_at),
            _TransferAt(self._write_at),
            _Plain(self._sync),
            _Stat(lambda _device, _status: self._refuse()),
            _Control(lambda _device, _request, _argument: self._refuse()),
        )

    def _refuse(self) -> int:
        ctypes.set_errno(errno.EOPNOTSUPP)
        return _NOT_SUPPORTED

    def _fail(self, error: OSError) -> int:
        ctypes.set_errno(error.errno or errno.EIO)
        return -1

    def _seek(self, _device: int, offset: int, whence: int) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._device.size}
        if whence not in start or start[whence] + offset < 0:
            ctypes.set_errno(errno.EINVAL)
            return -1
        self._position = start[whence] + offset
        return self._position

    def _read(self, device: int, buffer: int, count: int) -> int:
        done = self._read_at(device, buffer, count, self._position)
        self._position += max(done, 0)
        return done

    def _write(self, device: int, buffer: int, count: int) -> int:
        done = self._write_at(device, buffer, count, self._position)
        self._position += max(done, 0)
        return done

    def _read_at(self, _device: int, buffer: int, count: int, offset: int) -> int:
        if count < 0 or offset < 0:
            ctypes.set_errno(errno.EINVAL)
            return -1
        try:
            data = self._device.read(offset, count)
        except OSError as error:
            return self._fail(error)
        ctypes.memmove(buffer, data, len(data))
        return len(data)

    def _write_at(self, _device: int, buffer: int, count: int, offset: int) -> int:
        if count < 0 or offset < 0 or offset + count > self._device.size:
            ctypes.set_errno(errno.EINVAL)
            return -1
        try:
            self._device.write(offset, ctypes.string_at(buffer, count))
        except OSError as error:
            return self._fail(error)
        return count

    def _sync(self, _device: int) -> int:
        try:
            self._device.flush()
        except OSError as error:
            return self._fail(error)
        return 0


def last_error() -> OSError:
    """Return the error of the call that has just failed."""
    number = ctypes.get_errno() or errno.EIO
    return OSError(number, os.strerror(number))
