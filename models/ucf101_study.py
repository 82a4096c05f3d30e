"""A study on UCF101 (2024): its ConvLSTM, and what it calls PredRNN and MaxViT."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import (
    FrameShape,
    Paper,
    Predictor,
    Recipe,
    Size,
    require_multiple,
    small_recipe,
)
from models.layers.initial_weights import initialised_apart
from models.layers.moments import var_mean
from models.layers.precision import widened, zero_state
from models.layers.window_partition import (
    Partition,
    relative_position_index,
    window_partition,
    window_reverse,
)
from models.layers.window_rollout import roll_out, window_on
from models.maxvit import SqueezeExcite

STUDY = Paper(
    "Comparative Analysis of Video Generation Models: ConvLSTM, PredRNN, and MaxViT",
    2024,
    "https://github.com/hash2004/video-generation-ViT-PredRNN-ConvLSTM",
)

State = tuple[Tensor, ...]
"""What a recurrent layer remembers; the hidden state [B,width,H,W], its output, comes first."""


class RecurrentLayer(nn.Module, ABC):
    """A convolutional cell that reads a sequence of frames."""

    @abstractmethod
    def step(self, x: Tensor, state: State | None) -> State:
        """New state for x [B,inputs,H,W]; a state of None is all zeros."""

    def forward(
        self, frames: Sequence[Tensor], state: State | None
    ) -> tuple[Sequence[Tensor], State]:
        """Outputs [B,width,H,W] for all `frames` [B,inputs,H,W], and the last state."""
        states: list[State] = []
        for x in frames:
            state = self.step(x, state)
            states.append(state)
        return [hidden for hidden, *_ in states], states[-1]


class RecurrentPredictor(Predictor):
    """Recurrent layers at full resolution, whose last output gives the next frame.

    Each layer reads all known frames before the next one starts. Predictions start dark,
    sigmoid(-2.5) = 0.08. From mid-grey the first steps on mostly black frames push every output
    into the flat end of the sigmoid, where training stays.
    """

    paper = STUDY

    @abstractmethod
    def __init__(
        self, frame_shape: FrameShape, layers: Iterable[RecurrentLayer], *, width: int, kernel: int
    ) -> None:
        super().__init__(frame_shape)
        self.layers = nn.ModuleList(layers)
        self.output = nn.Conv2d(width, frame_shape[0], kernel, padding="same")
        nn.init.constant_(self.output.get_parameter("bias"), -2.5)

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next frames [B,horizon,C,H,W]: context read once, then each prediction read back."""
        frame, states = self.read(context.unbind(1), [None] * len(self.layers))
        predictions = [frame]
        for _ in range(horizon - 1):
            frame, states = self.read([frame], states)
            predictions.append(frame)
        return torch.stack(predictions, 1)

    def read(
        self, frames: Sequence[Tensor], states: Sequence[State | None]
    ) -> tuple[Tensor, list[State]]:
        """The frame [B,C,H,W] after `frames` [B,C,H,W], in [0,1], and the layers' new states."""
        features, new = frames, []
        for layer, state in zip(self.layers, states, strict=True):
            features, state = layer(features, state)
            new.append(state)
        return self.output(features[-1]).sigmoid(), new


class ContextNorm(nn.BatchNorm3d):
    """Batch normalisation of all frames of a clip by the statistics of its context.

    In training these are the batch's, over clips, context frames and positions, and the running
    statistics follow them; in evaluation they are the running ones.
    """

    running_mean: Tensor
    running_var: Tensor

    def scale_and_shift(self, context: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The scale and shift, each [width,1,1], that normalise `context` [B,width,H,W]."""
        mean, variance = self.running_mean, self.running_var
        if self.training:
            frames = torch.stack(tuple(context))
            variance, mean, count = var_mean(frames, (0, 1, 3, 4))
            with torch.no_grad():
                self.running_mean.lerp_(mean, 0.1)
                self.running_var.lerp_(variance * (count / max(1, count - 1)), 0.1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return scale[:, None, None], (self.bias - mean * scale)[:, None, None]


class ReLUConvLSTMLayer(RecurrentLayer):
    """Equation (3) of Shi et al. 2015 with ReLU for tanh, and normalised outputs.

    The cell state is a sum of terms none of which is negative, so that its own ReLU, in the
    hidden state, never acts: it is left out.

    Args:
        inputs: channels of the input.
        width: channels of the hidden and the cell state.
        kernel: side of the convolutions, odd.
        map_shape: height and width of the maps, which fix the peepholes; these start at zero.
    """

    def __init__(self, inputs: int, width: int, kernel: int, map_shape: tuple[int, int]) -> None:
        super().__init__()
        self.width = width
        self.gates = nn.Conv2d(inputs + width, 4 * width, kernel, padding="same")
        self.peephole = nn.Parameter(torch.zeros(3, width, *map_shape))
        self.norm = ContextNorm(width)

    def forward(
        self, frames: Sequence[Tensor], state: State | None
    ) -> tuple[Sequence[Tensor], State]:
        """Normalised hidden states of all steps; the last state, with the scale and the shift."""
        hidden, last = super().forward(frames, None if state is None else state[:2])
        scale, shift = self.norm.scale_and_shift(hidden) if state is None else state[2:]
        return [torch.addcmul(shift, h, scale) for h in hidden], (*last, scale, shift)

    def step(self, x: Tensor, state: State | None) -> State:
        """New hidden and cell state for x [B,inputs,H,W]; a state of None is all zeros."""
        zeros = zero_state(x, self.width)
        hidden, cell = (zeros, zeros) if state is None else state
        i, f, g, o = self.gates(torch.cat((x, hidden), 1)).chunk(4, 1)
        i, f = i + self.peephole[0] * cell, f + self.peephole[1] * cell
        cell = f.sigmoid() * cell + i.sigmoid() * g.relu()
        return (o + self.peephole[2] * cell).sigmoid() * cell, cell


class UCF101StudyConvLSTM(RecurrentPredictor):
    """The study's ConvLSTM with peepholes, two layers at full resolution, one frame ahead.

    What differs from the paper's (`convlstm`): ReLU for tanh, so that no state is bounded; batch
    normalisation after each layer; frames not patched; the last hidden state alone gives the
    next frame, by a 3x3 convolution and a sigmoid. In the study's code the peepholes are memory
    that nobody has set (`torch.Tensor(...)`), so that a run starts from whatever lay there; here
    they start at zero.

    The study trains on the one frame after ten. Here the loss is the MSE of the whole horizon, each
    prediction read back, and the layers' states go on; the frames after the context are normalised
    by the context's statistics, which is what the running statistics stand for in evaluation.
    Predictions start dark (see `RecurrentPredictor`), the study's mid-grey. Over contexts much
    longer than those trained on, states may grow without bound.

    Frames are not patched, so the small size is narrow.
    """

    name = "ucf101_study_convlstm"
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="the study, UCF101",
                origin="authors",
                schedule="plateau",
                plateau_factor=0.5,
                plateau_patience=5,
                learning_rate=1e-3,
                batch_size=95,
            )
        ),
        "small": Size(small_recipe(1.5e-3, "best of 5 trials on Moving MNIST"), {"width": 4}),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {"width": (4, 6, 8, 10, 14, 20, 28)}

    def __init__(
        self, frame_shape: FrameShape, *, width: int = 64, layers: int = 2, kernel: int = 3
    ) -> None:
        """The published size by default.

        Args:
            frame_shape: channels, height, width.
            width: channels of all states.
            layers: how many layers there are.
            kernel: side of the convolutions, odd.
        """
        channels, height, breadth = frame_shape
        stack = [
            ReLUConvLSTMLayer(width if layer else channels, width, kernel, (height, breadth))
            for layer in range(layers)
        ]
        super().__init__(frame_shape, stack, width=width, kernel=kernel)


class TwoMemoryLayer(RecurrentLayer):
    """A convolutional LSTM with five gates, whose second memory follows its cell state.

    i, f, o, g, r from one convolution of input, hidden state and memory;
    c' = f c + i relu(g);  m' = r m + (1 - r) c';  h' = o relu(c' + m').

    Neither c nor m is ever negative, so that the last ReLU never acts: it is left out.

    Args:
        inputs: channels of the input.
        width: channels of the hidden state, the cell state and the memory.
        kernel: side of the convolutions, odd.
    """

    def __init__(self, inputs: int, width: int, kernel: int) -> None:
        super().__init__()
        self.width = width
        gates = nn.Conv2d(inputs + 2 * width, 5 * width, kernel, padding="same")
        # The study convolves them apart, the input alone with a bias.
        self.gates = initialised_apart(gates, inputs, width, width, biases=1)

    def step(self, x: Tensor, state: State | None) -> State:
        """New hidden state, cell state and memory for x [B,inputs,H,W]."""
        zeros = zero_state(x, self.width)
        hidden, cell, memory = (zeros, zeros, zeros) if state is None else state
        i, f, o, g, r = self.gates(torch.cat((x, hidden, memory), 1)).chunk(5, 1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.relu()
        memory = cell.lerp(memory, widened(r.sigmoid()))
        return o.sigmoid() * (cell + memory), cell, memory


class UCF101StudyPredRNN(RecurrentPredictor):
    """The study's "PredRNN", two layers at full resolution, one frame ahead. It is not PredRNN.

    What differs from the paper's (`predrnn`): each layer keeps a memory of its own, which mixes
    in the new cell state through one gate, where PredRNN has one memory that zigzags through all
    layers and steps, with input, forget and candidate gates of its own; cell state and memory are
    added, not merged by a 1x1 convolution, and not seen by the output gate; no forget bias; ReLU
    for tanh, so that no state is bounded; frames not patched; a 3x3 convolution and a sigmoid
    turn the last hidden state into the next frame.

    The study trains on the one frame after ten. Here the loss is the MSE of the whole horizon,
    each prediction read back, and the layers' states go on. Predictions start dark (see
    `RecurrentPredictor`), the study's mid-grey. Over contexts much longer than those trained on,
    states may grow without bound.

    Frames are not patched, so the small size is narrow.
    """

    name = "ucf101_study_predrnn"
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="the study, UCF101",
                origin="authors",
                schedule="plateau",
                plateau_factor=0.5,
                plateau_patience=5,
                learning_rate=1e-3,
                batch_size=160,
            )
        ),
        "small": Size(small_recipe(1.5e-3, "best of 5 trials on Moving MNIST"), {"width": 4}),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {"width": (4, 6, 8, 10, 14, 20, 28)}

    def __init__(
        self, frame_shape: FrameShape, *, width: int = 64, layers: int = 2, kernel: int = 3
    ) -> None:
        """The published size by default.

        Args:
            frame_shape: channels, height, width.
            width: channels of all states.
            layers: how many layers there are.
            kernel: side of the convolutions, odd.
        """
        stack = [
            TwoMemoryLayer(width if layer else frame_shape[0], width, kernel)
            for layer in range(layers)
        ]
        super().__init__(frame_shape, stack, width=width, kernel=kernel)


class PostNormMBConv(nn.Module):
    """An inverted bottleneck normalised after each convolution; a shortcut where shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = 4 * outputs
        self.shortcut = inputs == outputs and stride == 1
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, inner, 1),
            nn.BatchNorm2d(inner),
            nn.GELU(),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner),
            nn.BatchNorm2d(inner),
            nn.GELU(),
            SqueezeExcite(inner, inner // 4, bias=False),
            nn.Conv2d(inner, outputs, 1),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,outputs,H/stride,W/stride] for x [B,inputs,H,W]."""
        y: Tensor = self.branch(x)
        return x + y if self.shortcut else y


class UnbiasedAttention(nn.Module):
    """Pre-norm attention without biases in each window of a map, then a feed-forward layer.

    Args:
        width: channels of the map, a multiple of `head`.
        window: tokens to a window down and across.
        partition: "block" or "grid".
        head: channels of one attention head.
        dropout: share of attention weights and of each layer's outputs left out in training.
    """

    index: Tensor

    def __init__(
        self, width: int, window: int, partition: Partition, head: int, dropout: float
    ) -> None:
        super().__init__()
        self.window, self.partition, self.dropout = (window, window), partition, dropout
        self.heads = width // head
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Sequential(nn.Linear(width, width, bias=False), nn.Dropout(dropout))
        self.position_bias = nn.Parameter(torch.randn((2 * window - 1) ** 2, self.heads))
        self.register_buffer("index", relative_position_index(self.window), persistent=False)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,H,W,width] for x [B,H,W,width]."""
        map_shape = (x.shape[1], x.shape[2])
        windows = window_partition(self.norm(x), self.window, self.partition)
        x = x + window_reverse(self.attend(windows), map_shape, self.window, self.partition)
        y: Tensor = x + self.feed_forward(x)
        return y

    def attend(self, windows: Tensor) -> Tensor:
        """Attention among the tokens of each window [B,windows,tokens,width]; same shape."""
        batch, count, tokens, width = windows.shape
        heads = self.query_key_value(windows).view(batch * count, tokens, 3, self.heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.position_bias[self.index].permute(2, 0, 1).to(query.dtype)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, bias, dropout)
        y: Tensor = self.project(mixed.transpose(1, 2).reshape(batch, count, tokens, width))
        return y


class Block(nn.Module):
    """MBConv, block attention, grid attention.

    Args:
        inputs: channels of the map that comes in.
        width: channels of the map that goes out.
        stride: 1 or 2, which halves the map first.
        window: tokens to an attention window, down and across.
        head: channels of one attention head.
        dropout: share of the attention's activations left out in training.
    """

    def __init__(
        self, inputs: int, width: int, stride: int, window: int, head: int, dropout: float
    ) -> None:
        super().__init__()
        self.conv = PostNormMBConv(inputs, width, stride)
        self.attention = nn.Sequential(
            UnbiasedAttention(width, window, "block", head, dropout),
            UnbiasedAttention(width, window, "grid", head, dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,width,H/stride,W/stride] for x [B,inputs,H,W]."""
        y: Tensor = self.attention(self.conv(x).permute(0, 2, 3, 1))
        return y.permute(0, 3, 1, 2)


class UCF101StudyMaxViT(Predictor):
    """The study's "MaxViT": ten frames stacked on channels, five predicted at once.

    What differs from the paper's (see `maxvit`): only the first block halves the map, so that all
    stages work at half the frame's resolution and there is no pyramid; the stem keeps the
    resolution and has neither norm nor activation; MBConv normalises after its convolutions, has
    a shortcut only where shapes agree and squeezes to a quarter of the expanded width; windows
    and grids are 4x4; no biases in attention; no stochastic depth, but dropout. One transposed
    convolution and a sigmoid give the frames, without skip connections, and nothing but the
    order of the channels tells one time from another.

    Before a shorter context its first frame is repeated, of a longer one the last frames are
    used; a longer horizon is predicted in further passes over the predictions so far. The loss is
    the MSE of the whole horizon.

    The study fed it shuffled time: it sorts frames by file name as text (0, 1, 10, 100, ...), so
    that its published figures, far behind those of its recurrent models, do not compare.
    """

    name = "ucf101_study_maxvit"
    paper = STUDY
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(source="the study, UCF101", origin="authors", learning_rate=1e-4, batch_size=64),
            {"dropout": 0.1},
        ),
        "small": Size(
            small_recipe(8.42e-4, "best of 5 trials on Moving MNIST", 8),
            {"stem": 32, "widths": (32, 64, 128), "depths": (1, 1, 1)},
        ),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        stem: int = 64,
        widths: Sequence[int] = (64, 128, 256, 512),
        depths: Sequence[int] = (2, 2, 2, 2),
        window: int = 4,
        head: int = 32,
        dropout: float = 0.0,
        window_frames: int = 10,
        pass_frames: int = 5,
    ) -> None:
        """The study's by default, without dropout.

        Args:
            frame_shape: channels, height, width; both sides multiples of 2 * `window`.
            stem: channels of the stem.
            widths: channels of each stage, multiples of `head`.
            depths: blocks of each stage.
            window: positions down and across in an attention window.
            head: channels of an attention head.
            dropout: share of activations left out in training.
            window_frames: frames read in one pass. A suite gives it the data set's context, up to
                20, unless it is written.
            pass_frames: frames predicted in one pass.

        Raises:
            ValueError: where the windows do not tile half the frame.
        """
        super().__init__(frame_shape)
        require_multiple(
            frame_shape, 2 * window, f"windows of {window} on maps of half the height and width"
        )
        channels = frame_shape[0]
        self.window_frames = window_frames
        self.stem = nn.Sequential(
            nn.Conv2d(window_frames * channels, stem, 3, padding=1),
            nn.Conv2d(stem, stem, 3, padding=1),
        )
        ends = [w for w, depth in zip(widths, depths, strict=True) for _ in range(depth)]
        self.blocks = nn.Sequential(
            *(
                Block(below, above, 1 if place else 2, window, head, dropout)
                for place, (below, above) in enumerate(zip([stem, *ends], ends, strict=False))
            )
        )
        self.output = nn.ConvTranspose2d(widths[-1], pass_frames * channels, 3, 2, 1, 1)

    @classmethod
    def options_on(cls, context_frames: int, horizon: int) -> Mapping[str, Any]:
        """A window of the whole context."""
        return {"window_frames": window_on(context_frames)}

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next `horizon` frames [B,horizon,C,H,W], `pass_frames` to a pass."""
        return roll_out(self.next_frames, context, horizon, self.window_frames)

    def next_frames(self, frames: Tensor) -> Tensor:
        """The frames [B,pass_frames,C,H,W] after `frames` [B,window_frames,C,H,W], in [0,1]."""
        # Attention wants channels last; with all maps so laid out, nothing is copied between.
        stacked = frames.flatten(1, 2).contiguous(memory_format=torch.channels_last)
        predicted: Tensor = self.output(self.blocks(self.stem(stacked))).sigmoid()
        return predicted.reshape(len(frames), -1, *frames.shape[2:])
