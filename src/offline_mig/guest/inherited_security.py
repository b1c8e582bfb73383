r"""Whom Windows would let into a new file: what it inherits of its directory's descriptor.

Windows gives every new file and directory a security descriptor made of the inheritable entries
(ACEs) of the directory's: [MS-DTYP] 2.5.3.4, "CreateSecurityDescriptor", which [MS-FSA] 2.1.5.1.1
calls for every new file, with the inheritance marked where the directory's own is. libntfs-3g has
a like computation (ntfs_inherited_id), which is not used: where nothing can be inherited it makes
a descriptor without an access list, which lets everyone in, the program needs a user mapping on
the volume for it, and it leaves out what is audited and labelled.

Layouts and numbers are those of [MS-DTYP] 2.4 and winnt.h.

Runs in the confined worker too: only modules that load fast.
"""

from __future__ import annotations

import struct

#: Bytes of a descriptor at most: an access list has a size of 16 bits, and there are two.
LARGEST_DESCRIPTOR = 2 * 65536 + 1024

#: Header of a descriptor: revision, padding, control, offsets of owner, group, SACL, DACL.
_HEADER = struct.Struct("<BBHIIII")
#: Header of an access list: revision, padding, size, count of entries, padding.
_LIST = struct.Struct("<BBHHH")
#: An entry: type, flags, size; most have an access mask and a SID from byte 8 on behind that.
_ENTRY = struct.Struct("<BBH")
_MASK = struct.Struct("<I")
_PRESENT_DACL, _PRESENT_SACL = 0x0004, 0x0010
_AUTO_DACL, _AUTO_SACL, _SELF_RELATIVE = 0x0400, 0x0800, 0x8000
#: How an entry is passed on: to files, to directories, no further than to children, not in force
#: where it stands; and the mark of one that was inherited.
_TO_FILES, _TO_DIRECTORIES, _NO_FURTHER, _ONLY_INHERITED, _INHERITED = 0x1, 0x2, 0x4, 0x8, 0x10
#: The remaining bits tell what is audited.
_HOW_PASSED_ON = _TO_FILES | _TO_DIRECTORIES | _NO_FURTHER | _ONLY_INHERITED | _INHERITED
#: Types whose SID stands right behind the mask: plain and conditional entries, audited and not,
#: labels and claims. Those in between are for objects of a directory service.
_PLAIN_TYPES = (0x0, 0x1, 0x2, 0x9, 0xA, 0xD, 0x11, 0x12, 0x13)
#: GENERIC_READ, _WRITE, _EXECUTE, _ALL, and what they stand for with files.
_GENERIC = (
    (0x80000000, 0x00120089),
    (0x40000000, 0x00120116),
    (0x20000000, 0x001200A0),
    (0x10000000, 0x001F01FF),
)
_ALL, _READ_AND_EXECUTE = 0x001F01FF, 0x001200A9
#: The second one is of lists with entries of other types.
_PLAIN_REVISION, _OTHER_REVISION = 2, 4
_LONGEST_LIST = 65535


def _sid(authority: int, *parts: int) -> bytes:
    return struct.pack(f"<BB6s{len(parts)}I", 1, len(parts), authority.to_bytes(6, "big"), *parts)


_CREATOR_OWNER, _CREATOR_GROUP = _sid(3, 0), _sid(3, 1)
_SYSTEM, _ADMINISTRATORS, _USERS = _sid(5, 18), _sid(5, 32, 544), _sid(5, 32, 545)
#: Owner and group of all that LocalSystem makes, as which Windows installs drivers (Microsoft,
#: "LocalSystem Account").
_OWNER, _GROUP = _ADMINISTRATORS, _SYSTEM

#: Type, flags, and what follows: mask and SID, with what else an entry of that type has.
_Entry = tuple[int, int, bytes]


def inherited_descriptor(parent: bytes, *, is_directory: bool) -> bytes:
    """Return the descriptor of a new file or directory in one with the descriptor ``parent``.

    Where nothing is to be inherited, and where ``parent`` makes no sense, SYSTEM and the
    administrators may do all and users read and run: what all folders of Windows and of programs
    grant at least, and nobody needs more for a driver or a program. Windows would take the list
    of whoever creates the file, which for LocalSystem leaves users out altogether.
    """
    control, sacl, dacl = _lists(parent)
    access = _inherited(dacl, is_directory=is_directory, mark=control & _AUTO_DACL)
    control &= _AUTO_DACL | _AUTO_SACL
    if not access:
        access = _default(is_directory=is_directory)
        control &= ~_AUTO_DACL
    audit = _inherited(sacl, is_directory=is_directory, mark=control & _AUTO_SACL)
    control |= _SELF_RELATIVE | _PRESENT_DACL | (_PRESENT_SACL if audit else 0)
    audits, accesses = _list(audit) if audit else b"", _list(access)
    at = _HEADER.size
    sacl_at = at if audit else 0
    dacl_at = at + len(audits)
    owner_at = dacl_at + len(accesses)
    head = _HEADER.pack(1, 0, control, owner_at, owner_at + len(_OWNER), sacl_at, dacl_at)
    return head + audits + accesses + _OWNER + _GROUP


def _lists(descriptor: bytes) -> tuple[int, list[_Entry], list[_Entry]]:
    """Return the control bits and the entries of both lists; none of a list that is damaged."""
    if len(descriptor) < _HEADER.size:
        return 0, [], []
    _, _, control, _, _, sacl, dacl = _HEADER.unpack_from(descriptor)
    return control, _entries(descriptor, sacl), _entries(descriptor, dacl)


def _entries(descriptor: bytes, at: int) -> list[_Entry]:
    if at < _HEADER.size or at + _LIST.size > len(descriptor):
        return []
    _, _, size, count, _ = _LIST.unpack_from(descriptor, at)
    end = at + size
    at += _LIST.size
    found = []
    for _ in range(count):
        if at + _ENTRY.size > min(end, len(descriptor)):
            return []
        kind, flags, length = _ENTRY.unpack_from(descriptor, at)
        if length < _ENTRY.size + _MASK.size or at + length > min(end, len(descriptor)):
            return []
        found.append((kind, flags, descriptor[at + _ENTRY.size : at + length]))
        at += length
    return found


def _inherited(entries: list[_Entry], *, is_directory: bool, mark: int) -> list[_Entry]:
    # Each but once: the owner's entry often says what that of the administrators has said.
    inherited: dict[_Entry, None] = {}
    for entry in entries:
        for kind, flags, body in _passed_on(entry, is_directory=is_directory):
            inherited[kind, flags | (_INHERITED if mark else 0), body] = None
    if sum(_ENTRY.size + len(body) for _, _, body in inherited) > _LONGEST_LIST - _LIST.size:
        return []
    return list(inherited)


def _passed_on(entry: _Entry, *, is_directory: bool) -> list[_Entry]:
    kind, flags, body = entry
    kept = flags & ~_HOW_PASSED_ON
    in_force = (kind, kept, _in_force(kind, body))
    if not is_directory:
        return [in_force] if flags & _TO_FILES else []
    further = kept | flags & (_TO_FILES | _TO_DIRECTORIES)
    if flags & _TO_DIRECTORIES:
        if flags & _NO_FURTHER:
            return [in_force]
        if in_force[2] == body:
            return [(kind, further, body)]
        # What it means here, and what it will mean below, are said apart.
        return [in_force, (kind, further | _ONLY_INHERITED, body)]
    if flags & _TO_FILES and not flags & _NO_FURTHER:
        return [(kind, further | _ONLY_INHERITED, body)]
    return []


def _in_force(kind: int, body: bytes) -> bytes:
    """Return an entry's mask and SID with the creator's SID and rights of files in them."""
    if kind not in _PLAIN_TYPES:
        return body
    (mask,) = _MASK.unpack_from(body)
    for generic, rights in _GENERIC:
        if mask & generic:
            mask = mask & ~generic | rights
    rest = body[_MASK.size :]
    for creator, sid in ((_CREATOR_OWNER, _OWNER), (_CREATOR_GROUP, _GROUP)):
        if rest.startswith(creator):
            rest = sid + rest[len(creator) :]
    return _MASK.pack(mask) + rest


def _default(*, is_directory: bool) -> list[_Entry]:
    flags = _TO_FILES | _TO_DIRECTORIES if is_directory else 0
    return [
        (0, flags, _MASK.pack(mask) + sid)
        for mask, sid in (
            (_ALL, _SYSTEM),
            (_ALL, _ADMINISTRATORS),
            (_READ_AND_EXECUTE, _USERS),
        )
    ]


def _list(entries: list[_Entry]) -> bytes:
    packed = b"".join(
        _ENTRY.pack(kind, flags, _ENTRY.size + len(body)) + body for kind, flags, body in entries
    )
    plain = all(kind in _PLAIN_TYPES for kind, _, _ in entries)
    revision = _PLAIN_REVISION if plain else _OTHER_REVISION
    return _LIST.pack(revision, 0, _LIST.size + len(packed), len(entries), 0) + packed
