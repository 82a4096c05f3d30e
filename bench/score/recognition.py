"""The task of saying what a clip shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from bench.score.clip_scores import ClipScores, score
from bench.score.frames import cross_entropy
from bench.score.task import Batch, Forward, HeldOut, Task, usual_speed
from datasets.contract import LabelledClips, LabelledDataset
from models.contract import Recogniser


class Recognition(Task):
    """Each clip gets a logit for every class; a video has the mean of its clips' logits."""

    def build(self, cls: type[Recogniser], options: Mapping[str, Any]) -> Recogniser:
        """A recogniser of the task's classes in frames of its shape."""
        return cls(self.spec.frame_shape, len(self.spec.classes), **options)

    def blank(self) -> Batch:
        """One clip without content, of the first class."""
        clip = torch.empty(1, self.spec.clip_frames, *self.spec.frame_shape)
        return clip, torch.zeros(1, dtype=torch.long)

    def draw(self, dataset: LabelledDataset, count: int, generator: torch.Generator) -> Batch:
        """`count` random training clips as bytes, and the class of each."""
        return dataset.train_labelled_clips(count, generator)

    def fit(self, model: Recogniser, batches: Iterable[Batch]) -> None:
        """Show clips and their classes to a recogniser without parameters."""
        model.fit((clips, labels) for clips, labels in batches)

    def losses(self, model: Recogniser) -> tuple[str, ...]:
        """The one loss there is."""
        return ("training_loss",)

    def loss_arguments(
        self, batch: Batch, progress: float, generator: torch.Generator | None
    ) -> tuple[object, ...]:
        """Clips and their classes."""
        return batch

    def forward(self, model: Any, clips: Tensor) -> Tensor:
        """The logits [B,classes] of `clips`."""
        logits: Tensor = model(clips)
        return logits

    def validate(self, forward: Forward, held_out: HeldOut) -> float:
        """The cross-entropy that `test` gives on the same clips."""
        logits, _ = self._logits(forward, held_out)
        return float(cross_entropy(logits, _labels(held_out)).double().mean())

    def test(self, forward: Forward, held_out: HeldOut, showcase_clips: int) -> ClipScores:
        """A row for every clip and for every video; no pixels are kept."""
        logits, frames_per_second = self._logits(forward, held_out)
        videos = _labelled(held_out).videos[: held_out.count]
        return score(logits, _labels(held_out), videos, self.spec.classes, frames_per_second)

    def _logits(self, forward: Forward, held_out: HeldOut) -> tuple[Tensor, float]:
        """The logits of all clips, float32 [N,classes] on the CPU, and the frames seen a second.

        Raises:
            ValueError: where there is not one logit for each class.
        """
        logits, speeds = [], []
        for batch in held_out.passes(forward):
            expected, got = [len(batch.clips), len(self.spec.classes)], list(batch.output.shape)
            if got != expected:
                raise ValueError(f"the logits have shape {got}, not {expected}")
            logits.append(batch.output.float().cpu())
            speeds.append(batch.clips.shape[:2].numel() / batch.seconds)
        return torch.cat(logits), usual_speed(speeds)


def _labelled(held_out: HeldOut) -> LabelledClips:
    clips: Any = held_out.clips  # a recognition cell has a `LabelledDataset`
    labelled: LabelledClips = clips
    return labelled


def _labels(held_out: HeldOut) -> Tensor:
    return _labelled(held_out).labels[: held_out.count]
