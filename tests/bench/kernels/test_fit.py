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
from models.vgg3d_classifier import VGG3DClassifier


class Users(Predictor):
    """A user's own model: the second of its convolutions is `conv`."""

    def __init__(self, frame_shape: FrameShape, conv: nn.Conv2d) -> None:
        super().__init__(frame_shape)
        self.layers = nn.Sequential(
            nn.Conv2d(frame_shape[0], conv.in_channels, 1),
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


FITS = [
    nn.Conv2d(32, 32, 5, padding=2),
    nn.Conv2d(32, 20, 5, padding="same", bias=False),
    nn.Conv2d(64, 64, 3, padding=1),
    nn.Conv2d(64, 64, 3, padding=1, bias=False),
]
FITS_NOT = [
    nn.Conv2d(32, 40, 3, padding=1),
    nn.Conv2d(32, 32, 7, padding=3),
    nn.Conv2d(32, 32, (3, 5), padding="same"),
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
    model, clip = Users((1, 12, 17), conv), torch.rand(4, 5, 1, 12, 17)
    plain = copy.deepcopy(model)
    side = conv.kernel_size[0]
    assert fit(model, "cpu", "32") == f"winograd {side}x{side}: 1 convolutions"
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


def test_convolutions_over_time_are_served() -> None:
    torch.manual_seed(0)
    model = VGG3DClassifier((3, 32, 32), 5, width=14).eval()
    plain, clip = copy.deepcopy(model), torch.rand(4, 4, 3, 32, 32)
    assert "3x3x3" in fit(model, "cpu", "32")
    labels = torch.arange(4)
    with shared_filters():
        ours = model.training_loss(clip, labels)
        ours.backward()  # type: ignore[no-untyped-call]
    theirs = plain.training_loss(clip, labels)
    theirs.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)
    gradients = ([p.grad for p in m.parameters()] for m in (model, plain))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=2e-5)


def test_what_serves_a_model_is_named_with_how_many_convolutions_it_serves() -> None:
    model = nn.Sequential(FITS[0], FITS[1], FITS[2], FITS_NOT[0])
    assert fit(copy.deepcopy(model), "cpu", "32") == "winograd 3x3: 1, 5x5: 2 convolutions"


def test_few_small_maps_go_the_direct_way() -> None:
    model, clip = Users((1, 4, 4), FITS[2]), torch.rand(4, 3, 1, 4, 4)
    plain = copy.deepcopy(model)
    fit(model, "cpu", "32")
    with torch.no_grad(), shared_filters():
        assert torch.equal(model(clip, 2), plain(clip, 2))


def test_nested_sharing_starts_and_ends_by_itself() -> None:
    torch.manual_seed(0)
    model, clip = Users((1, 12, 12), FITS[0]), torch.rand(4, 5, 1, 12, 12)
    plain = copy.deepcopy(model)
    fit(model, "cpu", "32")
    with shared_filters():
        outer = model.training_loss(TrainingBatch(clip, 3, 1.0))
        losses_and_gradients(model, clip)
        (outer + model.training_loss(TrainingBatch(clip, 3, 1.0))).backward()  # type: ignore[no-untyped-call]
    losses_and_gradients(plain, clip)
    (2 * plain.training_loss(TrainingBatch(clip, 3, 1.0))).backward()  # type: ignore[no-untyped-call]
    ours, theirs = ([p.grad for p in m.parameters()] for m in (model, plain))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


def test_fused_updates_are_those_of_the_plain_model() -> None:
    """A gradient with other strides than its parameter would be applied to the wrong weights."""
    torch.manual_seed(0)
    models = [Users((1, 12, 12), FITS[0]) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    fit(models[0], "cpu", "32")
    clip = torch.rand(4, 5, 1, 12, 12)
    for model in models:
        optimizer = torch.optim.SGD(model.parameters(), 1e-2, momentum=0.9, fused=True)
        for _ in range(3):
            optimizer.zero_grad()
            losses_and_gradients(model, clip)
            optimizer.step()
    ours, theirs = (list(model.state_dict().values()) for model in models)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


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
