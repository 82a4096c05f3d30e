"""What two processes of a team do, or one alone: steps of every model in float64, and a test.

`python -m tests.bench.train.together FILE STEPS` is the second of the two, which meet by that file.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from bench.score.frame_scores import FrameScores
from bench.score.prediction import score_predictions
from bench.suite import catalogue
from bench.train import step
from bench.train.held_out import HeldOut
from bench.train.task import task_of
from bench.train.team import ALONE, Team, joined
from bench.train.warm_up import copied
from datasets.contract import HeldOutName, LabelledClips, LabelledDataset, Quantity, Spec, to_unit
from models.copy_last import CopyLast

BATCH, SIDE = 4, 16
OWN_DRAWS = {
    "maxvit": {"drop_path": 0.0},
    "vgg3d_classifier": {"dropout": 0.0},
    "vmrnn": {"drop_path": 0.0},
}
"""What turns off layers that draw from PyTorch's global state, which is each process's own."""


class Noise(LabelledDataset):
    """Clips of noise; the class of each is whether its first pixel is bright."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        shape = (count, self.spec.clip_frames, *self.spec.frame_shape)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)

    def train_labelled_clips(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        clips = self.train_clips(count, generator)
        return clips, (clips[:, 0, 0, 0, 0] > 127).long()

    def held_out(self, split: HeldOutName) -> LabelledClips:
        raise NotImplementedError


def training(name: str, team: Team) -> step.Training:
    """That of the small model `name` on the clips of noise, as `team` takes its steps."""
    model_class = catalogue.all_models()[name]
    classes = ("dark", "bright") if model_class.task == "recognition" else ()
    spec = Spec((1, SIDE, SIDE), 4 if classes else 2, 0 if classes else 2, classes)
    task, size = task_of(model_class.task, spec), model_class.sizes["small"]
    options: dict[str, Any] = {**size.options, **OWN_DRAWS.get(name, {})}
    torch.manual_seed(0)
    model = task.build(model_class, options).double()
    recipe = replace(size.recipe, batch_size=BATCH)
    fabric = step.fabric_on("cpu", "32", team)
    return step.Training(model, recipe, task, Noise(spec), 0, fabric, team)


def weights(one: step.Training) -> dict[str, Tensor]:
    """A copy of its weights and buffers."""
    one.finish()
    found: dict[str, Tensor] = copied(one.state()["model"])
    return found


@contextmanager
def in_double() -> Iterator[None]:
    """Inside, clips are float64 in training."""

    def to_double(clips: Tensor, device: torch.device) -> Tensor:
        return to_unit(clips).to(device, torch.float64)

    with patch.object(step, "to_float", to_double):
        yield


def every(team: Team, steps: int, names: Collection[str] = ()) -> dict[str, dict[str, Tensor]]:
    """The weights of each model that is trained, or of those named, after so many steps."""
    found = {}
    with in_double():
        for name, model_class in catalogue.all_models().items():
            if "small" in model_class.sizes and (not names or name in names):
                one = training(name, team)
                for number in range(steps):
                    one.step(number, number / steps)
                found[name] = weights(one)
    return found


def in_turns(*teams: Team) -> dict[str, Tensor]:
    """The weights of a model after two steps by each of `teams`, which go on from each other."""
    state = None
    with in_double():
        for turn, team in enumerate(teams):
            one = training("lmc_memory", team)
            if state is not None:
                one.restore(state)
            for number in (2 * turn, 2 * turn + 1):
                one.step(number, number / 6)
            state = copied(one.state())
    return weights(one)


def tested(team: Team) -> FrameScores:
    """The scores of seven clips of noise that a radar sees, in four batches, by copying."""
    rain = Quantity("rain", "mm/h", 0, 50)
    spec = Spec((1, SIDE, SIDE), 2, 2, quantities=(rain,), thresholds=(10, 40))
    clips = Noise(spec).train_clips(7, torch.Generator().manual_seed(0))
    held_out = HeldOut(clips, 7, 2, torch.device("cpu"), lambda _: None, team=team)
    task = task_of("prediction", spec)
    model = CopyLast((1, SIDE, SIDE))
    return score_predictions(task, lambda context: model(context, 2), held_out, 3, ())


def validated(team: Team) -> float:
    """The validation of the same."""
    clips = Noise(Spec((1, SIDE, SIDE), 2, 2)).train_clips(7, torch.Generator().manual_seed(0))
    held_out = HeldOut(clips, 7, 2, torch.device("cpu"), lambda _: None, team=team)
    model = CopyLast((1, SIDE, SIDE))
    task = task_of("prediction", Spec((1, SIDE, SIDE), 2, 2))
    return task.validate(lambda context: model(context, 2), held_out)


def all_of(team: Team, steps: int) -> tuple[Any, ...]:
    """Everything that both processes do, in one order."""
    turns = [in_turns(*teams) for teams in ((team, ALONE, team), (ALONE, team, ALONE))]
    return every(team, steps), turns, tested(team), validated(team)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with joined(1, 2, "cpu", Path(sys.argv[1])) as ours:
        all_of(ours, int(sys.argv[2]))
