"""The checks of the predictor contract; each raises `ContractBroken` where it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from bench.check import training
from bench.check.model import SharedChecks
from bench.check.promises import (
    FRAME,
    require,
    require_close,
    require_gradients,
    require_loss,
    seeded,
    small_size,
    video,
)
from bench.check.resume import require_resumable
from bench.check.static import require_static
from datasets.contract import Spec
from models.contract import FrameShape, Predictor, TrainingBatch

CONTEXT_FRAMES, HORIZON = 3, 2


def check_any_length(model_class: type[Predictor]) -> None:
    """Any number of context frames, from one on, and any horizon work."""
    model = build(model_class, FRAME)
    with torch.no_grad():
        for context_frames, horizon in ((1, 1), (1, 3), (12, 1), (2, 12)):
            context = video(1, context_frames, FRAME)
            _check_prediction(model(context, horizon), context, horizon)


def check_autocast(model_class: type[Predictor]) -> None:
    """Under bfloat16 autocast predictions stay near those of float32."""
    model, clip = build(model_class, FRAME), video(1, 3, FRAME)
    with torch.no_grad():
        exact = model(clip[:, :2], 1)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(clip[:, :2], 1)
    _check_prediction(rounded, clip[:, :2], 1)
    distance = (rounded.float() - exact).abs().max().item()
    near = is_stochastic(model_class) or distance < 0.1
    require(near, f"bfloat16 autocast moves a prediction by {distance:.2g}")


def check_samples(model_class: type[Predictor]) -> None:
    """Samples are [B,samples,horizon,C,H,W] in number, and the generator decides them."""
    model, context = build(model_class, FRAME), video(2, CONTEXT_FRAMES, FRAME)
    with torch.no_grad():
        one, two = (model.sample(context, HORIZON, 3, seeded()) for _ in range(2))
    require(len(one) == len(context), f"{len(one)} sequences have samples, not {len(context)}")
    for samples in one:
        _check_prediction(samples, context[:1].expand(3, -1, -1, -1, -1), HORIZON)
    require_close(one, two, "the same generator gives other samples")


def check_randomness(model_class: type[Predictor]) -> None:
    """The same states of the generator and of PyTorch give the same losses."""
    losses = []
    for _ in range(2):
        model = build(model_class, FRAME).train()
        torch.manual_seed(1)
        with torch.no_grad():
            losses.append(torch.stack([*_losses(model, video(2, 5, FRAME), 0.2, seeded())]))
    require_close(losses[0], losses[1], "the same random states give another loss")


def check_covariates(model_class: type[Predictor]) -> None:
    """Built for covariates a model predicts by them, at any length, and all of it learns."""
    model = _with_covariates(model_class)
    with torch.no_grad():
        for context_frames, horizon in ((1, 1), (4, 3)):
            context, given = video(2, context_frames, FRAME), _numbers(context_frames + horizon)
            _check_prediction(model(context, horizon, given), context, horizon)
        context, given, other = video(2, 3, FRAME), _numbers(5), _numbers(5, seed=1)
        torch.manual_seed(1)
        first = model(context, HORIZON, given)
        torch.manual_seed(1)
        ignored = torch.equal(first, model(context, HORIZON, other))
    require(
        not ignored, "it says that it takes covariates, and predicts the same whatever they are"
    )
    batch = TrainingBatch(video(2, 5, FRAME), 3, 0.5, seeded(), covariates=_numbers(5))
    for name in model.train().losses:
        loss = getattr(model, name)(batch)
        require_loss(loss)
        loss.backward()
    require_gradients(model)


def check_resume_with_covariates(model_class: type[Predictor]) -> None:
    """Training with covariates that is saved, and goes on, is the same to the bit."""
    recipe = small_size(model_class).recipe
    require_resumable(lambda: _with_covariates(model_class), _spec(), recipe)


def check_static_with_covariates(model_class: type[Predictor]) -> None:
    """A training step with covariates can be recorded once and replayed."""
    recipe = small_size(model_class).recipe
    require_static(lambda: _with_covariates(model_class), _spec(), recipe)


def _spec() -> Spec:
    return replace(training.SPECS["prediction"], covariates=training.COVARIATES)


def _with_covariates(model_class: type[Predictor]) -> Predictor:
    """The class at its small size, seeded, built for three covariates."""
    torch.manual_seed(0)
    options = {**small_size(model_class).options, "covariates": len(training.COVARIATES)}
    return model_class(FRAME, **options).eval()


def _numbers(frames: int, seed: int = 0) -> Tensor:
    """Covariates of two clips of so many frames, in [0,1]."""
    return torch.rand(2, frames, len(training.COVARIATES), generator=seeded(seed))


def is_stochastic(model_class: type[Predictor]) -> bool:
    """Whether its predictions are drawn."""
    return model_class.sample is not Predictor.sample


def new(model_class: type[Predictor], frame_shape: FrameShape) -> Predictor:
    """The class at its small size for `frame_shape`, in evaluation mode."""
    return model_class(frame_shape, **small_size(model_class).options).eval()


def build(model_class: type[Predictor], frame_shape: FrameShape) -> Predictor:
    """As `new`, seeded; one without parameters is fitted to random clips."""
    torch.manual_seed(0)
    model = new(model_class, frame_shape)
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


def _forward(model: Predictor, context: Tensor) -> Tensor:
    prediction: Tensor = model(context, HORIZON)
    return prediction


def _check_prediction(prediction: Tensor, context: Tensor, horizon: int = HORIZON) -> None:
    wanted = (len(context), horizon, *context.shape[2:])
    require(
        prediction.shape == wanted,
        f"predictions have shape {list(prediction.shape)}, not {list(wanted)}",
    )
    require(prediction.is_floating_point(), f"predictions are {prediction.dtype}")
    require(bool(prediction.isfinite().all()), "predictions are not finite")


_SHARED = SharedChecks(new, build, _forward, _losses, _check_prediction, is_stochastic)
CHECKS: Mapping[str, Callable[[type[Predictor]], None]] = {
    **_SHARED.by_name,
    "any length": check_any_length,
    "autocast": check_autocast,
    "samples": check_samples,
    "randomness": check_randomness,
}
"""Every check by name; each takes the class and raises where it fails."""

COVARIATE_CHECKS: Mapping[str, Callable[[type[Predictor]], None]] = {
    "covariates": check_covariates,
    "resume with covariates": check_resume_with_covariates,
    "static step with covariates": check_static_with_covariates,
}
"""Further checks of a class that takes them."""


def checks_of(model_class: type[Predictor]) -> Mapping[str, Callable[[type[Predictor]], None]]:
    """The checks that apply to the class."""
    return {**CHECKS, **(COVARIATE_CHECKS if model_class.takes_covariates else {})}
