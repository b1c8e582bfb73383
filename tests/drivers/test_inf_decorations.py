"""Which sections of an INF a Windows goes by."""

from __future__ import annotations

import pytest

from fixtures.inf_texts import AMD64, ARM64, X86, windows
from offline_mig.drivers.decorations import Decoration, best_decoration, effective_section
from offline_mig.drivers.inf import parse_inf
from offline_mig.windows.version import Architecture


@pytest.mark.parametrize(
    ("decoration", "release", "architecture", "fits"),
    [
        ("NTx86.5.1", "xp", X86, True),
        ("NTx86.5.1", "2k3", X86, True),
        ("NTx86.5.2", "xp", X86, False),
        ("NTamd64.5.2", "xp", AMD64, True),
        ("NTamd64.6.1", "w7", AMD64, True),
        ("NTAMD64.6.1", "w7", AMD64, True),
        ("ntamd64", "w7", AMD64, True),
        ("NTamd64.6.1", "w7", X86, False),
        ("NTx86.6.1", "w7", AMD64, False),
        ("NTamd64.6.1", "2k8", AMD64, False),
        ("NTamd64.6.1", "w10", AMD64, True),
        ("NTamd64.6.3", "w8.1", AMD64, True),
        ("NTamd64.6.3", "w8", AMD64, False),
        ("NTamd64.10.0", "w8.1", AMD64, False),
        ("NTamd64.10.0...16299", "w10", AMD64, True),
        ("NTamd64.10.0...16299", "2k16", AMD64, False),
        ("NTamd64.10.0...16299", "w11", AMD64, True),
        ("NTamd64.10.0...22000", "w10", AMD64, False),
        ("NTamd64.6.0...16299", "w7", AMD64, True),
        ("NTamd64...16299", "w7", AMD64, False),
        ("NTARM64.10.0", "w11", ARM64, True),
        ("NTamd64.10.0", "w11", ARM64, False),
        ("NT", "w7", X86, True),
        ("NT", "w7", AMD64, False),
        ("NT.6.0", "w7", X86, True),
        ("NTamd64.6.1.1", "w7", AMD64, True),
        ("NTamd64.6.1.1", "2k8R2", AMD64, False),
        ("NTamd64.6.1.3", "2k8R2", AMD64, True),
        ("NTamd64.6.1.0x0000003", "2k8R2", AMD64, True),
        ("NTamd64.6.1.2", "2k8R2", AMD64, False),
        ("NTamd64.6.0.1", "w7", AMD64, True),
        ("NTamd64.6.1..0x80", "w7", AMD64, False),
    ],
)
def test_fits(decoration: str, release: str, architecture: Architecture, fits: bool) -> None:
    parsed = Decoration.parse(decoration)
    assert parsed is not None
    assert parsed.fits(windows(release, architecture)) is fits


@pytest.mark.parametrize(
    "text",
    ["NTia64", "NTia64.5.2", "NTarm", "Win", "", "NTx86.six", "NTx86.1.2.3.4.5.6", "NTx86.-1"],
)
def test_unknown_decorations_are_for_nobody(text: str) -> None:
    assert Decoration.parse(text) is None


@pytest.mark.parametrize(
    ("decorations", "release", "architecture", "best"),
    [
        # The QXL driver of XP lists all of these.
        (("NTx86", "NTamd64", "NTx86.6.0", "NTamd64.6.0"), "xp", X86, "NTx86"),
        (("NTx86", "NTamd64", "NTx86.6.0", "NTamd64.6.0"), "w7", X86, "NTx86.6.0"),
        (("NTx86", "NTamd64", "NTx86.6.0", "NTamd64.6.0"), "w10", AMD64, "NTamd64.6.0"),
        (("NTia64", "NTamd64.6.0.1", "NTamd64.6.0"), "w7", AMD64, "NTamd64.6.0.1"),
        (("NTia64", "NTamd64.6.0.1", "NTamd64.6.0"), "2k8", AMD64, "NTamd64.6.0"),
        (("NTamd64.10.0", "NTamd64.10.0...16299"), "w10", AMD64, "NTamd64.10.0...16299"),
        (("NTamd64.10.0", "NTamd64.10.0...16299"), "2k16", AMD64, "NTamd64.10.0"),
        ((" NTAMD64 ",), "w7", AMD64, "NTAMD64"),
        ((), "xp", X86, ""),
        (("NTx86.6.0",), "xp", X86, ""),
        ((), "w7", AMD64, None),
        (("NTx86.5.1",), "w7", AMD64, None),
    ],
)
def test_best(
    decorations: tuple[str, ...], release: str, architecture: Architecture, best: str | None
) -> None:
    assert best_decoration(decorations, windows(release, architecture)) == best


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ("[i]", "i"),
        ("[i.NT]", "i.NT"),
        ("[i]\n[i.nt]", "i.NT"),
        ("[i]\n[i.NT]\n[i.NTamd64]", "i.NTamd64"),
        ("[i]\n[i.NTx86]", "i"),
        ("[i.NTx86]", None),
        ("[other]", None),
    ],
)
def test_effective_section(sections: str, expected: str | None) -> None:
    assert effective_section(parse_inf(sections.encode(), "x.inf"), "i", AMD64) == expected
