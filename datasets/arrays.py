"""Sequences of a user's own in one array: of any channels and any range, as of measured fields."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets.contract import Covariate, DataMissing, Dataset, HeldOutName, Spec
from datasets.sources.array_files import SUFFIXES, Sequences, numbers_beside
from datasets.sources.folders import data_folder, find
from datasets.video import in_time
from datasets.video.cache import Clip
from datasets.video.dataset import HELD_OUT, SPLITS, SplitName
from datasets.video.windows import FixedWindows, RandomWindows, shuffle_key

_SCAN_BYTES = 64 << 20
"""How much is read at once where all values are looked at."""

_RANGE = re.compile(r"(\d{1,9})(?::(\d{1,9}))?")

Range = tuple[float, float]
"""The values that become 0 and 1."""


class Arrays(Dataset):
    """The next frames of sequences that are all as long as each other, in one array.

    The array is `.npy`, `.npz`, HDF5 or a TIFF stack, [N,T,C,H,W], [N,T,H,W], [N,T,H,W,C] or in any
    other order that `axes` says, of N sequences of T frames, or [T,C,H,W] of one. It is read as it
    is needed; an `.npz` and a packed TIFF are held in memory. Nothing is prepared.

    uint8 stays as it is, from 0 to 255. Other values are scaled from `value_range` to [0,1] and cut
    there, and held in 16 bits, to 1/65,535 of the range. Without `value_range` it is that of the
    sequences that train. Numbers that need not lie in it are all read once at the start, and so are
    floating-point ones, for one that is not finite would spoil a training. What the files hold is
    part of what a cell is: where anything in them changes, cells run again.

    A second array may hold numbers that are known beside each frame, such as what was done to a
    tank of water: [N,T,K], or [T,K] that are the same in all sequences. They stay as they are;
    those of about -1 to 1 train best.

    No window crosses the end of a sequence, and each sequence is in one split: those of a share are
    drawn by the hash of their numbers. Sequences cut from one recording look alike; to keep them
    together say which validate and which test. Where there are too few for shares, each is cut in
    time, which the notice says: it trains, then validates, then tests, and the frames of a window
    are left out at each cut.
    """

    name = "arrays"

    def __init__(
        self,
        context_frames: int = 10,
        horizon: int = 10,
        *,
        path: str = "arrays.npy",
        key: str = "",
        axes: str = "",
        value_range: Range | None = None,
        covariates: str = "",
        validation: float | str = 0.1,
        test: float | str = 0.1,
    ) -> None:
        """Open the array.

        Args:
            context_frames: frames given.
            horizon: frames to predict.
            path: of the file, from the data folder or from here.
            key: the name of the array, where an `.npz` or HDF5 file holds several.
            axes: their order, such as "NTHWC" (default: as the shape says, where it is clear).
            value_range: the values that become 0 and 1 (default: the least and the largest that
                train; of uint8 0 and 255).
            covariates: the array of the numbers beside each frame: its name in the same `.npz` or
                HDF5 file, or a file of its own, such as "actions.npy".
            validation: the share of sequences that validate, or their numbers, counted from 0, such
                as "0:8, 12", which is 0 to 7 and 12.
            test: the share of sequences that test, or their numbers.

        Raises:
            DataMissing: there is no such file, it holds no such array, the sequences are too few or
                too short, a value is not finite, all that train are the same, or there are not as
                many covariates as frames.
            ValueError: an option has no such value, or the file does not tell what is to be read.
        """
        limits = None if value_range is None else _limits(value_range)
        chosen: dict[HeldOutName, float | list[range]] = {
            "test": _chosen("test", test),
            "validation": _chosen("validation", validation),
        }
        spec = Spec((1, 1, 1), context_frames, horizon)  # refused before files are looked for
        sequences = Sequences(_located(path), key, axes)
        count, frames, *frame_shape = sequences.shape
        if frames < spec.clip_frames:
            raise DataMissing(
                f"{sequences.path} has sequences of {frames:,} frames, fewer than the"
                f" {spec.clip_frames:,} of a window: ask for fewer"
            )
        splits, shares = _divided(sequences.path, count, chosen)
        clips = {
            split: [Clip(str(n), n * frames, frames, {}) for n in numbers]
            for split, numbers in splits.items()
        }
        counts = ", ".join(f"{len(splits[split]):,} {split}" for split in SPLITS)
        divided = f"sequences: {counts}"
        if shares:
            clips |= _cut(sequences.path, clips["train"], shares, spec.clip_frames)
            divided = f"sequences cut in time: {in_time.told(shares, spec.clip_frames)}"
        reach = _reach(sequences, clips, limits)
        if sequences.dtype != np.uint8 and limits is None:
            limits = _measured(sequences.path, reach["train"])
        store = _Store(sequences, limits)
        names, beside = _beside(sequences, covariates)
        self.files = list(dict.fromkeys((sequences.path, _place_beside(sequences, covariates)[0])))
        self.spec = replace(
            spec, frame_shape=tuple(frame_shape), dtype=store.dtype, covariates=names
        )
        self._train = RandomWindows(store, clips["train"], spec.clip_frames, covariates=beside)
        self.epoch_clips = len(self._train)
        self._held_out = {
            split: FixedWindows(store, clips[split], spec.clip_frames, covariates=beside)
            for split in HELD_OUT
        }
        said = [f"axes {sequences.axes} of {sequences.path.name}", divided]
        if limits is not None:
            said += _scale(limits, reach, measured=value_range is None)
        self.notice = "; ".join(said)

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` random windows of the training sequences, on the generator's device."""
        return self._train.draw(count, generator)

    def train_clips_with_covariates(
        self, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The same windows, and the numbers beside their frames."""
        return self._train.draw_with_covariates(count, generator)

    def held_out(self, split: HeldOutName) -> FixedWindows:
        """The windows of `split`, side by side in each sequence."""
        return self._held_out[split]

    def clusters(self, split: HeldOutName, count: int) -> Tensor:
        """The sequence of each of the first `count` windows of `split`, int64 [count]."""
        origins = self._held_out[split].origins(count)
        return torch.tensor([int(origin.clip.name) for origin in origins])


class _Store:
    """The frames of all sequences, one after the other, scaled.

    Attributes:
        dtype: of the frames, `torch.uint8` as they are stored, or `torch.uint16`.
    """

    def __init__(self, sequences: Sequences, limits: Range | None) -> None:
        self._sequences, self._limits = sequences, limits
        self.dtype = torch.uint8 if limits is None else torch.uint16

    def gather(self, indices: Tensor) -> Tensor:
        """The frames at int64 `indices` [...]: [...,C,H,W] of `dtype`; those on end at once."""
        _, length, *frame_shape = self._sequences.shape
        wanted = indices.flatten().numpy()
        kind = np.uint8 if self._limits is None else np.uint16
        found = np.empty((len(wanted), *frame_shape), kind)
        breaks = (np.diff(wanted) != 1) | (np.diff(wanted // length) != 0)
        ends = [*(np.flatnonzero(breaks) + 1).tolist(), len(wanted)]
        for begin, end in zip([0, *ends[:-1]], ends, strict=True):
            if begin < end:
                sequence, first = divmod(int(wanted[begin]), length)
                frames = self._sequences.frames(sequence, first, first + end - begin)
                found[begin:end] = frames if self._limits is None else _unit(frames, self._limits)
        return torch.from_numpy(found).view(*indices.shape, *frame_shape)


def _unit(values: NDArray[Any], limits: Range) -> NDArray[Any]:
    """`values` from `limits` to 0 to 65,535, what is beyond them cut."""
    wide = values.astype(np.result_type(values.dtype, np.float32))
    low, high = limits
    scaled: NDArray[Any] = np.rint(((wide - low) / (high - low)).clip(0, 1) * 65_535)
    return scaled


def _limits(value_range: object) -> Range:
    """`value_range`, where it is one."""
    match value_range:
        case (int() | float() as low, int() | float() as high):
            if math.isfinite(low) and math.isfinite(high) and low < high:
                return float(low), float(high)
    raise ValueError(
        f"value_range is the values that become 0 and 1, (low, high), not {repr(value_range)[:80]}"
    )


def _chosen(option: str, value: object) -> float | list[range]:
    """The share, or the numbers, that an option says.

    Raises:
        ValueError: it says none.
    """
    if type(value) is float and 0 < value < 1:
        return value
    found = [_RANGE.fullmatch(part.strip()) for part in str(value).split(",")]
    ranges = [range(int(it[1]), int(it[2] or int(it[1]) + 1)) for it in found if it]
    if isinstance(value, str) and len(ranges) == len(found) and all(ranges):
        return ranges
    raise ValueError(
        f"{option} is a share above 0 and below 1, or numbers such as '0:8, 12', not"
        f" {repr(value)[:80]}"
    )


def _beside(sequences: Sequences, covariates: str) -> tuple[tuple[Covariate, ...], Tensor | None]:
    """The numbers beside each frame, by name, and as float32 [N*T,K]; None where there are none.

    Raises:
        DataMissing: there is no such array, or it does not fit the frames.
        ValueError: the file holds no array of that name.
    """
    if not covariates:
        return (), None
    numbers = numbers_beside(*_place_beside(sequences, covariates), sequences)
    names = (f"{Path(covariates).stem} {number}" for number in range(numbers.shape[-1]))
    found = torch.tensor(numbers).flatten(0, 1)
    return tuple(Covariate(name) for name in names), found


def _place_beside(sequences: Sequences, covariates: str) -> tuple[Path, str]:
    """The file of the numbers beside each frame, its own or that of the frames, and their key."""
    if Path(covariates).suffix.lower() in SUFFIXES:
        return _located(covariates), ""
    return sequences.path, covariates


def _located(path: str) -> Path:
    """The file `path`, in the data folder or from here."""
    found = find(path) if isinstance(path, str) and "\0" not in path else None
    found = found or Path(path).expanduser().absolute()
    if not found.exists():
        raise DataMissing(
            f"there is no array {path} in {data_folder()} or here: save yours there, or say where"
            " it is: \"arrays(path='FILE')\""
        )
    return found


def _divided(
    path: Path, count: int, chosen: Mapping[HeldOutName, float | list[range]]
) -> tuple[dict[SplitName, list[int]], in_time.Shares]:
    """The numbers of the sequences of each split: those that are named, then the shares of all.

    Where too few are left for these, they train, and the shares are to be cut from them in time.

    Raises:
        ValueError: a number is none of theirs, or in two splits.
    """
    split_of: dict[int, SplitName] = {}
    for split, asked in chosen.items():
        for numbers in asked if isinstance(asked, list) else ():
            if numbers.stop > count:
                raise ValueError(f"{split} names sequence {numbers.stop - 1} of 0 to {count - 1}")
            for number in numbers:
                if split_of.setdefault(number, split) != split:
                    raise ValueError(f"sequence {number} is named for both validation and test")
    left = [number for number in range(count) if number not in split_of]
    left.sort(key=lambda number: shuffle_key(str(number)))
    asked_of = {split: asked for split in HELD_OUT if isinstance(asked := chosen[split], float)}
    shares = asked_of if 0 < len(left) <= len(asked_of) else {}
    for split, asked in chosen.items():
        if isinstance(asked, float) and not shares:
            share = max(1, round(asked * count))
            split_of |= dict.fromkeys(left[:share], split)
            left = left[share:]
    split_of |= dict.fromkeys(left, "train")
    splits: dict[SplitName, list[int]] = {split: [] for split in SPLITS}
    for number, split_name in sorted(split_of.items()):
        splits[split_name].append(number)
    for split_name, numbers_of in splits.items():
        if not numbers_of and split_name not in shares:
            raise ValueError(
                f"of the {count} sequences of {path} none is left for {split_name}: give smaller"
                " shares, or fewer numbers, to validation and test"
            )
    return splits, shares


def _cut(
    path: Path, clips: Sequence[Clip], shares: in_time.Shares, span: int
) -> dict[SplitName, list[Clip]]:
    """The parts of `clips` that train, and those of `shares`.

    Raises:
        DataMissing: the sequences are too short, or the shares too large.
    """
    parts = in_time.cut(clips, shares, span)
    if not parts["train"]:
        raise DataMissing(
            f"{path} has {clips[0].frames:,} frames a sequence, of which {' and '.join(shares)}"
            f" would be cut in time; with windows of {span} frames that takes"
            f" {in_time.least_frames(shares, span):,}, and no larger shares: ask for shorter"
            " windows, or bring more sequences"
        )
    return parts


def _reach(
    sequences: Sequences, splits: Mapping[SplitName, Iterable[Clip]], limits: Range | None
) -> dict[SplitName, Range]:
    """The least and the largest value of each split; nothing where none of them can surprise.

    Raises:
        DataMissing: a value is not finite.
    """
    kind = sequences.dtype
    if limits is None and kind == np.uint8:
        return {}
    if limits is not None and kind.kind != "f":
        least, most = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
        if limits[0] <= least and most <= limits[1]:
            return {}
    return {split: _extremes(sequences, clips) for split, clips in splits.items()}


def _extremes(sequences: Sequences, clips: Iterable[Clip]) -> Range:
    """The least and the largest value of those parts of sequences."""
    _, length, *frame_shape = sequences.shape
    at_once = max(1, _SCAN_BYTES // (math.prod(frame_shape) * sequences.dtype.itemsize))
    low, high = math.inf, -math.inf
    for clip in clips:
        number, begin = divmod(clip.first, length)
        end = begin + clip.frames
        for first in range(begin, end, at_once):
            values = sequences.frames(number, first, min(first + at_once, end))
            least, most = float(values.min()), float(values.max())
            if not (math.isfinite(least) and math.isfinite(most)):
                frame = first + int(np.isfinite(values).all((1, 2, 3)).argmin())
                raise DataMissing(
                    f"{sequences.path} holds a value that is NaN or infinite, in frame {frame} of"
                    f" sequence {number}: replace it, or leave the sequence out"
                )
            low, high = min(low, least), max(high, most)
    return low, high


def _measured(path: Path, reach: Range) -> Range:
    """The range of what trains, which must be one."""
    low, high = reach
    if low == high:
        raise DataMissing(
            f"{path} holds nothing but {low:g} in what trains: give value_range=(low, high), or"
            " another array"
        )
    return reach


def _scale(limits: Range, reach: Mapping[SplitName, Range], *, measured: bool) -> list[str]:
    """What to say of how values become 0 to 1."""
    low, high = limits
    how = ", the range of what trains," if measured else ""
    said = [f"values from {low:g} to {high:g}{how} are 0 to 1"]
    least = min((least for least, _ in reach.values()), default=low)
    most = max((most for _, most in reach.values()), default=high)
    if least < low or most > high:
        said.append(f"others, from {least:g} to {most:g}, are cut")
    return said
