"""MAU: cells that weigh their last states by motion, on encoded frames (Chang et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models.contract import FrameShape, Paper, Recipe, Size, require_multiple, small_recipe
from models.layers.precision import widened, zero_state
from models.layers.rollout import FrameByFrame

Past = tuple[Tensor, Tensor]
"""The spatial states that entered a cell at its last steps and the temporal ones that left it.

Each is [B,tau,width,h,w], the oldest first; zeros stand for steps before the first.
"""


class NormalisedConvolution(nn.Module):
    """A convolution whose output is normalised over its whole map, with a gain for each value."""

    def __init__(self, inputs: int, outputs: int, kernel: int, place: tuple[int, int]) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, padding="same")
        self.norm = nn.LayerNorm((outputs, *place))

    def forward(self, x: Tensor) -> Tensor:
        """The map [B,outputs,h,w] of x [B,inputs,h,w], in float32 at least."""
        y: Tensor = self.norm(widened(self.convolution(x)))
        return y


class MotionAwareUnit(nn.Module):
    """One Motion-Aware Unit: an attention and a fusion, as in core/layers/MAUCell.py.

    The attention recalls the mean of the last temporal states, weighted by how much the spatial
    states of their steps, as whole maps, resemble that of now. The fusion mixes it with the newest
    one, and then the temporal with the spatial state. No state is bounded by a tanh.

    Args:
        width: channels of both states.
        kernel: side of the convolutions, odd.
        place: height and width of the maps.
    """

    def __init__(self, width: int, kernel: int, place: tuple[int, int]) -> None:
        super().__init__()

        def convolution(outputs: int) -> NormalisedConvolution:
            return NormalisedConvolution(width, outputs, kernel, place)

        self.query = convolution(width)
        self.newest = convolution(width)
        self.of_temporal = convolution(3 * width)
        self.of_spatial = convolution(3 * width)
        self.scale = (width * place[0] * place[1]) ** -0.5

    def forward(self, spatial: Tensor, past: Past) -> tuple[Tensor, Past]:
        """The spatial state [B,width,h,w] for the layer above, and the new past."""
        spatials, temporals = past
        temporal = temporals[:, -1]
        scores = (spatials * self.query(spatial)[:, None]).sum((2, 3, 4)) * self.scale
        weights = scores.softmax(1)[:, :, None, None, None]
        trend = (weights * temporals).sum(1)
        fused = torch.lerp(trend, temporal, self.newest(temporal).sigmoid())

        t_gate, t_to_t, t_to_s = self.of_temporal(fused).chunk(3, 1)
        s_gate, s_to_t, s_to_s = self.of_spatial(spatial).chunk(3, 1)
        temporal = torch.lerp(s_to_t, t_to_t, t_gate.sigmoid())
        past = _appended(spatials, spatial), _appended(temporals, temporal)
        return torch.lerp(t_to_s, s_to_s, s_gate.sigmoid()), past


def _appended(states: Tensor, newest: Tensor) -> Tensor:
    """`states` [B,tau,width,h,w] without the oldest, and `newest` [B,width,h,w] after them."""
    return torch.cat((states[:, 1:], newest[:, None]), 1)


class MAU(FrameByFrame):
    """Frames halved by convolutions, Motion-Aware Units, and the way back, frame by frame.

    That of the authors' script and of OpenSTL's recipes: cells without a residual connection, and
    a decoder that is given no features of the encoder ("recall" in their code). The gains of the
    normalisations belong to places: a model is for frames of one size.

    The authors' code counts 4,483,588 parameters, of which 8,259 never take part (two 1x1
    convolutions beside the decoder); they are left out here. OpenSTL's figures are those of
    another training: there the rate of scheduled sampling stays at 1, and every step reads the
    truth. Here it falls as in the authors' code, to 0 after 50,000 of OpenSTL's 125,000 steps.
    """

    name = "mau"
    paper = Paper(
        "MAU: A Motion-Aware Unit for Video Prediction and Beyond",
        2021,
        "https://papers.neurips.cc/paper/2021/hash/e25cfa90f04351958216f97e3efdabe9-Abstract.html",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="OpenSTL, Moving MNIST, MAU",
                origin="borrowed",
                learning_rate=1e-3,
                batch_size=16,
                schedule="one_cycle",
            )
        ),
        "small": Size(
            small_recipe(1.5e-3, "best of 5 trials on Moving MNIST"),
            {"width": 20, "layers": 1},
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {
        "width": (16, 20, 25, 32, 48, 64),
        "layers": (1, 2, 3, 4),
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        width: int = 64,
        layers: int = 4,
        kernel: int = 5,
        tau: int = 5,
        halvings: int = 2,
    ) -> None:
        """The published size by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of 2**halvings.
            width: channels of the encoded frames and of all states.
            layers: how many cells there are.
            kernel: side of the cells' convolutions, odd.
            tau: how many past states a cell attends to.
            halvings: how often the encoder halves a frame.

        Raises:
            UnfitFrame: a frame cannot be halved that often.
        """
        super().__init__(frame_shape, width=width, patch=1, bias=True)
        require_multiple(frame_shape, 2**halvings, f"frames are halved {halvings} times")
        _, height, breadth = frame_shape
        place = height >> halvings, breadth >> halvings
        self.tau = tau
        self.encoder = nn.Sequential(nn.Conv2d(frame_shape[0], width, 1), nn.LeakyReLU(0.2))
        self.decoder = nn.Sequential()
        for n in range(halvings):
            self.encoder.extend((nn.Conv2d(width, width, 3, 2, padding=1), nn.LeakyReLU(0.2)))
            self.decoder.extend([nn.LeakyReLU(0.2)] if n else [])
            doubling = nn.ConvTranspose2d(width, width, 3, 2, padding=1, output_padding=1)
            self.decoder.append(doubling)
        self.cells = nn.ModuleList(MotionAwareUnit(width, kernel, place) for _ in range(layers))

    def step(self, frame: Tensor, state: list[Past] | None) -> tuple[Tensor, list[Past]]:
        """Features [B,width,H,W] of the next frame, and the past of all layers."""
        spatial: Tensor = self.encoder(frame)
        if state is None:
            width = spatial.shape[1]
            zeros = zero_state(spatial, width)[:, None].repeat(1, self.tau, 1, 1, 1)
            state = [(zeros, zeros)] * len(self.cells)
        new: list[Past] = []
        for cell, past in zip(self.cells, state, strict=True):
            spatial, past = cell(spatial, past)
            new.append(past)
        return self.decoder(spatial), new
