"""Ways to read a source that child processes import: some of them ill-behaved."""

import os
import time
from collections.abc import Iterator

import numpy as np

from datasets.video.decode import read_frames
from datasets.video.source import FrameFormat, Image, Source


def ill_behaved(source: Source, frame_format: FrameFormat) -> Iterator[Image]:
    """Frames, and midway what the source's name says."""
    for count, image in enumerate(read_frames(source, frame_format)):
        if count == 3:
            if source.name == "aborts":
                os.abort()
            if source.name == "hangs":
                time.sleep(60)
            if source.name == "stumbles":
                raise KeyError("what is looked for")
            if source.name == "misshapes":
                image = np.zeros((1, 2, 3), np.uint8)
        yield image


def slow(source: Source, frame_format: FrameFormat) -> Iterator[Image]:
    """Frames, one every 5 ms; of an array one every 50 ms."""
    for image in read_frames(source, frame_format):
        time.sleep(0.05 if source.paths[0].suffix == ".npy" else 0.005)
        yield image


def in_16_bits(source: Source, frame_format: FrameFormat) -> Iterator[Image]:
    """Frames in the type of the format; "unscaled" has floats beyond 1."""
    bright = 65_535 if frame_format.dtype == "uint16" else 1 + (source.name == "unscaled")
    for image in read_frames(source, frame_format):
        yield (image / 255 * bright).astype(frame_format.dtype)
