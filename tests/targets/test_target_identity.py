"""Names and numbers, made fit for every hypervisor."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_mig.targets.identity import (
    dns_label,
    machine_name,
    machine_uuid,
    unicast_mac,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Windows XP", "Windows XP"),
        ("a/b\\c", "a-b\\c"),
        ("line\nbreak\r\u2028x", "line-break--x"),
        (" padded ", "padded"),
        ("B\u00fcro <1> & \u30b5\u30fc\u30d0", "B\u00fcro <1> & \u30b5\u30fc\u30d0"),
        ("", "windows"),
        ("..", "windows"),
        ("\ud800\uffff", "windows"),
        ("\U0001f4bb pc", "\U0001f4bb pc"),
        ("\u00e9" * 150, "\u00e9" * 100),
    ],
)
def test_machine_name(text: str, name: str) -> None:
    assert machine_name(text) == name


@given(st.text())
def test_machine_name_is_a_file_name_and_stays_itself(text: str) -> None:
    name = machine_name(text)
    assert name == name.strip()
    assert "/" not in name
    assert 0 < len(name.encode()) <= 200
    assert machine_name(name) == name


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (None, None),
        ("", None),
        ("56 4d 00", None),
        ("00000000-0000-0000-0000-000000000000", None),
        ("{564D0000-0000-4000-8000-00000000000A}", "564d0000-0000-4000-8000-00000000000a"),
    ],
)
def test_machine_uuid(text: str | None, number: str | None) -> None:
    assert machine_uuid(text) == number


@pytest.mark.parametrize(
    ("text", "mac"),
    [
        (None, None),
        ("00:0C:29:AA:BB:CC", "00:0c:29:aa:bb:cc"),
        ("00-0c-29-aa-bb-cc", "00:0c:29:aa:bb:cc"),
        ("01:00:5e:00:00:01", None),
        ("ff:ff:ff:ff:ff:ff", None),
        ("00:00:00:00:00:00", None),
        ("00:0c:29:aa:bb", None),
        ("00:0c:29:aa:bb:cc\n", "00:0c:29:aa:bb:cc"),
        ("0x:0c:29:aa:bb:cc", None),
    ],
)
def test_unicast_mac(text: str | None, mac: str | None) -> None:
    assert unicast_mac(text) == mac


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Windows XP", "windows-xp"),
        ("B\u00fcro & Lager", "buro-lager"),
        ("-a.b_c-", "a-b-c"),
        ("\u30b5\u30fc\u30d0", "windows"),
        ("", "windows"),
        ("x" * 62 + " y", "x" * 62),
    ],
)
def test_dns_label(text: str, label: str) -> None:
    assert dns_label(text) == label


@given(st.text())
def test_dns_label_is_one_by_rfc_1123_and_stays_itself(text: str) -> None:
    label = dns_label(text)
    assert re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label)
    assert dns_label(label) == label
