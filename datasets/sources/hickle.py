"""What hickle wrote, of any of its versions: HDF5 files, read without hickle and its pickles.

Files that hickle 3.4.9 and 5.0.3 wrote are read. PredNet's own, of version 2, were not tried: the
form is that in which others read them with h5py (github.com/coxlab/prednet, issue 88).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from natsort import natsorted

from datasets.video.source import SourceWrong

_MOST = 1_000_000  # strings of a list


def array_of(file: h5py.File, path: Path) -> h5py.Dataset:
    """The array in `file`, which lies at `path`: the first item, `data_0` or, from 4.0 on, `data`.

    Raises:
        SourceWrong: it holds none.
    """
    item = _item(file, path)
    if not isinstance(item, h5py.Dataset) or item.ndim == 0:
        raise SourceWrong(f"{path.name} holds no array: get it anew")
    return item


def strings_of(file: h5py.File, path: Path) -> list[str]:
    """The list of strings in `file`, which lies at `path`.

    Up to 4 it is an array of them; in 5 each is an array of its letters, `data0`, `data1`, ..., or
    a reference to one before it that is the same.

    Raises:
        SourceWrong: it holds none.
    """
    item = _item(file, path)
    if item.ndim != 1 if isinstance(item, h5py.Dataset) else not isinstance(item, h5py.Group):
        raise SourceWrong(f"{path.name} holds no list of strings: get it anew")
    if len(item) > _MOST:
        raise SourceWrong(f"{path.name} holds {len(item):,} strings: get it anew")
    try:
        if isinstance(item, h5py.Group):
            return [_text(b"".join(_pieces(_value(item[name])))) for name in natsorted(item)]
        return [_text(string) for string in _pieces(item[()])]
    except (AttributeError, TypeError, ValueError):
        raise SourceWrong(f"{path.name} holds something else than strings: get it anew") from None


def _item(file: h5py.File, path: Path) -> Any:
    for name in file:
        return file[name]
    raise SourceWrong(f"{path.name} is empty: get it anew")


def _value(item: h5py.Dataset) -> Any:
    """The content of `item`, or of what it refers to."""
    value = item[()]
    return item.file[value][()] if isinstance(value, h5py.Reference) else value


def _pieces(values: Any) -> list[Any]:
    """The strings, or the letters of one, in an array of bytes, of numbers, or of objects."""
    array = np.asarray(values)
    pieces: list[Any] = array.ravel().tolist()
    return [bytes(pieces)] if array.dtype.kind in "iu" and array.itemsize == 1 else pieces


def _text(string: Any) -> str:
    return string if isinstance(string, str) else string.decode("utf-8")
