"""The small sizes cost about the same, the published ones what is published, and all learn."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench.suite import catalogue
from bench.suite.costs import cost_of
from bench.suite.reference import Reference
from bench.suite.suite import load_suite
from bench.suite.tuned import Tuned, options_text, read
from datasets.contract import Spec
from models.contract import Predictor
from models.convlstm import ConvLSTM
from models.maxvit import MaxViT
from models.predrnn import PredRNN
from models.simvp import SimVP

TUNED = read(Path(load_suite("mnist").tuned_recipes))


def forward_flops(model_class: type[Predictor], size: str) -> float:
    """FLOPs to predict 10 frames from 10 of one grey 64x64 sequence."""
    options = model_class.sizes[size].options
    flops = cost_of(model_class, options, Spec((1, 64, 64), 10, 10)).predict_flops
    assert flops is not None
    return flops


def test_small_sizes_cost_alike() -> None:
    flops = {
        name: forward_flops(model_class, "small")
        for name, model_class in catalogue.predictors().items()
        if "small" in model_class.sizes
    }
    models = catalogue.all_models()
    tuned = {entry.name for entry in TUNED if models[entry.name].tunable}  # with their options
    low, high = load_suite("mnist-all").tuning.flops_per_sequence or (0.0, 0.0)
    assert all(low <= flops[name] <= high for name in tuned), flops
    others = [count for name, count in flops.items() if name not in tuned]
    assert max(others) < 1.25 * min(others), flops
    assert 1e9 < min(others) < 4e9


DEARER_TO_TRAIN = {
    "dmvfn": 5.5,  # every stage, of which prediction skips half
    "lmc_memory": 7.0,  # two updates
    "mcvd": 0.5,  # one step of noise, of which prediction takes six
    "vmrnn": 4.5,  # the scan's gradients
}
"""FLOPs of training on a clip, as so many of predicting it, where that is not about three."""


@pytest.mark.parametrize(
    "name", [n for n, m in catalogue.predictors().items() if "small" in m.sizes]
)
def test_training_costs_what_a_pass_and_its_two_gradients_do(name: str) -> None:
    model_class = catalogue.predictors()[name]
    size = model_class.sizes["small"]
    cost = cost_of(model_class, size.options, Spec((1, 64, 64), 10, 10))
    assert cost.train_flops is not None
    assert cost.predict_flops is not None
    expected = DEARER_TO_TRAIN.get(name, 3.0)
    assert cost.train_flops / cost.predict_flops == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("entry", TUNED, ids=lambda entry: entry.name)
def test_the_small_size_is_the_one_that_was_tuned(entry: Tuned) -> None:
    small = catalogue.all_models()[entry.name].sizes[entry.size]
    assert entry.options == options_text(small.options)
    for name in ("learning_rate", "batch_size", "schedule", "clip_norm", "optimizer"):
        assert getattr(small.recipe, name) == getattr(entry.recipe, name)


@pytest.mark.parametrize(
    ("model_class", "published_gmacs"), [(ConvLSTM, 56.8), (PredRNN, 116.0), (SimVP, 16.5)]
)
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
    asked = Reference(name, {option: values[0] for option, values in model.tunable.items()})
    asked.check_options(model, catalogue.options_of(model))
    small = model.sizes["small"].options
    defaults = inspect.signature(model).parameters
    for option, values in model.tunable.items():
        assert small.get(option, defaults[option].default) in values
