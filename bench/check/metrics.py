"""Every metric on this machine's accelerator beside the outside implementation that it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike

from bench.check.promises import require, seeded
from bench.score import clip_scores
from bench.score.frame_scores import FrameScorer
from bench.score.metric import ClipFacts, Metric, NotMeasured
from bench.score.metrics import LEADING, PREDICTION, RECOGNITION
from bench.score.trivial import scored
from datasets.contract import Quantity, Spec

_TOLERANCE = 1e-4
_CLASSES = 12


def this_device() -> torch.device:
    """The accelerator of this machine, else its CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def of_frames(metric: Metric, device: torch.device) -> None:
    """Compare on blocks under noise, grey and in colour, beyond [0,1] too."""
    for channels in (1, 3):
        blocks = torch.rand(15, channels, 2, 3, generator=seeded()).round()
        whole = F.interpolate(blocks, (40, 36)).mul(200).byte() / 255
        truth = whole.reshape(3, 5, *whole.shape[1:])
        context = truth.flip(1).roll(3, -1)
        output = truth + 0.3 * torch.randn(truth.shape, generator=seeded(1))
        clips = _facts(metric, truth)
        noise = torch.randn(3, clips.futures, *truth.shape[1:], generator=seeded(2))
        drawn = (truth[:, None] + 0.3 * noise).clamp(0, 1)
        trivial = scored(context, truth, device).mse
        scorer = FrameScorer(clips, [LEADING["prediction"], metric])
        for batch in (slice(0, 2), slice(2, None)):
            given = (output, truth, context, trivial, drawn)
            scorer.add(*(each[batch].to(device) for each in given))
        scores = scorer.scores({}, 1.0)
        if metric.is_recorded and metric.name in scores.not_measured:
            raise NotMeasured(scores.not_measured[metric.name])
        arrays = (drawn if clips.futures else output).numpy(), truth.numpy(), context.numpy()
        expected = np.asarray(metric.outside.compute(*arrays, clips))
        found: Any = scores.whole.get(metric.name)
        if metric.scope == "ratio":
            found = scores.means()[metric.name]
        elif metric.scope != "set":
            values = scores.frames[metric.name].to_numpy().reshape(output.shape[:2])
            found = values if metric.scope == "frame" else values[:, 0]
        _require_equal(metric, found, expected)


def _facts(metric: Metric, truth: torch.Tensor) -> ClipFacts:
    """What is known of clips like the `truth` [B,T,C,H,W], such that the `metric` belongs to them.

    They are a video, a radar's, maps of the globe, or a video with futures drawn of it.
    """
    frames, channels, height, width = truth.shape[1:]
    plain = Spec((channels, height, width), frames, frames)
    seen = replace(
        plain,
        quantities=(Quantity("rain", "mm/h", -20, 60),) * channels,
        thresholds=(0, 12.5, 38),
    )
    rows = tuple(90 - 180 * (row + 0.5) / height for row in range(height))
    globe = replace(seen, latitudes=rows)
    usual = truth.mean((0, 1))
    known = [ClipFacts(spec, 1_000, usual) for spec in (plain, seen, globe)]
    drawn = ClipFacts(plain, 1_000, futures=4)
    return next(clips for clips in (*known, drawn) if metric.belongs(clips))


def of_answers(metric: Metric, device: torch.device) -> None:
    """Compare on random logits, two clips of each video."""
    del device  # a classifier's logits are scored on the CPU
    labels = torch.randint(_CLASSES, (40,), generator=seeded()).repeat_interleave(2)
    logits, videos = torch.randn(80, _CLASSES, generator=seeded(1)), torch.arange(80) // 2
    names = [str(number) for number in range(_CLASSES)]
    means = clip_scores.score(logits, labels, videos, names, 1.0).means()
    expected = metric.outside.compute(logits.numpy(), labels.numpy(), videos.numpy())
    _require_equal(metric, means[metric.name], expected)


def _require_equal(metric: Metric, found: ArrayLike, expected: ArrayLike) -> None:
    """Raise `ContractBroken` where the two differ by more than rounding."""
    difference = np.abs(np.asarray(found) - np.asarray(expected))
    close = difference <= _TOLERANCE * np.maximum(1, np.abs(expected))
    complaint = f"differs from {metric.outside.name} by up to {np.max(difference):.2g}"
    require(bool(np.all(close)), complaint)


CHECKS: Mapping[str, Callable[[torch.device], None]] = {
    f"{metric.name} equals {metric.outside.name}": partial(compare, metric)
    for compare, metrics in ((of_frames, PREDICTION), (of_answers, RECOGNITION))
    for metric in metrics
}
"""By what is promised; each is given the device to compute on."""
