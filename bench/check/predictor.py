"""The checks of the predictor contract; each raises `ContractBroken` where it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

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
from models.contract import FrameShape, Predictor, TrainingBatch

CONTEXT_FRAMES, HORIZON = 3, 2


def check_shape(model_class: type[Predictor]) -> None:
    """Grey frames give [B,horizon,C,H,W], finite numbers, the context left as it was."""
    _check_frames(model_class, FRAME)


def check_colour(model_class: type[Predictor]) -> None:
    """Colour frames work as grey ones do."""
    _check_frames(model_class, (3, 64, 64))


def check_rectangle(model_class: type[Predictor]) -> None:
    """Frames that are not square work, or are refused by a ValueError that says why."""
    with may_refuse("64 x 96 frames"):
        _check_frames(model_class, (1, 64, 96))


def check_any_length(model_class: type[Predictor]) -> None:
    """Any number of context frames, from one on, and any horizon work."""
    model = build(model_class, FRAME)
    with torch.no_grad():
        for context_frames, horizon in ((1, 1), (1, 3), (12, 1), (2, 12)):
            context = video(1, context_frames, FRAME)
            _check_prediction(model(context, horizon), context, horizon)


def check_autocast(model_class: type[Predictor]) -> None:
    """Under bfloat16 autocast predictions and loss stay near those of float32."""
    model, clip = build(model_class, FRAME), video(1, 3, FRAME)
    with torch.no_grad():
        exact = model(clip[:, :2], 1)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(clip[:, :2], 1)
            loss = model.training_loss(TrainingBatch(clip, 2, 0.5, seeded()))
    _check_prediction(rounded, clip[:, :2], 1)
    require_loss(loss)
    distance = (rounded.float() - exact).abs().max().item()
    near = is_stochastic(model_class) or distance < 0.1
    require(near, f"bfloat16 autocast moves a prediction by {distance:.2g}")


def check_batch(model_class: type[Predictor]) -> None:
    """A prediction does not depend on what else is in the batch, but where it is drawn."""
    if is_stochastic(model_class):
        return
    model, context = build(model_class, FRAME), video(3, CONTEXT_FRAMES, FRAME)
    with torch.no_grad():
        together = model(context, HORIZON)
        apart = torch.cat([model(context[[b]], HORIZON) for b in range(len(context))])
    require_close(together, apart, "predictions depend on the rest of the batch")


def check_no_state(model_class: type[Predictor]) -> None:
    """A prediction is the same again after other clips, another batch size and a training loss."""
    model, context = build(model_class, FRAME), video(2, CONTEXT_FRAMES, FRAME)
    with torch.no_grad():
        torch.manual_seed(1)
        before = model(context, HORIZON)
        model(video(3, CONTEXT_FRAMES, FRAME, seed=1), HORIZON)
        other = video(1, 5, FRAME, seed=2)
        model.training_loss(TrainingBatch(other, CONTEXT_FRAMES, 0.5, seeded()))
        torch.manual_seed(1)
        after = model(context, HORIZON)
    require_close(before, after, "state survives a call")


def check_samples(model_class: type[Predictor]) -> None:
    """Samples are [B,samples,horizon,C,H,W] in number, and the generator decides them."""
    model, context = build(model_class, FRAME), video(2, CONTEXT_FRAMES, FRAME)
    with torch.no_grad():
        one, two = (model.sample(context, HORIZON, 3, seeded()) for _ in range(2))
    require(len(one) == len(context), f"{len(one)} sequences have samples, not {len(context)}")
    for samples in one:
        _check_prediction(samples, context[:1].expand(3, -1, -1, -1, -1), HORIZON)
    require_close(one, two, "the same generator gives other samples")


def check_gradients(model_class: type[Predictor]) -> None:
    """Training losses are finite scalars; from them every parameter has a finite gradient."""
    model = build(model_class, FRAME).train()
    for progress in (0.0, 0.5, 1.0):
        model.zero_grad()
        for loss in _losses(model, video(2, 5, FRAME), progress, seeded()):
            require_loss(loss)
            if not list(model.parameters()):
                return
            loss.backward()  # type: ignore[no-untyped-call]
        require_gradients(model)


def check_randomness(model_class: type[Predictor]) -> None:
    """The same states of the generator and of PyTorch give the same losses."""
    losses = []
    for _ in range(2):
        model = build(model_class, FRAME).train()
        torch.manual_seed(1)
        with torch.no_grad():
            losses.append(torch.stack([*_losses(model, video(2, 5, FRAME), 0.2, seeded())]))
    require_close(losses[0], losses[1], "the same random states give another loss")


def check_meta(model_class: type[Predictor]) -> None:
    """The model runs on the meta device, where its FLOPs are counted without computing."""
    model = build(model_class, FRAME).to("meta")
    clip = video(2, 5, FRAME).to("meta")
    prediction = model(clip[:, :CONTEXT_FRAMES], HORIZON)
    require(prediction.device.type == "meta", "predictions of meta tensors are on another device")
    for loss in _losses(model, clip, 0.5, None):
        require(loss.shape == (), f"a training loss has shape {list(loss.shape)}, not a scalar's")


def check_round_trip(model_class: type[Predictor]) -> None:
    """A fresh model given another's state_dict predicts the same."""
    model, context = build(model_class, FRAME), video(1, CONTEXT_FRAMES, FRAME)
    torch.manual_seed(1)
    copy = model_class(FRAME, **small_size(model_class).options).eval()
    copy.load_state_dict(model.state_dict())
    same = []
    for each in (model, copy):
        torch.manual_seed(1)
        with torch.no_grad():
            same.append(each(context, HORIZON))
    require_close(same[0], same[1], "a model restored from its state_dict predicts something else")


CHECKS: Mapping[str, Callable[[type[Predictor]], None]] = {
    "shape": check_shape,
    "colour": check_colour,
    "rectangle": check_rectangle,
    "any length": check_any_length,
    "autocast": check_autocast,
    "batch": check_batch,
    "no state": check_no_state,
    "samples": check_samples,
    "gradients": check_gradients,
    "randomness": check_randomness,
    "meta device": check_meta,
    "round trip": check_round_trip,
}
"""Every check by name; each takes the class and raises where it fails."""


def is_stochastic(model_class: type[Predictor]) -> bool:
    """Whether its predictions are drawn."""
    return model_class.sample is not Predictor.sample


def build(model_class: type[Predictor], frame_shape: FrameShape) -> Predictor:
    """The class at its small size for `frame_shape`, seeded, in evaluation mode.

    One without parameters is fitted to random clips, as the harness would to training clips.
    """
    torch.manual_seed(0)
    model = model_class(frame_shape, **small_size(model_class).options).eval()
    if not list(model.parameters()):
        model.fit([video(2, 3, frame_shape)])
    return model


def _losses(
    model: Predictor, clip: Tensor, progress: float, generator: torch.Generator | None
) -> Iterator[Tensor]:
    """The losses of one training step, in turn."""
    batch = TrainingBatch(clip, CONTEXT_FRAMES, progress, generator)
    for name in model.losses:
        yield getattr(model, name)(batch)


def _check_frames(model_class: type[Predictor], frame_shape: FrameShape) -> None:
    model, context = build(model_class, frame_shape), video(2, CONTEXT_FRAMES, frame_shape)
    given = context.clone()
    with torch.no_grad():
        prediction = model(context, HORIZON)
    _check_prediction(prediction, context, HORIZON)
    require(prediction.dtype == context.dtype, f"predictions are {prediction.dtype}")
    require(torch.equal(context, given), "the context is changed in place")


def _check_prediction(prediction: Tensor, context: Tensor, horizon: int) -> None:
    wanted = (len(context), horizon, *context.shape[2:])
    require(
        prediction.shape == wanted,
        f"predictions have shape {list(prediction.shape)}, not {list(wanted)}",
    )
    require(prediction.is_floating_point(), f"predictions are {prediction.dtype}")
    require(bool(prediction.isfinite().all()), "predictions are not finite")
