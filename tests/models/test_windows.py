"""Models that read a window of fixed length: a suite's data decide how long it is."""

from __future__ import annotations

import pytest
import torch

from bench.suite import catalogue
from bench.train.task import task_for
from datasets.contract import Spec
from models.contract import Predictor
from models.simvp import SimVP

FRAME = (1, 32, 32)
WINDOWED = [each for each in catalogue.predictors().values() if each.options_on(12, 6)]


def _built(
    cls: type[Predictor], context_frames: int, horizon: int = 6, **options: object
) -> Predictor:
    torch.manual_seed(0)
    small = catalogue.size_of(cls, "small")[1].options
    task = task_for(cls, Spec(FRAME, context_frames, horizon))
    model: Predictor = task.build(cls, {**small, **options})
    return model.eval()


@pytest.mark.parametrize("cls", WINDOWED, ids=lambda cls: cls.name)
@pytest.mark.parametrize("context_frames", [1, 4, 7, 12])
def test_all_of_the_context_is_seen(cls: type[Predictor], context_frames: int) -> None:
    model = _built(cls, context_frames)
    context = torch.rand(1, context_frames, *FRAME)
    other = context.clone()
    other[:, 0] = 1 - other[:, 0]
    with torch.no_grad():
        first, second = model(context, 6), model(other, 6)
    assert first.shape == (1, 6, *FRAME)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("cls", WINDOWED, ids=lambda cls: cls.name)
def test_of_a_long_context_the_last_twenty_frames_are(cls: type[Predictor]) -> None:
    def parameters(context_frames: int) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in _built(cls, context_frames, 40).parameters())

    assert parameters(20) == parameters(1000)


def test_what_is_written_decides_and_a_subclass_need_not_have_it() -> None:
    class Fixed(SimVP):
        def __init__(self, frame_shape: tuple[int, int, int], **options: object) -> None:
            super().__init__(frame_shape, window_frames=3, **options)  # type: ignore[arg-type]

    assert [_built(SimVP, 12, window_frames=5).window_frames, _built(Fixed, 12).window_frames] == [
        5,
        3,
    ]
