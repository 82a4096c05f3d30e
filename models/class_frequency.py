"""The baseline that knows only how often each class occurs."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from models.contract import Classifier, FrameShape


class ClassFrequency(Classifier):
    """Whatever a clip shows, the logits are the logarithms of the classes' training frequencies.

    Each class counts as seen once more than it was, so that none is impossible.
    """

    name = "class_frequency"
    log_frequency: Tensor

    def __init__(self, frame_shape: FrameShape, classes: int) -> None:
        super().__init__(frame_shape, classes)
        # Not a number until fitted, so that a forgotten fit cannot pass for equal frequencies.
        self.register_buffer("log_frequency", torch.full((classes,), torch.nan))

    def forward(self, clip: Tensor) -> Tensor:
        """The same logits [B,classes] for every clip [B,T,C,H,W]."""
        return self.log_frequency.to(clip.dtype).repeat(len(clip), 1)

    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Set `log_frequency` from the labels int64 [B] of `batches` (clips, labels).

        Raises:
            ValueError: where there is not one label.
        """
        seen = torch.zeros(self.classes, dtype=torch.float64)
        for _, labels in batches:
            seen += labels.cpu().bincount(minlength=self.classes)
        if not seen.any():
            raise ValueError("class frequencies need at least one training label")
        self.log_frequency.copy_((seen + 1).div(seen.sum() + self.classes).log())
