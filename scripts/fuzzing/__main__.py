"""Fuzzes one reader for a time, guided by the code that the input reaches.

A finding ends the run: the input is kept in the findings folder, and what happened is printed.
What was reached on the way is kept as well, so that the next run goes on from there. With
--minimise nothing is tried: what was kept is written to a folder, in the fewest and smallest
files that reach the same lines. What goes into tests/fuzz_corpus must come of --made-only runs.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["offline_mig", "asn1crypto"]):
    from fixtures.fuzz_targets import FuzzTarget, fuzz_targets

from fixtures.real_hives import data_folder
from fuzzing.minimisation import minimised
from fuzzing.mutation import line_mutator

#: Seconds for one input, and mebibytes: no small file may take more.
_SLOWEST = 5
_LARGEST_MEMORY = 2048
#: Bytes of one input.
_LARGEST = {"inf": 6144, "catalogue": 16384, "iso": 64, "pe": 8192}
_SUFFIXES = {"inf": ".inf", "catalogue": ".cat"}
#: Bytes of published files that are taken as seeds: large ones only take longer.
_LARGEST_SEED = 6144


def main() -> int:
    """Run the fuzzer; it ends the process itself, with 0 when nothing was found."""
    arguments = _arguments()
    folder = arguments.work / arguments.target
    folder.mkdir(parents=True, exist_ok=True)
    target = fuzz_targets(folder)[arguments.target]
    findings = folder / "findings"
    corpus = folder / "corpus"
    for made in (findings, corpus):
        made.mkdir(parents=True, exist_ok=True)
    if arguments.minimise:
        _minimise(target, corpus, arguments.minimise)
        return 0
    seeds = list(target.seeds())
    if not arguments.made_only:
        seeds += _published(arguments.target)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [
        f"-max_total_time={arguments.seconds}",
        f"-max_len={_LARGEST[arguments.target]}",
        f"-timeout={_SLOWEST}",
        f"-rss_limit_mb={_LARGEST_MEMORY}",
        f"-artifact_prefix={findings}/",
        "-print_final_stats=1",
        str(corpus),
    ]
    mutator = None
    if target.words:
        words = folder / "words"
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
        options.insert(0, f"-dict={words}")
        mutator = line_mutator(target.words, _by_bytes)
    atheris.Setup([sys.argv[0], *options], target.run, custom_mutator=mutator)
    atheris.Fuzz()
    return 0


def _by_bytes(data: bytes, max_size: int) -> bytes:
    # Looked up late: atheris puts another function in this place when it starts.
    changed: bytes = atheris.Mutate(data, max_size)
    return changed


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(_LARGEST))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--work", type=Path, default=Path("build/fuzz"), help="where all is kept")
    parser.add_argument("--made-only", action="store_true", help="no published files as seeds")
    parser.add_argument("--minimise", type=Path, metavar="FOLDER", help="write what was kept here")
    return parser.parse_args()


def _minimise(target: FuzzTarget, corpus: Path, folder: Path) -> None:
    inputs = [path.read_bytes() for path in corpus.iterdir()]
    folder.mkdir(parents=True, exist_ok=True)
    for data in minimised(target.run, inputs, text=bool(target.words)):
        (folder / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)


def _published(name: str) -> Iterator[bytes]:
    published = data_folder()
    if published is not None and name in _SUFFIXES:
        for path in sorted(published.rglob(f"*{_SUFFIXES[name]}")):
            data = path.read_bytes()
            if len(data) <= _LARGEST_SEED:
                yield data


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())
