"""Arrays of sequences in files: NumPy's, HDF5 and TIFF stacks, read as they are needed."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
from numpy.typing import NDArray

from datasets.contract import DataMissing
from datasets.sources.regular import open_regular
from datasets.video.files import special
from datasets.video.source import reason_of

# Of oddities in files, which their shapes tell as well: those would be lines amid the output.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".tif", ".tiff")

_ORDERS = {3: ("THW",), 4: ("NTHW", "TCHW"), 5: ("NTCHW",)}
"""The axes of an array with so many."""

_MOST_CHANNELS = 4
"""Of an axis that is taken for that of the channels unasked."""

_CHANNELS = (1, 3)
"""Of one sequence, whose axis could be that of a few frames as well: grey, and colour."""

_NAMED = 5  # arrays of a file


class Sequences:
    """The sequences in the array of a file. HDF5 and what can be mapped stays on the disk.

    Attributes:
        path: of the file.
        axes: the order of the array's axes, such as NTHWC.
        shape: (N,T,C,H,W), in whichever order they are stored.
        dtype: of its values: bool, integers or floating-point numbers.
    """

    def __init__(self, path: Path, key: str = "", axes: str = "") -> None:
        """Open the file.

        Args:
            path: its name says what it is, by one of `SUFFIXES`.
            key: of the array, where an `.npz` or HDF5 file holds several.
            axes: their order, T, H, W and where there are any N and C (default: NTHW, NTCHW or
                NTHWC, or of one sequence THW, TCHW or THWC, where the shape leaves one alone).

        Raises:
            DataMissing: it cannot be read, or holds no array of sequences.
            ValueError: `key` names none, `axes` are not its own, or it does not tell which.
        """
        self.path = path
        self._array = _opened(path, key)
        shape, self.dtype = tuple(self._array.shape), np.dtype(self._array.dtype)
        if self.dtype.kind not in "buif":
            raise DataMissing(f"{path} holds {str(self.dtype)[:40]}, not numbers")
        if len(shape) not in _ORDERS or 0 in shape:
            raise DataMissing(f"{path} has shape {shape}, not [N,T,H,W] or [N,T,C,H,W]")
        self.axes = axes if axes else _axes(path, shape)
        orders = _ORDERS[len(shape)]
        if sorted(self.axes) not in map(sorted, orders):
            order = " or of ".join(orders)
            raise ValueError(f"axes of shape {shape} are an order of {order}, not {axes[:40]!r}")
        sides = dict(zip(self.axes, shape, strict=True))
        count, frames, channels, height, width = (sides.get(axis, 1) for axis in "NTCHW")
        self.shape = count, frames, channels, height, width

    def frames(self, sequence: int, first: int, last: int) -> NDArray[Any]:
        """The frames from `first` up to before `last` of a sequence, [T,C,H,W]."""
        place = {"N": sequence, "T": slice(first, last)}
        found = np.asarray(self._array[tuple(place.get(axis, slice(None)) for axis in self.axes)])
        left = self.axes.replace("N", "")
        ordered = found.transpose([left.index(axis) for axis in "TCHW" if axis in left])
        return ordered if "C" in left else ordered[:, None]


def numbers_beside(path: Path, key: str, sequences: Sequences) -> NDArray[np.float32]:
    """The numbers beside each frame of `sequences`, [N,T,K], of an array in the file `path`.

    One of [T,K] is the same for all sequences.

    Raises:
        DataMissing: it cannot be read, is of another shape, or a number is not finite as float32.
        ValueError: `key` names none of its arrays, or [T,K] could be [N,T], too.
    """
    stored = _opened(path, key, "covariates")
    if np.dtype(stored.dtype).kind not in "buif":
        raise DataMissing(f"the covariates in {path} are {str(stored.dtype)[:40]}, not numbers")
    count, frames = sequences.shape[:2]
    shape = tuple(stored.shape)
    if shape[:-1] not in ((count, frames), (frames,)) or not shape[-1]:
        raise DataMissing(
            f"the covariates in {path} have shape {shape}, not [{count},{frames},K] or"
            f" [{frames},K]: K numbers beside each of the {frames} frames"
        )
    if shape == (count, frames) == (frames, count):
        raise ValueError(
            f"the covariates in {path} have shape {shape}, of sequences and frames or of frames and"
            f" numbers: save them as [{count},{frames},K]"
        )
    with np.errstate(over="ignore"):  # told below
        found = np.asarray(stored, np.float32)
    places = np.argwhere(~np.isfinite(found))
    if len(places):
        *sequence, frame, number = places[0].tolist()
        of = f" of sequence {sequence[0]}" if sequence else ""
        raise DataMissing(
            f"the covariates in {path} hold a value that is NaN, infinite or beyond float32: number"
            f" {number} beside frame {frame}{of}: replace it"
        )
    return np.broadcast_to(found, (count, frames, shape[-1]))


def _axes(path: Path, shape: tuple[int, ...]) -> str:
    """The order of the axes, where one alone is likely.

    Raises:
        ValueError: several are, or none.
    """
    if len(shape) == 3:
        return "THW"
    if len(shape) == 4:
        known = ["NTHW"]
        likely = known if shape[3] > _MOST_CHANNELS else []
        one = [axes for axes in ("TCHW", "THWC") if shape[axes.index("C")] in _CHANNELS]
        if one and shape[0] > _MOST_CHANNELS:
            likely, known = one, one
    else:
        known = ["NTCHW", "NTHWC"]
        likely = [axes for axes in known if shape[axes.index("C")] <= _MOST_CHANNELS]
    # More frames than sequences, or the other way round.
    if shape[0] < shape[1] and likely[:1] != ["THWC"]:
        likely = [*likely, *(f"TN{axes[2:]}" for axes in likely)]
    if len(likely) != 1:
        choice = " or ".join(f"axes='{axes}'" for axes in likely or known)
        raise ValueError(f"{path} has shape {shape}: say what its axes are, such as {choice}")
    return likely[0]


def _opened(path: Path, key: str, option: str = "key") -> Any:
    """The array in `path`: mapped, of HDF5, or in memory; an `option` says which of several."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataMissing(f"{path} is none of {', '.join(SUFFIXES)}: save the array as one of them")
    kind = special(path)
    if kind is not None or not path.is_file():
        raise DataMissing(f"{path} is {kind or 'no file'}")
    if key and suffix not in (".npz", ".h5", ".hdf5"):
        otherwise = (
            "which has no key: leave out"
            if option == "key"
            else f"so {option} are a file of their own ({', '.join(SUFFIXES)}), not"
        )
        raise ValueError(f"{path.name} holds one array, {otherwise} {key[:40]!r}")
    try:
        if suffix == ".npy":
            return np.lib.format.open_memmap(path, mode="r")
        if suffix == ".npz":
            with open_regular(path) as file, np.load(file, allow_pickle=False) as archive:
                return archive[_chosen(path, key, archive.files, option)]
        if suffix in (".h5", ".hdf5"):
            return _of_hdf5(path, key, option)
        return _of_tiff(path)
    except (DataMissing, _NoSuchKey):
        raise
    except Exception as error:  # parsers raise what a broken file leads to
        raise DataMissing(f"{path} cannot be read: {reason_of(error)}") from error


class _NoSuchKey(ValueError):
    """A file holds several arrays, or none of the name asked for."""


def _chosen(path: Path, key: str, names: Iterable[str], option: str) -> str:
    """The name of the array that is asked for, or of the only one."""
    names = list(names)
    if not names:
        raise DataMissing(f"{path} holds no arrays")
    if key in names or (not key and len(names) == 1):
        return key or names[0]
    listed = ", ".join(names[:_NAMED]) + ", ..." * (len(names) > _NAMED)
    raise _NoSuchKey(f"{path} holds {listed}: say which by {option}={names[0]!r}")


def _of_hdf5(path: Path, key: str, option: str) -> Any:
    file = h5py.File(path, "r")  # stays open as long as its array is used
    names = list[str]()
    file.visititems(lambda name, item: names.append(name) if _is_array(item) else None)
    return file[_chosen(path, key.strip("/"), names, option)]


def _is_array(item: Any) -> bool:
    return isinstance(item, h5py.Dataset) and item.shape is not None


def _of_tiff(path: Path) -> NDArray[Any]:
    try:
        mapped: NDArray[Any] = tifffile.memmap(path, mode="r")
    except ValueError:  # packed
        return np.asarray(tifffile.imread(path))
    return mapped
