"""Every recurrent model against the order of operations of its published code, in float64.

Each file in `tests/literal` is that of the model it is named for; one may say in MODE that it
describes "eval" instead of "train". Parameters are moved off their initial values, where a zero
would hide what it is multiplied by.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from bench.suite import catalogue
from models.contract import Predictor, TrainingBatch

LITERAL = Path(__file__).parents[1] / "literal"
NAMES = [m.name for m in pkgutil.iter_modules([str(LITERAL)]) if not m.name.startswith("_")]
CONTEXT_FRAMES, HORIZON = 3, 3
TOLERANCE = {"rtol": 0.0, "atol": 1e-10}


def build(name: str, literal: ModuleType) -> Predictor:
    """The model `name` as small as `literal` wants it, its weights away from where they start."""
    torch.manual_seed(0)
    model = catalogue.all_models()[name](literal.FRAME, **literal.TINY).double()
    assert isinstance(model, Predictor)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
                nn.init.normal_(module.running_mean, std=0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.train(getattr(literal, "MODE", "train") == "train")


@pytest.mark.parametrize("name", NAMES)
def test_model_does_what_its_published_code_does(name: str) -> None:
    literal = importlib.import_module(f"tests.literal.{name}")
    model = build(name, literal)
    clip = torch.rand(2, CONTEXT_FRAMES + HORIZON, *literal.FRAME).double()
    names, parameters = zip(*model.named_parameters(), strict=True)

    loss = model.training_loss(
        TrainingBatch(clip, CONTEXT_FRAMES, 1.0, torch.Generator().manual_seed(0))
    )
    expected_loss = literal.training_loss(literal.weights(model), clip, CONTEXT_FRAMES)
    assert_close(loss, expected_loss, **TOLERANCE)

    # A parameter without a gradient counts as one with zeros.
    gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
    expected = torch.autograd.grad(expected_loss, parameters, materialize_grads=True)
    assert any(bool(gradient.any()) for gradient in gradients)
    for parameter_name, ours, theirs in zip(names, gradients, expected, strict=True):
        assert_close(ours, theirs, **TOLERANCE, msg=lambda why, n=parameter_name: f"{n}: {why}")

    with torch.no_grad():
        context = clip[:, :CONTEXT_FRAMES]
        prediction = model(context, HORIZON)
        expected_prediction = literal.prediction(literal.weights(model), context, HORIZON)
    assert_close(prediction, expected_prediction, **TOLERANCE)


def test_the_models_that_came_first_are_compared() -> None:
    assert {"convlstm", "predrnn", "predrnn_v2"} <= set(NAMES)
