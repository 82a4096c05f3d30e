"""The checks of the classifier contract; each raises `ContractBroken` where it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from bench.check.model import SharedChecks
from bench.check.promises import FRAME, require, seeded, small_size, video
from models.contract import Classifier, FrameShape

CLASSES = 5


def check_any_length(model_class: type[Classifier]) -> None:
    """Clips of any number of frames work, from one on."""
    model = build(model_class, FRAME)
    with torch.no_grad():
        for frames in (1, 2, 13):
            clip = video(1, frames, FRAME)
            _check_logits(model(clip), clip)


def check_autocast(model_class: type[Classifier]) -> None:
    """Under bfloat16 autocast logits are near those of float32."""
    model, clip = build(model_class, FRAME), video(1, 3, FRAME)
    with torch.no_grad():
        exact = model(clip)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(clip)
    distance = (rounded.float() - exact).abs().max().item()
    require(distance < 0.1, f"bfloat16 autocast moves a logit by {distance:.2g}")


def new(model_class: type[Classifier], frame_shape: FrameShape) -> Classifier:
    """The class at its small size for `frame_shape` and five classes, in evaluation mode."""
    return model_class(frame_shape, CLASSES, **small_size(model_class).options).eval()


def build(model_class: type[Classifier], frame_shape: FrameShape) -> Classifier:
    """As `new`, seeded; one without parameters is fitted to random clips and labels."""
    torch.manual_seed(0)
    model = new(model_class, frame_shape)
    if not list(model.parameters()):
        labels = torch.randint(CLASSES, (8,), generator=seeded())
        model.fit([(video(len(labels), 1, frame_shape), labels)])
    return model


def _forward(model: Classifier, clips: Tensor) -> Tensor:
    logits: Tensor = model(clips)
    return logits


def _losses(
    model: Classifier, clips: Tensor, progress: float, generator: torch.Generator | None
) -> Iterator[Tensor]:
    """The one training loss, on the classes 0, 1, ..."""
    del progress, generator  # a classifier's loss depends on neither
    yield model.training_loss(clips, torch.arange(len(clips), device=clips.device))


def _check_logits(logits: Tensor, clips: Tensor) -> None:
    wanted = [len(clips), CLASSES]
    require(list(logits.shape) == wanted, f"logits have shape {list(logits.shape)}, not {wanted}")
    require(bool(logits.isfinite().all()), "logits are not finite")


_SHARED = SharedChecks(new, build, _forward, _losses, _check_logits, lambda _: False)
CHECKS: Mapping[str, Callable[[type[Classifier]], None]] = {
    **_SHARED.by_name,
    "any length": check_any_length,
    "autocast": check_autocast,
}
"""Every check by name; each takes the class and raises where it fails."""
