"""Fuzzes one reader for a time, guided by the code that the input reaches.

A finding ends the run: the input is kept in the findings folder, and what happened is printed.
What was found on the way is kept as well, so that the next run goes on from there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["offline_mig", "asn1crypto"]):
    from fixtures.fuzz_targets import FuzzTarget, fuzz_targets

from fixtures.real_hives import data_folder
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
    targets = fuzz_targets()
    arguments = _arguments(list(targets))
    target = targets[arguments.target]
    folder = arguments.work / arguments.target
    findings = folder / "findings"
    corpus = folder / "corpus"
    for made in (findings, corpus):
        made.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(_seeds(arguments.target, target)):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [
        f"-max_total_time={arguments.seconds}",
        f"-max_len={_LARGEST[arguments.target]}",
        f"-timeout={_SLOWEST}",
        f"-rss_limit_mb={_LARGEST_MEMORY}",
        f"-artifact_prefix={findings}/",
        "-print_final_stats=1",
        *(["-merge=1", str(arguments.merge_into)] if arguments.merge_into else []),
        str(corpus),
    ]
    mutator = None
    if target.words:
        words = folder / "words"
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
        options.insert(0, f"-dict={words}")
        # Looked up late: atheris puts another in its place when it starts.
        mutator = line_mutator(target.words, atheris.Mutate)
    atheris.Setup([sys.argv[0], *options], target.run, custom_mutator=mutator)
    atheris.Fuzz()
    return 0


def _arguments(names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("target", choices=names)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--work", type=Path, default=Path("build/fuzz"), help="where all is kept")
    parser.add_argument(
        "--merge-into", type=Path, help="a folder for the fewest inputs that reach all code"
    )
    arguments = parser.parse_args()
    if arguments.merge_into:
        arguments.merge_into.mkdir(parents=True, exist_ok=True)
    return arguments


def _seeds(name: str, target: FuzzTarget) -> Iterator[bytes]:
    yield from target.seeds
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
