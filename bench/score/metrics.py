"""Every metric, one entry each: definition, computation, and where it is shown.

An entry here is all that a metric needs: the scorer computes it, MLflow and the table by frame
record it, and tables, curves and docs/metrics.md show it. `bench check metrics` compares
it with the outside implementation that it names. The arithmetic is in `frames.py` and `lpips.py`;
this file imports neither, for the report and the terminal read it without torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bench.score import contingency, outside
from bench.score.metric import (
    CHANGE,
    NEEDED_CONTEXT,
    PERFECT_PSNR,
    ClipFacts,
    Metric,
    NotMeasured,
    Ratio,
    Sums,
)

if TYPE_CHECKING:
    from torch import Tensor

    from bench.score.clip_scores import ClipScores
    from datasets.contract import TaskName

FVD_CLIPS, FVD_FRAMES = 256, 10
"""The fewest clips and frames of each whose Fréchet video distance says anything."""


def _with_unit(clips: ClipFacts) -> bool:
    return bool(clips.spec.quantities) and not clips.spec.latitudes


def _of_the_globe(clips: ClipFacts) -> bool:
    return bool(clips.spec.quantities and clips.spec.latitudes)


def _with_events(clips: ClipFacts) -> bool:
    return bool(clips.spec.thresholds)


def _many_videos(clips: ClipFacts) -> bool:
    spec = clips.spec
    frames = min(spec.context_frames, NEEDED_CONTEXT) + spec.horizon
    is_seen = spec.frame_shape[0] in (1, 3) and not spec.quantities
    return is_seen and clips.count >= FVD_CLIPS and frames >= FVD_FRAMES


def _with_futures(clips: ClipFacts) -> bool:
    return clips.futures > 0


def _frechet_distance(total: Tensor) -> float:
    from bench.score.fvd import distance

    return distance(total)


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
        key="test/skill",
        label="skill",
        unit="%",
        better="higher",
        perfect=1.0,
        decimals=1,
        scope="ratio",
        function=Ratio("mse", "trivial_mse", "nothing moves in these clips", is_gain=True),
        outside=outside.ratio(outside.mse(), outside.trivial_mse(), is_gain=True),
        definition="1 less the ratio of the mean MSE to that of trivial predictions, of each clip "
        "the best in hindsight of five: black, the context's mean colour, its mean frame, its last "
        "frame, linear motion",
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
        key="test/sharpness",
        label="sharpness",
        decimals=2,
        perfect=1.0,
        scope="ratio",
        function=Ratio("detail", "true_detail", "these clips have no fine detail"),
        outside=outside.ratio(outside.detail(), outside.detail(of_truth=True)),
        definition="power of the predictions' fine detail over the truth's, a ratio of means: 1 is "
        "as sharp as the truth, less is blur; fine is from 1/8 cycles per pixel on, Hann window",
    ),
    Metric(
        key="test/rmse",
        label="RMSE",
        better="lower",
        perfect=0.0,
        decimals=3,
        function=lambda frames: frames.rmse(),
        outside=outside.rmse(),
        definition="where channels have units: of the first quantity, in its unit; the root of "
        "each frame's mean, then averaged",
        belongs=_with_unit,
    ),
    Metric(
        key="test/rmse_by_area",
        label="RMSE by area",
        better="lower",
        perfect=0.0,
        decimals=3,
        function=lambda frames: frames.rmse_by_area(),
        outside=outside.rmse(by_area=True),
        definition="on a globe, where it stands for RMSE: each row weighted by the cosine of its "
        "latitude, divided by the mean cosine; the root of each frame, then averaged, as in "
        "WeatherBench 1",
        belongs=_of_the_globe,
    ),
    Metric(
        key="test/acc",
        label="ACC",
        better="higher",
        perfect=1.0,
        decimals=3,
        function=lambda frames: frames.anomaly_correlation(),
        outside=outside.anomaly_correlation(),
        definition="on a globe: correlation, not centred and weighted alike, of the first "
        "quantity's anomalies from the mean training frame; of each frame, then averaged",
        belongs=_of_the_globe,
    ),
    Metric(
        key="test/csi",
        label="CSI",
        better="higher",
        perfect=1.0,
        scope="set",
        function=contingency.over_thresholds(contingency.csi, 1),
        outside=outside.events("jaccard_score"),
        definition="where the data set has thresholds: hits / (hits + misses + false alarms) of "
        "pixels, counted over the whole test set; mean over the thresholds that a true pixel "
        "reaches",
        belongs=_with_events,
    ),
    Metric(
        key="test/csi_pool4",
        label="CSI-pool4",
        better="higher",
        perfect=1.0,
        scope="set",
        function=contingency.over_thresholds(contingency.csi, 4),
        outside=outside.events("jaccard_score", pool=4),
        definition="CSI of the largest values of squares of 4x4 pixels",
        belongs=_with_events,
    ),
    Metric(
        key="test/csi_pool16",
        label="CSI-pool16",
        better="higher",
        perfect=1.0,
        scope="set",
        function=contingency.over_thresholds(contingency.csi, 16),
        outside=outside.events("jaccard_score", pool=16),
        definition="CSI of the largest values of squares of 16x16 pixels",
        belongs=_with_events,
    ),
    Metric(
        key="test/pod",
        label="POD",
        better="higher",
        perfect=1.0,
        scope="set",
        function=contingency.over_thresholds(contingency.pod, 1),
        outside=outside.events("recall_score"),
        definition="probability of detection, counted as CSI: hits / (hits + misses)",
        belongs=_with_events,
    ),
    Metric(
        key="test/far",
        label="FAR",
        better="lower",
        perfect=0.0,
        scope="set",
        function=contingency.over_thresholds(contingency.far, 1),
        outside=outside.events("precision_score", less_than_1=True),
        definition="false alarm ratio, counted as CSI: false alarms / (hits + false alarms), and 1 "
        "where nothing is forecast",
        belongs=_with_events,
    ),
    Metric(
        key="test/hss",
        label="HSS",
        better="higher",
        perfect=1.0,
        scope="set",
        function=contingency.over_thresholds(contingency.hss, 1),
        outside=outside.events("cohen_kappa_score"),
        definition="Heidke skill score, counted as CSI: how far the share of right pixels is on "
        "the way from chance to 1",
        belongs=_with_events,
    ),
    Metric(
        key="test/motion",
        label="motion explained",
        unit="%",
        better="higher",
        perfect=1.0,
        decimals=1,
        shown="skill",
        scope="ratio",
        function=Ratio("motion_error", "true_motion", "nothing moves in these clips", is_gain=True),
        outside=outside.ratio(outside.motion_error(), outside.true_motion(), is_gain=True),
        definition="1 less the ratio of the mean squared error of the changes from frame to frame "
        "to their mean square in the truth: 0 for a picture that stands still, less for motion "
        "that is wrong",
    ),
    Metric(
        key="test/fvd",
        label="FVD",
        better="lower",
        perfect=0.0,
        decimals=1,
        shown="skill",
        scope="set",
        function=Sums(lambda frames: frames.fvd_sums(), _frechet_distance),
        outside=outside.fvd(),
        definition="of at least 256 clips of 10 frames, on a GPU, where the weights of I3D are at "
        "hand: Fréchet distance of I3D's 400 Kinetics logits of all test clips, up to 10 frames of "
        "context and the horizon, resized to 224 pixels, grey repeated to three channels; unbiased "
        "covariances",
        belongs=_many_videos,
    ),
    Metric(
        key="test/crps",
        label="CRPS",
        better="lower",
        perfect=0.0,
        decimals=5,
        shown="skill",
        function=lambda frames: frames.crps,
        outside=outside.crps(),
        definition="of models that draw futures, 10 of each clip unless `samples` of the suite's "
        "evaluation says otherwise: continuous ranked probability score per pixel and channel, in "
        "its fair form, whose mean is the same for any number; of one future, as any other model "
        "has, it is the MAE",
        belongs=_with_futures,
    ),
    Metric(
        key="test/mse_of_mean",
        label="MSE of the mean",
        better="lower",
        perfect=0.0,
        decimals=5,
        shown="skill",
        function=lambda frames: frames.mse_of_mean,
        outside=outside.of_mean(outside.mse()),
        definition="MSE of the mean of these futures; the MSE is that of a single one",
        belongs=_with_futures,
    ),
    Metric(
        key="test/best_mse",
        label="MSE, best of N",
        better="lower",
        perfect=0.0,
        decimals=5,
        shown="skill",
        scope="sequence",
        function=lambda frames: frames.best_mse,
        outside=outside.best(outside.mse()),
        definition="MSE of the one of these futures that is best on its clip; it falls with their "
        "number and rewards spread, so it says something beside CRPS alone",
        belongs=_with_futures,
    ),
    Metric(
        key="test/best_ssim",
        label="SSIM, best of N",
        better="higher",
        perfect=1.0,
        shown="skill",
        scope="sequence",
        function=lambda frames: frames.best_ssim,
        outside=outside.best(outside.ssim(), highest=True),
        definition="SSIM of the one of these futures that has the highest on its clip",
        belongs=_with_futures,
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
        key="test/mse_changed",
        label="MSE where it changes",
        better="lower",
        perfect=0.0,
        decimals=5,
        shown="skill",
        scope="ratio",
        function=Ratio("changed_error", "changed_share", "no pixel changes in these clips"),
        outside=outside.ratio(outside.changed_error(CHANGE), outside.changed_share(CHANGE)),
        definition="MSE over the pixels that differ from the last context frame by more than 1/32 "
        "in a channel",
    ),
    Metric(
        key="test/trivial_mse",
        label="MSE of the best trivial prediction",
        shown="stored",
        function=lambda frames: frames.trivial_mse,
        outside=outside.trivial_mse(),
        definition="MSE of the trivial prediction that is best on the clip; `trivial` names it",
    ),
    Metric(
        key="test/detail",
        label="fine detail",
        shown="stored",
        function=lambda frames: frames.detail,
        outside=outside.detail(),
        definition="power of the predicted frame's fine detail",
    ),
    Metric(
        key="test/true_detail",
        label="fine detail of the truth",
        shown="stored",
        function=lambda frames: frames.true_detail,
        outside=outside.detail(of_truth=True),
        definition="power of the true frame's fine detail",
    ),
    Metric(
        key="test/changed_error",
        label="squared error on changed pixels",
        better="lower",
        shown="stored",
        function=lambda frames: frames.changed_error,
        outside=outside.changed_error(CHANGE),
        definition="squared error on the pixels that change, over all pixels of the frame",
    ),
    Metric(
        key="test/changed_share",
        label="share of pixels that change",
        shown="stored",
        function=lambda frames: frames.changed_share,
        outside=outside.changed_share(CHANGE),
        definition="share of the pixels that change",
    ),
    Metric(
        key="test/motion_error",
        label="squared error of changes",
        better="lower",
        shown="stored",
        function=lambda frames: frames.motion_error,
        outside=outside.motion_error(),
        definition="mean squared error of the change from the frame before",
    ),
    Metric(
        key="test/true_motion",
        label="motion of the truth",
        shown="stored",
        function=lambda frames: frames.true_motion,
        outside=outside.true_motion(),
        definition="mean square of the true change from the frame before",
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


def columns(metrics: Iterable[Metric]) -> list[Metric]:
    """The columns of the table by frame that hold `metrics` of predictions."""
    asked = {metric.name: metric for metric in metrics if metric.scope != "set"}
    parts = dict.fromkeys(part for metric in asked.values() for part in metric.parts)
    return [asked.get(part) or METRICS["prediction"][part] for part in parts]


LEADING: dict[TaskName, Metric] = {
    task: next(iter(found.values())) for task, found in METRICS.items()
}
"""The leading metric of each task, which ranks cells."""
