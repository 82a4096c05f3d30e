"""Every metric, one entry each: definition, computation, and where it is shown.

An entry here is all that a metric needs: the scorer computes it, MLflow and the table by frame
record it, and tables, curves and the README's definitions show it. `bench check metrics` compares
it with the outside implementation that it names. The arithmetic is in `frames.py` and `lpips.py`;
this file imports neither, for the report and the terminal read it without torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bench.records import Measure
from bench.score import outside
from bench.score.outside import Outside

if TYPE_CHECKING:
    from bench.score.clip_scores import ClipScores
    from bench.score.frames import Frames
    from datasets.contract import TaskName

Scope = Literal["frame", "sequence", "set"]
Shown = Literal["table", "skill", "stored"]

PERFECT_PSNR = 100.0
"""Decibels of a perfect frame, and of any frame with an MSE of at most 1e-10."""


class NotMeasured(Exception):
    """The metric cannot be computed here; the message is the reason, in one line."""


class WholeSet(Protocol):
    """A metric of the whole test set, such as a distance between distributions of features."""

    def add(self, frames: Frames) -> None:
        """Take a batch. Keep features of it, not pixels.

        Raises:
            NotMeasured: where such frames cannot be scored; no further batch is added.
        """

    def value(self) -> float:
        """The figure of all batches.

        Raises:
            NotMeasured: where there is none, as of too few sequences.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(Measure):
    """A metric; its key, label, unit and better direction are those of a `Measure`.

    Attributes:
        function: by scope, of predictions: "frame": `Frames` -> values [B,T]; "sequence": `Frames`
            -> values [B]; "set": nothing -> a new `WholeSet`. Of answers: `ClipScores` -> a number.
            It may raise `NotMeasured`.
        outside: what it must equal.
        definition: in a sentence, for readers.
        decimals: digits printed after the point.
        scope: what has one value. The table by frame repeats that of a sequence.
        perfect: its value for a perfect prediction; None where no gain is so many per cent of
            the way to it, as with decibels.
        shown: "table": in tables, curves and MLflow; "skill": in the table of skills and MLflow;
            "stored": in the table by frame alone, where published figures are compared in it.
    """

    function: Callable[..., Any]
    outside: Outside
    definition: str
    decimals: int = 4
    scope: Scope = "frame"
    perfect: float | None = None
    shown: Shown = "table"

    @property
    def name(self) -> str:
        """Its name in tables and in `not_measured`: its key without `test/`."""
        return self.key.removeprefix("test/")

    @property
    def is_recorded(self) -> bool:
        """Whether MLflow holds its mean as `test/<name>`, and where it has one its curve."""
        return self.shown != "stored"

    @property
    def has_curve(self) -> bool:
        """Whether it is drawn against the predicted frame."""
        return self.shown == "table" and self.scope == "frame"


REFERENCE: dict[TaskName, str] = {"prediction": "copy_last", "recognition": "class_frequency"}
"""The baseline without parameters that models of a task are compared with."""

PREDICTION = (
    Metric(
        key="test/mse",
        label="MSE",
        better="lower",
        perfect=0.0,
        decimals=5,
        function=lambda frames: frames.mse,
        outside=outside.mse(),
        definition="mean squared error per pixel and channel",
    ),
    Metric(
        key="test/ssim",
        label="SSIM",
        better="higher",
        perfect=1.0,
        function=lambda frames: frames.ssim(),
        outside=outside.ssim(),
        definition="scikit-image's defaults (7x7 uniform window, sample covariance) with data "
        "range 1, channels averaged",
    ),
    Metric(
        key="test/lpips",
        label="LPIPS",
        better="lower",
        perfect=0.0,
        function=lambda frames: frames.lpips(),
        outside=outside.lpips(2, -1),
        definition="AlexNet, version 0.1, on [-1, 1]; grey repeated to three channels",
    ),
    Metric(
        key="test/psnr",
        label="PSNR",
        unit="dB",
        better="higher",
        decimals=2,
        function=lambda frames: frames.psnr,
        outside=outside.psnr(PERFECT_PSNR),
        definition="of each frame, range 1, then averaged; a perfect frame counts as 100 dB",
    ),
    Metric(
        key="test/mae",
        label="MAE",
        better="lower",
        perfect=0.0,
        decimals=5,
        shown="skill",
        function=lambda frames: frames.mae,
        outside=outside.mae(),
        definition="mean absolute error per pixel and channel",
    ),
    Metric(
        key="test/mse_unclamped",
        label="MSE, not clamped",
        better="lower",
        perfect=0.0,
        shown="stored",
        function=lambda frames: frames.unclamped.mse,
        outside=outside.mse(outside.unclamped),
        definition="MSE of predictions as the model gives them",
    ),
    Metric(
        key="test/mae_unclamped",
        label="MAE, not clamped",
        better="lower",
        perfect=0.0,
        shown="stored",
        function=lambda frames: frames.unclamped.mae,
        outside=outside.mae(outside.unclamped),
        definition="MAE of predictions as the model gives them",
    ),
    Metric(
        key="test/psnr_bytes",
        label="PSNR of bytes",
        unit="dB",
        better="higher",
        shown="stored",
        function=lambda frames: frames.as_bytes.psnr,
        outside=outside.psnr(PERFECT_PSNR, outside.as_bytes, data_range=255),
        definition="PSNR of frames as bytes, cut not rounded",
    ),
    Metric(
        key="test/ssim_range2",
        label="SSIM of range 2",
        better="higher",
        perfect=1.0,
        shown="stored",
        function=lambda frames: frames.ssim(data_range=2),
        outside=outside.ssim(data_range=2),
        definition="SSIM with data range 2, scikit-image's for floats up to version 0.19.3",
    ),
    Metric(
        key="test/ssim_grey",
        label="SSIM of grey frames",
        better="higher",
        perfect=1.0,
        shown="stored",
        function=lambda frames: frames.grey.ssim(),
        outside=outside.ssim(outside.grey),
        definition="SSIM of the mean over channels",
    ),
    Metric(
        key="test/ssim_bytes",
        label="SSIM of bytes",
        better="higher",
        perfect=1.0,
        shown="stored",
        function=lambda frames: frames.as_bytes.ssim(),
        outside=outside.ssim(outside.as_bytes, data_range=255),
        definition="SSIM of frames as bytes, cut not rounded",
    ),
    Metric(
        key="test/lpips_unscaled",
        label="LPIPS on [0, 1]",
        better="lower",
        perfect=0.0,
        shown="stored",
        function=lambda frames: frames.lpips(slope=1, offset=0),
        outside=outside.lpips(1, 0),
        definition="LPIPS of frames left in [0, 1]",
    ),
)
"""The metrics of predicted frames; the first ranks."""


def _top_1(answers: ClipScores, by_video: bool) -> float:
    return _share(answers, 1, by_video)


def _top_5(answers: ClipScores, by_video: bool) -> float:
    if answers.classes <= 5:
        raise NotMeasured(f"of {answers.classes} classes five named are always right")
    return _share(answers, 5, by_video)


def _share(answers: ClipScores, k: int, by_video: bool) -> float:
    table = answers.videos if by_video else answers.clips
    return float((table["rank"] <= k).mean())


RECOGNITION = (
    Metric(
        key="test/video_top1",
        label="top-1 per video",
        unit="%",
        better="higher",
        perfect=1.0,
        decimals=1,
        scope="set",
        function=lambda answers: _top_1(answers, by_video=True),
        outside=outside.top_k(1, by_video=True),
        definition="share of videos whose class is the first by the mean of their clips' logits",
    ),
    Metric(
        key="test/video_top5",
        label="top-5 per video",
        unit="%",
        better="higher",
        perfect=1.0,
        decimals=1,
        scope="set",
        function=lambda answers: _top_5(answers, by_video=True),
        outside=outside.top_k(5, by_video=True),
        definition="share of videos whose class is one of the first five",
    ),
    Metric(
        key="test/top1",
        label="top-1 per clip",
        unit="%",
        better="higher",
        perfect=1.0,
        decimals=1,
        scope="set",
        function=lambda answers: _top_1(answers, by_video=False),
        outside=outside.top_k(1, by_video=False),
        definition="share of clips whose class is the first by logit",
    ),
    Metric(
        key="test/top5",
        label="top-5 per clip",
        unit="%",
        better="higher",
        perfect=1.0,
        decimals=1,
        scope="set",
        function=lambda answers: _top_5(answers, by_video=False),
        outside=outside.top_k(5, by_video=False),
        definition="share of clips whose class is one of the first five",
    ),
    Metric(
        key="test/cross_entropy",
        label="cross-entropy",
        better="lower",
        perfect=0.0,
        decimals=3,
        scope="set",
        function=lambda answers: float(answers.clips["cross_entropy"].mean(skipna=False)),
        outside=outside.cross_entropy(),
        definition="of the test clips, natural logarithm",
    ),
)
"""The metrics of a classifier's answers; the first ranks. Top-k is recorded as a share in [0,1]."""

METRICS: dict[TaskName, dict[str, Metric]] = {
    "prediction": {metric.name: metric for metric in PREDICTION},
    "recognition": {metric.name: metric for metric in RECOGNITION},
}
"""All of a task by name."""

RECORDED: dict[TaskName, dict[str, Metric]] = {
    task: {name: metric for name, metric in metrics.items() if metric.is_recorded}
    for task, metrics in METRICS.items()
}
"""Those of a task that say how good a model is, by name; `horizon/<name>` has those of predictions
by predicted frame."""

LEADING: dict[TaskName, Metric] = {
    task: next(iter(found.values())) for task, found in METRICS.items()
}
"""The leading metric of each task, which ranks cells."""
