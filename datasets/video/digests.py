"""Digests of the blocks of a file, by which it can be checked wholly, or a part of it at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from datasets.sources.regular import open_regular

BLOCK_BYTES = 1 << 20
_DIGITS = 16
"""Of the digest of a block: 8 bytes of BLAKE2b in hexadecimal."""


def digests_of(path: Path) -> str:
    """The digests of all blocks of the file `path`, one after the other.

    Raises:
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        return "".join(_digest(block) for block in iter(lambda: file.read(BLOCK_BYTES), b""))


def altered(path: Path, digests: str, blocks: Iterable[int]) -> Iterator[int]:
    """Those of `blocks`, numbers from 0 on, that are not what `digests` says.

    Raises:
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        for block in blocks:
            file.seek(block * BLOCK_BYTES)
            if _digest(file.read(BLOCK_BYTES)) != digests[_DIGITS * block : _DIGITS * (block + 1)]:
                yield block


def blocks_in(size: int) -> int:
    """How many blocks a file of `size` bytes has."""
    return -(-size // BLOCK_BYTES)


def digest_count(digests: str) -> int:
    """How many blocks `digests` are of."""
    return len(digests) // _DIGITS


def _digest(block: bytes) -> str:
    return hashlib.blake2b(block, digest_size=_DIGITS // 2).hexdigest()
