"""The task of continuing a video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from bench.score.frame_scores import FrameScorer, FrameScores
from bench.score.frames import mse
from bench.score.showcase import Showcase, chosen
from bench.score.task import Batch, Forward, HeldOut, Pass, Task, usual_speed
from datasets.contract import Dataset
from models.contract import Predictor


class Prediction(Task):
    """The horizon is predicted from the context, and compared frame by frame.

    Predictions become float32 and are clamped to [0,1] before every metric of ours.
    """

    def build(self, cls: type[Predictor], options: Mapping[str, Any]) -> Predictor:
        """A predictor for frames of the task's shape."""
        return cls(self.spec.frame_shape, **options)

    def blank(self) -> Batch:
        """One clip without content."""
        return (torch.empty(1, self.spec.clip_frames, *self.spec.frame_shape),)

    def draw(self, dataset: Dataset, count: int, generator: torch.Generator) -> Batch:
        """`count` random training clips as bytes."""
        return (dataset.train_clips(count, generator),)

    def fit(self, model: Predictor, batches: Iterable[Batch]) -> None:
        """Show clips to a predictor without parameters."""
        model.fit(clips for (clips,) in batches)

    def losses(self, model: Predictor) -> tuple[str, ...]:
        """As the model names them."""
        return model.losses

    def loss_arguments(
        self, batch: Batch, progress: float, generator: torch.Generator | None
    ) -> tuple[object, ...]:
        """Clips, how many of their frames are given, the progress, and the random numbers."""
        (clips,) = batch
        return clips, self.spec.context_frames, progress, generator

    def forward(self, model: Any, clips: Tensor) -> Tensor:
        """The horizon [B,horizon,C,H,W] after the context of `clips`."""
        prediction: Tensor = model(clips[:, : self.spec.context_frames], self.spec.horizon)
        return prediction

    def validate(self, forward: Forward, held_out: HeldOut) -> float:
        """The MSE that `test` gives on the same clips."""
        errors = [mse(prediction, truth) for _, prediction, truth in self._seen(forward, held_out)]
        return float(torch.cat(errors).cpu().double().mean())

    def test(self, forward: Forward, held_out: HeldOut, showcase_clips: int) -> FrameScores:
        """A score for every predicted frame; beside them only the showcase keeps pixels.

        Raises:
            ValueError: where a prediction has another shape than the truth.
        """
        showcase = Showcase(chosen(held_out, self.spec.context_frames, showcase_clips))
        scorer = FrameScorer()
        speeds = []
        for batch, prediction, truth in self._seen(forward, held_out):
            scorer.add(batch.output, truth)
            speeds.append(truth.shape[:2].numel() / batch.seconds)
            showcase.take(batch, prediction)
        return scorer.scores(showcase.arrays(), usual_speed(speeds))

    def _seen(self, forward: Forward, held_out: HeldOut) -> Iterator[tuple[Pass, Tensor, Tensor]]:
        """Each batch, the prediction float32 clamped to [0,1], and the truth."""
        for batch in held_out.passes(forward):
            truth = batch.frames[:, self.spec.context_frames :]
            if batch.output.shape != truth.shape:
                expected, got = list(truth.shape), list(batch.output.shape)
                raise ValueError(f"the prediction has shape {got}, the truth {expected}")
            yield batch, batch.output.float().clamp(0, 1), truth
