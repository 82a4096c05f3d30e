"""SimVP: published sizes with all translators, what each frame is made of, roll-out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from models.layers.drop_path import DropPath
from models.layers.translators import BLOCKS
from models.simvp import SimVP

TINY = {"width": 8, "translator_width": 16, "translator_depth": 3, "window_frames": 3}


def tiny(translator: str = "gsta", **options: object) -> SimVP:
    torch.manual_seed(0)
    return SimVP((1, 16, 16), translator=translator, **{**TINY, **options}).eval()


@pytest.mark.parametrize("translator", ["incepu", *BLOCKS])
def test_every_translator_takes_rectangles_and_lets_every_frame_see_every_other(
    translator: str,
) -> None:
    torch.manual_seed(0)
    model = SimVP((3, 16, 24), translator=translator, **{**TINY, "translator_depth": 4})
    model = model.double().eval()
    with torch.no_grad():  # layer scales start at nearly nothing
        for name, parameter in model.named_parameters():
            if name.endswith(("scale", "own", "detail")):
                parameter.fill_(0.5)
    context = torch.rand(2, 3, 3, 16, 24).double().requires_grad_()
    predicted = model(context, 3)
    assert predicted.shape == context.shape
    for frame in range(3):
        (seen,) = torch.autograd.grad(predicted[:, frame].sum(), context, retain_graph=True)
        assert bool((seen.abs().amax((0, 2, 3, 4)) > 0).all())
    predicted.square().sum().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not dead


class Later(nn.Module):
    """Every frame's channels in the place of the next frame's."""

    def forward(self, x: Tensor) -> Tensor:
        return x.roll(TINY["width"], 1)


def test_a_future_frame_is_its_own_channels_and_the_skip_of_the_context_frame_there() -> None:
    model = tiny()
    model.translator = Later()
    context = torch.rand(1, 3, 1, 16, 16, requires_grad=True)
    (seen,) = torch.autograd.grad(model(context, 3)[:, 1].sum(), context)
    assert (seen.abs().amax((0, 2, 3, 4)) > 0).tolist() == [True, True, False]


def test_maps_are_halved_by_every_second_layer_and_doubled_in_reverse() -> None:
    model = tiny(depth=5)
    assert [layer[0].stride[0] for layer in model.encoder] == [2, 1, 2, 1]
    assert [isinstance(layer[1], nn.PixelShuffle) for layer in model.decoder] == [
        False,
        True,
        False,
        True,
    ]
    with pytest.raises(ValueError, match=r"multiples of 4 \(the encoder halves them 2 times\)"):
        SimVP((1, 64, 66))


def test_longer_horizons_go_through_the_predictions_in_training_too() -> None:
    model = tiny()
    context = torch.rand(2, 3, 1, 16, 16)
    first = model(context, 3)
    torch.testing.assert_close(model(context, 2), first[:, :2])
    rolled = model(context, 5)
    torch.testing.assert_close(rolled, torch.cat((first, model(first, 2)), 1))
    repeated = torch.cat((context[:, :1], context[:, :1], context[:, :1]), 1)
    torch.testing.assert_close(model(context[:, :1], 3), model(repeated, 3))
    frames = context.clone().requires_grad_()
    (seen,) = torch.autograd.grad(model(frames, 5)[:, 3:].sum(), frames)
    assert bool(seen.any())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"translator": "lstm"}, "translator is one of incepu, gsta, .*not 'lstm'"),
        ({"translator_depth": 1}, "translator_depth is at least 2, not 1"),
        ({"width": 7}, "width must be a multiple of 2, not 7"),
        ({"translator_width": 12}, "translator_width must be a multiple of 8, not 12"),
        ({"width": 6}, r"window_frames \* width must be a multiple of 8, not 18"),
    ],
)
def test_what_cannot_be_built_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**options)  # type: ignore[arg-type]


def test_stochastic_depth_rises_to_its_rate_and_is_off_by_default() -> None:
    def rates(model: SimVP) -> list[float]:
        return [m.rate for m in model.modules() if isinstance(m, DropPath)]

    assert rates(tiny(drop_path=0.2)) == pytest.approx([0.0, 0.0, 0.1, 0.1, 0.2, 0.2])
    assert set(rates(tiny())) == {0.0}


def test_four_sequences_are_learnt_by_heart(learns_by_heart: Callable[..., None]) -> None:
    torch.manual_seed(0)
    model = SimVP((1, 32, 32), **{**TINY, "translator_depth": 2})
    learns_by_heart(model)
