"""Moving MNIST clips a second: drawn by the batch, and by the usual loop over clips and frames.

    python -m tests.performance.synthesis_rate [--batches 2 8 16 64] [--pairs 15]

Both begin at random draws and end with a batch of float32 frames in [0,1], as a model is given it.
The usual loop, in numpy: for each clip and digit a walk, frame by frame; each frame pasted by the
brighter pixel; the clip divided by 255 and made a tensor; the clips stacked. Given the same draws,
their pixels are the same: that is checked first. The two alternate, in CPU seconds of one thread;
the ratio is the median of the pairs' with its quartiles.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.train.held_out import to_float
from datasets.moving_mnist import CANVAS, DIGIT, STEP, MovingMNIST, render, trajectories
from datasets.sources import digits
from datasets.sources.digits import Images

Corners = npt.NDArray[np.int32]

FRAMES = 20
CLIPS_A_TURN = 128
CPU = torch.device("cpu")


def walk(y: float, x: float, angle: float) -> Corners:
    """The top-left pixels of a digit in each frame [T,2], as the public loaders walk."""
    step_y, step_x = STEP * np.sin(angle), STEP * np.cos(angle)
    path = np.zeros((FRAMES, 2))
    for frame in range(FRAMES):
        y, x = y + step_y, x + step_x
        if y <= 0 or y >= 1:
            y, step_y = min(max(y, 0.0), 1.0), -step_y
        if x <= 0 or x >= 1:
            x, step_x = min(max(x, 0.0), 1.0), -step_x
        path[frame] = y, x
    return (path * (CANVAS - DIGIT)).astype(np.int32)


def usual_clip(images: Images, draws: list[tuple[float, float, float]]) -> Tensor:
    """One clip float32 [T,1,64,64] of `images` [D,28,28], from starts and angles."""
    clip = np.zeros((FRAMES, CANVAS, CANVAS), np.float32)
    for image, draw in zip(images, draws, strict=True):
        corners = walk(*draw)
        for frame in range(FRAMES):
            top, left = corners[frame]
            rows, columns = slice(top, top + DIGIT), slice(left, left + DIGIT)
            clip[frame, rows, columns] = np.maximum(clip[frame, rows, columns], image)
    return torch.from_numpy(clip[:, None] / 255.0).contiguous().float()


def usual_batch(pool: Images, count: int, random: np.random.Generator) -> Tensor:
    """A batch, clip by clip."""
    clips = []
    for _ in range(count):
        chosen = random.integers(len(pool), size=2)
        starts = random.random((2, 3)) * (1, 1, math.tau)
        clips.append(usual_clip(pool[chosen], [(y, x, angle) for y, x, angle in starts.tolist()]))
    return torch.stack(clips)


def check_pixels(pool: Images) -> None:
    """Make sure that both make the same pixels of the same draws."""
    random = np.random.default_rng(0)
    for _ in range(50):
        images, draws = pool[random.integers(len(pool), size=2)], random.random((2, 3))
        draws[:, 2] *= math.tau
        start, angle = torch.tensor(draws)[None, :, :2], torch.tensor(draws)[None, :, 2]
        ours = render(torch.tensor(images)[None], trajectories(start, angle, FRAMES))
        theirs = usual_clip(images, [(y, x, a) for y, x, a in draws.tolist()])
        torch.testing.assert_close(to_float(ours[0], CPU), theirs)


def cpu_seconds(draw: Callable[[], Tensor], times: int) -> float:
    """CPU seconds that `draw` takes."""
    began = time.process_time()
    for _ in range(times):
        draw()
    return (time.process_time() - began) / times


def main() -> None:
    """Print one row of Markdown a batch size."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance.synthesis_rate")
    parser.add_argument("--batches", type=int, nargs="+", default=[2, 8, 16, 64])
    parser.add_argument("--pairs", type=int, default=15)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    pool, dataset = digits.load().train, MovingMNIST()
    check_pixels(pool)
    random, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    for batch in asked.batches:
        draws: list[Callable[[], Tensor]] = [
            lambda count=batch: to_float(dataset.train_clips(count, generator), CPU),
            lambda count=batch: usual_batch(pool, count, random),
        ]
        times = -(-CLIPS_A_TURN // batch)
        pairs = [[cpu_seconds(draw, times) for draw in draws] for _ in range(asked.pairs)]
        ours, theirs = (batch / statistics.median(column) for column in zip(*pairs, strict=True))
        low, ratio, high = statistics.quantiles((b / a for a, b in pairs), n=4)
        print(  # noqa: T201
            f"| {batch} | {ours:,.0f} | {theirs:,.0f} | {ratio:.2f} ({low:.2f} to {high:.2f})"
            f" | {len(pairs)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
