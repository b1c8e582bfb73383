"""Short names of Windows versions."""

from __future__ import annotations

import pytest

from offline_mig.windows.short_name import every_windows, parse_short_name
from offline_mig.windows.version import Architecture


@pytest.mark.parametrize(
    ("text", "release", "nt", "build", "architecture", "server"),
    [
        ("xp-x86", "xp", (5, 1), 2600, "x86", False),
        ("xp-amd64", "xp", (5, 2), 3790, "amd64", False),
        ("2k3-amd64", "2k3", (5, 2), 3790, "amd64", True),
        ("2k8r2-AMD64", "2k8R2", (6, 1), 7601, "amd64", True),
        ("w10-19045-amd64", "w10", (10, 0), 19045, "amd64", False),
        ("w10-10240-x86", "w10", (10, 0), 10240, "x86", False),
        ("w11-22631-amd64", "w11", (10, 0), 22631, "amd64", False),
        ("2k22-amd64", "2k22", (10, 0), 20348, "amd64", True),
        ("2k25-amd64", "2k25", (10, 0), 26100, "amd64", True),
        ("2k-x86", "2k", (5, 0), 2195, "x86", False),
        ("w11-arm64", "w11", (10, 0), 22631, "ARM64", False),
    ],
)
def test_known_names(
    text: str, release: str, nt: tuple[int, int], build: int, architecture: str, server: bool
) -> None:
    windows = parse_short_name(text)
    assert (windows.release, windows.nt, windows.build) == (release, nt, build)
    assert (windows.architecture, windows.server) == (Architecture(architecture), server)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "w10",
        "amd64",
        "w12-amd64",
        "w10-x-amd64",
        "w10-1-2-amd64",
        "w10-ia64",
        "-",
        "w10-٣٣٣٣-x86",
    ],
)
def test_unknown_names_are_told_what_is_known(text: str) -> None:
    with pytest.raises(ValueError, match="such as xp-x86 or w10-19045-amd64"):
        parse_short_name(text)


@pytest.mark.parametrize(
    ("text", "is_really"), [("w11-19045-amd64", "w10"), ("w10-22631-x86", "w11")]
)
def test_builds_of_another_release(text: str, is_really: str) -> None:
    with pytest.raises(ValueError, match=f"is {is_really}"):
        parse_short_name(text)


def test_every_windows_has_its_name() -> None:
    found = every_windows()
    assert len(found) == 17 * 3
    for windows in found:
        name = f"{windows.release}-{windows.build}-{windows.architecture}"
        assert parse_short_name(name) == windows
