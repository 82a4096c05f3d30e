"""Frames whose sides are no multiples of what a model takes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from bench.check.promises import small_size
from bench.suite import catalogue
from bench.train.any_size import Padded, padded_from
from bench.train.step import Training, fabric_on
from bench.train.task import Prediction
from datasets.contract import Clips, Dataset, HeldOutName, Spec
from models.contract import FrameShape, Predictor, Recipe, TrainingBatch, require_multiple

ODD = (1, 37, 54)
PREDICTORS = [*catalogue.predictors().values()]


class Squares(Predictor):
    """Predicts the last frame, scaled, and learns that by two losses; takes multiples of 8."""

    losses = "training_loss", "darkness"

    def __init__(self, frame_shape: FrameShape) -> None:
        require_multiple(frame_shape, 8, "squares")
        super().__init__(frame_shape)
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        return self.scale * context[:, -1:].repeat(1, horizon, 1, 1, 1)

    def darkness(self, batch: TrainingBatch) -> Tensor:
        batch.log("seen", batch.clip.sum())
        return (self.scale * batch.clip).mean()

    def parameter_groups(self, recipe: Recipe) -> list[dict[str, object]]:
        return [{"params": [self.scale], "lr": 2 * recipe.learning_rate}]


def built(shape: FrameShape) -> Predictor:
    return Prediction(Spec(shape, 2, 3)).build(Squares, {})


@pytest.mark.parametrize("model_class", PREDICTORS, ids=lambda model: model.name)
def test_every_predictor_takes_frames_of_any_size(model_class: type[Predictor]) -> None:
    """And runs on the meta device, where its FLOPs are counted without computing."""
    task = Prediction(Spec(ODD, 1, 2))
    with torch.device("meta"):
        model = task.build(model_class, small_size(model_class).options)
        clip = torch.empty(2, 3, *ODD)
    predicted = model(clip[:, :1], 2)
    assert (predicted.shape, predicted.device) == (clip[:, 1:].shape, clip.device)
    for name in model.losses if [*model.parameters()] else ():
        assert getattr(model, name)(TrainingBatch(clip, 1, 0.5)).shape == ()


def test_frames_of_the_right_size_are_not_padded() -> None:
    model = built((1, 16, 24))
    assert isinstance(model, Squares)
    assert padded_from(model) == ""


def test_edges_are_repeated_and_predictions_cropped() -> None:
    model = built((3, 13, 24))
    assert isinstance(model, Padded)
    assert padded_from(model) == "13x24 to 16x24"
    context = torch.rand(2, 2, 3, 13, 24)
    larger = model.pad(context)
    assert larger.shape == (2, 2, 3, 16, 24)
    assert torch.equal(larger[..., 0, :], context[..., 0, :])
    assert torch.equal(larger[..., -2:, :], context[..., -1:, :].expand(-1, -1, -1, 2, -1))
    assert torch.equal(model.crop(larger), context)
    assert_close(model(context, 3), 0.5 * context[:, -1:].repeat(1, 3, 1, 1, 1))
    samples = model.sample(context, 3, 4, torch.Generator())
    assert_close(samples, model(context, 3)[:, None].repeat(1, 4, 1, 1, 1, 1))


def test_losses_optimiser_and_logged_values_are_the_models_own() -> None:
    model, clip = built((1, 13, 22)), torch.rand(2, 5, 1, 13, 22)
    assert isinstance(model, Padded)
    batch = TrainingBatch(clip, 2, 0.5)
    larger = model.pad(clip)
    assert model.losses == ("training_loss", "darkness")
    expected = F.mse_loss(0.5 * larger[:, 1:2].repeat(1, 3, 1, 1, 1), larger[:, 2:])
    assert_close(model.training_loss(batch), expected)
    assert_close(getattr(model, "darkness")(batch), 0.5 * larger.mean())  # noqa: B009
    assert_close(batch.logged["seen"], larger.sum())
    groups = model.parameter_groups(Recipe(source="test", learning_rate=1.0, batch_size=1))
    assert groups == [{"params": [*model.parameters()], "lr": 2.0}]


class Brightening(Dataset):
    """Clips of one brightness, on frames that are no multiples of 8."""

    spec = Spec((1, 13, 22), 2, 3)

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        grey = torch.randint(128, 256, (count, 1, 1, 1, 1), generator=generator)
        return grey.expand(count, 5, *self.spec.frame_shape).to(torch.uint8)

    def held_out(self, split: HeldOutName) -> Clips:
        return torch.zeros(1, 5, *self.spec.frame_shape, dtype=torch.uint8)


def test_it_trains_by_each_of_its_losses() -> None:
    task, fabric = Prediction(Brightening.spec), fabric_on("cpu", "32")
    model = task.build(Squares, {})
    training = Training(model, Recipe("", 0.01, 4), task, Brightening(), 0, fabric)
    before = float(training.step(0, 0.0))
    for number in range(1, 40):
        after = float(training.step(number, 0.0))
    assert after < 0.9 * before
