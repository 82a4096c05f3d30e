"""The names under which results are recorded, and the better direction of each measure."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the report reads these names without torch
    from datasets.contract import TaskName


class Status(StrEnum):
    """The state of a cell's run."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    OUT_OF_MEMORY = "oom"
    DIVERGED = "diverged"
    INVALID = "invalid"
    """It broke a rule of the comparison, such as frames that are no numbers: its figures are void.
    """
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"
    SKIPPED = "skipped"
    MISSING = "missing"
    """Planned but not started: it stands in the plan of the invocation and has no run."""

    @property
    def exit_code(self) -> int:
        """The exit code of a process that ends like this."""
        return {Status.DONE: 0, Status.INTERRUPTED: 130}.get(self, 1)


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of a cell: its MLflow metric name, its label and unit, and its better direction."""

    key: str
    label: str
    unit: str = ""
    better: str | None = None
    """"lower", "higher", or None where neither is better."""

    @property
    def arrow(self) -> str:
        """↓ where lower is better, ↑ where higher is, nothing where neither."""
        return {"lower": "↓", "higher": "↑", None: ""}[self.better]

    @property
    def heading(self) -> str:
        """The label with unit and arrow, such as `PSNR (dB) ↑`."""
        unit = f" ({self.unit})" if self.unit else ""
        return f"{self.label}{unit} {self.arrow}".strip()


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a curve, with its time, so that sending it twice records it once."""

    key: str
    value: float
    step: int
    timestamp_ms: int

    @classmethod
    def now(cls, key: str, value: float, step: int) -> Point:
        """The point at the present time."""
        return cls(key, float(value), step, int(time.time() * 1000))


VALIDATION: dict[TaskName, Measure] = {
    "prediction": Measure("val/mse", "validation MSE", better="lower"),
    "recognition": Measure("val/cross_entropy", "validation cross-entropy", better="lower"),
}
"""The metric that picks the checkpoint."""
BEST_VALIDATION: dict[TaskName, str] = {
    task: measure.key.replace("val/", "val/best_") for task, measure in VALIDATION.items()
}
"""The metric that holds its best value."""

TRAIN_STEPS = "train/steps"

COST = {
    measure.key: measure
    for measure in (
        Measure("time/train_seconds", "training", "s"),
        Measure("time/waiting_seconds", "of it waiting for data", "s", "lower"),
        Measure("time/setup_seconds", "set-up", "s", "lower"),
        Measure("time/test_seconds", "test", "s", "lower"),
        Measure("time/wall_seconds", "wall", "s", "lower"),
        Measure(TRAIN_STEPS, "steps"),
        Measure("train/samples", "samples"),
        Measure("train/flops", "training FLOPs"),
        Measure("speed/train_samples_per_second", "training speed", "samples/s", "higher"),
        Measure("speed/predict_frames_per_second", "prediction speed", "frames/s", "higher"),
        Measure("memory/peak_bytes", "peak memory", "bytes", "lower"),
        Measure("model/parameters", "parameters"),
        Measure("model/flops_per_sample", "FLOPs per sequence"),
    )
}
"""The costs of a cell, by metric key."""

# What a cell was told of the machine while it trained: see `bench.train.conditions`.
TRAIN_CPU_SECONDS = "time/train_cpu_seconds"
CPU_SHARE = "conditions/cpu_share"
LOAD = "conditions/load"
CLOCK_HERTZ = "conditions/clock_hertz"
STOPPED_SECONDS = "conditions/stopped_seconds"
STEP_WALL_SECONDS = "conditions/step_seconds"
STEP_PROCESS_SECONDS = "conditions/step_cpu_seconds"
CALIBRATION_STEP_SECONDS = "conditions/calibration_step_seconds"
CALIBRATION_STEP_CPU_SECONDS = "conditions/calibration_step_cpu_seconds"
SPEED_OF_CALIBRATION = "conditions/speed_of_calibration"
OVERSPEND = "budget/overspend"

CONDITIONS = {
    measure.key: measure
    for measure in (
        Measure(TRAIN_CPU_SECONDS, "training, CPU time of all threads", "s"),
        Measure(CPU_SHARE, "share of the processor time that training threads asked for"),
        Measure(LOAD, "load average"),  # of one minute, mean over training
        Measure(CLOCK_HERTZ, "clock speed", "Hz"),
        Measure(STOPPED_SECONDS, "stopped, not counted as training", "s"),
        Measure(STEP_WALL_SECONDS, "training step", "s"),
        Measure(STEP_PROCESS_SECONDS, "training step, CPU time", "s"),
        Measure(CALIBRATION_STEP_SECONDS, "step of the calibration", "s"),
        Measure(CALIBRATION_STEP_CPU_SECONDS, "step of the calibration, CPU time", "s"),
        Measure(SPEED_OF_CALIBRATION, "share of the calibration's speed"),
        Measure(OVERSPEND, "share of the budget spent beyond it"),
    )
}
"""The conditions under which a cell trained, by metric key; unknown where they are not recorded."""

SPEED = "speed"
"""The experiment of the rows of `bench speed`, and their kind."""
LOWER_QUARTILE, UPPER_QUARTILE = ".lower_quartile", ".upper_quartile"
"""Endings of the metrics beside a median."""

STEP_SECONDS = "speed/step_seconds"
STEP_CPU_SECONDS = "speed/step_cpu_seconds"  # of the process, all threads
TURNS = "speed/turns"  # how many stretches of steps were timed: the quartiles are theirs
FRAMES_PER_SECOND = "speed/train_frames_per_second"
FLOPS_PER_STEP = "speed/flops_per_step"  # nominal, as `bench.train.cost` counts them
FLOPS_PER_SECOND = "speed/flops_per_second"
PEAK_FLOPS_PER_SECOND = "speed/peak_flops_per_second"  # of the device: a large matrix product
PEAK_BYTES_PER_SECOND = "speed/peak_bytes_per_second"  # of its memory: a large copy
SHARE_OF_PEAK = "speed/share_of_peak"
OPERATIONS_PER_STEP = "speed/operations_per_step"
BYTES_PER_STEP = "speed/bytes_per_step"  # what the operations read and write, none kept in caches
KERNELS_PER_STEP = "speed/kernels_per_step"
IDLE_SHARE = "speed/idle_share"  # of a step's time in which the device runs nothing
LATENCY_SECONDS = "speed/latency_seconds"  # of one clip's output, from idle device to idle device
LITERAL_STEP_SECONDS = "speed/literal_step_seconds"
LITERAL_RATIO = "speed/literal_over_ours"
LITERAL_CPU_RATIO = "speed/literal_over_ours_cpu"
PAIRS = "speed/pairs"

WEIGHTS_OF = "bench.weights_of"  # the run whose weights were scored again
SCORES = ("test/", "horizon/", "elsewhere/", "system/", "speed/predict", "time/test")
"""Prefixes of the metrics that do not come from training."""

# Parameters: the references of model and data set, with options and file.
MODEL_REFERENCE = "model_reference"
EPOCHS = "budget.epochs"  # what a budget in samples was written as
DATASET_REFERENCE = "dataset_reference"
COVARIATES = "covariates"  # JSON: names of a frame's numbers, or how many where they are too long
ALSO_TESTED_ON = "also_tested_on"  # JSON: names of further data sets, whose figures are `elsewhere`

# Curves: the step of each point is the training step; TRAIN_SECONDS holds the clock at that step.
TRAIN_LOSS = "train/loss"
TRAIN_SECONDS = "time/train_seconds"

# Tags of a cell's run.
TRAINED = "bench.trained"  # digest of all that the weights depend on
CELL = "bench.cell"  # digest of all that the figures depend on: the weights, test clips, metrics
STATUS = "bench.status"
ERROR = "bench.error"
COMMAND = "bench.command"  # the line that runs this one cell again
FOLDER = "bench.folder"  # digest of machine and results folder: whose run it is, should it be left
KIND = "bench.kind"  # "cell", "suite" for the parent run of one invocation, or "speed"
COPY_OF = "bench.copy_of"  # the id that a run had in the store which it was first recorded in
COMMIT = "bench.commit"
DEVICE = "bench.device"  # the device's name
THREADS = "bench.threads"
ALLOCATOR = "bench.allocator"  # whether the process kept the memory that steps freed
KERNELS = "bench.kernels"  # convolutions that replaced PyTorch's, such as "winograd 5x5: 8"
NOT_SHOWN = "bench.not_shown"  # the covariates of the data set, where the model takes none
PADDED = "bench.padded"  # where a model takes other heights and widths: "90x160 to 96x160"
STEP = "bench.step"  # how training steps ran: "graph", or "eager", with the reason where one is
RAN_ON = "bench.ran_on"  # how many nodes where several; how many devices where not as settled
LITERAL_STEP = "bench.literal_step"  # the same of the transcription beside it
CODE_DIGEST = "bench.code_digest"  # of model, data set, task and training
MODEL_CODE = "bench.model_code_digest"  # of the model alone, as its weights go on needing it
COMMON_CODE = "bench.common_code_digest"  # the same without the model: equal for cells that compare
DATA_DIGEST = "bench.data_digest"  # of the test clips' pixels
CLUSTER = "bench.cluster"  # what a cluster of test clips is, in the singular, such as "person"
PAPER = "bench.paper"  # the address of the publication that the model follows
NOTICE = "bench.notice"  # the data set's notice, such as substituted digits
NOT_MEASURED = "bench.not_measured."  # + metric name; the value is the reason

# Artifact of the parent run of an invocation: JSON, of each cell its name, params and tags.
PLAN = "cells.json"

# Artifacts of a cell's run.
SETTLED = "cell.json"  # the cell as it was settled: what `python -m bench cell` reads
# One row per test sequence x predicted frame: both numbers, the number of the sequence's cluster
# (sequences of one are not independent of each other), and the metrics.
PER_FRAME_TABLE = "metrics.parquet"
# context, truth, prediction uint8 [S,T,C,H,W]; sequence int [S], why str [S]
SHOWCASE = "showcase.npz"
# Of a classifier, one row per test clip: clip, video and cluster (int), label and predicted (class
# names), rank (of the label among the classes, from 1), cross_entropy.
PER_CLIP_TABLE = "clips.parquet"
PER_VIDEO_TABLE = "videos.parquet"  # the same of each video, by the mean of its clips' logits
CHECKPOINT = "model.safetensors"
WEIGHTS_BYTES = "bench.weights_bytes"  # tag: the size of that file; 0 once it was cleared
CLASSES = "classes"  # in its metadata: the names of a classifier's classes in order, as JSON
ENVIRONMENT = "environment.json"  # packages, system, CPU, GPU, libraries, threads, variables
LOG = "cell.log"  # what the cell printed
PROFILE = "profile"


def elsewhere(place: int, metric: str) -> str:
    """The name in MLflow of a metric on the further data set at that place of `ALSO_TESTED_ON`."""
    return f"elsewhere/{place}/{metric}"
