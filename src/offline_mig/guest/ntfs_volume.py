"""An NTFS volume on a block device: reading and changing its files through libntfs-3g.

What the program of ntfs-3g does beyond calling the library is little, and is done here alike: how
it opens a volume (ntfs_open), and what it sets on files that it creates or writes
(ntfs_fuse_create, _trunc, _write in src/ntfs-3g.c), so that the results are the same.

Runs in the confined worker: only modules that load fast, and nothing is opened after loading.
"""

from __future__ import annotations

import ctypes
import errno
import os
from ctypes import c_int64

from offline_mig.guest.inherited_security import LARGEST_DESCRIPTOR, inherited_descriptor
from offline_mig.guest.ntfs_library import Device, Fill, SecurityContext, last_error

TYPE_CHECKING = False  # typing itself takes long to load
if TYPE_CHECKING:
    from typing import Any

#: NTFS_MNT_RDONLY (volume.h). The other flags stay off: no MAY_RDONLY, which falls back to
#: read-only in silence; no RECOVER, which throws a journal away that Windows should replay;
#: IGNORE_HIBERFILE on request.
_READ_ONLY, _IGNORE_HIBERFILE = 0x00000001, 0x20000000
#: Numbers of the MFT records of the root directory, $Bitmap and $UpCase, and the first that is
#: no metadata (layout.h, FILE_first_user).
_ROOT, _BITMAP, _UPCASE, _FIRST_USER = 5, 6, 10, 16
#: The largest $UpCase: one 16-bit unit for each of 65536.
_UPCASE_SIZE = 131072
#: A reference to an MFT record is its number and, above 48 bits, how often it was used.
_RECORD_NUMBER = (1 << 48) - 1
#: Attribute type $DATA (layout.h).
_DATA = 0x80
_SYSTEM, _DIRECTORY, _ARCHIVE, _REPARSE_POINT, _COMPRESSED = 0x4, 0x10, 0x20, 0x400, 0x800
_ENCRYPTED = 0x4000
#: What a system file begins with that is a symbolic link of Interix (layout.h, INTX_SYMBOLIC_LINK).
_INTERIX_LINK = b"IntxLNK\1"
_LINK = "it is a link, which is not followed"
#: The bit of a reparse tag that says that the file stands for another one: a junction, a symbolic
#: link (winnt.h, IsReparseTagNameSurrogate). A tag is the first 4 bytes of what is read.
_NAME_SURROGATE, _TAG = 0x20000000, 4
#: Bytes of reparse data at most (ntifs.h, MAXIMUM_REPARSE_DATA_BUFFER_SIZE).
_REPARSE_DATA = 16384
#: ntfs_readdir: the kind of a directory, and names that exist for DOS only.
_KIND_DIRECTORY, _NAME_DOS = 4, 2
#: <sys/stat.h>.
_DIRECTORY_TYPE, _FILE_TYPE = 0o040000, 0o100000
#: inode.h, NTFS_UPDATE_MCTIME: times of the content and of the record.
_UPDATE_TIMES = 1 << 1 | 1 << 2
#: NTFS allows 255 UTF-16 units in a name.
_LONGEST_NAME = 255


class UnsafeVolumeError(Exception):
    """The volume may be read but not written: hibernated, or its journal is to be replayed."""


class Inode:
    """An open MFT record, to be used in a ``with`` block, which writes it back in the end."""

    def __init__(self, volume: NtfsVolume, reference: int) -> None:
        self._volume = volume
        self._library = volume.library
        self.pointer = self._library.ntfs_inode_open(volume.pointer, reference & _RECORD_NUMBER)
        if not self.pointer:
            raise last_error()

    def __enter__(self) -> Inode:  # noqa: PYI034 - never subclassed, and typing loads slowly
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        pointer, self.pointer = self.pointer, None
        if pointer and self._library.ntfs_inode_close(pointer) and kind is None:
            raise last_error()

    def release(self) -> Any:
        """Return the pointer; whoever takes it closes it."""
        pointer, self.pointer = self.pointer, None
        return pointer

    @property
    def flags(self) -> int:
        """FILE_ATTRIBUTE_*, as Windows calls them."""
        buffer = ctypes.create_string_buffer(4)
        if self._library.ntfs_get_ntfs_attrib(self.pointer, buffer, 4) != 4:
            raise last_error()
        return int.from_bytes(buffer.raw, "little")

    @property
    def reparse_tag(self) -> int:
        """What a reparse point is, IO_REPARSE_TAG_*."""
        buffer = ctypes.create_string_buffer(_REPARSE_DATA)
        size = self._library.ntfs_get_ntfs_reparse_data(self.pointer, buffer, _REPARSE_DATA)
        if size < _TAG:
            raise last_error()
        return int.from_bytes(buffer.raw[:_TAG], "little")

    def mark_written(self) -> None:
        """Set what ntfs-3g sets on a file whose content changes."""
        flags = self.flags
        if not flags & _ARCHIVE:
            changed = (flags | _ARCHIVE).to_bytes(4, "little")
            if self._library.ntfs_set_ntfs_attrib(self.pointer, changed, 4, 0):
                raise last_error()
        self._library.ntfs_inode_update_times(self.pointer, _UPDATE_TIMES)


class Content:
    """The open unnamed data of a file, to be used in a ``with`` block."""

    def __init__(self, volume: NtfsVolume, inode: Inode) -> None:
        if inode.flags & _REPARSE_POINT:
            # Its data is elsewhere or in another form (a link, deduplicated, compressed by WOF).
            raise OSError(errno.EOPNOTSUPP, "it is a reparse point, which is not read")
        self._library = volume.library
        self._attribute = self._library.ntfs_attr_open(inode.pointer, _DATA, None, 0)
        if not self._attribute:
            raise last_error()

    def __enter__(self) -> Content:  # noqa: PYI034 - never subclassed, and typing loads slowly
        return self

    def __exit__(self, *_: object) -> None:
        self._library.ntfs_attr_close(self._attribute)

    @property
    def size(self) -> int:
        """Size of the content in bytes."""
        return int(self._attribute.contents.data_size)

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the content, fewer at its end."""
        size = max(0, min(size, self.size - offset))
        buffer = ctypes.create_string_buffer(size)
        done = 0
        while done < size:
            count = self._library.ntfs_attr_pread(
                self._attribute, offset + done, size - done, ctypes.addressof(buffer) + done
            )
            if count <= 0:
                raise last_error()
            done += count
        return buffer.raw

    def clear_bits(self) -> int:
        """Return how many bits of the content are 0."""
        count = self._library.ntfs_attr_get_free_bits(self._attribute)
        if count < 0:
            raise last_error()
        return int(count)

    def truncate(self, size: int) -> None:
        """Make the content shorter."""
        if self._library.ntfs_attr_truncate(self._attribute, size):
            raise last_error()

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes, at most up to the end or continuing it."""
        buffer = ctypes.create_string_buffer(data, len(data))
        done = 0
        while done < len(data):
            count = self._library.ntfs_attr_pwrite(
                self._attribute, offset + done, len(data) - done, ctypes.addressof(buffer) + done
            )
            if count <= 0:
                raise last_error()
            done += count

    def finish(self) -> None:
        """Write out what compression still holds back, when all has been written."""
        if self._library.ntfs_attr_pclose(self._attribute):
            raise last_error()


class NtfsVolume:
    """An NTFS volume on a block device. Files and directories go by their MFT reference."""

    def __init__(
        self, library: Any, device: Device, *, writable: bool, ignore_hibernation: bool
    ) -> None:
        """Open the volume; with ``ignore_hibernation`` whatever is in its hiberfil.sys.

        Raises UnsafeVolumeError when it must not be written although ``writable`` was asked for,
        OSError when it cannot be opened at all.
        """
        self.library = library
        self._device = device
        made = library.ntfs_device_alloc(b"guest", 0, ctypes.byref(device.operations), None)
        if not made:
            raise last_error()
        flags = 0 if writable else _READ_ONLY
        if ignore_hibernation:
            flags |= _IGNORE_HIBERFILE
        self.pointer = library.ntfs_device_mount(made, flags)
        if not self.pointer:
            error = last_error()
            if writable and error.errno in (errno.EPERM, errno.EOPNOTSUPP):
                raise UnsafeVolumeError
            raise error
        # Metadata files are not shown, all others are, as ntfs-3g does.
        if library.ntfs_set_shown_files(self.pointer, 0, 1, 0):
            raise last_error()
        # The allocator keeps count from here on.
        if library.ntfs_volume_get_free_space(self.pointer):
            raise last_error()
        self._check_layout()

    def close(self) -> None:
        """Write everything out and let go of the volume; raises OSError."""
        pointer, self.pointer = self.pointer, None
        if self.library.ntfs_umount(pointer, 0):
            raise last_error()

    @property
    def root(self) -> int:
        """The root directory."""
        return _ROOT

    def free_clusters(self) -> int:
        """Return how many clusters nothing is in."""
        with Inode(self, _BITMAP) as inode, Content(self, inode) as content:
            return content.clear_bits()

    def entries(self, directory: int) -> list[tuple[str, int, bool]]:
        """Return name, reference and whether it is a directory of all that is in a directory."""
        found = []

        def fill(
            _target: int, name: int, length: int, kind: int, _at: int, reference: int, type_: int
        ) -> int:
            if kind != _NAME_DOS:
                raw = ctypes.string_at(name, 2 * length)
                text = raw.decode("utf-16-le", "surrogatepass")
                # A separator in a name can only be there to deceive.
                if text not in (".", "..") and not {"/", "\0"} & set(text):
                    found.append((text, reference, type_ == _KIND_DIRECTORY))
            return 0

        position = c_int64(0)
        with Inode(self, directory) as inode:
            if inode.flags & _REPARSE_POINT:
                raise OSError(errno.ENOTDIR, "it is a link, which is not followed")
            if self.library.ntfs_readdir(inode.pointer, position, None, Fill(fill)):
                raise last_error()
        return found

    def oddity(self, reference: int) -> str:
        """Return what makes a file or directory none that can be used, "" for a plain one."""
        with Inode(self, reference) as inode:
            flags = inode.flags
            if flags & _REPARSE_POINT:
                if inode.reparse_tag & _NAME_SURROGATE:
                    return _LINK
                return "it is compressed by Windows (CompactOS) or its content is kept elsewhere"
            if flags & _ENCRYPTED and not flags & _DIRECTORY:
                return "it is encrypted by Windows (EFS)"
            if flags & _SYSTEM and not flags & _DIRECTORY:
                with Content(self, inode) as content:
                    if content.read(0, len(_INTERIX_LINK)) == _INTERIX_LINK:
                        return _LINK
        return ""

    def size(self, file: int) -> int:
        """Return the size of a file's content in bytes; 0 for what has none to be read."""
        with Inode(self, file) as inode:
            if inode.flags & _REPARSE_POINT:
                return 0
            with Content(self, inode) as content:
                return content.size

    def read(self, file: int, offset: int, size: int) -> bytes:
        """Return bytes of a file, fewer at its end."""
        with Inode(self, file) as inode, Content(self, inode) as content:
            return content.read(offset, size)

    def truncate(self, file: int) -> None:
        """Empty a file in place."""
        self._refuse_metadata(file)
        with Inode(self, file) as inode:
            with Content(self, inode) as content:
                content.truncate(0)
            inode.mark_written()

    def write(self, file: int, offset: int, data: bytes, *, last: bool) -> None:
        """Write a piece of a file; ``last`` tells that no more follow."""
        self._refuse_metadata(file)
        with Inode(self, file) as inode:
            with Content(self, inode) as content:
                content.write(offset, data)
                if last and inode.flags & _COMPRESSED:
                    content.finish()
            inode.mark_written()

    def create(self, directory: int, name: str, *, is_directory: bool) -> None:
        """Create an empty file or directory with the access rights that it inherits."""
        encoded, length = _encoded(name)
        context = SecurityContext(self.pointer)
        with Inode(self, directory) as parent:
            descriptor = inherited_descriptor(
                self._descriptor(context, parent), is_directory=is_directory
            )
            made = self.library.ntfs_create(
                parent.pointer, 0, encoded, length, _DIRECTORY_TYPE if is_directory else _FILE_TYPE
            )
            if not made:
                raise last_error()
            # Made without a security id, it would let everyone in.
            failed = self.library.ntfs_set_ntfs_acl(context, made, descriptor, len(descriptor), 0)
            error = last_error() if failed else None
            if self.library.ntfs_inode_close_in_dir(made, parent.pointer) or error:
                raise error or last_error()
            self.library.ntfs_inode_update_times(parent.pointer, _UPDATE_TIMES)

    def delete(self, directory: int, name: str, reference: int) -> None:
        """Delete a file or an empty directory."""
        self._refuse_metadata(reference)
        encoded, length = _encoded(name)
        with Inode(self, reference) as inode, Inode(self, directory) as parent:
            # It closes both.
            if self.library.ntfs_delete(
                self.pointer, None, inode.release(), parent.release(), encoded, length
            ):
                raise last_error()

    def _descriptor(self, context: SecurityContext, inode: Inode) -> bytes:
        buffer = ctypes.create_string_buffer(LARGEST_DESCRIPTOR)
        size = self.library.ntfs_get_ntfs_acl(context, inode.pointer, buffer, len(buffer))
        # One that does not fit is not copied, and one with nothing in it passes nothing on.
        return buffer.raw[:size] if 0 < size <= len(buffer) else b""

    def _refuse_metadata(self, reference: int) -> None:
        if reference & _RECORD_NUMBER < _FIRST_USER:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def _check_layout(self) -> None:
        # The library has just checked that the size of $UpCase is even and within this.
        size = self.size(_UPCASE)
        if not 2 <= size <= _UPCASE_SIZE or size % 2:
            raise OSError(errno.ENOSYS, "this libntfs-3g has an unknown layout")


def _encoded(name: str) -> tuple[bytes, int]:
    encoded = name.encode("utf-16-le", "surrogatepass")
    if not 0 < len(encoded) <= 2 * _LONGEST_NAME:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    return encoded, len(encoded) // 2
