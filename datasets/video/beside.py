"""The numbers beside each frame of a source, as text in a manifest: float32 in base64."""

from __future__ import annotations

import base64
import binascii

import numpy as np

from datasets.video.source import Covariates, Damaged


def to_text(numbers: Covariates, frames: int) -> str:
    """The `numbers` [frames,K] as text.

    Raises:
        Damaged: they are not of so many `frames`, or one is not finite.
    """
    if numbers.ndim != 2 or len(numbers) != frames:
        raise Damaged(f"has numbers {numbers.shape} beside {frames:,} frames")
    wrong = np.flatnonzero(~np.isfinite(numbers).all(1))
    if len(wrong):
        raise Damaged(f"has a number that is NaN or infinite beside frame {wrong[0] + 1}")
    return base64.b64encode(numbers.astype("<f4").tobytes()).decode()


def from_text(text: str, frames: int, count: int) -> Covariates:
    """The numbers [frames,count] in a `text`.

    Raises:
        ValueError: it holds others.
    """
    try:
        found = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    return found.reshape(frames, count).astype(np.float32)
