"""Driver media of the size and the shape of published ones: many packages, and large symbols."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

from fixtures.base_images import cache_folder
from fixtures.published_drivers import write_published_tree
from fixtures.real_hives import data_folder
from fixtures.rpm_packages import build_rpm
from fixtures.virtio_win import EVERY_RELEASE, write_iso, write_tree

#: Bytes of symbols beside each driver, by which the ISO has 700 million.
_SYMBOLS = 6_000_000


def published() -> dict[str, Path]:
    """Return an ISO and an RPM that has it inside, by what they are called in the figures.

    The INF files and catalogues are published ones where those are at hand. The signatures of made
    ones take no time, for there are none.
    """
    data = data_folder()
    kind = "published" if data is not None else "made"
    iso = cache_folder() / f"bench-{kind}-drivers.iso"
    package = iso.with_suffix(".rpm")
    if not package.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
            tree = Path(scratch, "tree")
            if data is not None:
                write_published_tree(data / "drivers", tree)
            else:
                write_tree(tree, EVERY_RELEASE)
            for number, inf in enumerate(sorted(tree.rglob("*.inf"))):
                noise = random.Random(number).randbytes(_SYMBOLS // 4)
                inf.with_suffix(".pdb").write_bytes(noise + bytes(_SYMBOLS - len(noise)))
            write_iso(tree, iso)
            top = Path(scratch, "root/usr/share/virtio-win")
            top.mkdir(parents=True)
            (top / "virtio-win.iso").hardlink_to(iso)
            shutil.move(build_rpm(Path(scratch, "root"), Path(scratch, "built")), package)
    return {f"an ISO of {kind} drivers": iso, f"an RPM with that ISO of {kind} drivers": package}
