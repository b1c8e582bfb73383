"""Catalogues (.cat): the hashes of a package's files, signed.

A catalogue is a certificate trust list (Microsoft, "CTL_INFO structure" and mscat.h) inside
PKCS #7. Old ones name each file by its hash as text, in UTF-16; those of Windows 8 and later by
the hash itself.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from asn1crypto import core, x509

from offline_mig.drivers.code_signature import (
    WINDOWS_ROOTS,
    CodeSignature,
    SignatureError,
    TrustRoots,
    read_signed,
    verify_signature,
)

#: szOID_CTL of wincrypt.h, the content of a catalogue.
_TRUST_LIST = "1.3.6.1.4.1.311.10.1"
#: CAT_NAMEVALUE_OBJID of mscat.h: an attribute of a member, or of the whole catalogue.
_NAME_VALUE = "1.3.6.1.4.1.311.12.2.1"
#: Members of a catalogue. That of a package has a dozen, those of Windows itself some thousands.
_MOST_MEMBERS = 100_000
#: Bytes of a catalogue that is remembered. Those of virtio-win's packages have 5 to 15 thousand.
_REMEMBERED = 64 * 1024


#: How asn1crypto wants the fields of a SEQUENCE: name, type, and options.
_Fields = list[tuple[Any, ...]]


class CatalogueError(Exception):
    """A catalogue that cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class CatalogueMember:
    """A file that a catalogue lists: its hash, its name, and the Windows it was signed for.

    ``windows`` is the attribute OSAttr in parts: ``2:6.1`` is Windows (2: NT) 6.1.
    """

    digest: bytes
    name: str
    windows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What a catalogue lists, and who signed it; without a signature that holds, why it does not.

    ``windows`` is its attribute OS in parts, such as ``7X64``.
    """

    members: tuple[CatalogueMember, ...]
    windows: tuple[str, ...]
    signature: CodeSignature | None
    problem: str = ""

    def lists(self, *digests: bytes) -> bool:
        """Tell whether a file with one of these hashes is listed."""
        return any(member.digest in digests for member in self.members)


class _Attribute(core.Sequence):  # type: ignore[misc]
    _fields: ClassVar[_Fields] = [
        ("type", core.ObjectIdentifier),
        ("values", core.SetOf, {"spec": core.Any}),
    ]


class _Attributes(core.SetOf):  # type: ignore[misc]
    _child_spec = _Attribute


class _Subject(core.Sequence):  # type: ignore[misc]
    _fields: ClassVar[_Fields] = [
        ("identifier", core.OctetString),
        ("attributes", _Attributes, {"optional": True}),
    ]


class _Subjects(core.SequenceOf):  # type: ignore[misc]
    _child_spec = _Subject


class _Usages(core.SequenceOf):  # type: ignore[misc]
    _child_spec = core.ObjectIdentifier


class _TrustList(core.Sequence):  # type: ignore[misc]
    _fields: ClassVar[_Fields] = [
        ("usage", _Usages),
        ("list_identifier", core.OctetString, {"optional": True}),
        ("sequence_number", core.Integer, {"optional": True}),
        ("this_update", x509.Time),
        ("next_update", x509.Time, {"optional": True}),
        ("algorithm", core.Sequence),
        ("subjects", _Subjects, {"optional": True}),
        ("extensions", x509.Extensions, {"explicit": 0, "optional": True}),
    ]


class _NameValue(core.Sequence):  # type: ignore[misc]
    _fields: ClassVar[_Fields] = [
        ("tag", core.BMPString),
        ("flags", core.Integer),
        ("value", core.OctetString),
    ]


def read_catalogue(data: bytes, roots: TrustRoots = WINDOWS_ROOTS) -> Catalogue:
    """Read a catalogue and verify its signature. Raises CatalogueError when it is none."""
    return (_read_once if len(data) <= _REMEMBERED else _read)(data, roots)


def _read(data: bytes, roots: TrustRoots) -> Catalogue:
    try:
        signed, content = read_signed(data, _TRUST_LIST)
        listed = _TrustList.load(content)
        subjects = listed["subjects"]
        if len(subjects) > _MOST_MEMBERS:
            raise CatalogueError("it lists more files than any catalogue")
        members = tuple(_member(subject) for subject in subjects)
        windows = tuple(_catalogue_wide(listed["extensions"]))
    except SignatureError as error:
        raise CatalogueError(str(error)) from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise CatalogueError("it is damaged") from error
    try:
        return Catalogue(members, windows, verify_signature(signed, content, roots))
    except SignatureError as error:
        return Catalogue(members, windows, None, str(error))


#: A build lies on its medium once for each Windows that it serves, and so does its catalogue.
_read_once = functools.lru_cache(maxsize=64)(_read)


def _member(subject: _Subject) -> CatalogueMember:
    named: dict[str, str] = {}
    for attribute in subject["attributes"]:
        if attribute["type"].dotted != _NAME_VALUE:
            continue
        for value in attribute["values"]:
            tag, text = _name_value(value.dump())
            named[tag] = text
    return CatalogueMember(
        _digest(subject["identifier"].native),
        named.get("file", ""),
        _parts(named.get("osattr", "")),
    )


def _digest(identifier: bytes) -> bytes:
    # 40 or 64 hexadecimal digits in UTF-16, with a terminator; or the 20 or 32 bytes themselves.
    if len(identifier) <= 64:
        return identifier
    return bytes.fromhex(identifier.decode("utf-16-le").rstrip("\0"))


def _catalogue_wide(extensions: x509.Extensions) -> Iterator[str]:
    for extension in extensions:
        if extension["extn_id"].dotted == _NAME_VALUE:
            tag, text = _name_value(extension["extn_value"].contents)
            if tag == "os":
                yield from _parts(text)


def _name_value(encoded: bytes) -> tuple[str, str]:
    pair = _NameValue.load(encoded)
    return pair["tag"].native.lower(), pair["value"].native.decode("utf-16-le").rstrip("\0")


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
