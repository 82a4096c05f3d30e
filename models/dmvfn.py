"""DMVFN: the next frame warped from the last two, by flows refined at several scales (Hu 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    TrainingBatch,
    require_multiple,
    small_recipe,
)
from models.layers.padding import repeat_first_frame
from models.layers.precision import widened

CHOSEN = 0.5  # of the blocks, on average
PYRAMID_LEVELS = 5
STAGE_DECAY = 0.8  # of a stage's weight in the loss, for each stage that follows


class FlowBlock(nn.Module):
    """What is to be added to two flows and a mask, seen at 1/`scale` and at full size ("MVFB").

    Args:
        inputs: channels read, those of the flows among them.
        width: channels of the path at 1/`scale`.
        scale: of what part of the size that path is.
    """

    def __init__(self, inputs: int, width: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.shrink = nn.Sequential(
            _convolution(inputs, width // 2, 2), _convolution(width // 2, width, 2)
        )
        self.refine = nn.Sequential(*(_convolution(width, width) for _ in range(3)))
        self.squeeze = _convolution(width, width // 4)
        self.detail = nn.Sequential(_convolution(inputs, 8, 2), _convolution(8, 8))
        self.last = nn.ConvTranspose2d(width // 4 + 8, 5, 4, 2, 1)

    def forward(self, x: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Changes of the flows [B,4,H,W], in pixels, and of the mask [B,1,H,W], in logits.

        Args:
            x: frames, warped frames and the mask, [B,inputs-4,H,W].
            flow: both flows so far.
        """
        whole = torch.cat((x, flow), 1)
        small = torch.cat((x, flow / self.scale), 1)  # in pixels of the smaller size
        features = self.shrink(_resized(small, 1 / self.scale))
        features = self.squeeze(self.refine(features) + features)
        features = _resized(features, 2 * self.scale)
        changes = self.last(torch.cat((features, self.detail(whole)), 1))
        return changes[:, :4], changes[:, 4:]


class DMVFN(Predictor):
    """The last two frames, each warped by a flow of its own and mixed by a mask.

    Blocks at scales from coarse to fine add to both flows and the mask in turn. From the frames a
    routing network says with which probability each block takes part; half of them do on average.
    Each prediction is one of the two frames that the next is made of.

    The loss is that of the authors' code but for its VGG term, whose weights would have to be
    downloaded: of every stage's prediction the L1 distances of Laplacian pyramids. All frames of a
    clip but the first two are predicted from the true ones before them; that code makes a step of
    each, here they are one. It draws which blocks take part at test, too, for one sequence at a
    time, and copies the frame before the last where none does. Here those do whose probability is
    at least a half, always one at least; all are computed, so that routing saves no time.
    Predictions lie between the two frames' values: what neither shows cannot appear.
    """

    name = "dmvfn"
    paper = Paper(
        "A Dynamic Multi-Scale Voxel Flow Network for Video Prediction",
        2023,
        "https://arxiv.org/abs/2303.09875",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="hzwer/CVPR2023-DMVFN, scripts/train.py, without its warm-up",
                origin="authors",
                learning_rate=1e-4,
                batch_size=32,
                schedule="cosine",
                optimizer="adamw",
                weight_decay=1e-3,
            )
        ),
        "small": Size(
            small_recipe(1.5e-2, "best of 5 trials on Moving MNIST", batch_size=2),
            {"widths": (80, 48, 28), "repeats": 2},
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {
        "widths": ((80, 40, 20), (80, 48, 28), (120, 60, 32), (160, 80, 44)),
        "repeats": (1, 2, 3),
    }
    places: Tensor

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        widths: Sequence[int] = (160, 80, 44),
        scales: Sequence[int] = (4, 2, 1),
        repeats: int = 3,
    ) -> None:
        """The published size by default.

        Args:
            frame_shape: channels, height, width; both sides multiples of four times the scales.
            widths: channels of the blocks at each scale, multiples of 4.
            scales: of what parts of a frame blocks see, 1/scale; in turn.
            repeats: blocks to a scale.

        Raises:
            UnfitFrame: a frame cannot be scaled down and halved twice.
            ValueError: there are not as many widths as scales, or one is no multiple of 4.
        """
        super().__init__(frame_shape)
        require_multiple(frame_shape, 4 * max(scales), f"1/{max(scales)} of them is halved twice")
        if len(widths) != len(scales):
            raise ValueError(
                f"there must be as many widths as scales, not {len(widths)} and {len(scales)}"
            )
        if any(width % 4 for width in widths):
            raise ValueError(f"widths must be multiples of 4, not {tuple(widths)}")
        channels, height, columns = frame_shape
        self.blocks = nn.ModuleList(
            FlowBlock(4 * channels + 5, width, scale)
            for width, scale in zip(widths, scales, strict=True)
            for _ in range(repeats)
        )
        self.routing = nn.Sequential(
            nn.Conv2d(2 * channels, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, len(self.blocks)),
        )
        rows, across = torch.linspace(-1, 1, height), torch.linspace(-1, 1, columns)
        places = torch.stack(torch.meshgrid(across, rows, indexing="xy"), -1)
        self.register_buffer("places", places, persistent=False)

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next frames [B,horizon,C,H,W], each of the two before it."""
        older, newer = repeat_first_frame(context, 2)[:, -2:].unbind(1)
        predictions = []
        for _ in range(horizon):
            chosen = (self.probabilities(older, newer) >= CHOSEN).float()
            older, newer = newer, self.stages(older, newer, chosen)[-1]
            predictions.append(newer)
        return torch.stack(predictions, 1)

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        """Pyramid distances of all stages' predictions of all frames but the first two."""
        clip = batch.clip if batch.clip.shape[1] > 2 else repeat_first_frame(batch.clip, 3)
        older, newer, true = (
            clip[:, n : clip.shape[1] - 2 + n].transpose(0, 1).flatten(0, 1) for n in range(3)
        )
        probabilities = self.probabilities(older, newer)
        takes_part = probabilities >= CHOSEN
        if self.training:
            shape = (clip.shape[1] - 2, len(clip), len(self.blocks))
            takes_part = batch.uniform(*shape, clips=1).flatten(0, 1) < probabilities
        # The gradient passes straight through the choice.
        chosen = probabilities + (takes_part.float() - probabilities).detach()
        stages = self.stages(older, newer, chosen)
        distances = pyramid_distances(torch.stack(stages) - true)
        later = torch.arange(len(stages) - 1, -1, -1, device=distances.device)
        return (distances * STAGE_DECAY**later).sum()

    def probabilities(self, older: Tensor, newer: Tensor) -> Tensor:
        """That each block takes part [B,blocks], for the two frames before the one to predict."""
        scores = widened(self.routing(torch.cat((older, newer), 1))).sigmoid()
        return (CHOSEN * scores / scores.mean(1, keepdim=True)).clamp(max=1)

    def stages(self, older: Tensor, newer: Tensor, chosen: Tensor) -> list[Tensor]:
        """The prediction [B,C,H,W] after each block, as if that block took part but for the last.

        Args:
            older: the frame before the last, [B,C,H,W].
            newer: the last frame.
            chosen: 1 for the blocks that take part, else 0, [B,blocks].
        """
        flow = widened(older).new_zeros(len(older), 4, *older.shape[2:])
        mask = flow[:, :1]
        warped, predictions = (older, newer), []
        for n, block in enumerate(self.blocks):
            x = torch.cat((older, newer, *warped, mask), 1)
            of_flow, of_mask = block(x, flow)
            counts = chosen[:, n, None, None, None]
            if n < len(self.blocks) - 1:
                as_if = self.warped(older, newer, flow + of_flow)
                predictions.append(_mixed(as_if, mask + of_mask))
            flow, mask = flow + counts * of_flow, mask + counts * of_mask
            warped = self.warped(older, newer, flow)
        return [*predictions, _mixed(warped, mask)]

    def warped(self, older: Tensor, newer: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Both frames, each where its half of `flow` [B,4,H,W] points, in pixels across and down.

        Bilinear; beyond the border as on it.
        """
        _, height, columns = self.frame_shape
        across, down = (2 / (side - 1) * flow[:, n::2] for n, side in enumerate((columns, height)))
        one, other = (
            F.grid_sample(
                widened(frame),
                self.places + torch.stack((across[:, n], down[:, n]), -1),
                padding_mode="border",
                align_corners=True,
            )
            for n, frame in enumerate((older, newer))
        )
        return one, other


def pyramid_distances(apart: Tensor) -> Tensor:
    """Sums over the levels of Laplacian pyramids of mean absolute differences, [stages].

    Burt and Adelson 1983; five levels, fewer where sides get below 4 or odd, without the rest.

    Args:
        apart: predictions less what is true, [stages,B,C,H,W].
    """
    stages = len(apart)
    x = widened(apart).flatten(0, 1)
    total = x.new_zeros(stages)
    for _ in range(PYRAMID_LEVELS):
        if min(x.shape[2:]) < 4 or x.shape[2] % 2 or x.shape[3] % 2:
            break
        smaller = _smoothed(x)[..., ::2, ::2]
        spread = torch.zeros_like(x)
        spread[..., ::2, ::2] = smaller
        total = total + (x - 4 * _smoothed(spread)).abs().view(stages, -1).mean(1)
        x = smaller
    return total


def _smoothed(x: Tensor) -> Tensor:
    """By the binomial filter of 5 x 5, reflected at the border."""
    x = F.pad(x, (2, 2, 2, 2), mode="reflect")
    for _ in range(4):  # 1 4 6 4 1 is 1 1, four times
        x = F.avg_pool2d(x, 2, 1)
    return x


def _mixed(warped: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
    share = mask.sigmoid()
    return share * warped[0] + (1 - share) * warped[1]


def _resized(x: Tensor, factor: float) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.PReLU(outputs))
