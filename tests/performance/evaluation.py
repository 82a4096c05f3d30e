"""Times the scoring of predictions, and against scikit-image and the lpips package.

    python -m tests.performance.evaluation [--frames 200] [--pairs 5]

All: the metrics of a table of random frames in sequences of 10; theirs without the ratios that only
we have. SSIM: that one, and the family of four that published figures need. LPIPS: on one scale.
The others score one frame at a time, as published code does; that of ours and theirs alternate, on
one thread, once the figures have been found equal. Ratios are medians of the pairs' with their
quartiles, of the process's CPU time and of wall time; absolute times say little.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.score.frame_scores import FrameScorer
from bench.score.frames import mse
from bench.score.metric import ClipFacts, Metric
from bench.score.metrics import METRICS, RECORDED
from datasets.contract import Spec

SHAPES = ((1, 64, 64), (3, 128, 128))
HORIZON = 10
TOLERANCE = 1e-4
SSIM = ("ssim", "ssim_range2", "ssim_grey", "ssim_bytes")
OF_ALL = ClipFacts(Spec((1, 64, 64), 1, HORIZON), 1)
"""What is known of the clips of a video that measures nothing."""
EVERY = tuple(name for name, metric in RECORDED["prediction"].items() if metric.belongs(OF_ALL))
PARTS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "all": (EVERY, EVERY),
    "SSIM": (("ssim",), ("ssim",)),
    "four SSIM columns / one": (SSIM, ("ssim",)),
    "LPIPS": (("lpips",), ("lpips",)),
}
"""The columns that ours computes and those that theirs does."""

Work = Callable[[], dict[str, np.ndarray]]
Seconds = tuple[float, float]
"""Of the process's CPU time and of wall time."""


def clips(shape: tuple[int, int, int], frames: int) -> tuple[Tensor, Tensor]:
    """Predictions and truths [N,HORIZON,C,H,W]: smooth frames, and these under noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(frames, shape[0], 8, 8, generator=generator)
    truth = F.interpolate(coarse, shape[1:], mode="bilinear")
    prediction = truth + 0.1 * torch.randn(truth.shape, generator=generator)
    return prediction.unflatten(0, (-1, HORIZON)), truth.unflatten(0, (-1, HORIZON))


def ours(metrics: Sequence[Metric], output: Tensor, truth: Tensor) -> dict[str, np.ndarray]:
    """The columns of the harness."""
    scorer = FrameScorer(OF_ALL, metrics)
    scorer.add(output, truth, truth[:, :1], mse(truth[:, :1], truth))
    frames = scorer.scores({}, 1.0).frames
    return {metric.name: frames[metric.name].to_numpy() for metric in metrics if not metric.ratio}


def theirs(metrics: Sequence[Metric], output: Tensor, truth: Tensor) -> dict[str, np.ndarray]:
    """The columns of the implementations that the metrics name."""
    arrays = output.numpy(), truth.numpy()
    outside = {metric.name: metric.outside for metric in metrics if not metric.ratio}
    return {name: np.ravel(each.compute(*arrays)) for name, each in outside.items()}


def seconds(work: Work) -> Seconds:
    """How long `work` takes."""
    began = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - began[0], time.perf_counter() - began[1]


def row(part: str, shape: tuple[int, int, int], frames: int, pairs: int) -> str:
    """A row of the table.

    Raises:
        ValueError: where the figures differ.
    """
    batch = clips(shape, frames)
    asked, wanted = ([METRICS["prediction"][name] for name in names] for names in PARTS[part])
    both: tuple[Work, Work] = (lambda: ours(asked, *batch), lambda: theirs(wanted, *batch))
    found, expected = (work() for work in both)  # to warm up, too
    for name, values in expected.items():
        if not np.allclose(found[name], values, rtol=TOLERANCE, atol=TOLERANCE):
            raise ValueError(f"{name} differs by {np.abs(found[name] - values).max():.2g}")
    times = [tuple(seconds(work) for work in both) for _ in range(pairs)]
    ratios = [
        statistics.quantiles((their[clock] / our[clock] for our, their in times), n=4)
        for clock in range(2)
    ]
    cells = [
        part,
        "x".join(map(str, shape)),
        *(f"{1e3 * statistics.median(t[i][0] for t in times) / frames:.3f}" for i in range(2)),
        *(f"{middle:.2f} ({low:.2f} to {high:.2f})" for low, middle, high in ratios),
        f"{pairs}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(  # noqa: T201
        "| columns | frames | ours, ms a frame | theirs | CPU time, theirs / ours (quartiles) |"
        " wall time | pairs |\n|---|---|---|---|---|---|---|"
    )
    for shape in SHAPES:
        for part in PARTS:
            print(row(part, shape, asked.frames, asked.pairs), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
