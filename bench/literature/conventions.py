"""The named conventions of published figures, and a finished cell's figures under each of them.

The same predictions have different figures by different papers' code: sums against means, clamped
or not, SSIM of another data range. Each convention here says which columns of a cell's table by
frame (`records.PER_FRAME_TABLE`) its figures are the means of, and on what scale. All are over the
whole test split, each sequence and predicted frame counting alike: batches that the published code
dropped, or counted by more than their size, are said in the descriptions and not repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.literature.published import all_rows

if TYPE_CHECKING:
    import pandas as pd

    from models.contract import FrameShape

NOT_STORED = "not stored"
"""The text printed for a figure that is None."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of a figure: the factor from a mean over elements to its sum."""

    label: str
    elements: Callable[[FrameShape, int], int]
    """Of a frame shape and a horizon."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of a convention: the mean of a column of the table by frame, on a scale."""

    column: str
    scale: Scale
    is_root: bool = False
    """Whether it is the root of the mean square instead: of an RMSE that of all frames at once."""

    def of(self, column: pd.Series[float]) -> float:
        """It, of the `column` by frame, before the scale; NaN where one is NaN."""
        if self.is_root:
            return math.sqrt(float((column**2).mean(skipna=False)))
        return float(column.mean(skipna=False))


@dataclass(frozen=True, slots=True)
class Convention:
    """How one body of published figures was computed.

    Attributes:
        description: in one line, what differs from others and from the published code.
        source: where that stands.
        figures: what it gives, by name; a name is that of a measure, with what sets it apart where
            there are two.
    """

    description: str
    source: str
    figures: dict[str, Figure]


PER_ELEMENT = Scale("mean over pixels and channels", lambda shape, horizon: 1)
PER_FRAME = Scale("sum over a frame's pixels and channels", lambda shape, horizon: math.prod(shape))
PER_PIXEL = Scale(
    "sum over a frame's pixels, mean over channels", lambda shape, horizon: shape[1] * shape[2]
)
PER_SEQUENCE = Scale(
    "sum over all pixels, channels and predicted frames",
    lambda shape, horizon: math.prod(shape) * horizon,
)
FRAME_MEAN = Scale("mean over frames", lambda shape, horizon: 1)
OVER_FRAMES = Scale("over all frames", lambda shape, horizon: 1)
DECIBELS = Scale("dB, mean over frames", lambda shape, horizon: 1)

CONVENTIONS = {
    "nextframe": Convention(
        "Ours: clamped to [0, 1]; errors per element; PSNR (at most 100 dB) and SSIM of range 1; "
        "LPIPS on [-1, 1].",
        "bench/score/metrics.py",
        {
            "mse": Figure("mse", PER_ELEMENT),
            "mae": Figure("mae", PER_ELEMENT),
            "psnr": Figure("psnr", DECIBELS),
            "ssim": Figure("ssim", FRAME_MEAN),
            "lpips": Figure("lpips", FRAME_MEAN),
        },
    ),
    "openstl": Convention(
        "MSE and MAE summed over a frame, not clamped; the rest clamped: PSNR of range 1 (a "
        "perfect frame: here 100 dB, there infinite), SSIM of range 2, LPIPS on [-1, 1]. "
        "Its weather figures are another convention.",
        "chengtan9907/OpenSTL, openstl/core/metrics.py, with scikit-image up to 0.19.3",
        {
            "mse": Figure("mse_unclamped", PER_FRAME),
            "mae": Figure("mae_unclamped", PER_FRAME),
            "psnr": Figure("psnr", DECIBELS),
            "ssim": Figure("ssim_range2", FRAME_MEAN),
            "lpips": Figure("lpips", FRAME_MEAN),
        },
    ),
    "openstl_weather": Convention(
        "RMSE in the quantity's unit over all maps at once, every pixel counting alike wherever it "
        "lies; there over all channels, here over the first.",
        "chengtan9907/OpenSTL, openstl/core/metrics.py and openstl/datasets/dataloader_weather.py",
        {"rmse": Figure("rmse", OVER_FRAMES, is_root=True)},
    ),
    "predrnn": Convention(
        "Clamped; MSE summed over all predicted frames (mse_per_frame: over one, as papers quote "
        "it); PSNR (a perfect frame: here 100 dB, there infinite) and SSIM of bytes, cut not "
        "rounded; LPIPS on [0, 1]. There the last batch is dropped, here it counts.",
        "thuml/predrnn-pytorch, core/trainer.py and core/utils/metrics.py",
        {
            "mse": Figure("mse", PER_SEQUENCE),
            "mse_per_frame": Figure("mse", PER_FRAME),
            "psnr": Figure("psnr_bytes", DECIBELS),
            "ssim": Figure("ssim_bytes", FRAME_MEAN),
            "lpips": Figure("lpips_unscaled", FRAME_MEAN),
        },
    ),
    "ucf101_study": Convention(
        "MSE per element; SSIM of range 1, of the mean over channels for its ConvLSTM and PredRNN, "
        "of colour frames for its MaxViT (ssim_colour). There outputs are sigmoids, here clamped; "
        "there a mean of batch means, here every frame counts alike.",
        "hash2004/video-generation-ViT-PredRNN-ConvLSTM, notebooks",
        {
            "mse": Figure("mse", PER_ELEMENT),
            "ssim": Figure("ssim_grey", FRAME_MEAN),
            "ssim_colour": Figure("ssim", FRAME_MEAN),
        },
    ),
    "lmc": Convention(
        "Clamped; MSE summed over a frame's pixels, mean over channels; PSNR of range 1 (a perfect "
        "frame: here 100 dB, there infinite); SSIM of range 2; LPIPS on [0, 1].",
        "sangmin-git/LMC-Memory, utils.py and test.py, with scikit-image up to 0.19.3",
        {
            "mse": Figure("mse", PER_PIXEL),
            "psnr": Figure("psnr", DECIBELS),
            "ssim": Figure("ssim_range2", FRAME_MEAN),
            "lpips": Figure("lpips_unscaled", FRAME_MEAN),
        },
    ),
}
"""By name."""


def columns(model: str, dataset: str, context_frames: int, horizon: int) -> frozenset[str]:
    """The columns that the published figures of a cell's model and task are compared in."""
    rows = [row for row in all_rows() if row.is_of(dataset, context_frames, horizon)]
    return frozenset(
        figure.column
        for row in rows
        if row.model == model and row.convention
        for name, figure in CONVENTIONS[row.convention].figures.items()
        if name in row.figures
    )


def described(names: Iterable[str]) -> list[str]:
    """A line for each of the conventions of these names, which may come more than once."""
    return [f"{name}: {CONVENTIONS[name].description}" for name in dict.fromkeys(names)]


def figures(
    table: pd.DataFrame, frame_shape: FrameShape, convention: str
) -> dict[str, float | None]:
    """A cell's figures under the named convention, from its table by frame.

    NaN where a frame's value is NaN or the metric could not be computed; None where the table does
    not hold the column, as those of cells that no published figure was compared with when they ran.
    """
    horizon = table["frame"].nunique()
    return {
        name: figure.scale.elements(frame_shape, horizon) * figure.of(table[figure.column])
        if figure.column in table
        else None
        for name, figure in CONVENTIONS[convention].figures.items()
    }
