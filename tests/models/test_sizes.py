"""The small sizes cost about the same, the published ones what is published, and all learn."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch

from bench.suite import catalogue
from bench.suite.costs import cost_of
from bench.suite.reference import Reference
from datasets.contract import Spec
from models.contract import Predictor
from models.convlstm import ConvLSTM
from models.maxvit import MaxViT
from models.predrnn import PredRNN


def forward_flops(model_class: type[Predictor], size: str) -> float:
    """FLOPs to predict 10 frames from 10 of one grey 64x64 sequence."""
    options = model_class.sizes[size].options
    flops = cost_of(model_class, options, Spec((1, 64, 64), 10, 10)).predict_flops
    assert flops is not None
    return flops


def test_small_sizes_cost_the_same_within_a_quarter() -> None:
    flops = {
        name: forward_flops(model_class, "small")
        for name, model_class in catalogue.predictors().items()
        if "small" in model_class.sizes
    }
    assert {"convlstm", "predrnn", "maxvit", "sith", "swinlstm_d"} <= set(flops)
    assert max(flops.values()) < 1.25 * min(flops.values()), flops
    assert 1e9 < min(flops.values()) < 4e9


@pytest.mark.parametrize(("model_class", "published_gmacs"), [(ConvLSTM, 56.8), (PredRNN, 116.0)])
def test_published_sizes_cost_what_is_published(
    model_class: type[Predictor], published_gmacs: float
) -> None:
    gmacs = forward_flops(model_class, "published") / 2e9
    assert gmacs == pytest.approx(published_gmacs, rel=0.005)


@pytest.mark.parametrize(
    ("model_class", "options"),
    [
        (ConvLSTM, {"width": 16, "layers": 2, "kernel": 3}),
        (PredRNN, {"width": 16, "layers": 2, "kernel": 3}),
        (MaxViT, {"stem": 16, "widths": (32, 32), "depths": (1, 1), "head": 16}),
    ],
)
def test_four_sequences_are_learnt_by_heart(
    model_class: type[Predictor],
    options: dict[str, object],
    learns_by_heart: Callable[..., None],
) -> None:
    torch.manual_seed(0)
    learns_by_heart(model_class((1, 32, 32), **options))


@pytest.mark.parametrize(
    "name", [n for n, model in catalogue.all_models().items() if model.tunable]
)
def test_what_may_be_tuned_are_options_and_the_small_size_is_among_them(name: str) -> None:
    model = catalogue.all_models()[name]
    Reference(name, {option: values[0] for option, values in model.tunable.items()}).check_options(
        model
    )
    small = model.sizes["small"].options
    defaults = inspect.signature(model).parameters
    for option, values in model.tunable.items():
        assert small.get(option, defaults[option].default) in values
