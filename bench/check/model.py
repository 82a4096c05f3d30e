"""The checks that predictors and classifiers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.check import training
from bench.check.promises import (
    FRAME,
    may_refuse,
    require,
    require_close,
    require_gradients,
    require_loss,
    require_own_options,
    seeded,
    small_size,
    video,
)
from bench.check.registered import require_registered
from bench.check.resume import require_resumable
from bench.check.static import require_static
from bench.kernels.fit import fit
from models.contract import FrameShape

Losses = Callable[[Any, Tensor, float, torch.Generator | None], Iterator[Tensor]]


@dataclass(frozen=True)
class SharedChecks:
    """The checks of one kind of model, each of a class of that kind.

    Attributes:
        new: a model of a class for a frame shape, at its small size, in evaluation mode.
        build: the same, seeded, and fitted where it has no parameters.
        forward: a model's output for frames [B,T,C,H,W].
        losses: the losses of one training step of a model, given clips [B,T,C,H,W], the progress
            in [0,1] and a generator.
        require_output: raises where an output for these frames is wrong.
        is_stochastic: whether the outputs of a class are drawn.
    """

    new: Callable[[type[Any], FrameShape], Any]
    build: Callable[[type[Any], FrameShape], Any]
    forward: Callable[[Any, Tensor], Tensor]
    losses: Losses
    require_output: Callable[[Tensor, Tensor], None]
    is_stochastic: Callable[[type[Any]], bool]

    def shape(self, model_class: type[Any]) -> None:
        """Grey frames give an output of the right shape, finite; they are left as they were."""
        self._frames(model_class, FRAME)

    def colour(self, model_class: type[Any]) -> None:
        """Colour frames work as grey ones do."""
        self._frames(model_class, (3, 64, 64))

    def rectangle(self, model_class: type[Any]) -> None:
        """Frames that are not square work, or are refused by a ValueError that says why."""
        with may_refuse("64 x 96 frames"):
            self._frames(model_class, (1, 64, 96))

    def batch(self, model_class: type[Any]) -> None:
        """An output does not depend on the rest of the batch, unless it is drawn."""
        if self.is_stochastic(model_class):
            return
        model, frames = self.build(model_class, FRAME), video(3, 3, FRAME)
        with torch.no_grad():
            apart = torch.cat([self.forward(model, frames[[b]]) for b in range(len(frames))])
            together = self.forward(model, frames)
        require_close(together, apart, "outputs depend on the rest of the batch")

    def no_state(self, model_class: type[Any]) -> None:
        """An output is the same again after other clips, of the same number too, and a loss."""
        model, frames = self.build(model_class, FRAME), video(2, 3, FRAME)
        with torch.no_grad():
            torch.manual_seed(1)
            before = self.forward(model, frames)
            self.forward(model, video(3, 3, FRAME, seed=1))
            for _ in self.losses(model, video(1, 5, FRAME, seed=2), 0.5, seeded()):
                pass
            self.forward(model, video(2, 3, FRAME, seed=3))  # state may live as long as a size
            torch.manual_seed(1)
            after = self.forward(model, frames)
        require_close(before, after, "state survives a call")

    def gradients(self, model_class: type[Any]) -> None:
        """Training losses are finite scalars; from them every parameter has a finite gradient."""
        model = self.build(model_class, FRAME).train()
        require_registered(model, lambda: self.losses(model, video(2, 5, FRAME), 0.5, seeded()))
        for progress in (0.0, 0.5, 1.0):
            model.zero_grad()
            for loss in self.losses(model, video(2, 5, FRAME), progress, seeded()):
                require_loss(loss)
                if not list(model.parameters()):
                    return
                loss.backward()  # type: ignore[no-untyped-call]
            require_gradients(model)

    def rounded_gradients(self, model_class: type[Any]) -> None:
        """Under bfloat16 autocast losses are finite, in float32, and so are their gradients."""
        model = self.build(model_class, FRAME).train()
        fit(model, "cpu", "bf16")
        parameters = list(model.parameters())
        with torch.autocast("cpu", torch.bfloat16):
            losses = self.losses(model, video(1, 4, FRAME), 0.5, seeded())
            for loss in losses if parameters else ():
                require_loss(loss)
                require(loss.dtype == torch.float32, f"a training loss is {loss.dtype}")
                with torch.autocast("cpu", enabled=False):
                    loss.backward()  # type: ignore[no-untyped-call]
        require_gradients(model)

    def static(self, model_class: type[Any]) -> None:
        """A training step can be recorded once and replayed: nothing in it is up to the host."""
        recipe = small_size(model_class).recipe
        spec = training.SPECS[model_class.task]
        require_static(lambda: self.build(model_class, FRAME), spec, recipe)

    def meta(self, model_class: type[Any]) -> None:
        """The model runs on the meta device, where its FLOPs are counted without computing."""
        model, clips = self.build(model_class, FRAME).to("meta"), video(2, 5, FRAME).to("meta")
        output = self.forward(model, clips[:, :3])
        require(output.device.type == "meta", "outputs of meta tensors are on another device")
        for loss in self.losses(model, clips, 0.5, None):
            shape = list(loss.shape)
            require(shape == [], f"a training loss has shape {shape}, not a scalar's")

    def round_trip(self, model_class: type[Any]) -> None:
        """A new model given another's state_dict has the same output."""
        model, frames = self.build(model_class, FRAME), video(1, 3, FRAME)
        torch.manual_seed(1)
        copy = self.new(model_class, FRAME)
        copy.load_state_dict(model.state_dict())
        same = []
        for each in (model, copy):
            torch.manual_seed(1)
            with torch.no_grad():
                same.append(self.forward(each, frames))
        require_close(same[0], same[1], "a model restored from its state_dict has another output")

    def resume(self, model_class: type[Any]) -> None:
        """Training that is saved, and goes on with a new model, is the same to the bit."""
        recipe = small_size(model_class).recipe
        spec = training.SPECS[model_class.task]
        require_resumable(lambda: self.build(model_class, FRAME), spec, recipe)

    @property
    def by_name(self) -> dict[str, Callable[[type[Any]], None]]:
        """Each check by name."""
        return {
            "options": require_own_options,
            "shape": self.shape,
            "colour": self.colour,
            "rectangle": self.rectangle,
            "batch": self.batch,
            "no state": self.no_state,
            "gradients": self.gradients,
            "rounded gradients": self.rounded_gradients,
            "meta device": self.meta,
            "round trip": self.round_trip,
            "resume": self.resume,
            "static step": self.static,
        }

    def _frames(self, model_class: type[Any], frame_shape: FrameShape) -> None:
        model, frames = self.build(model_class, frame_shape), video(2, 3, frame_shape)
        given = frames.clone()
        with torch.no_grad():
            output = self.forward(model, frames)
        self.require_output(output, frames)
        require(output.dtype == frames.dtype, f"outputs are {output.dtype}")
        require(torch.equal(frames, given), "the frames are changed in place")
