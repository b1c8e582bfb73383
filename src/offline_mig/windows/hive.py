r"""Registry hives: the one place that uses hivex.

Key paths are relative to the hive's root with backslashes (``ControlSet001\Services\atapi``) and
are looked up without regard to case, as Windows does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from offline_mig.errors import GuestRefusedError, HostNotReadyError
from offline_mig.windows.base_block import BASE_BLOCK_SIZE, DamagedHiveError, check_base_block
from offline_mig.windows.registry import RegistryValue

#: Where in a cell with a key (nk) the place of its security descriptor (sk) is.
_NK_SECURITY = 4 + 44
#: Levels of keys that Windows allows (Microsoft, "Registry element size limits").
MAX_DEPTH = 512
#: Levels below a key that is kept in a journal: what drivers leave behind has two or three.
_MAX_TREE_DEPTH = 64
#: Bytes of a hive file that are read. The format ends at 2 GiB (cell offsets have 31 bits), and
#: the largest SOFTWARE hives seen have some hundred MiB; all of it is held in memory.
MAX_HIVE_SIZE = 1024**3
_REPAIR = "Restore the hive from a backup; nothing was changed in the source."


class HiveName(StrEnum):
    """The hives that are worked on, by their file name."""

    SYSTEM = "SYSTEM"
    SOFTWARE = "SOFTWARE"
    #: Windows 8 and later: the driver packages of devices that Windows can start without.
    DRIVERS = "DRIVERS"
    #: The boot configuration of Vista and later; it lies on the volume that is started from.
    BCD = "BCD"


#: The hives in ``System32\\config``.
WINDOWS_HIVES = (HiveName.SYSTEM, HiveName.SOFTWARE, HiveName.DRIVERS)


@dataclass(frozen=True, slots=True)
class KeyTree:
    """A key with all that is in it, as it is kept in a journal."""

    name: str
    values: Mapping[str, RegistryValue] = field(default_factory=dict)
    subkeys: tuple[KeyTree, ...] = ()


class RegistryView(Protocol):
    """Read access to a hive: all that planning needs of it."""

    def has_key(self, key: str) -> bool:
        """Tell whether the key is there."""

    def subkeys(self, key: str) -> tuple[str, ...]:
        """Return the names of a key's subkeys; none when there is no such key."""

    def values(self, key: str) -> Mapping[str, RegistryValue]:
        """Return a key's values by name; none when there is no such key."""

    def value(self, key: str, name: str) -> RegistryValue | None:
        """Return one value, looked up without regard to case; None when it is not there."""

    def walk(self, key: str = "") -> Iterator[tuple[str, Mapping[str, RegistryValue]]]:
        """Yield every key below ``key``, itself included, with its values."""


class Hive:
    """A hive file opened with hivex, for reading or for editing.

    ``name`` is what to call it in messages. Edits live in memory until ``commit``. Whatever hivex
    cannot make sense of ends in GuestRefusedError: a damaged hive is never worked around.
    """

    def __init__(self, path: Path, name: str, *, writable: bool = False) -> None:
        self.name = name
        self.path = path
        self._added: set[int] = set()
        #: Keys that were looked up, by their path as it was spelled.
        self._found: dict[str, int] = {}
        check_base_block(name, path.read_bytes())
        with self._refusing("open it"):
            self._hivex = _binding()(str(path), write=writable)
            self._root = self._hivex.root()

    def has_key(self, key: str) -> bool:
        """Tell whether the key is there."""
        return self._node(key) is not None

    def subkeys(self, key: str) -> tuple[str, ...]:
        """Return the names of a key's subkeys; none when there is no such key."""
        node = self._node(key)
        if node is None:
            return ()
        with self._refusing(f"list {key}"):
            return tuple(self._hivex.node_name(child) for child in self._children(node))

    def values(self, key: str) -> Mapping[str, RegistryValue]:
        """Return a key's values by name; none when there is no such key."""
        node = self._node(key)
        return {} if node is None else self._values_of(node, key)

    def value(self, key: str, name: str) -> RegistryValue | None:
        """Return one value, looked up without regard to case; None when it is not there."""
        wanted = name.casefold()
        for present, value in self.values(key).items():
            if present.casefold() == wanted:
                return value
        return None

    def tree(self, key: str) -> KeyTree | None:
        """Return a key with everything below it, None when it is not there."""
        node = self._node(key)
        return None if node is None else self._tree_of(node, key)

    def require_readable(self) -> None:
        """Read every cell: that a hive opens proves nothing about its soundness.

        Raises GuestRefusedError for the first key that cannot be read.
        """
        try:
            with self._refusing("read it"):
                self._read_all()
        except GuestRefusedError:
            # Slower, but it knows where it is and says so.
            for _ in self.walk():
                pass
            raise

    def _read_all(self) -> None:
        # Hundreds of thousands of calls: what is done around each of them is what takes time. By
        # levels, so that the depth is known without keeping it for each key.
        hive = self._hivex
        values, key_of, content_of = hive.node_values, hive.value_key, hive.value_value
        name_of, children_of = hive.node_name, hive.node_children
        level = [self._root]
        seen: set[int] = set()
        depth = 0
        while level:
            known = len(seen)
            seen.update(level)
            if len(seen) != known + len(level) or depth > MAX_DEPTH:
                raise self._entangled("a key in it")
            below: list[int] = []
            for node in level:
                for value in values(node):
                    key_of(value)
                    content_of(value)
                name_of(node)
                below += children_of(node)
            level = below
            depth += 1

    def walk(self, key: str = "") -> Iterator[tuple[str, Mapping[str, RegistryValue]]]:
        """Yield every key below ``key``, itself included, with its values.

        Raises GuestRefusedError at the first key that cannot be read.
        """
        start = self._node(key)
        if start is None:
            return
        # Paths are put together late: a hostile hive can list many children deep down.
        pending: list[tuple[str, int, int]] = [("", 0, start)]
        seen: set[int] = set()
        while pending:
            parent, depth, node = pending.pop()
            path = key
            if depth:
                with self._refusing(f"read a key in {parent or 'the root key'}"):
                    name = self._hivex.node_name(node)
                path = f"{parent}\\{name}" if parent else name
            if node in seen or depth > MAX_DEPTH:
                raise self._entangled(path[:200] or "the root key")
            seen.add(node)
            yield path, self._values_of(node, path)
            with self._refusing(f"list {path or 'the root key'}"):
                pending += [(path, depth + 1, child) for child in self._children(node)]

    def set_value(self, key: str, name: str, value: RegistryValue) -> str | None:
        """Set a value, creating its key and the parents as needed.

        Returns the topmost key that had to be created, None when the key was there.
        """
        created = self.create_key(key)
        node = self._node(key)
        with self._refusing(f"set {name!r} in {key}"):
            self._hivex.node_set_value(
                node, {"key": self._spelling(key, name), "t": value.type, "value": value.data}
            )
        return created

    def create_key(self, key: str) -> str | None:
        """Create a key and its parents as needed; returns the topmost created one or None."""
        node = self._root
        created = None
        path = ""
        for part in key.split("\\"):
            path = f"{path}\\{part}" if path else part
            with self._refusing(f"create {path}"):
                child = self._hivex.node_get_child(node, part)
            if child is None:
                self._require_security(node, path.rpartition("\\")[0])
                with self._refusing(f"create {path}"):
                    child = self._hivex.node_add_child(node, part)
                self._added.add(child)
                created = created or path
            node = child
        return created

    def delete_value(self, key: str, name: str) -> None:
        """Delete a value; no effect when it is not there."""
        node = self._node(key)
        if node is None or self.value(key, name) is None:
            return
        # hivex can only replace all values of a key at once.
        kept = [
            {"key": present, "t": value.type, "value": value.data}
            for present, value in self.values(key).items()
            if present.casefold() != name.casefold()
        ]
        with self._refusing(f"delete {name!r} in {key}"):
            self._hivex.node_set_values(node, kept)

    def delete_key(self, key: str) -> None:
        """Delete a key with everything below it; no effect when it is not there."""
        node = self._node(key)
        if node is None or node == self._root:
            return
        self._found.clear()
        with self._refusing(f"delete {key}"):
            self._hivex.node_delete_child(node)

    def restore(self, parent: str, tree: KeyTree) -> None:
        """Put back a key with everything below it under ``parent`` (the root when empty)."""
        path = f"{parent}\\{tree.name}" if parent else tree.name
        self.create_key(path)
        for name, value in tree.values.items():
            self.set_value(path, name, value)
        for subkey in tree.subkeys:
            self.restore(path, subkey)

    def commit(self, path: Path) -> None:
        """Write the edited hive to ``path``."""
        with self._refusing("write it"):
            self._hivex.commit(str(path))

    def _node(self, key: str) -> int | None:
        if not key:
            return int(self._root)
        if key in self._found:
            return self._found[key]
        # hivex looks through all keys beside the one that is asked for, and so does each parent.
        parent, _, name = key.rpartition("\\")
        above = self._node(parent)
        if above is None:
            return None
        with self._refusing(f"look up {key}"):
            node: int | None = self._hivex.node_get_child(above, name)
        if node is not None:
            self._found[key] = node
        return node

    def _children(self, node: int) -> list[int]:
        return list(self._hivex.node_children(node))

    def _values_of(self, node: int, key: str) -> dict[str, RegistryValue]:
        with self._refusing(f"read {key or 'the root key'}"):
            found = {}
            for handle in self._hivex.node_values(node):
                kind, data = self._hivex.value_value(handle)
                found[self._hivex.value_key(handle)] = RegistryValue(kind & 0xFFFFFFFF, data)
            return found

    def _tree_of(self, node: int, key: str, depth: int = 0) -> KeyTree:
        if depth > _MAX_TREE_DEPTH:
            raise self._entangled(key)
        with self._refusing(f"read {key}"):
            name = self._hivex.node_name(node)
            children = self._children(node)
        return KeyTree(
            name=name,
            values=self._values_of(node, key),
            subkeys=tuple(self._tree_of(child, key, depth + 1) for child in children),
        )

    def _entangled(self, key: str) -> DamagedHiveError:
        return DamagedHiveError(
            f"The hive {self.name} is damaged: {key} lies too deep or in more than one place.",
            _REPAIR,
        )

    def _require_security(self, node: int, key: str) -> None:
        """Refuse a key that carries no security descriptor, which a new key would inherit.

        hivex refuses it as well (EFAULT), but only when the key is added. Its numbers of keys are
        places in the file; a key that was added meanwhile is not there yet, and has what its parent
        has.
        """
        if node in self._added:
            return
        with self.path.open("rb") as hive:
            hive.seek(node + _NK_SECURITY)
            field = hive.read(4)
            if len(field) < 4:
                return
            hive.seek(BASE_BLOCK_SIZE + int.from_bytes(field, "little") + 4)
            found = hive.read(2)
        if found != b"sk":
            raise GuestRefusedError(
                f"In the hive {self.name}, {key or 'the root key'} carries no security "
                "descriptor, so nothing can be added below it.",
                "Hives that ReactOS wrote are like that, those of Windows are not; restore the "
                "hive from a backup that Windows made.",
            )

    def require_extendable(self, key: str) -> None:
        """Raise GuestRefusedError when ``key`` is not there and could not be added."""
        node, path = self._root, ""
        for part in key.split("\\"):
            with self._refusing(f"look up {key}"):
                child = self._hivex.node_get_child(node, part)
            if child is None:
                self._require_security(node, path)
                return
            node, path = child, f"{path}\\{part}" if path else part

    def _spelling(self, key: str, name: str) -> str:
        for present in self.values(key):
            if present.casefold() == name.casefold():
                return present
        return name

    def _refusing(self, action: str) -> _Refusing:
        return _Refusing(self.name, action)


class _Refusing:
    """Turns what hivex raises into a refusal that names hive, key and cause."""

    def __init__(self, hive: str, action: str) -> None:
        self._hive = hive
        self._action = action

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: object, _: object) -> None:
        if isinstance(error, RuntimeError | OSError | UnicodeError):
            raise DamagedHiveError(
                f"The hive {self._hive} is damaged: hivex could not {self._action} ({error}).",
                _REPAIR,
            ) from error


def require_hivex() -> str:
    """Say that hivex is there; raises HostNotReadyError when its binding is not installed."""
    _binding()
    return "installed"


def _binding() -> Any:
    try:
        import hivex
    except ImportError as error:
        raise HostNotReadyError(
            "The Python binding of hivex is not installed for this Python.",
            "Install it from the distribution: apt install python3-hivex (Debian, Ubuntu), "
            "dnf install python3-hivex (Fedora), pacman -S hivex (Arch); a virtual environment "
            "must be made with --system-site-packages.",
        ) from error

    class QuietHivex(hivex.Hivex):  # type: ignore[misc]
        """A handle whose destructor stays silent when opening failed (hivex 1.3 prints)."""

        def __del__(self) -> None:
            if hasattr(self, "_o"):
                super().__del__()

    return QuietHivex
