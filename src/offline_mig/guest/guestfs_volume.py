"""A volume that is mounted in a libguestfs appliance."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from offline_mig.errors import ToolFailedError
from offline_mig.guest.filesystem import (
    ENCRYPTED,
    READ_LIMIT,
    DirectoryEntry,
    create_one_by_one,
    not_plain,
    too_large,
)
from offline_mig.guest.inherited_security import inherited_descriptor
from offline_mig.guest.secured_archive import (
    DESCRIPTOR_ATTRIBUTE,
    ArchiveMember,
    write_archive,
)

#: libguestfs messages are limited to 4 MiB; larger files go through a temporary file.
_MESSAGE_LIMIT = 2 * 1024 * 1024
#: What EACCES is in words.
_DENIED = "Permission denied"


class GuestfsFilesystem:
    """A mounted volume, see GuestFilesystem.

    ``place`` is where in the appliance it is mounted, which every path begins with in there;
    ``secured`` tells that files have security descriptors.
    """

    def __init__(self, handle: Any, place: str, *, secured: bool) -> None:
        self._handle = handle
        self._place = place
        self._secured = secured
        #: Directories that are known to be some, by their path in real case.
        self._directories: set[str] = {place}
        #: What was asked for and found, until a name comes or goes.
        self._resolved: dict[str, str | None] = {}
        self._listed: dict[str, dict[str, str]] = {}

    def resolve(self, path: str) -> str | None:
        """Return the path in its real case, or None when there is no such thing."""
        found = self._found(path)
        return None if found is None else found.removeprefix(self._place) or "/"

    def _found(self, path: str) -> str | None:
        """Return the path in the appliance, or None when there is no such thing."""
        if path not in self._resolved:
            self._resolved[path] = self._looked_up(path)
        return self._resolved[path]

    def _looked_up(self, path: str) -> str | None:
        found = self._place
        for part in path.split("/"):
            if not part:
                continue
            if found not in self._directories and stat.S_ISREG(self._mode(found) or 0):
                return None
            self._require_directory(found)
            name = self._names(found).get(part) or self._names(found).get(part.casefold())
            if name is None:
                return None
            found = f"{found}/{name}"
        return found

    def _names(self, directory: str) -> dict[str, str]:
        """Return the names in a directory by themselves and by themselves folded."""
        # case_sensitive_path would read each directory on the way anew for every path.
        if directory not in self._listed:
            with failing(f"list {directory.removeprefix(self._place) or '/'}"):
                names = self._handle.ls(directory)
            folded = {name.casefold(): name for name in reversed(names)}
            self._listed[directory] = {**folded, **{name: name for name in names}}
        return self._listed[directory]

    def exists(self, path: str) -> bool:
        """Tell whether there is anything of that name."""
        return self.resolve(path) is not None

    def list_directory(self, path: str) -> tuple[DirectoryEntry, ...]:
        """Return what is in a directory, by name."""
        directory = self._existing(path)
        self._require_directory(directory)
        with failing(f"list {path}"):
            kinds = {
                entry["name"]: entry["ftyp"]
                for entry in self._handle.readdir(directory)
                if entry["name"] not in (".", "..")
            }
            names = sorted(kinds)
            found = self._handle.lstatnslist(directory, names)
        return tuple(_entry(name, status) for name, status in zip(names, found, strict=True))

    def read(self, path: str, *, limit: int = READ_LIMIT) -> bytes:
        """Return a file's content."""
        existing, size = self._file(path)
        if size > limit:
            raise too_large(path, limit, size)
        # Not by download or read_file: without KVM each takes 0.1 s however small the file is.
        parts: list[bytes] = []
        left = size
        with _failing_content("read", path):
            while left > 0:
                part = bytes(self._handle.pread(existing, min(left, _MESSAGE_LIMIT), size - left))
                if not part:
                    break
                parts.append(part)
                left -= len(part)
        return b"".join(parts)

    def read_part(self, path: str, offset: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``offset``."""
        existing, _ = self._file(path)
        with _failing_content("read", path):
            return bytes(self._handle.pread(existing, min(size, _MESSAGE_LIMIT), offset))

    def write(self, path: str, data: bytes) -> None:
        """Create a file or replace its content in place."""
        target = self._target(path)
        if self._mode(target) is not None:
            self._file(path)
        else:
            self._forget_names()
            if self._secured:
                self.create((), {path: data})
                return
        with _failing_content("write", path):
            if len(data) <= _MESSAGE_LIMIT:
                self._handle.write(target, data)
                return
            with tempfile.NamedTemporaryFile(prefix="offline-mig-") as local:
                local.write(data)
                local.flush()
                self._handle.upload(local.name, target)

    def make_directory(self, path: str) -> None:
        """Create one directory in an existing one."""
        target = self._target(path)
        self._forget_names()
        if self._secured and self._mode(target) is None:
            self.create((path,), {})
            return
        with failing(f"create the directory {path}"):
            self._handle.mkdir(target)

    def create(self, directories: Sequence[str], files: Mapping[str, bytes]) -> None:
        """Create directories and files, none of which is there yet."""
        if not self._secured:
            create_one_by_one(self, directories, files)
            return
        # Each call takes a tenth of a second without KVM, however little it has to do.
        made: dict[str, str] = {}
        descriptors: dict[str, bytes] = {}
        members: dict[str, ArchiveMember] = {}
        for path, data in (*((path, None) for path in directories), *files.items()):
            above, _, name = path.rpartition("/")
            parent = made.get(above.casefold()) or self._directory(above)
            if parent not in descriptors:
                descriptors[parent] = self._descriptor(parent)
            target = f"{parent}/{name}"
            rights = inherited_descriptor(descriptors[parent], is_directory=data is None)
            if data is None:
                made[path.casefold()] = target
                descriptors[target] = rights
            members[target] = ArchiveMember(target.removeprefix(f"{self._place}/"), data, rights)
        self._forget_names()
        with tempfile.NamedTemporaryFile(prefix="offline-mig-", suffix=".tar") as local:
            write_archive(local, members.values())
            local.flush()
            with failing(f"write {len(members)} new files and directories"):
                self._handle.tar_in(local.name, self._place, xattrs=True)
        for target, member in members.items():
            if self._descriptor(target) != member.descriptor:
                raise ToolFailedError(
                    f"The access rights of {target.removeprefix(self._place)} do not read back: "
                    "the appliance's tar does not set them.",
                    "Nothing was published. Take the other engine: --engine userspace.",
                )

    def delete(self, path: str) -> None:
        """Delete a file or an empty directory."""
        existing = self._existing(path)
        is_directory = stat.S_ISDIR(self._mode(existing) or 0)
        self._forget_names()
        with failing(f"delete {path}"):
            if is_directory:
                self._directories.discard(existing)
                self._handle.rmdir(existing)
            else:
                self._handle.rm(existing)

    def walk(self, path: str) -> tuple[DirectoryEntry, ...]:
        """Return all that is below a directory, outer ones first."""
        directory = self._existing(path)
        self._require_directory(directory)
        # One call for all names and one for each directory that has some; each takes a tenth of a
        # second without KVM.
        below: dict[str, list[str]] = {}
        with failing(f"list {path}"):
            for name in sorted(text.strip("/") for text in self._handle.find(directory)):
                parent, _, last = name.rpartition("/")
                below.setdefault(parent, []).append(last)
            found = {
                f"{parent}/{name}".lstrip("/"): status
                for parent, names in below.items()
                for name, status in zip(
                    names, self._handle.lstatnslist(f"{directory}/{parent}", names), strict=True
                )
            }
        return tuple(_entry(name, status) for name, status in sorted(found.items()))

    def delete_tree(self, path: str) -> None:
        """Delete a file, or a directory with all that is in it."""
        existing = self._existing(path)
        self._forget_names()
        self._directories = {
            known
            for known in self._directories
            if known != existing and not known.startswith(f"{existing}/")
        }
        with failing(f"delete {path}"):
            try:
                self._handle.rm(existing)
            except RuntimeError:
                # A directory. It takes a program in the appliance, 0.04 s without KVM.
                self._handle.rm_rf(existing)

    def free_space(self) -> int:
        """Return the free space of the volume, in bytes."""
        with failing("read the free space"):
            status = self._handle.statvfs(self._place)
        return int(status["bavail"]) * int(status["bsize"])

    def _descriptor(self, path: str) -> bytes:
        with failing(f"read the access rights of {path.removeprefix(self._place)}"):
            return bytes(self._handle.getxattr(path, DESCRIPTOR_ATTRIBUTE))

    def _forget_names(self) -> None:
        self._resolved.clear()
        self._listed.clear()

    def _existing(self, path: str) -> str:
        found = self._found(path)
        if found is None:
            raise FileNotFoundError(path)
        return found

    def _target(self, path: str) -> str:
        found = self._found(path)
        if found is not None:
            return found
        parent, _, name = path.rpartition("/")
        return f"{self._directory(parent)}/{name}"

    def _directory(self, path: str) -> str:
        directory = self._found(path or "/")
        if directory is None:
            raise FileNotFoundError(path)
        self._require_directory(directory)
        return directory

    def _file(self, path: str) -> tuple[str, int]:
        """Return the real path and the size of a plain file."""
        existing = self._existing(path)
        with failing(f"look at {path}"):
            status = self._handle.lstatns(existing)
        if not stat.S_ISREG(status["st_mode"]):
            raise not_plain(path, self._what(existing, status["st_mode"]))
        return existing, int(status["st_size"])

    def _require_directory(self, path: str) -> None:
        if path in self._directories:
            return
        mode = self._mode(path)
        shown = path.removeprefix(self._place)
        if mode is None:
            raise FileNotFoundError(shown)
        if not stat.S_ISDIR(mode):
            raise not_plain(shown, self._what(path, mode))
        self._directories.add(path)

    def _mode(self, path: str) -> int | None:
        """Return the st_mode of what is there itself, no link followed; None for nothing."""
        parent, _, name = path.rpartition("/")
        with failing(f"look at {path.removeprefix(self._place)}"):
            (status,) = self._handle.lstatnslist(parent or "/", [name])
        # lstatnslist marks what it cannot look at so.
        return None if status["st_ino"] == -1 else int(status["st_mode"])

    def _what(self, path: str, mode: int) -> str:
        if stat.S_ISREG(mode):
            return "it is a file and no directory"
        if stat.S_ISDIR(mode):
            return "it is a directory and no file"
        if not stat.S_ISLNK(mode):
            return "it is a pipe, socket or device (of Interix), and no file"
        with failing(f"look at {path}"):
            target = str(self._handle.readlink(path))
        # What ntfs-3g shows for reparse points that it has no plugin for.
        if target.startswith("unsupported reparse"):
            return "it is compressed by Windows (CompactOS) or its content is kept elsewhere"
        return "it is a link, which is not followed"


def _entry(name: str, status: Mapping[str, int]) -> DirectoryEntry:
    mode = status["st_mode"]
    size = max(status["st_size"], 0) if stat.S_ISREG(mode) else 0
    return DirectoryEntry(name, stat.S_ISDIR(mode), size)


@contextmanager
def failing(action: str) -> Iterator[None]:
    """Turn what libguestfs raises into ToolFailedError that names the action."""
    try:
        yield
    except RuntimeError as error:
        raise ToolFailedError(
            f"libguestfs could not {action}: {first_line(error)}",
            "Nothing was published. Run with LIBGUESTFS_DEBUG=1 to see what happened.",
        ) from error


@contextmanager
def _failing_content(action: str, path: str) -> Iterator[None]:
    """Do as ``failing`` where the content of a file is concerned, which may be encrypted."""
    try:
        with failing(f"{action} {path}"):
            yield
    except ToolFailedError as error:
        # Everything is allowed to root in there; it is what ntfs-3g says of encrypted data.
        if _DENIED in error.message:
            raise not_plain(path, ENCRYPTED) from error
        raise


def first_line(error: Exception) -> str:
    """Return the first line of what libguestfs said."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
