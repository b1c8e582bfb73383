"""Converting only what has changed since it was last converted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offline_mig.conversion.convert import Conversion, convert
from offline_mig.conversion.examination import opened_source
from offline_mig.conversion.options import ConvertOptions
from offline_mig.conversion.plain_data import plain
from offline_mig.conversion.progress import Progress
from offline_mig.conversion.report import SCHEMA, tool_versions
from offline_mig.conversion.report_form import DocumentForm, ReportForm
from offline_mig.conversion.result_cache import Entry, ResultCache, copy_sparsely
from offline_mig.conversion.result_names import named, result_names
from offline_mig.conversion.source_guard import file_sha256
from offline_mig.conversion.workspace import (
    absolute_output,
    open_workspace,
    recover_workspace,
    refuse_existing,
)
from offline_mig.errors import (
    OfflineMigError,
    OutputRefusedError,
    SourceUnreadableError,
    VerificationError,
)
from offline_mig.guest.engine import Engine
from offline_mig.machine import Machine


@dataclass(frozen=True)
class Reused:
    """Results of an earlier conversion of the machine ``name``; ``report`` is its report."""

    name: str
    folder: Path
    disks: tuple[Path, ...]
    report_file: Path
    report: ReportForm

    @property
    def documents(self) -> list[DocumentForm]:
        """The files in ``folder`` that the machine is written down in."""
        return self.report["documents"]


def convert_cached(
    source: Path, options: ConvertOptions, cache: ResultCache, engine: Engine, progress: Progress
) -> Conversion | Reused:
    """Convert a machine, or take the results of an earlier conversion out of ``cache``.

    Raises OfflineMigError, as ``convert`` does, and OutputRefusedError where the machine is to be
    defined: whether it still is, no cache can tell.
    """
    require_undefined(options.define)
    for folder in (options.output, source if source.is_dir() else source.parent):
        require_apart(cache, folder)
    cache.prepare()
    progress.step("Comparing with what is in the cache")
    machine, key = _identified(source, options, cache, engine)
    with cache.found(key) as entry:
        report = None if entry is None else _report(entry)
        if entry is not None and report is not None:
            return _reuse(entry, report, machine, options, cache, progress)
    done = convert(source, options, engine, progress)
    try:
        # What it was made from may have changed meanwhile; of the source itself that is an error.
        if _identified(source, options, cache, engine)[1] == key:
            progress.step("Keeping the results in the cache")
            results = [done.folder / name for name in done.report.published]
            if not cache.store(key, results, disks=len(done.disks)):
                progress.note("The results are not kept: they are more than the cache may hold.")
    except (OfflineMigError, OSError) as error:
        progress.note(f"The results are not kept in the cache: {error}")
    return done


def require_undefined(connection: str | None) -> None:
    """Raise OutputRefusedError where results out of a cache are to be defined on libvirt."""
    if connection is not None:
        raise OutputRefusedError(
            "Results out of a cache are not defined on libvirt.",
            "Leave --define or --cache out; 'virsh define' takes the .xml.",
        )


def require_apart(cache: ResultCache, folder: Path) -> None:
    """Raise OutputRefusedError where a cache is the very folder of results or sources."""
    if cache.folder.resolve() == folder.resolve():
        raise OutputRefusedError(
            f"{cache.folder} is both the cache and the folder of the results or of a source.",
            "Choose another folder with --cache; it may lie in this one.",
        )


def _identified(
    source: Path, options: ConvertOptions, cache: ResultCache, engine: Engine
) -> tuple[Machine, str]:
    with opened_source(source, options.source) as found:
        machine = named(found, options.name)
    try:
        return machine, cache_key(machine, options, cache, engine)
    except OSError as error:
        raise SourceUnreadableError(
            f"{error.filename} cannot be read: {error.strerror}.",
            "Check the path and its permissions.",
        ) from error


def cache_key(machine: Machine, options: ConvertOptions, cache: ResultCache, engine: Engine) -> str:
    """Return what a conversion is known by: the SHA-256 of all that its results depend on.

    That is the content of the source, the drivers and the agents, the options, the versions of
    this program and those that it runs, and the places of source and results, since the report and
    the domain name them. Raises OSError.
    """
    chosen = plain(options)
    # Whether results may be replaced is no part of them.
    del chosen["overwrite"]
    hashes = cache.hashes
    identity = {
        "tools": tool_versions(),
        "engine": engine.name,
        "options": {**chosen, "output": plain(options.output.absolute())},
        "name": machine.name,
        "source": {plain(path.absolute()): hashes.of_file(path) for path in machine.files},
        "drivers": [hashes.of_tree(path) for path in options.drivers],
        "agents": [hashes.of_tree(path) for path in options.agents],
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode("utf-8")).hexdigest()


def _report(entry: Entry) -> ReportForm | None:
    """Return the report in an entry; None when it is damaged."""
    *_, name = entry.files
    try:
        report: Any = json.loads((entry.folder / name).read_bytes())
        sound = report["schema"] == SCHEMA and set(report["published"]) == set(entry.files)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return report if sound else None


def _reuse(
    entry: Entry,
    report: ReportForm,
    machine: Machine,
    options: ConvertOptions,
    cache: ResultCache,
    progress: Progress,
) -> Reused:
    output = absolute_output(options.output)
    if not _in_place(output, entry.files, cache):
        every_name = result_names(machine, options.format).every
        recover_workspace(output, machine.name)
        inputs = (*machine.files, *options.source_files)
        refuse_existing(output, every_name, inputs, overwrite=options.overwrite)
        progress.step("Copying the results out of the cache")
        with open_workspace(output, machine.name) as workspace:
            for name, sha256 in entry.files.items():
                copy_sparsely(entry.folder / name, workspace.folder / name)
                if options.hashes and file_sha256(workspace.folder / name) != sha256:
                    raise VerificationError(
                        f"{name} has changed in the cache {cache.folder}.",
                        f"Delete {entry.folder} and convert again.",
                    )
            workspace.publish(tuple(entry.files), every_name, overwrite=options.overwrite)
    disks = report["published"][: len(report["target"]["disk_sha256"])]
    return Reused(
        name=machine.name,
        folder=output,
        disks=tuple(output / name for name in disks),
        report_file=output / report["published"][-1],
        report=report,
    )


def _in_place(output: Path, files: Mapping[str, str], cache: ResultCache) -> bool:
    """Tell whether the very results lie where they are wanted."""
    try:
        return all(cache.hashes.of_file(output / name) == sha256 for name, sha256 in files.items())
    except OSError:
        return False
