"""Several futures that a model draws of one context, and their scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.errors import Invalid
from bench.train.held_out import Batch
from bench.train.step import seed_of

Sample = Callable[..., Tensor]
"""Futures [B,samples,horizon,C,H,W] that are drawn of a context [B,T,C,H,W] in [0,1], given it, how
many, a generator and, where the model takes them, covariates."""


@dataclass(frozen=True, slots=True)
class Draws:
    """How futures are drawn of held-out clips: each clip's from a generator of its own.

    So they depend neither on the batch that a clip is in nor on the processes that share a test.

    Attributes:
        sample: the model's.
        count: how many of each clip.
    """

    sample: Sample
    count: int

    @torch.no_grad()
    def of(self, given: Batch, seed: int, first: int) -> Tensor:
        """Futures [B,count,horizon,C,H,W] in [0,1] of what a model is `given`.

        The generator of a clip is seeded by `seed` and its position; that of the first is `first`.

        Raises:
            ValueError: there are not so many of a clip.
            Invalid: they are not finite.
        """
        drawn = []
        one_by_one = zip(*(torch.split(part, 1) for part in given), strict=True)
        for place, (context, *covariates) in enumerate(one_by_one, first):
            generator = torch.Generator(given[0].device)
            generator.manual_seed(seed_of(seed, "sample", place))
            futures = self.sample(context, self.count, generator, *covariates)
            if futures.shape[:2] != (1, self.count):
                got = [*futures.shape[:2]]
                raise ValueError(f"{got} clips and samples are drawn, not {[1, self.count]}")
            if not futures.isfinite().all():
                raise Invalid(f"the futures drawn of clip {place} hold what is no number")
            drawn.append(futures.float().clamp(0, 1))
        return torch.cat(drawn)


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
