r"""Hives as large as after years of use: a made SYSTEM and SOFTWARE with many keys put below.

The proportions are those of the hives of a used Windows 7: in its SOFTWARE of 36 MiB, which holds
about one key and two values for every 300 bytes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import hivex

from fixtures import windows7_registry
from fixtures.guest_spec import GuestSpec
from fixtures.hives import Keys, build_hive
from fixtures.windows_tree import Files

MIB = 1024**2
SYSTEM_SIZE, SOFTWARE_SIZE = 16 * MIB, 38 * MIB
#: Keys in one folder of keys, as under Classes\CLSID and the like.
_BELOW_ONE = 200
_REG_SZ = 1


def large_hives(spec: GuestSpec) -> Files:
    """Return both hives by their names in the config folder."""
    return {
        "SYSTEM": _enlarged("SYSTEM", windows7_registry.system(spec), SYSTEM_SIZE),
        "SOFTWARE": _enlarged("SOFTWARE", windows7_registry.software(spec), SOFTWARE_SIZE),
    }


def _enlarged(name: str, keys: Keys, size: int) -> bytes:
    with tempfile.TemporaryDirectory(prefix="hive-") as folder:
        path = Path(folder, "hive")
        path.write_bytes(build_hive(name, keys))
        hive = hivex.Hivex(str(path), write=True)
        top = hive.node_add_child(hive.root(), "Filling")
        text = "C:\\Program Files\\Made\\component.dll".encode("utf-16-le")
        values = [{"key": key, "t": _REG_SZ, "value": text} for key in ("", "ThreadingModel")]
        number = 0
        while True:
            group = hive.node_add_child(top, f"Group{number // _BELOW_ONE:05}")
            for _ in range(_BELOW_ONE):
                key = hive.node_add_child(group, f"{{{number:08X}-0000-0000-C000-000000000046}}")
                hive.node_set_values(key, values)
                number += 1
            if number % (5 * _BELOW_ONE) == 0:
                hive.commit(None)
                if path.stat().st_size >= size:
                    return path.read_bytes()
