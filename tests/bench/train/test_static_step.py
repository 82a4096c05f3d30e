"""A step recorded once and replayed is the step, for every model, as a CUDA graph would have it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.check.promises import small_size
from bench.check.tape import Tape
from bench.check.training import CLASSES, Noise
from bench.suite import catalogue
from bench.train.hardware import set_arithmetic
from bench.train.step import Training, fabric_on
from bench.train.task import task_of
from bench.train.warm_up import warm_up
from datasets.contract import Spec
from models.contract import Model

FRAME = (1, 16, 32)
SPECS = {"prediction": Spec(FRAME, 2, 2), "recognition": Spec(FRAME, 3, 0, CLASSES)}
STEPS, STOP = 8, 3


def _build(model_class: type[Model]) -> Any:
    torch.manual_seed(0)
    task = task_of(model_class.task, SPECS[model_class.task])
    return task.build(model_class, small_size(model_class).options)


TRAINED = [c for c in catalogue.all_models().values() if "small" in c.sizes]
every_model = pytest.mark.parametrize("model_class", TRAINED, ids=lambda c: c.name)


def _training(model_class: type[Model], precision: str = "32", device: str = "cpu") -> Training:
    recipe = replace(small_size(model_class).recipe, batch_size=1)
    spec = SPECS[model_class.task]
    fabric = fabric_on(device, precision)  # type: ignore[arg-type]
    task = task_of(model_class.task, spec)
    return Training(_build(model_class), recipe, task, Noise(spec), 0, fabric)


def _losses(training: Training, numbers: range) -> list[Tensor]:
    losses = [training.step(number, number / (STEPS - 1)) for number in numbers]
    training.batches.drop()
    return losses


def _weights(training: Training) -> list[Tensor]:
    return [tensor.clone() for tensor in training.state()["model"].values()]


@every_model
def test_replayed_steps_are_eager_ones_to_the_bit(model_class: type[Model]) -> None:
    """From the start to the end of the schedules, through a stop and an in-place restore."""
    eager, replayed = _training(model_class), _training(model_class)
    start = _copied(replayed.state())
    _losses(replayed, range(-2, 0))
    replayed.record(Tape, -1)
    replayed.restore(start)
    expected = _losses(eager, range(STEPS))
    got = _losses(replayed, range(STOP))
    middle = _copied(replayed.state())
    _losses(replayed, range(STOP, STOP + 2))
    replayed.restore(middle)
    got += _losses(replayed, range(STOP, STEPS))
    assert replayed.run_as == "graph"
    assert torch.equal(torch.stack(got), torch.stack(expected))
    assert all(map(torch.equal, _weights(replayed), _weights(eager)))


@every_model
def test_bf16_is_autocast_in_every_loss_and_nowhere_else(
    model_class: type[Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss here costs nothing: what Fabric makes of the call is what is asked."""
    training, inside = _training(model_class, "bf16"), []
    model = training.model.module

    def loss(*_: object) -> Tensor:
        inside.append(torch.is_autocast_enabled("cpu"))
        weights = torch.ones(2, 2, requires_grad=True)
        product = weights @ weights
        product.register_hook(lambda _: inside.append(not torch.is_autocast_enabled("cpu")))
        assert product.dtype == torch.bfloat16
        return product.float().sum() + sum(each.sum() for each in model.parameters()) * 0

    names = task_of(model_class.task, SPECS[model_class.task]).losses(model)
    for name in names:
        monkeypatch.setattr(model, name, loss)
    training.step(0, 0.5)
    training.batches.drop()
    assert inside == [True, True] * len(names)
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("precision", ["32", "bf16"])
@every_model
def test_on_cuda_a_graph_takes_the_same_steps(model_class: type[Model], precision: str) -> None:
    set_arithmetic()
    replayed, eager = (_training(model_class, precision, "cuda") for _ in range(2))
    for training, asked in ((replayed, "graph"), (eager, "eager")):
        warm_up(training, asked, torch.device("cuda"))  # type: ignore[arg-type]
    got, expected = (torch.stack(_losses(each, range(STEPS))) for each in (replayed, eager))
    assert replayed.run_as == "graph"
    torch.testing.assert_close(got, expected, rtol=0.02, atol=0)


def _copied(tree: Any) -> Any:
    return torch.utils._pytree.tree_map_only(Tensor, torch.clone, tree)
