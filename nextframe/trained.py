"""The trained model of a finished cell, to be used in other code."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.errors import UserError, one_line
from bench.predict.predict import BATCH
from bench.predict.trained import Trained
from bench.units import listed
from datasets.contract import to_unit
from models.contract import FrameShape


class TrainedModel(nn.Module):
    """A trained model in evaluation mode, float32; called, it is `network`.

    Attributes:
        network: the model itself, as its file defines it.
        frame_shape: (C,H,W) of the frames that it takes.
        context_frames: how many it was trained to see; it takes any number.
        horizon: how many it was trained to predict; 0 for a classifier.
        classes: the names that a classifier tells apart, in the order of its answers.
        covariates: the names of the numbers of each frame that it is given, such as actions.
        cell: the name of its cell.
        run_id: of its MLflow run.
    """

    def __init__(self, trained: Trained) -> None:
        """The model of `trained`, in its place."""
        super().__init__()
        self.network: nn.Module = trained.model
        self.frame_shape: FrameShape = trained.spec.frame_shape
        self.context_frames, self.horizon = trained.spec.context_frames, trained.spec.horizon
        self.classes = trained.spec.classes
        self.covariates = tuple(each.name for each in trained.spec.covariates)
        self.cell, self.run_id = trained.run.name, trained.run.run_id
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        places = (tensor.device for tensor in (*self.parameters(), *self.buffers()))
        return next(places, torch.device("cpu"))

    def forward(self, *arguments: object) -> Tensor:
        """The output of `network`: for context [B,T,C,H,W] in [0,1] and a horizon, or a clip."""
        output: Tensor = self.network(*arguments)
        return output

    @torch.no_grad()
    def predict(
        self,
        clips: Tensor | NDArray[np.generic],
        horizon: int | None = None,
        covariates: Tensor | NDArray[np.generic] | None = None,
    ) -> Tensor:
        """The frames that follow `clips`, float32 [B,horizon,C,H,W] in [0,1], on the CPU.

        A classifier gives the probability of each of its `classes`, float32 [B,classes].

        Args:
            clips: [B,T,C,H,W], any T from 1 on: floats in [0,1], or uint8, or uint16.
            horizon: how many frames to predict (default: as many as in training).
            covariates: of a model that is given them, [B,T+horizon,K]: those of the frames to
                predict, too.

        Raises:
            UserError: the clips or covariates are of another shape, type or range, or the horizon
                is no number from 1 on.
        """
        given = _numbers("clips", clips)
        self._check(given)
        if self.classes:
            if horizon is not None:
                raise UserError(f"{self.cell} is a classifier, which has no horizon")
            arguments: tuple[int, ...] = ()
            frames = 0
        else:
            frames = self.horizon if horizon is None else horizon
            if type(frames) is not int or frames < 1:
                raise UserError(f"horizon is a whole number from 1 on, not {repr(horizon)[:40]}")
            arguments = (frames,)
        beside = self._beside(covariates, (len(given), given.shape[1] + frames))
        outputs = []
        for start in range(0, len(given), BATCH):
            batch = given[start : start + BATCH]
            shown = batch.float() if batch.is_floating_point() else to_unit(batch)
            known = (each[start : start + BATCH].to(self.device) for each in beside)
            output = self(shown.to(self.device), *arguments, *known).float()
            outputs.append((output.softmax(1) if self.classes else output.clamp(0, 1)).cpu())
        return torch.cat(outputs)

    def _beside(
        self, covariates: Tensor | NDArray[np.generic] | None, frames: tuple[int, int]
    ) -> tuple[Tensor, ...]:
        """The covariates of so many `frames`, [B,T+horizon], where there are to be any.

        Raises:
            UserError: there are others, or none.
        """
        if not self.covariates:
            if covariates is not None:
                raise UserError(f"{self.cell} takes no covariates: it is shown frames only")
            return ()
        names = f"{self.cell} is given covariates ({listed(self.covariates)})"
        due = (*frames, len(self.covariates))
        if covariates is None:
            raise UserError(f"{names} of all frames: pass them as covariates, {[*due]}")
        given = _numbers("covariates", covariates)
        if tuple(given.shape) != due:
            raise UserError(f"{names}, {[*due]}, not {[*given.shape]}")
        if given.is_complex() or not bool(given.float().isfinite().all()):
            raise UserError(f"{names}, and those passed are not all finite real numbers")
        return (given.float(),)

    def _check(self, clips: Tensor) -> None:
        """Raise UserError where `clips` cannot be predicted."""
        shape = tuple(clips.shape)
        if len(shape) != 5 or 0 in shape or shape[2:] != self.frame_shape:
            wanted = ",".join(map(str, ("B", "T", *self.frame_shape)))
            raise UserError(f"clips for {self.cell} are [{wanted}], not {list(shape)}")
        if clips.dtype not in (torch.uint8, torch.uint16) and not clips.is_floating_point():
            raise UserError(f"clips are floats in [0,1], uint8 or uint16, not {clips.dtype}")
        if not bool(clips.isfinite().all()):
            raise UserError("clips hold a value that is NaN or infinite: replace it")
        if clips.is_floating_point() and not bool(((clips >= 0) & (clips <= 1)).all()):
            raise UserError("clips of floats are in [0,1]: divide bytes by 255, or give uint8")


def _numbers(what: str, given: Tensor | NDArray[np.generic]) -> Tensor:
    """`given` as a tensor of its own where it is none.

    Raises:
        UserError: it holds no numbers.
    """
    if isinstance(given, Tensor):
        return given
    try:
        array = np.array(given)
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    except (TypeError, ValueError) as error:
        raise UserError(f"{what} are an array of numbers: {one_line(error)}") from error
