"""Windows a second: drawn from a prepared cache, and decoded from the videos as they are drawn.

    python -m tests.performance.window_rate DATASET --source FOLDER [--batch 16] [--pairs 7]
        [--seconds 3]

DATASET is the name of a data set of videos with its options, such as 'kth(size=64)'; FOLDER holds
its videos. Cached: a training batch, as the cache stores it, on the CPU. Decoded: as many random
training videos are opened, sought to the key frame before a random window, and decoded and resized
up to the window's end, which is the least that training straight from the videos can do. The two
alternate; the ratio is the median of the pairs' with its quartiles. One thread each.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from bench.suite import catalogue
from bench.suite.reference import Reference
from datasets.video.dataset import VideoDataset
from datasets.video.decode import fitted
from datasets.video.source import FrameFormat, Source

Draw = Callable[[int], Tensor]


def windows_a_second(draw: Draw, batch: int, seconds: float) -> float:
    """How many windows `draw` gives a second, over at least `seconds`."""
    drawn, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        drawn += len(draw(batch))
    return drawn / (time.perf_counter() - began)


class Decoding:
    """Random windows of the training videos, decoded when they are asked for."""

    def __init__(
        self, dataset: VideoDataset, sources: list[Source], frame_format: FrameFormat
    ) -> None:
        training = {clip.name.partition("#")[0] for clip in dataset.splits["train"]}
        self._paths = [source.paths[0] for source in sources if source.name in training]
        self._length, self._format = dataset.spec.clip_frames, frame_format
        self._random = np.random.default_rng(0)

    def __call__(self, count: int) -> Tensor:
        """`count` windows [count,T,C,H,W]."""
        paths = self._random.choice(len(self._paths), count)
        return torch.stack([self._window(self._paths[index]) for index in paths])

    def _window(self, path: Path) -> Tensor:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            first = int(self._random.integers(max(1, stream.frames - self._length)))
            rate, base = stream.average_rate, stream.time_base
            assert rate is not None
            assert base is not None
            due = round(first / rate / base)
            container.seek(due, stream=stream)
            frames: list[Tensor] = []
            for frame in container.decode(stream):
                if frame.pts is not None and frame.pts >= due:
                    image = fitted(frame.to_image(), self._format)
                    frames.append(torch.tensor(image))
                if len(frames) == self._length:
                    break
        # The last frames of a video whose header promises more than it has.
        return torch.stack([*frames, *[frames[-1]] * (self._length - len(frames))])


def main() -> None:
    """Print one row of Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("dataset")
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    dataset = catalogue.open_dataset(asked.dataset)
    assert isinstance(dataset, VideoDataset)
    preparation = type(dataset).preparation(**Reference.parse(asked.dataset).options)
    sources = list(preparation.find(asked.source).videos)
    generator = torch.Generator().manual_seed(0)
    cached: Draw = lambda count: dataset.train_clips(count, generator)  # noqa: E731
    decoded = Decoding(dataset, sources, preparation.format)
    for draw in (cached, decoded):
        draw(asked.batch)
    pairs = [
        tuple(windows_a_second(draw, asked.batch, asked.seconds) for draw in (cached, decoded))
        for _ in range(asked.pairs)
    ]
    ratios = statistics.quantiles((first / second for first, second in pairs), n=4)
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    shape = f"{dataset.spec.clip_frames} x {'x'.join(map(str, dataset.spec.frame_shape))}"
    print(  # noqa: T201
        f"| {asked.dataset} | {shape} | {asked.batch} | {ours:,.0f} | {theirs:,.0f} |"
        f" {ratios[1]:.0f} ({ratios[0]:.0f} to {ratios[2]:.0f}) | {len(pairs)} |"
    )


if __name__ == "__main__":
    main()
