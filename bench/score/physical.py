"""Errors of one quantity: in its unit, weighted by area on a globe, and against a climatology."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bench.score.metric import LEAST


def area_weights(latitudes: Sequence[float], device: torch.device) -> Tensor:
    """What each pixel of a map counts, [H,1], mean 1: the cosine of its row's latitude in degrees.

    Source: Rasp et al. 2020, "WeatherBench: a benchmark data set for data-driven weather
    forecasting", equation 2.
    """
    cosines = [math.cos(math.radians(latitude)) for latitude in latitudes]
    mean = math.fsum(cosines) / len(cosines)
    return torch.tensor([cosine / mean for cosine in cosines], device=device)[:, None]


def rmse(prediction: Tensor, truth: Tensor, weights: Tensor | float = 1.0) -> Tensor:
    """The root of the mean squared error of each map [...] of prediction and truth [...,H,W]."""
    return ((prediction - truth).square() * weights).mean((-2, -1)).sqrt()


def anomaly_correlation(
    prediction: Tensor, truth: Tensor, climatology: Tensor, weights: Tensor
) -> Tensor:
    """How the anomalies of each map go together, [...] in [-1,1]; 0 where one has none.

    With f and o the differences of `prediction` and `truth` [...,H,W] from `climatology` [H,W],

        ACC = sum of w f o / root of (sum of w f² sum of w o²)

    Source: Rasp et al. 2024, "WeatherBench 2: a benchmark for the next generation of data-driven
    global weather models", section 4.1.
    """
    forecast, observed = prediction - climatology, truth - climatology
    together, *each = (
        (product * weights).mean((-2, -1))
        for product in (forecast * observed, forecast.square(), observed.square())
    )
    norm = each[0].sqrt() * each[1].sqrt()
    return torch.where(norm <= LEAST, 0.0, together / norm)
