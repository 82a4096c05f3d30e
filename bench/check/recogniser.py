"""The checks of the recogniser contract; each raises `ContractBroken` where it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from bench.check.promises import (
    FRAME,
    may_refuse,
    require,
    require_close,
    require_gradients,
    require_loss,
    seeded,
    small_size,
    video,
)
from models.contract import FrameShape, Recogniser

CLASSES = 5


def check_shape(model_class: type[Recogniser]) -> None:
    """Grey clips give finite logits [B,classes]; the clip is left as it was."""
    _check_clips(model_class, FRAME)


def check_colour(model_class: type[Recogniser]) -> None:
    """Colour clips work as grey ones do."""
    _check_clips(model_class, (3, 64, 64))


def check_rectangle(model_class: type[Recogniser]) -> None:
    """Frames that are not square work, or are refused by a ValueError that says why."""
    with may_refuse("64 x 96 frames"):
        _check_clips(model_class, (1, 64, 96))


def check_any_length(model_class: type[Recogniser]) -> None:
    """Clips of any number of frames work, from one on."""
    model = build(model_class, FRAME)
    with torch.no_grad():
        for frames in (1, 2, 13):
            _check_logits(model(video(1, frames, FRAME)), 1)


def check_autocast(model_class: type[Recogniser]) -> None:
    """Under bfloat16 autocast logits and loss are finite, and near those of float32."""
    model, clip, labels = build(model_class, FRAME), video(2, 4, FRAME), torch.tensor([0, 1])
    with torch.no_grad():
        exact = model(clip)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(clip)
            require_loss(model.training_loss(clip, labels))
    distance = (rounded.float() - exact).abs().max().item()
    require(distance < 0.1, f"bfloat16 autocast moves a logit by {distance:.2g}")


def check_batch(model_class: type[Recogniser]) -> None:
    """Logits do not depend on what else is in the batch."""
    model, clip = build(model_class, FRAME), video(3, 4, FRAME)
    with torch.no_grad():
        apart = torch.cat([model(clip[[b]]) for b in range(len(clip))])
        require_close(model(clip), apart, "logits depend on the rest of the batch")


def check_no_state(model_class: type[Recogniser]) -> None:
    """Logits are the same again after other clips and another batch size."""
    model, clip = build(model_class, FRAME), video(2, 4, FRAME)
    with torch.no_grad():
        before = model(clip)
        model(video(3, 6, FRAME, seed=1))
        require_close(before, model(clip), "state survives a call")


def check_gradients(model_class: type[Recogniser]) -> None:
    """The training loss is a finite scalar, and every parameter has a finite gradient from it."""
    model = build(model_class, FRAME).train()
    loss = model.training_loss(video(2, 4, FRAME), torch.tensor([0, 1]))
    require_loss(loss)
    if not list(model.parameters()):
        return
    loss.backward()  # type: ignore[no-untyped-call]
    require_gradients(model)


def check_meta(model_class: type[Recogniser]) -> None:
    """The model runs on the meta device, where its FLOPs are counted without computing."""
    logits = build(model_class, FRAME).to("meta")(video(2, 4, FRAME).to("meta"))
    require(logits.device.type == "meta", "logits of meta tensors are on another device")


def check_round_trip(model_class: type[Recogniser]) -> None:
    """A fresh model given another's state_dict gives the same logits."""
    model, clip = build(model_class, FRAME), video(1, 4, FRAME)
    copy = build(model_class, FRAME, seed=1)
    copy.load_state_dict(model.state_dict())
    with torch.no_grad():
        same = model(clip), copy(clip)
    require_close(*same, "a model restored from its state_dict says something else")


CHECKS: Mapping[str, Callable[[type[Recogniser]], None]] = {
    "shape": check_shape,
    "colour": check_colour,
    "rectangle": check_rectangle,
    "any length": check_any_length,
    "autocast": check_autocast,
    "batch": check_batch,
    "no state": check_no_state,
    "gradients": check_gradients,
    "meta device": check_meta,
    "round trip": check_round_trip,
}
"""Every check by name; each takes the class and raises where it fails."""


def build(model_class: type[Recogniser], frame_shape: FrameShape, seed: int = 0) -> Recogniser:
    """The class at its small size for `frame_shape` and five classes, seeded, in evaluation.

    One without parameters is fitted to random labels, as the harness would to training clips.
    """
    torch.manual_seed(seed)
    model = model_class(frame_shape, CLASSES, **small_size(model_class).options).eval()
    if not list(model.parameters()):
        labels = torch.randint(CLASSES, (8,), generator=seeded(seed))
        model.fit([(video(len(labels), 1, frame_shape), labels)])
    return model


def _check_clips(model_class: type[Recogniser], frame_shape: FrameShape) -> None:
    model, clip = build(model_class, frame_shape), video(2, 4, frame_shape)
    given = clip.clone()
    with torch.no_grad():
        _check_logits(model(clip), 2)
    require(torch.equal(clip, given), "the clip is changed in place")


def _check_logits(logits: Tensor, batch: int) -> None:
    wanted = [batch, CLASSES]
    require(list(logits.shape) == wanted, f"logits have shape {list(logits.shape)}, not {wanted}")
    require(bool(logits.isfinite().all()), "logits are not finite")
