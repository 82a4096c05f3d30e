"""Times a training step of every model, and against the literal transcription where there is one.

    python -m tests.performance.step_time [MODELS...] [--size small|published] [--threads 2]
        [--out table.md]

A step is zero_grad, loss, backward and a fused Adam update on random clips: 10 frames to 10 at
1x64x64 for predictors (3x64x64 for those of the UCF101 study), 10 frames at 3x64x64 of 174 classes
for classifiers. Ours has the kernels of `bench.kernels`, as in a cell. Where `tests/literal` holds
the model, a step of ours and one of the transcription alternate at the same weights, once both
losses have been found equal; the ratio is the median of the pairs' with its quartiles. Absolute
times say little: what else the processor does and how warm it is moves them by tens of per cent,
but both of a pair alike. Ratios matter.

Of a model with several updates a step the pairs time `training_loss` alone, samples a second all.
Memory is resident: the peak after two steps of ours, less what was there before the model was.
Each model runs in a process of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import psutil
import torch
from torch import Tensor, nn

from bench.kernels.fit import fit, shared_filters
from bench.suite import catalogue
from bench.train.hardware import peak_memory_bytes
from models.contract import Classifier, Model, Predictor, TrainingBatch

CONTEXT_FRAMES, HORIZON, CLASSES = 10, 10, 174
FEWEST_PAIRS = 7
LEARNING_RATE = 1e-5  # a step must cost what it costs, not go anywhere
TOLERANCE = 1e-4

Loss = Callable[[], Tensor]
Step = Callable[[], None]

HEADER = (
    "| model | size | batch | parameters | peak MiB | samples/s | ours ms | literal ms |"
    " literal / ours (quartiles) | pairs |\n|---|---|---|---|---|---|---|---|---|---|\n"
)


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of one model; times in seconds, those of the literal None without one."""

    name: str
    size: str
    batch: int
    parameters: int
    peak_bytes: int
    whole_step: float
    ours: list[float]
    literal: list[float] | None

    def markdown(self) -> str:
        """The row under HEADER."""
        cells = [
            self.name,
            self.size,
            f"{self.batch}",
            f"{self.parameters:,}",
            f"{self.peak_bytes / 2**20:,.0f}",
            f"{self.batch / self.whole_step:.3g}",
            f"{1e3 * statistics.median(self.ours):,.0f}",
            *self._compared(),
            f"{len(self.ours)}",
        ]
        return f"| {' | '.join(cells)} |\n"

    def _compared(self) -> tuple[str, str]:
        if self.literal is None:
            return "", ""
        ratios = [theirs / ours for ours, theirs in zip(self.ours, self.literal, strict=True)]
        low, middle, high = (
            statistics.quantiles(ratios, method="inclusive") if len(ratios) > 1 else ratios * 3
        )
        literal = f"{1e3 * statistics.median(self.literal):,.0f}"
        return literal, f"{middle:.2f} ({low:.2f} to {high:.2f})"


def measure(name: str, asked: argparse.Namespace) -> Row:
    """Build the model `name` and time its steps."""
    torch.manual_seed(0)
    cls = catalogue.model(name)
    clip = torch.rand(asked.batch, *clip_shape(cls))
    resident = psutil.Process().memory_info().rss
    model = build(cls, asked.size)
    fit(model, "cpu", "32")
    whole_step = training_step(list(model.parameters()), losses(model, clip))
    for _ in range(2):
        whole_step()
    peak = peak_memory_bytes("cpu") - resident

    literal = literal_of(name)
    if literal is None:
        alone = [ours for (ours,) in take_turns([whole_step], asked)]
        ours, theirs, whole = alone, None, statistics.median(alone)
    else:
        pairs = list(take_turns(list(rivals(model, literal, clip)), asked))
        ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
        whole = statistics.median(ours)
        if len(model.losses) > 1:
            whole = statistics.median(t for (t,) in take_turns([whole_step], asked))
    parameters = sum(p.numel() for p in model.parameters())
    size_name, _ = catalogue.size_of(cls, asked.size)
    return Row(name, size_name, asked.batch, parameters, peak, whole, ours, theirs)


def build(cls: type[Model], size: str) -> Model:
    """A model of that size for the clips it is trained on here."""
    given: tuple[object, ...] = (clip_shape(cls)[1:],)
    if issubclass(cls, Classifier):
        given = (*given, CLASSES)
    return cls(*given, **catalogue.size_of(cls, size)[1].options)


def clip_shape(cls: type[Model]) -> tuple[int, int, int, int]:
    """Frames, channels, height and width of the clips that a model is trained on here."""
    if issubclass(cls, Classifier):
        return CONTEXT_FRAMES, 3, 64, 64
    channels = 3 if cls.name.startswith("ucf101_study") else 1
    return CONTEXT_FRAMES + HORIZON, channels, 64, 64


def losses(model: Model, clip: Tensor) -> list[Loss]:
    """The losses of one whole training step of `model`, in turn, at the end of its schedules."""
    if isinstance(model, Classifier):
        labels = torch.arange(len(clip)) % CLASSES
        return [lambda: model.training_loss(clip, labels)]
    assert isinstance(model, Predictor)
    generator = torch.Generator().manual_seed(0)

    def loss_named(name: str) -> Loss:
        return lambda: getattr(model, name)(TrainingBatch(clip, CONTEXT_FRAMES, 1.0, generator))

    return [loss_named(name) for name in model.losses]


def literal_of(name: str) -> ModuleType | None:
    """The transcription of the model `name`, if there is one."""
    path = f"tests.literal.{name}"
    return importlib.import_module(path) if importlib.util.find_spec(path) else None


def rivals(model: Predictor, literal: ModuleType, clip: Tensor) -> Iterator[Step]:
    """A step of `model` and one of the transcription, whose losses agree before the first."""
    leave_nothing_to_chance(model, literal)
    copies = {
        name: weight.detach()
        .clone(memory_format=torch.contiguous_format)
        .requires_grad_(weight.requires_grad)
        for name, weight in literal.weights(model).items()
    }

    def ours() -> Tensor:
        return model.training_loss(TrainingBatch(clip, CONTEXT_FRAMES, 1.0))

    def theirs() -> Tensor:
        return literal.training_loss(copies, clip, CONTEXT_FRAMES)

    with torch.no_grad():
        torch.testing.assert_close(ours(), theirs(), rtol=TOLERANCE, atol=0.0)
    leaves = [copy for copy in copies.values() if copy.requires_grad]
    for parameters, loss in ((list(model.parameters()), ours), (leaves, theirs)):
        step = training_step(parameters, [loss])
        step()  # the first also makes the optimiser's state
        yield step


def leave_nothing_to_chance(model: Predictor, literal: ModuleType) -> None:
    """Dropout and drop path off, batch normalisation in the mode that `literal` describes."""
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train(getattr(literal, "MODE", "train") == "train")


def training_step(parameters: Sequence[Tensor], losses: Sequence[Loss]) -> Step:
    """A function that updates `parameters` by each of `losses` in turn."""
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE, fused=True)

    def step() -> None:
        for loss in losses:
            optimizer.zero_grad(set_to_none=True)
            with shared_filters():
                loss().backward()
            optimizer.step()

    return step


def take_turns(steps: Sequence[Step], asked: argparse.Namespace) -> Iterator[list[float]]:
    """The seconds of each of `steps`, round after round, every other round in reverse.

    It ends after `asked.pairs` rounds, or once they have taken `asked.seconds`, but not before
    the seventh unless a single one takes that long.
    """
    spent = 0.0
    for done in range(asked.pairs):
        if spent > asked.seconds and (done >= FEWEST_PAIRS or spent > done * asked.seconds):
            return
        order = list(range(len(steps)))[:: -1 if done % 2 else 1]
        seconds = dict(zip(order, map(timed, (steps[i] for i in order)), strict=True))
        spent += sum(seconds.values())
        yield [seconds[i] for i in range(len(steps))]


def timed(step: Step) -> float:
    """Seconds that `step` takes."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def in_own_process(name: str, asked: argparse.Namespace) -> str:
    """The table's row for the model `name`, or one that says why there is none."""
    numbers = [f"--{key}={getattr(asked, key)}" for key in ("size", "batch", "pairs", "seconds")]
    child = subprocess.run(
        [sys.executable, "-m", "tests.performance.step_time", name, "--here", *numbers],
        env={**os.environ, "OMP_NUM_THREADS": str(asked.threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        why = (child.stderr.strip().splitlines() or [f"it ended with {child.returncode}"])[-1]
        return f"| {name} | not measured: {why} |\n"
    return Row(**json.loads(child.stdout)).markdown()


def trained_models() -> list[str]:
    """The names of all models that learn by training."""
    with torch.device("meta"):
        models = {name: build(cls, "small") for name, cls in catalogue.all_models().items()}
    return [name for name, model in models.items() if list(model.parameters())]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance.step_time")
    parser.add_argument("models", nargs="*", help="names; all that are trained unless given")
    parser.add_argument("--size", default="small", choices=("small", "published"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=120.0, help="about how long a model takes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="where the table goes, beside the terminal")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Measure and write the table, row by row."""
    asked = parse(arguments)
    if asked.here:
        sys.stdout.write(json.dumps(dataclasses.asdict(measure(asked.models[0], asked))))
        return
    table = HEADER
    sys.stdout.write(HEADER)
    for name in asked.models or trained_models():
        row = in_own_process(name, asked)
        sys.stdout.write(row)
        sys.stdout.flush()
        table += row
        if asked.out:
            asked.out.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
