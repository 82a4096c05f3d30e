import pytest
import torch
from torch import Tensor, nn

from bench.train.cost import Cost
from datasets.contract import Spec
from models.contract import Predictor

SPEC = Spec((1, 8, 8), 3, 2)


class OneProduct(Predictor):
    """A 5x5 convolution a predicted frame: 25 multiply-adds a pixel."""

    def __init__(self, frame_shape: tuple[int, int, int]) -> None:
        super().__init__(frame_shape)
        self.filter = nn.Conv2d(1, 1, 5, padding=2, bias=False)

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        filtered: Tensor = self.filter(context[:, -1])
        return filtered[:, None].repeat(1, horizon, 1, 1, 1)


class LooksAtPixels(OneProduct):
    def forward(self, context: Tensor, horizon: int) -> Tensor:
        return super().forward(context if context.sum().item() > 0 else -context, horizon)


class GoesThroughNumPy(OneProduct):
    def forward(self, context: Tensor, horizon: int) -> Tensor:
        return super().forward(torch.from_numpy(context.numpy()), horizon)


def test_a_multiply_add_counts_as_two() -> None:
    cost = Cost(OneProduct, {}, SPEC)
    assert cost.parameters == 25
    assert cost.predict_flops == 2 * 25 * 64
    # Backward: only the weight's gradient, for the clip needs none.
    assert cost.train_flops == 2 * cost.predict_flops


@pytest.mark.parametrize("model", [LooksAtPixels, GoesThroughNumPy])
def test_a_model_that_must_see_pixels_has_no_count(model: type[Predictor]) -> None:
    assert Cost(model, {}, SPEC).predict_flops is None


def test_a_baseline_trains_for_nothing() -> None:
    from models.copy_last import CopyLast

    assert Cost(CopyLast, {}, SPEC).train_flops == 0.0


class OneParameter(Predictor):
    """Predicts what it has learnt, whatever it is given: without a product or convolution."""

    def __init__(self, frame_shape: tuple[int, int, int]) -> None:
        super().__init__(frame_shape)
        self.level = nn.Parameter(torch.zeros(1))

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        return self.level.expand(len(context), horizon, *context.shape[2:])


def test_a_model_that_the_counter_does_not_follow_has_no_count_and_trains() -> None:
    cost = Cost(OneParameter, {}, SPEC)
    assert cost.predict_flops in (None, 0.0)
    assert cost.train_flops in (None, 0.0)
