"""The only definitions of MSE, MAE, PSNR and SSIM of frames, of top-k and cross-entropy of clips.

Every measure of frames takes prediction and truth [...,C,H,W] in [0,1] and returns one value per
frame [...]: leading dimensions, such as sequence and predicted frame, are kept. Values are float32,
and exact to that, whatever autocast or TensorFloat setting the caller runs under, on any device.
`errors` and `similarities` give these and their relatives that published figures are made of
(`conventions.py`), from work done once. LPIPS is in `perceptual.py`, the better direction of each
in `records.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

FrameMetrics = Callable[[Tensor, Tensor], dict[str, Tensor]]
"""Prediction and truth [...,C,H,W] -> values per frame [...] by name."""

PERFECT_PSNR = 100.0
"""Decibels of a perfect frame, and of any frame with an MSE of at most 1e-10."""

_BACKENDS: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.mkldnn)
_SSIM_WINDOW = 7
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2
_COVARIANCE_NORM = _SSIM_WINDOW**2 / (_SSIM_WINDOW**2 - 1)


class NotMeasured(Exception):
    """The metric cannot be had here; the message is the reason, in one line."""


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Float32 arithmetic inside: no autocast, no TensorFloat-32 or bfloat16 in its place.

    CUDA's matrix products are left out: their setting has an older name, and torch refuses to
    multiply where the two disagree.
    """
    cudnn, mkldnn = _BACKENDS
    backends = (cudnn.conv, mkldnn.conv, mkldnn.matmul)
    previous = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, previous, strict=True):
            backend.fp32_precision = precision


def mse(prediction: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error over the elements of each frame; in [0,1] for frames in [0,1]."""
    return (prediction.float() - truth.float()).square().mean((-3, -2, -1))


def mae(prediction: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute error over the elements of each frame; in [0,1] for frames in [0,1]."""
    return (prediction.float() - truth.float()).abs().mean((-3, -2, -1))


def psnr(prediction: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each frame in dB, for data range 1; at most 100."""
    return _decibels(mse(prediction, truth))


def ssim(prediction: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of each frame, in [-1,1], as scikit-image's defaults have it.

    7x7 uniform window where it fits whole, sample covariance, data range 1, channels averaged
    (Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity").
    Written in the sum s and the difference d of the frames, it needs four window means, not five:

        SSIM = (s² - d² + 2 C1) / (s² + d² + 2 C1) * (var s - var d + 2 C2) / (var s + var d + 2 C2)

    Raises:
        NotMeasured: where a side of the frame is shorter than the window.
    """
    with full_precision(prediction.device):
        return _similarity(_window_statistics(prediction, truth)).mean(-1).float()


def errors(prediction: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """MSE, MAE and PSNR of each frame of a prediction that is not clamped yet, by name.

    `mse`, `mae` and `psnr` are of the clamped prediction, `mse_unclamped` and `mae_unclamped` of
    the prediction as it is, `psnr_bytes` is of bytes.
    """
    clamped = prediction.clamp(0, 1)
    squared = mse(clamped, truth)
    return {
        "mse": squared,
        "mae": mae(clamped, truth),
        "psnr": _decibels(squared),
        "mse_unclamped": mse(prediction, truth),
        "mae_unclamped": mae(prediction, truth),
        "psnr_bytes": psnr(_cut_to_bytes(clamped), _cut_to_bytes(truth)),
    }


def similarities(prediction: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """SSIM of each frame by name, as `ssim` has it but for what the name says.

    `ssim_range2` supposes the data range 2; `ssim_grey` is of the mean over channels; `ssim_bytes`
    is of bytes, whose data range is 255.

    Raises:
        NotMeasured: where a side of the frame is shorter than the window.
    """
    grey = prediction.mean(-3, keepdim=True), truth.mean(-3, keepdim=True)
    with full_precision(prediction.device):
        statistics = _window_statistics(prediction, truth)
        of_bytes = _window_statistics(_cut_to_bytes(prediction), _cut_to_bytes(truth))
        one_channel = prediction.shape[-3] == 1
        of_grey = statistics if one_channel else _window_statistics(*grey)
        found = {
            "ssim": _similarity(statistics),
            "ssim_range2": _similarity(statistics, data_range=2),
            "ssim_grey": _similarity(of_grey),
            "ssim_bytes": _similarity(of_bytes),
        }
        return {name: values.mean(-1).float() for name, values in found.items()}


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log of the probability that `logits` [N,classes] give each of the `labels` [N], in nats."""
    return F.cross_entropy(logits.float(), labels, reduction="none")


def label_ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """The place of each of the `labels` [N] among the classes, int64 [N] from 1, by `logits`.

    Before it are the classes with a larger logit, and those with an equal one and a lower index: so
    that equal logits for all name the first classes, not whichever is right. Where a logit is no
    number its class comes before the label; where the label's is none, the label comes last.
    """
    own = logits.gather(1, labels[:, None])
    index = torch.arange(logits.shape[1], device=logits.device)
    behind = (own > logits) | ((own == logits) & (index > labels[:, None]))
    return logits.shape[1] - behind.sum(1)


def top_k(ranks: Tensor, k: int) -> float:
    """The share, in [0,1], of labels that are among the first `k` classes, given their ranks."""
    return float((ranks <= k).double().mean())


def _decibels(mean_square: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of frames with that MSE, for data range 1; at most 100."""
    return -10 * mean_square.clamp(min=10 ** (-PERFECT_PSNR / 10)).log10()


def _cut_to_bytes(frames: Tensor) -> Tensor:
    """`frames` in [0,1] on the grid of bytes, still in [0,1], what lies between cut off."""
    return (frames.float() * 255).floor_().div_(255)


def _window_statistics(prediction: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Squared means and variances of sum and difference in every window: both [2,...,H-6,W-6].

    Raises:
        NotMeasured: where a side of the frame is shorter than the window.
    """
    *_, height, width = prediction.shape
    if min(height, width) < _SSIM_WINDOW:
        raise NotMeasured(f"SSIM needs frames of at least 7x7 pixels, not {height}x{width}")
    # In float64 on CUDA, whose float32 products may be TensorFloat-32.
    dtype = torch.float64 if prediction.is_cuda else torch.float32
    prediction, truth = prediction.to(dtype), truth.to(dtype)
    values = torch.stack((prediction + truth, prediction - truth))
    # Squares of centred values keep the digits that the variances are made of; the work is done
    # in place because fresh memory costs a CPU more than the arithmetic.
    offset = values.mean((-2, -1), keepdim=True)
    values -= offset
    mean, mean_square = _window_means(values), _window_means(values.square_())
    variance = mean_square.addcmul_(mean, mean, value=-1).mul_(_COVARIANCE_NORM)
    return mean.add_(offset).square_(), variance


def _similarity(statistics: tuple[Tensor, Tensor], data_range: int = 1) -> Tensor:
    """SSIM [...,C] of frames and channels with these window statistics."""
    power, variance = statistics
    luminance = _contrast(power, 2 * _SSIM_C1 * data_range**2)
    structure = _contrast(variance, 2 * _SSIM_C2 * data_range**2)
    return luminance.mul_(structure).mean((-2, -1))


def _contrast(of_sum_and_difference: Tensor, stabiliser: float) -> Tensor:
    """(a - b + c) / (a + b + c) for a, b stacked in the first argument."""
    total, difference = of_sum_and_difference.unbind()
    return (total - difference).add_(stabiliser).div_((total + difference).add_(stabiliser))


def _window_means(values: Tensor) -> Tensor:
    """Means over the windows that fit in `values` [...,H,W]: [...,H-6,W-6].

    Two products with banded matrices: quicker than pooling on a CPU, exact on every device.
    """
    height, width = values.shape[-2:]
    return _band(height, values) @ (values @ _band(width, values).T)


def _band(size: int, like: Tensor) -> Tensor:
    """The matrix [size-6,size] that averages every 7 neighbours, on the device of `like`."""
    ones = like.new_ones(size - _SSIM_WINDOW + 1, size)
    return ones.triu().tril(_SSIM_WINDOW - 1) / _SSIM_WINDOW
