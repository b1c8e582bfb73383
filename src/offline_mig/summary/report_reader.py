"""A report's file as a guest's result: every field is looked at, for anybody may have edited it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from offline_mig.conversion.report import SCHEMA
from offline_mig.summary.guest_result import (
    ChangedBlock,
    DiffLine,
    GuestResult,
    ShownFinding,
    State,
    Verdict,
)
from offline_mig.summary.sizes import size_text

#: A report holds in base64 every file that was replaced in the guest.
_MAX_SIZE = 512 * 1024 * 1024
#: Seconds that no step takes; what is beyond (NaN as well) is no time.
_LONGEST = 1e9
#: Letters of a registry value, and of what it was, that a line of a diff shows.
_SHOWN_VALUE = 300


def read_result(path: Path, folder: Path) -> GuestResult:
    """Return what the report ``path`` says; one that cannot be read is a result as well.

    ``folder`` is what names are relative to.
    """
    name = str(path.relative_to(folder))
    try:
        if path.stat().st_size > _MAX_SIZE:
            return _unreadable(name, f"it has more than {_MAX_SIZE // 1024**2} MiB")
        record = json.loads(path.read_bytes())
        schema = record.get("schema") if isinstance(record, dict) else None
        if schema != SCHEMA:
            return _unreadable(name, f"its schema is {str(schema)[:60]!r}, not {SCHEMA!r}")
        return _result(record, name, path.parent)
    except OSError as error:
        return _unreadable(name, error.strerror or str(error))
    except KeyError as error:
        return _unreadable(name, f"the field {error} is missing")
    except (ValueError, TypeError, AttributeError, IndexError, RecursionError) as error:
        return _unreadable(name, f"it is damaged ({error})")


def _unreadable(name: str, why: str) -> GuestResult:
    return GuestResult(
        name=Path(name).name.removesuffix(".report.json"),
        state=State.UNREADABLE,
        report=name,
        reason=f"The report cannot be read: {why}.",
        remedy="Take the report from a backup, or convert the guest again.",
    )


def _result(record: Mapping[str, Any], name: str, beside: Path) -> GuestResult:
    machine, target = record["source"]["machine"], record["target"]["machine"]
    files = record["source"]["files"]
    disks = tuple(Path(disk["path"]).name for disk in target["disks"])
    return GuestResult(
        name=_text(machine["name"]),
        state=State.CONVERTED,
        source=_text(machine["source"]),
        windows=_windows(record["guest"]["windows"]),
        report=name,
        exit_code=0,
        verdict=_verdict(record["boot"]),
        seconds={_text(step): _seconds(took) for step, took in record["seconds"].items()},
        source_bytes=sum(_count(file["size"]) for file in files),
        result_bytes=_on_disk([beside / disk for disk in disks]),
        disks=disks,
        facts=tuple(_facts(record)),
        drivers=tuple(_drivers(record["drivers"])),
        agents=tuple(_agents(record["agents"])),
        changes=tuple(_changes(record)),
        notes=tuple(dict.fromkeys(map(_text, record["notes"]))),
        # Added within the version of the form: earlier reports have none.
        next=tuple(map(_text, record.get("next", ()))),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]!r} is no text")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{str(value)[:40]!r} is no number of things")
    return value


def _seconds(value: object) -> float:
    if not isinstance(value, int | float) or not 0 <= value < _LONGEST:
        raise TypeError(f"{str(value)[:40]!r} is no time")
    return float(value)


def _on_disk(disks: list[Path]) -> int | None:
    # A sparse file takes less than its size; 512 is what stat counts in.
    try:
        return sum(disk.stat().st_blocks * 512 for disk in disks)
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return None


def _windows(windows: Mapping[str, Any]) -> str:
    pack = f" SP{windows['service_pack']}" if windows["service_pack"] else ""
    name = f"{_text(windows['product_name'])}{pack}"
    return f"{name} ({_text(windows['architecture'])}, build {_count(windows['build'])})"


def _verdict(boot: Mapping[str, Any]) -> Verdict:
    findings = (
        ShownFinding(
            id=_text(finding["id"]),
            severity=_text(finding["severity"]),
            title=_text(finding["title"]),
            detail=_text(finding["detail"]),
            # Written for a page in Markdown.
            remedy=_text(finding["remedy"]).replace("`", ""),
        )
        for finding in boot["findings"]
    )
    return Verdict(_text(boot["verdict"]), _text(boot["confidence"]), tuple(findings))


def _facts(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    machine, guest = record["source"]["machine"], record["guest"]
    target = record["target"]["machine"]
    yield "Source", _text(machine["source"])
    for number, disk in enumerate(machine["disks"], start=1):
        image = disk["image"]
        model = f", {_text(disk['controller_model'])}" if disk["controller_model"] else ""
        place = f"{_text(disk['bus'])}{_count(disk['controller'])}:{_count(disk['unit'])}{model}"
        what = _text(image["member"] or Path(_text(image["path"])).name)
        yield f"Disk {number}", f"{what} ({_text(image['kind'])}, {place})"
    yield "Started by", _text(machine["firmware"]).upper()
    boots = (_text(controller["service"]) for controller in guest["boot_controllers"])
    yield "Booted by", ", ".join(dict.fromkeys(boots)) or "unknown"
    yield "Windows in", f"{_text(guest['windows_folder'])} on {_text(guest['system_partition'])}"
    yield "Free space", size_text(_count(guest["free_space"]))
    processors = target["processors"]
    count = _count(processors["sockets"]) * _count(processors["cores"])
    hardware = f"{_text(target['machine_type'])}, {_count(target['memory'])} MiB, {count} vCPUs"
    yield "New machine", f"{hardware}, disks on {_text(target['disk_bus'])}"
    for nic in target["nics"]:
        where = _text(nic["attachment"]["name"])
        mac = _text(nic["mac"] or "(MAC left open)")
        yield "Network", f"{_text(nic['model'])} {mac} on {where}"
    for connection in record.get("network", {}).get("connections", ()):
        reason = f" ({_text(connection['reason'])})" if connection["reason"] else ""
        kept = f"{_text(connection['kept'])}{reason}"
        yield "Connection", f'"{_text(connection["interface"]["name"])}": {kept}'
    for tools in record.get("guest_tools", ()):
        name = f"{_text(tools['name'])} {_text(tools['version'])}".strip()
        yield "Guest tools", f"{name}: {_count(tools['changes'])} changes take them out"
    for sentence in record.get("first_boot", {}).get("expect", ()):
        yield "First start", _text(sentence)
    left_out = _count(record["target"]["free_space_left_out"])
    if left_out:
        yield "Left out", f"{size_text(left_out)} of free space"
    yield "Engine", _text(record["engine"]["name"])


def _drivers(choices: list[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    missing = []
    for choice in choices:
        package = choice["package"]
        if package is None:
            missing.append(_text(choice["driver"]))
            continue
        signing = package["signing"] or {}
        signer = f", signed by {_text(signing['signer'])}" if signing.get("signer") else ""
        text = f"{_text(package['version'])} of {_text(package['date'])}{signer}"
        yield _text(choice["driver"]), f"{text}, from {_text(choice['location'])}"
    if missing:
        yield "Not found", ", ".join(missing)


def _agents(agents: list[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for choice in agents:
        agent = choice["agent"]
        if agent is None:
            yield _text(choice["kind"]), "none"
        else:
            done = _text(choice["placement"] or "passed over")
            text = f"{_text(agent['version'])} {done}, from {_text(agent['from'])}"
            yield _text(choice["kind"]), text


def _changes(record: Mapping[str, Any]) -> Iterator[ChangedBlock]:
    before = {_subject(entry): entry["before"] for entry in record["journal"]}
    for block in record["plan"]:
        lines: list[DiffLine] = []
        heading = ""
        for change in block["changes"]:
            if "key" in change and change["change"] != "delete-key":
                key = f"[{_text(change['hive'])}\\{_text(change['key'])}]"
                if key != heading:
                    heading = key
                    lines.append(DiffLine(" ", f"{key}  ({_text(change['reason'])})"))
            else:
                heading = ""
            lines += _lines(change, before.get(_subject(change)))
        yield ChangedBlock(_text(block["title"]), tuple(lines))


def _subject(change: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(change.get(field)) for field in ("change", "hive", "key", "name", "path"))


def _lines(change: Mapping[str, Any], before: Mapping[str, Any] | None) -> Iterator[DiffLine]:
    kind = _text(change["change"])
    if kind == "set-value":
        name = f'"{_text(change["name"])}"' if change["name"] else "@"
        old = before and before.get("value")
        new = _shortened(_text(change["value"]["shown"]))
        was = f"  (was {_shortened(_text(old['shown']))})" if old else ""
        yield DiffLine("~" if old else "+", f"{name} = {new}{was}")
    elif kind == "delete-value":
        name = f'"{_text(change["name"])}"' if change["name"] else "@"
        old = before and before.get("value")
        was = f" = {_shortened(_text(old['shown']))}" if old else ""
        yield DiffLine("-", f"{name}{was}")
    elif kind == "create-key":
        yield DiffLine("+", "the key itself")
    elif kind == "delete-key":
        key = f"[{_text(change['hive'])}\\{_text(change['key'])}]"
        yield DiffLine("-", f"{key}  ({_text(change['reason'])})")
    elif kind == "delete-files":
        count = _count(change["count"])
        number = f"{count:,} files, " if count != 1 else ""
        text = f"{_text(change['path'])}  ({number}{_count(change['size']):,} bytes"
        yield DiffLine("-", f"{text}: {_text(change['reason'])})")
    elif kind == "write-file":
        there = before is not None and before.get("content") is not None
        text = f"{_text(change['path'])}  ({_count(change['size']):,} bytes"
        yield DiffLine("~" if there else "+", f"{text}, from {_text(change['origin'])})")
    else:
        sign = "-" if kind == "discard-session" else "~"
        yield DiffLine(sign, f"{_text(change['path'])}  ({_text(change['reason'])})")


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_VALUE else f"{text[:_SHOWN_VALUE]}…"
