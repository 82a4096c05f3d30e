"""The first promises of a model: on clips like those of a data set it can be built and trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from bench.check import training
from bench.check.promises import require, require_own_options, seeded, small_size
from bench.check.registered import require_registered
from bench.errors import UserError
from bench.suite import catalogue
from bench.train.held_out import Batch, Pass
from bench.train.task import Task, task_for
from datasets.contract import DataMissing, Dataset
from models.contract import Model

CLIPS = 2


def checks_on(references: Sequence[str]) -> Mapping[str, Callable[[type[Model]], None]]:
    """The checks by name; each passes where one of the data sets does, whose frames may differ.

    Clips are random. Data sets that are not here, or for another task, do not count; where none is
    left, clips are short ones of 64x64 grey pixels.
    """

    @cache
    def opened(reference: str) -> Dataset | None:
        try:
            return catalogue.open_dataset(reference)
        except (UserError, DataMissing):
            return None  # told of elsewhere

    def on_any(check: Callable[[type[Model], Task], None]) -> Callable[[type[Model]], None]:
        def run(model_class: type[Model]) -> None:
            errors = []
            for data in map(opened, references):
                if data is None or data.task != model_class.task:
                    continue
                try:
                    check(model_class, task_for(model_class, data.spec))
                except (Exception, SystemExit) as error:  # a user's code may raise anything
                    errors.append(error)
                else:
                    return
            if errors:
                raise errors[0]
            check(model_class, task_for(model_class, training.SPECS[model_class.task]))

        return run

    on_data = {"builds": on_any(_builds), "trains": on_any(_trains)}
    return {"options": require_own_options, **on_data}


def _builds(model_class: type[Model], task: Task) -> None:
    """A model can be built at the small size."""
    task.build(model_class, small_size(model_class).options)


def _trains(model_class: type[Model], task: Task) -> None:
    """Losses are finite, gradients too, and the output is one."""
    torch.manual_seed(0)
    model: Any = task.build(model_class, small_size(model_class).options)
    batch = tuple(_filled(part) for part in task.blank())
    if list(model.parameters()):
        _require_gradients(model.train(), task, batch)
    else:
        task.fit(model, [batch])
    with torch.no_grad():
        output = task.forward(model.eval(), *task.given(batch))
    clips, *further = batch
    truth = clips[:, task.spec.context_frames :]
    task.check(Pass(0, clips.half(), truth, output, 0.0, tuple(further)))


def _require_gradients(model: Any, task: Task, batch: Batch) -> None:
    def losses() -> Iterator[Tensor]:
        arguments = task.loss_arguments(batch, torch.tensor(0.5), seeded())
        for name in task.losses(model):
            yield getattr(model, name)(*arguments)

    require_registered(model, losses)
    for loss in losses():
        loss.backward()  # type: ignore[no-untyped-call]
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    require(bool(gradients), "no parameter takes part in the loss")
    finite = all(bool(gradient.isfinite().all()) for gradient in gradients)
    require(finite, "a gradient is not finite")


def _filled(blank: Tensor) -> Tensor:
    """Several of what `blank` is one of: random where it holds floats in [0,1], else of zeros."""
    shape = (CLIPS, *blank.shape[1:])
    return torch.rand(shape) if blank.is_floating_point() else blank.new_zeros(shape)
