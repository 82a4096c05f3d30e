"""TAU: SimVP with temporal attention units and a loss of how frames change (Tan et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from models.contract import FrameShape, Paper, Recipe, Size, TrainingBatch
from models.layers.precision import widened
from models.simvp import SimVP

TEMPERATURE = 0.1


def differential_divergence(predicted: Tensor, true: Tensor) -> Tensor:
    """How far the changes from frame to frame of `predicted` are from those of `true`, a scalar.

    The paper's differential divergence regularisation: the change of all C*H*W values between
    neighbouring frames becomes a distribution, softmax(change / .1), and the two are compared by
    the terms P log(P / Q) of their Kullback-Leibler divergence. As in the authors' code these are
    averaged over all values, not only over clips and frames: of a 64x64 frame that is 1/4096 of a
    divergence.

    Args:
        predicted: [B,T,C,H,W] with T of at least 2.
        true: the same.
    """
    p, q = (
        F.log_softmax(widened(frames).diff(dim=1).flatten(2) / TEMPERATURE, -1)
        for frames in (predicted, true)
    )
    return (p.exp() * (p - q)).mean()


class TAU(SimVP):
    """SimVP with the translator "tau", learning from MSE and, weakly, from differential divergence.

    A horizon of one frame has no changes, and so no divergence; the authors' code leaves it out of
    two frames, too, and adds 1e-12 to what it takes logarithms of.
    """

    name = "tau"
    paper = Paper(
        "Temporal Attention Unit: Towards Efficient Spatiotemporal Predictive Learning",
        2023,
        "https://arxiv.org/abs/2206.12126",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="chengtan9907/OpenSTL (its authors), configs/mmnist/TAU.py",
                origin="authors",
                learning_rate=1e-3,
                batch_size=16,
                schedule="one_cycle",
            )
        ),
        "small": SimVP.sizes["small"],
    }

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        width: int = 64,
        depth: int = 4,
        translator_width: int = 512,
        translator_depth: int = 8,
        window_frames: int = 10,
        drop_path: float = 0.0,
        divergence: float = 0.1,
    ) -> None:
        """The published size on Moving MNIST by default.

        Args:
            frame_shape: as of `SimVP`, and so are the other options.
            width: channels of each frame's maps.
            depth: layers of the encoder, and of the decoder.
            translator_width: channels of the translator.
            translator_depth: its blocks.
            window_frames: frames read, and predicted, in one pass. A suite gives
                it the data set's context, up to 20, unless it is written.
            drop_path: the rate of stochastic depth towards which it rises from block to block.
            divergence: what the differential divergence counts beside the MSE.
        """
        super().__init__(
            frame_shape,
            translator="tau",
            width=width,
            depth=depth,
            translator_width=translator_width,
            translator_depth=translator_depth,
            window_frames=window_frames,
            drop_path=drop_path,
        )
        self.divergence = divergence

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        """The MSE of the future plus `divergence` times the differential divergence."""
        predicted = self(batch.context, batch.future.shape[1])
        loss = F.mse_loss(predicted, batch.future)
        if batch.future.shape[1] < 2:
            return loss
        divergence = differential_divergence(predicted, batch.future)
        batch.log("divergence", divergence)
        return loss + self.divergence * divergence
