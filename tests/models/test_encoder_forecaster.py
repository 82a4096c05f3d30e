from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from models.contract import FrameShape
from models.encoder_forecaster import ConvGRUForecaster, ConvLSTMForecaster, EncoderForecaster

TINY: dict[str, Any] = {"first": 4, "widths": (4, 8, 8), "last": 4, "kernel": 3, "group": 4}

both = pytest.mark.parametrize(
    "model_class", [ConvLSTMForecaster, ConvGRUForecaster], ids=lambda model: model.name
)


@pytest.mark.parametrize(
    ("model_class", "frame_shape", "options", "published", "gates"),
    [
        (ConvLSTMForecaster, (1, 64, 64), {}, 9_032_225, 4),
        (ConvGRUForecaster, (1, 64, 64), {}, 6_880_289, 3),
        (ConvGRUForecaster, (3, 160, 240), {"first": 64}, 7_112_355, 3),
    ],
)
def test_published_size_has_the_published_parameters_without_the_unused(
    model_class: type[EncoderForecaster],
    frame_shape: FrameShape,
    options: dict[str, Any],
    published: int,
    gates: int,
) -> None:
    with torch.device("meta"):
        model = model_class(frame_shape, **model_class.sizes["published"].options, **options)
    # The deepest forecasting cell there convolves an input of 96 channels that is always zero.
    unused = gates * 96 * 96 * 5 * 5
    assert sum(p.numel() for p in model.parameters()) == published - unused


@both
def test_sizes_that_cannot_be_halved_twice_are_refused(
    model_class: type[EncoderForecaster],
) -> None:
    with pytest.raises(ValueError, match=r"multiples of 4 .* not 64 x 66"):
        model_class((1, 64, 66))


@both
def test_states_live_at_full_half_and_quarter_size(model_class: type[EncoderForecaster]) -> None:
    model = model_class((3, 8, 20), **TINY)
    maps, shapes = torch.rand(3, 2, 3, 8, 20), []
    for stage in model.encoder:
        maps, state = stage(maps, None)
        shapes.append(tuple(state[0].shape))
    assert shapes == [(2, 4, 8, 20), (2, 8, 4, 10), (2, 8, 2, 5)]


@both
def test_the_forecast_is_unconditional(model_class: type[EncoderForecaster]) -> None:
    """A longer horizon adds frames and changes none."""
    torch.manual_seed(0)
    model, context = model_class((1, 8, 12), **TINY), torch.rand(2, 3, 1, 8, 12)
    with torch.no_grad():
        assert_close(model(context, 7)[:, :2], model(context, 2))


@both
def test_the_last_layer_is_linear(model_class: type[EncoderForecaster]) -> None:
    torch.manual_seed(0)
    model, context = model_class((1, 8, 12), **TINY), torch.rand(2, 3, 1, 8, 12)
    with torch.no_grad():
        before = model(context, 2)
        model.output[-1].bias.sub_(3.0)
        assert_close(model(context, 2), before - 3.0)


@both
def test_every_frame_of_the_context_moves_every_prediction(
    model_class: type[EncoderForecaster],
) -> None:
    torch.manual_seed(0)
    model = model_class((1, 8, 12), **TINY)
    context = torch.rand(1, 4, 1, 8, 12).requires_grad_()
    for frame in model(context, 3).unbind(1):
        (gradient,) = torch.autograd.grad(frame.sum(), context, retain_graph=True)
        assert bool((gradient.flatten(2) != 0).any(2).all())


@both
def test_four_sequences_are_learnt_by_heart_within_300_steps(
    model_class: type[EncoderForecaster], learns_by_heart: Callable[..., None]
) -> None:
    torch.manual_seed(0)
    learns_by_heart(model_class((1, 32, 32), **TINY))
