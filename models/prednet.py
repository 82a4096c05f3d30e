"""PredNet: layers that pass on only what they did not expect (Lotter et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import (
    FrameShape,
    Paper,
    Predictor,
    Recipe,
    Size,
    TrainingBatch,
    require_multiple,
    small_recipe,
)
from models.convlstm import CellState
from models.layers.precision import zero_state
from models.layers.rollout import TeacherForcing, choose

EXTRAPOLATES_FROM = 1 / 2
"""Of the budget: the authors train 150 epochs on the next frame, then 150 on several."""


class Level(NamedTuple):
    """What a layer keeps: hidden and cell state, and how its target missed what it expected."""

    hidden: Tensor
    cell: Tensor
    error: Tensor
    """Twice as many channels [B,2c,h,w]: what was expected in excess, and what was not."""


class Representation(nn.Module):
    """A ConvLSTM layer whose gates are Keras's hard sigmoids; it reads all of its input at once.

    Args:
        inputs: channels of the input, the layer's own hidden state among them.
        width: channels of the hidden and the cell state.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.gates = _convolution(inputs, 4 * width)

    def forward(self, x: Tensor, cell: Tensor) -> CellState:
        """New hidden and cell state for x [B,inputs,h,w]."""
        i, f, g, o = self.gates(x).chunk(4, 1)
        cell = _hard_sigmoid(f) * cell + _hard_sigmoid(i) * g.tanh()
        return _hard_sigmoid(o) * cell.tanh(), cell


class PredNet(Predictor):
    """A stack that says what comes next from the top down, and sends up what it was wrong about.

    At each step the representations of all layers are renewed, from the top down, by the last
    errors. Of each layer's a convolution says what it expects: of the lowest the frame, before it
    is seen. Errors then make the targets, from the bottom up: the lowest layer's is the frame, the
    next one's a convolution of that layer's errors, halved by pooling.

    The loss is half of the mean absolute error of all frames but the first ("L_0"). In the first
    half of training every frame is seen; in the second the model's own predictions stand for those
    after the context, as in the authors' fine-tuning. OpenSTL's figures, worse on Moving MNIST than
    the mean frame's, are of the first alone. A prediction that stands for its frame is as expected:
    its error is zero. The authors' code takes the prediction of the step before instead, which
    is one frame late.

    Biases start at zero, as in the authors' code and OpenSTL's, weights as in OpenSTL's. Where the
    ReLU that makes the frame is given nothing above zero it has no gradient, and predictions stay
    black: with frames of one channel it sees one channel, and whether that befalls it is up to the
    seed. Black is also where mean absolute errors of sparse frames are least until digits can be
    placed: of the small size's five trials of 3 TFLOPs two ended at the .0410 of black (MSE on
    Moving MNIST's validation clips), the best, after 320 steps, at .0391; the mean frame's is
    .0364.
    """

    name = "prednet"
    paper = Paper(
        "Deep Predictive Coding Networks for Video Prediction and Unsupervised Learning",
        2017,
        "https://arxiv.org/abs/1605.08104",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="OpenSTL 0.3, Moving MNIST, PredNet",
                origin="borrowed",
                learning_rate=1e-3,
                batch_size=16,
                schedule="one_cycle",
            )
        ),
        "small": Size(
            small_recipe(1.5e-2, "best of 5 trials on Moving MNIST", batch_size=2),
            {"width": 8, "layers": 4},
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {
        "width": (8, 11, 16, 24, 32),
        "layers": (2, 3, 4, 5),
    }

    def __init__(self, frame_shape: FrameShape, *, width: int = 32, layers: int = 5) -> None:
        """The published size by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of 2**(layers - 1).
            width: channels of the second layer; they double with every further one. The first has
                those of a frame.
            layers: how many layers there are.

        Raises:
            UnfitFrame: a frame cannot be halved for every layer but the first.
        """
        super().__init__(frame_shape)
        require_multiple(frame_shape, 2 ** (layers - 1), "every layer but the first halves them")
        self.widths = [frame_shape[0], *(width << layer for layer in range(layers - 1))]
        above = [*self.widths[1:], 0]
        self.representations = nn.ModuleList(
            Representation(3 * own + upper, own)
            for own, upper in zip(self.widths, above, strict=True)
        )
        self.expectations = nn.ModuleList(_convolution(own, own) for own in self.widths)
        self.targets = nn.ModuleList(
            _convolution(2 * own, upper)
            for own, upper in zip(self.widths[:-1], above[:-1], strict=True)
        )

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next frames [B,horizon,C,H,W], in [0,1]: each stands for its frame once expected."""
        state = self.at_rest(context[:, 0])
        for frame in context.unbind(1):
            _, state = self.step(frame, state)
        predictions = []
        for _ in range(horizon):
            prediction, state = self.step(frame, state, False)
            predictions.append(prediction)
        return torch.stack(predictions, 1)

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        """Half of the mean absolute error of all frames but the first."""
        state, predictions = self.at_rest(batch.clip[:, 0]), []
        sees_all = batch.progress < EXTRAPOLATES_FROM
        for t, frame in enumerate(batch.clip.unbind(1)):
            prediction, state = self.step(frame, state, t < batch.context_frames or sees_all)
            predictions.append(prediction)
        return F.l1_loss(torch.stack(predictions[1:], 1), batch.clip[:, 1:]) / 2

    def step(
        self, frame: Tensor, state: Sequence[Level], sees: TeacherForcing = True
    ) -> tuple[Tensor, list[Level]]:
        """What is expected instead of `frame` [B,C,H,W], and the state once it was seen.

        Where it is not seen, by `sees`, it is as expected.
        """
        cells: list[CellState] = []
        above: list[Tensor] = []
        for represent, old in zip(reversed(self.representations), reversed(state), strict=True):
            cells.append(represent(torch.cat((old.hidden, old.error, *above), 1), old.cell))
            above = [F.interpolate(cells[-1][0], scale_factor=2)]

        new: list[Level] = []
        for expect, (hidden, cell) in zip(self.expectations, reversed(cells), strict=True):
            expected = F.relu(expect(hidden))
            if not new:
                expected = prediction = expected.clamp(max=1)
                target = choose(sees, frame, prediction)
            else:
                # The authors' code pools after the ReLU: the same numbers.
                target = F.max_pool2d(self.targets[len(new) - 1](new[-1].error), 2).relu()
            excess = expected - target
            new.append(Level(hidden, cell, torch.cat((excess, -excess), 1).relu()))
        return prediction, new

    def at_rest(self, frame: Tensor) -> list[Level]:
        """The state before the first frame [B,C,H,W]: all zeros."""
        levels = []
        for layer, width in enumerate(self.widths):
            zeros = zero_state(frame[..., :: 2**layer, :: 2**layer], 2 * width)
            levels.append(Level(zeros[:, :width], zeros[:, :width], zeros))
        return levels


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution


def _hard_sigmoid(x: Tensor) -> Tensor:
    """Keras's; PyTorch's is of another slope."""
    return (0.2 * x + 0.5).clamp(0, 1)
