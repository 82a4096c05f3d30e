"""Scores of several futures that a model draws of one context."""

from __future__ import annotations

import torch
from torch import Tensor


def crps(samples: Tensor, truth: Tensor) -> Tensor:
    """The continuous ranked probability score of each frame [B,T]: 0 where all are the truth.

    Of each value of `samples` [B,N,T,C,H,W] and `truth` [B,T,C,H,W], in its fair form, whose mean
    does not depend on N; then the mean over the frame. With the samples x and the truth y,

        CRPS = mean over i of |x_i - y| - mean over i and j other than i of |x_i - x_j| / 2

    One sample has the mean absolute error. In order of size, the second mean is the sum of
    2 (2 i - N - 1) x_(i) over N (N - 1), so that no pair is formed. Source: Ferro 2014, "Fair
    scores for ensemble forecasts", Quarterly Journal of the Royal Meteorological Society 140.
    """
    count = samples.shape[1]
    error = (samples - truth[:, None]).abs().mean(1)
    if count > 1:
        places = torch.arange(1 - count, count, 2, device=samples.device, dtype=samples.dtype)
        weights = places / (count * (count - 1))
        error -= torch.einsum("bntchw,n->btchw", samples.sort(1).values, weights)
    return error.mean((-3, -2, -1))


def best_mse(samples: Tensor, truth: Tensor) -> Tensor:
    """The MSE over the clip of the best of its samples, [B], shapes as of `crps`.

    It falls with their number and rewards spread: it says something beside CRPS alone.
    """
    errors = (samples - truth[:, None]).square().mean((-4, -3, -2, -1))
    return errors.amin(1)
