"""Records of TensorFlow's `Example`s in `.tfrecords` files, read without TensorFlow.

A record is its length (8 bytes), a checksum of that (4), the content, and a checksum of this (4):
tensorflow.org/tutorials/load_data/tfrecord. The first checksum is compared. The second is not:
over gigabytes, Python would need days.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.sources.regular import open_regular
from datasets.video.source import Damaged

_POLYNOMIAL = 0x82F63B78  # of CRC-32C, reflected
_FIXED_BYTES = {1: 8, 5: 4}
"""The sizes of protobuf's values of fixed size, by their wire type."""


def record_count(path: Path) -> int:
    """How many records `path` holds; only their lengths are read.

    Raises:
        Damaged: as `records`.
        OSError: it cannot be read.
    """
    return sum(1 for _ in _places(path))


def records(path: Path) -> Iterator[memoryview]:
    """The content of each record in `path`.

    Raises:
        Damaged: it is no such file, or is cut short.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        for first, length in _places(path):
            file.seek(first)
            yield memoryview(file.read(length))


def bytes_of(example: memoryview) -> dict[str, memoryview]:
    """Those features of `example` that are bytes, by name; of a list the last.

    Raises:
        Damaged: it is no `Example`.
    """
    return _features(example, 1)


def floats_of(example: memoryview) -> dict[str, NDArray[np.float32]]:
    """Those features of `example` that are lists of floats, by name, where they are packed.

    Raises:
        Damaged: it is no `Example`.
    """
    found = _features(example, 2)
    if any(len(content) % 4 for content in found.values()):
        raise Damaged("holds floats that are cut short")
    return {name: np.frombuffer(content, "<f4") for name, content in found.items()}


def _features(example: memoryview, kind: int) -> dict[str, memoryview]:
    """The features of a kind, by name, as protobuf has them: of bytes 1, of floats 2."""
    found: dict[str, memoryview] = {}
    for features in _values(example, 1):
        for entry in _values(features, 1):
            for feature in _values(entry, 2):
                for values in _values(feature, kind):
                    for value in _values(values, 1):
                        names = [str(name, "utf-8", "replace") for name in _values(entry, 1)]
                        found |= dict.fromkeys(names, value)
    return found


def _places(path: Path) -> Iterator[tuple[int, int]]:
    """Where each record's content begins in `path`, and its length, in bytes."""
    with open_regular(path) as file:
        size, at, number = os.fstat(file.fileno()).st_size, 0, 0
        while at < size:
            file.seek(at)
            head = file.read(12)
            if len(head) < 12:
                raise Damaged(f"is cut short after record {number}")
            length, checksum = struct.unpack("<QI", head)
            if checksum != masked_crc(head[:8]):
                raise Damaged(f"is no TFRecord file, or broken after record {number}")
            if at + length + 16 > size:
                raise Damaged(f"is cut short in record {number + 1}")
            yield at + 12, length
            at, number = at + length + 16, number + 1


def masked_crc(content: bytes) -> int:
    """The checksum of `content` as records have it: CRC-32C, turned by 15 bits and shifted."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ _POLYNOMIAL * (crc & 1)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _values(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The values of field `wanted` in a protobuf `message`: messages, strings or bytes.

    The form: protobuf.dev/programming-guides/encoding.
    """
    at = 0
    while at < len(message):
        tag, at = _number(message, at)
        field, kind = tag >> 3, tag & 7
        if kind == 0:
            _, at = _number(message, at)
            continue
        length = _FIXED_BYTES.get(kind, 0)
        if kind == 2:
            length, at = _number(message, at)
        elif not length:
            raise Damaged(f"holds a field of type {kind}, as no Example does")
        if at + length > len(message):
            raise Damaged("holds a field that is cut short")
        if field == wanted and kind == 2:
            yield message[at : at + length]
        at += length


def _number(message: memoryview, at: int) -> tuple[int, int]:
    """The number at a place of `message`, 7 bits a byte, and where it ends."""
    number = shift = 0
    while at < len(message) and shift < 64:
        number |= (message[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if message[at - 1] < 0x80:
            return number, at
    raise Damaged("holds a number without end, as no Example does")
