"""The shared parts of the checks: random clips, and assertions that raise `ContractBroken`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from bench.errors import unknown
from bench.suite.catalogue import options_of
from models.contract import FrameShape, Model, Size

FRAME: FrameShape = (1, 64, 64)


class ContractBroken(Exception):
    """A class does not keep the contract; the message says what it did."""


def small_size(model_class: type[Model]) -> Size:
    """The size to test a class at: "small", or else the first it names."""
    sizes = model_class.sizes
    return sizes["small"] if "small" in sizes else next(iter(sizes.values()))


def video(clips: int, frames: int, frame_shape: FrameShape, seed: int = 0) -> Tensor:
    """Random clips [B,T,C,H,W] in [0,1]."""
    return torch.rand(clips, frames, *frame_shape, generator=seeded(seed))


def seeded(seed: int = 0) -> torch.Generator:
    """A source of random numbers."""
    return torch.Generator().manual_seed(seed)


def require(kept: bool, complaint: str) -> None:
    """Raise `ContractBroken` with `complaint` unless `kept`."""
    if not kept:
        raise ContractBroken(complaint)


def require_own_options(model_class: type[Model]) -> None:
    """The options of its sizes, and those that a search may vary, are its own."""
    known = options_of(model_class)
    places = {f"size {name!r}": size.options for name, size in model_class.sizes.items()}
    for place, options in {**places, "tunable": model_class.tunable}.items():
        for option in options:
            require(option in known, f"{place}: {unknown('option', option, known)}")
    for option, values in model_class.tunable.items():
        require(bool([*values]), f"tunable: there is no value of {option!r} to try")


@contextmanager
def may_refuse(what: str) -> Iterator[None]:
    """Let a ValueError pass where it says why `what` is refused."""
    try:
        yield
    except ValueError as error:
        require(len(str(error)) > 10, f"refuses {what} without naming the constraint")


def require_close(first: Tensor, second: Tensor, complaint: str) -> None:
    """Raise `ContractBroken` where the two differ by more than rounding, or are no numbers."""
    finite = bool(first.isfinite().all() and second.isfinite().all())
    require(finite, "an output is not finite")
    distance = (first - second).abs().max().item()
    require(distance < 1e-4, f"{complaint} (they differ by {distance:.2g})")


def require_loss(loss: Tensor) -> None:
    """Raise `ContractBroken` unless `loss` is a finite scalar."""
    kind = type(loss).__name__
    require(isinstance(loss, Tensor), f"a training loss is of type {kind}, not a scalar tensor")
    require(loss.shape == (), f"a training loss has shape {list(loss.shape)}, not a scalar's")
    require(math.isfinite(loss.item()), f"a training loss is {loss.item()}")


def require_gradients(model: Model) -> None:
    """Raise `ContractBroken` unless every parameter has a finite gradient."""
    for name, parameter in model.named_parameters():
        require(parameter.grad is not None, f"parameter {name} takes no part in the loss")
        finite = parameter.grad is not None and bool(parameter.grad.isfinite().all())
        require(finite, f"the gradient of {name} is not finite")
