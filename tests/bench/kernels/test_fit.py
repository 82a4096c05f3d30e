"""Which models are given which kernels, and that they go on computing the same."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from bench.kernels.fit import fit, shared_filters
from models.contract import FrameShape, Predictor, TrainingBatch
from models.convlstm import ConvLSTM
from models.predrnn import PredRNN


class Users(Predictor):
    """A user's own model: the second of its convolutions is `conv`."""

    def __init__(self, frame_shape: FrameShape, conv: nn.Conv2d) -> None:
        super().__init__(frame_shape)
        self.layers = nn.Sequential(
            nn.Conv2d(frame_shape[0], 32, 1),
            copy.deepcopy(conv),
            nn.Conv2d(conv.out_channels, frame_shape[0], 1),
        )

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        frames: Tensor = self.layers(context[:, -1])
        return frames[:, None].expand(-1, horizon, -1, -1, -1)


class OwnConv(nn.Conv2d):
    """Convolves in a way of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


FITS = [nn.Conv2d(32, 32, 5, padding=2), nn.Conv2d(32, 40, 5, padding="same", bias=False)]
FITS_NOT = [
    nn.Conv2d(32, 32, 3, padding=1),
    nn.Conv2d(32, 32, 5),
    nn.Conv2d(32, 32, 5, padding=2, stride=2),
    nn.Conv2d(32, 32, 5, padding=4, dilation=2),
    nn.Conv2d(32, 32, 5, padding=2, groups=2),
    nn.Conv2d(32, 32, 5, padding=2, padding_mode="circular"),
    nn.Conv2d(32, 8, 5, padding=2),
    OwnConv(32, 32, 5, padding=2),
]


def losses_and_gradients(model: Predictor, clip: Tensor) -> list[Tensor]:
    with shared_filters():
        loss = model.training_loss(TrainingBatch(clip, 3, 1.0))
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            prediction = model(clip[:, :3], 2)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [loss.detach(), prediction, *gradients]


@pytest.mark.parametrize("conv", FITS, ids=str)
def test_a_users_model_is_served(conv: nn.Conv2d) -> None:
    torch.manual_seed(0)
    model, clip = Users((1, 12, 12), conv), torch.rand(2, 5, 1, 12, 12)
    plain = copy.deepcopy(model)
    assert fit(model, "cpu", "32") == "winograd 5x5: 1 convolutions"
    ours, theirs = losses_and_gradients(model, clip), losses_and_gradients(plain, clip)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)
    assert not torch.equal(ours[1], theirs[1])  # it did go another way


@pytest.mark.parametrize("conv", FITS_NOT, ids=str)
def test_other_convolutions_are_left_alone(conv: nn.Conv2d) -> None:
    assert fit(Users((1, 12, 12), conv), "cpu", "32") == "direct"


@pytest.mark.parametrize(("device", "precision"), [("cuda", "32"), ("cpu", "bf16")])
def test_only_float32_on_a_cpu_is_served(device: str, precision: str) -> None:
    assert fit(Users((1, 12, 12), FITS[0]), device, precision) == "direct"


def test_a_model_in_another_precision_or_alone_goes_the_direct_way() -> None:
    model, clip = Users((1, 12, 12), FITS[0]), torch.rand(2, 3, 1, 12, 12)
    plain = copy.deepcopy(model)
    fit(model, "cpu", "32")
    with torch.no_grad():
        assert torch.equal(model(clip, 2), plain(clip, 2))
        with shared_filters():
            assert torch.equal(model.double()(clip.double(), 2), plain.double()(clip.double(), 2))


@pytest.mark.parametrize("model_class", [ConvLSTM, PredRNN])
def test_small_recurrent_models_are_served_and_learn_the_same(
    model_class: type[ConvLSTM] | type[PredRNN],
) -> None:
    torch.manual_seed(0)
    model = model_class((1, 32, 32), **model_class.sizes["small"].options)
    plain, clip = copy.deepcopy(model), torch.rand(2, 5, 1, 32, 32)
    assert fit(model, "cpu", "32") != "direct"
    ours, theirs = losses_and_gradients(model, clip), losses_and_gradients(plain, clip)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


def test_a_copy_of_a_served_model_uses_its_own_weights() -> None:
    model, clip = Users((1, 12, 12), FITS[0]), torch.rand(2, 3, 1, 12, 12)
    fit(model, "cpu", "32")
    twin = copy.deepcopy(model)
    with torch.no_grad(), shared_filters():
        before = model(clip, 1)
        for parameter in model.parameters():
            parameter.zero_()
        assert torch.equal(twin(clip, 1), before)
