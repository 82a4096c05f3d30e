"""Clips in `.npy` arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from datasets.video.source import Damaged, reason_of


def clips_of_array(path: Path) -> tuple[int, int]:
    """The number of clips in a `.npy` array, and of frames in each.

    Raises:
        Damaged: it is no array of frames.
    """
    clips, frames = _array(path).shape[:2]
    return clips, frames


def pictures_of_array(path: Path) -> Iterator[Pillow.Image]:
    """The frames of all clips in `path`, in their order.

    Raises:
        Damaged: it is no array of frames.
    """
    for clip in _array(path):
        for frame in clip:
            yield Pillow.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)


def _array(path: Path) -> NDArray[np.uint8]:
    """The array in `path`, memory-mapped, as [N,T,H,W,C]."""
    try:
        array: Any = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise Damaged(f"cannot be read as an array: {reason_of(error)}") from error
    if array.dtype != np.uint8:
        raise Damaged(f"holds {array.dtype}, not uint8")
    shape = array.shape
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim == 4:
        array = array[None]
    if array.ndim != 5 or array.shape[-1] not in (1, 3) or 0 in shape:
        raise Damaged(f"has shape {shape}, not [T,H,W], [T,H,W,C] or [N,T,H,W,C] with C 1 or 3")
    frames: NDArray[np.uint8] = array
    return frames
