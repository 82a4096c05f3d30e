"""Numbers beside frames reach the models that take them, and no others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bench.errors import UserError
from bench.score.samples import Draws
from bench.train.any_size import Padded
from bench.train.held_out import HeldOut
from bench.train.step import Training, fabric_on
from bench.train.task import Prediction, task_for
from datasets.contract import Clips, Covariate, Dataset, HeldOutName, Spec
from models.contract import Predictor, Recipe, TrainingBatch
from models.predrnn_v2 import PredRNNV2

CPU = torch.device("cpu")
SWITCH = (Covariate("switch"),)
TINY = {"width": 8, "layers": 1, "kernel": 3}


class Lamp(Dataset):
    """Frames of one brightness: that of the switch beside the frame before."""

    def __init__(self, spoil: float = 0.0, frame: tuple[int, int, int] = (1, 8, 8)) -> None:
        self.spec, self.spoil = Spec(frame, 2, 3, covariates=SWITCH), spoil

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        return self.train_clips_with_covariates(count, generator)[0]

    def train_clips_with_covariates(
        self, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        switch = torch.randint(2, (count, self.spec.clip_frames + 1), generator=generator)
        frames = (200 * switch[:, :-1, None, None, None]).byte()
        beside = switch[:, 1:, None].float() + self.spoil
        return frames.repeat(1, 1, *self.spec.frame_shape), beside

    def held_out(self, split: HeldOutName) -> Clips:
        return _Fixed(*self.train_clips_with_covariates(32, torch.Generator().manual_seed(5)))


class _Fixed:
    def __init__(self, clips: Tensor, beside: Tensor) -> None:
        self._clips, self._beside = clips, beside

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, window: slice, /) -> Tensor:
        return self._clips[window]

    def covariates(self, window: slice, /) -> Tensor:
        return self._beside[window]


def _training(cls: type[Predictor], data: Dataset, **options: object) -> Training:
    torch.manual_seed(0)
    task = task_for(cls, data.spec)
    recipe = Recipe("test", learning_rate=2e-2, batch_size=8)
    model = task.build(cls, options)
    return Training(model, recipe, task, data, 0, fabric_on("cpu", "32"))


def _held_out(data: Dataset, covariates: int) -> HeldOut:
    clips = data.held_out("test")
    return HeldOut(clips, len(clips), 16, CPU, lambda _: None, covariates=covariates)


def _tested(data: Dataset, steps: int) -> float:
    """The MSE of PredRNN-V2 after so many steps."""
    training = _training(PredRNNV2, data, **TINY)
    for number in range(steps):
        training.step(number, number / steps)
    training.finish()
    task, model = task_for(PredRNNV2, data.spec), training.model.module.eval()
    held_out = _held_out(data, len(data.spec.covariates))
    return task.validate(lambda *given: task.forward(model, *given), held_out)


def test_a_model_that_is_given_them_learns_what_one_that_is_not_cannot() -> None:
    told, untold = Lamp(), Lamp()
    untold.spec = replace(untold.spec, covariates=())
    guessing = (200 / 255) ** 2 / 4  # of a brightness that is as likely as none
    assert _tested(told, 30) < 0.1 * guessing
    assert _tested(untold, 30) > 0.8 * guessing


class Filter(Predictor):
    """Takes none; notes what it is given."""

    def __init__(self, frame_shape: tuple[int, int, int]) -> None:
        super().__init__(frame_shape)
        self.filter = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        frame: Tensor = self.filter(context[:, -1])
        return frame[:, None].expand(-1, horizon, -1, -1, -1)

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        assert batch.covariates is None
        return super().training_loss(batch)


def test_one_that_takes_none_trains_to_the_bit_as_if_there_were_none() -> None:
    told, untold = Lamp(), Lamp()
    untold.spec = replace(untold.spec, covariates=())
    weights = []
    for data in (told, untold):
        training = _training(Filter, data)
        weights.append(
            [training.step(number, 0.0).item() for number in range(3)]
            + [each.sum().item() for each in training.model.parameters()]
        )
        training.finish()
    assert weights[0] == weights[1]


@pytest.mark.parametrize("size", [(8, 12), (10, 13)])
def test_frames_of_any_size_keep_theirs(size: tuple[int, int]) -> None:
    data = Lamp(frame=(1, *size))
    training = _training(PredRNNV2, data, **TINY)
    model = training.model.module
    assert isinstance(model, Padded) == (size == (10, 13))
    assert torch.isfinite(training.step(0, 0.5))
    training.finish()
    context, one, other = torch.rand(2, 2, 1, *size), torch.zeros(2, 5, 1), torch.ones(2, 5, 1)
    with torch.no_grad():
        assert model(context, 3, one).shape == (2, 3, 1, *size)
        assert not torch.equal(model(context, 3, one), model(context, 3, other))


class Greedy(Predictor):
    """Spoils what it is given."""

    def forward(self, context: Tensor, horizon: int, *covariates: Tensor) -> Tensor:
        for each in covariates:
            each.fill_(9)
        return context[:, -1:].repeat(1, horizon, 1, 1, 1)


def test_what_is_given_in_a_test_is_a_copy() -> None:
    data, model = Lamp(), Greedy((1, 8, 8))
    held_out = _held_out(data, 1)
    for batch in held_out.passes(lambda *given: model(given[0], 3, *given[1:]), 2):
        window = slice(batch.first, batch.first + 16)
        assert torch.equal(batch.covariates[0], data.held_out("test").covariates(window))  # type: ignore[attr-defined]


def test_futures_are_drawn_by_the_numbers_of_their_clip() -> None:
    def drawn(context: Tensor, count: int, generator: torch.Generator, numbers: Tensor) -> Tensor:
        assert len(context) == 1
        noise = torch.rand(1, count, 1, 1, 1, 1, generator=generator)
        return 0.5 * noise + 0.5 * numbers.amax(1)[:, None, None, None, None]

    context, numbers = torch.rand(3, 2, 1, 4, 4), torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    futures = Draws(drawn, 4).of((context, numbers.expand(3, 5, 1)), 0, 0)
    assert (futures.amin((1, 2, 3, 4, 5)) >= torch.tensor([0, 0.5, 0])).all()
    assert (futures.amax((1, 2, 3, 4, 5)) <= torch.tensor([0.5, 1, 0.5])).all()


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        (torch.zeros(4, 5, 2), r"\(4, 5, 2\), not torch.float32 \(4, 5, 1\)"),
        (torch.zeros(4, 4, 1), r"\(4, 4, 1\), not"),
        (torch.zeros(4, 5, 1).double(), "torch.float64"),
        (torch.full((4, 5, 1), torch.nan), "NaN or infinite"),
    ],
)
def test_numbers_that_do_not_fit_are_one_line(beside: Tensor, said: str) -> None:
    class Spoilt(Lamp):
        def train_clips_with_covariates(
            self, count: int, generator: torch.Generator
        ) -> tuple[Tensor, Tensor]:
            return super().train_clips_with_covariates(count, generator)[0], beside

        def held_out(self, split: HeldOutName) -> Clips:
            return _Fixed(Lamp().train_clips(4, torch.Generator().manual_seed(0)), beside)

    data = Spoilt()
    task = task_for(PredRNNV2, data.spec)
    assert isinstance(task, Prediction)
    with pytest.raises(UserError, match=said):
        task.draw(data, 4, torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match=said):
        _held_out(data, 1).stored(0)
