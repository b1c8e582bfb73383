"""Changes to input that leave it close to what a reader understands.

Bytes changed at random are refused at the first brace. An INF is therefore changed by its lines
and words, with those of its own and of others.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

Mutator = Callable[[bytes, int, int], bytes]
_SPLIT = re.compile(rb"([,=\s\[\]%;\"\\.]+)")


def line_mutator(words: Sequence[bytes], by_bytes: Callable[[bytes, int], bytes]) -> Mutator:
    """Return a mutator of text; ``by_bytes`` is the fuzzer's own, used for a part of the changes.

    It takes the data, the greatest size of the result, and a seed.
    """

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.3:
            return by_bytes(data, max_size)
        lines = data.splitlines(keepends=True) or [b"\r\n"]
        for _ in range(chance.randint(1, 4)):
            _change(lines, chance, words)
        return b"".join(lines)[:max_size]

    return mutate


def _change(lines: list[bytes], chance: random.Random, words: Sequence[bytes]) -> None:
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(8):
        case 0:
            lines.insert(at, lines[other])
        case 1 if len(lines) > 1:
            del lines[at]
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at] = lines[at].rstrip(b"\r\n") + lines[other]
        case 4:
            lines.insert(at, chance.choice(words) + chance.choice(_parts(lines[other])) + b"\r\n")
        case 5:
            lines[at : at + 1] = [lines[at]] * chance.randint(2, 40)
        case 6:
            parts = _parts(lines[at])
            parts[chance.randrange(len(parts))] = chance.choice(words)
            lines[at] = b"".join(parts)
        case _:
            parts = _parts(lines[at])
            parts[chance.randrange(len(parts))] = chance.choice(_parts(lines[other]))
            lines[at] = b"".join(parts)


def _parts(line: bytes) -> list[bytes]:
    return _SPLIT.split(line) or [b""]
