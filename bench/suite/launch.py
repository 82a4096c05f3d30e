"""Where the cells of a suite run: the table `[launch]`, and `--launch` with its options."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bench.errors import UserError
from datasets.video import nearby

COUNTS = ("gpus", "cpus", "parallel", "nodes")
OF_CELLS_HERE = ("launcher", "cpus", "parallel", "copies")  # what is heeded without a cluster
LauncherName = Literal["local", "slurm", "ray"]
SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def _seconds(time: str) -> float:
    """The seconds of a time written as `90m`, `8h` or `2d`.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)\s*", time)
    if not match or match[2] not in SECONDS or not (amount := float(match[1]) * SECONDS[match[2]]):
        raise ValueError(f"{time[:40]!r} is no time: write 90m, 8h or 2d")
    return amount


def _is_time(time: str) -> str:
    _seconds(time)
    return time


def _is_folder(folder: str) -> str:
    if not folder.startswith(("/", "$")):
        raise ValueError(
            f"{folder[:40]!r} is no folder of each machine: begin with / or a $VARIABLE"
        )
    return folder


def _is_memory(memory: str) -> str:
    if not re.fullmatch(r"[0-9]+[KMGT]?", memory):
        raise ValueError(f"{memory[:40]!r} is no amount of memory: write 16G or 800M")
    return memory


Count = Annotated[int, Field(ge=0)]
Word = Annotated[str, Field(pattern=r"^[^\s]+$")]


class Launch(BaseModel):
    """What runs the cells, and what each of them is to be given.

    Part of no cell's digest, but for the `place` of those whose budget is in seconds.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    launcher: LauncherName = "local"
    executor: Literal["slurm", "local", "debug"] = "slurm"
    """Of submitit: the last two try it out on one machine, in child processes or in this one."""
    address: Word | None = None
    """Of a Ray cluster, such as "head:6379"; "local" for one that lives as long as the run.

    By default that of $RAY_ADDRESS, or of one that was started on this machine."""
    partition: Word | None = None
    account: Word | None = None
    time: Annotated[str, AfterValidator(_is_time)] | None = None
    """The longest a job may take, such as "8h"; a cell that takes longer goes on in another.

    By default that of the suite's limits, and at most the partition's."""
    nodes: Annotated[int, Field(ge=1)] = 1
    """Of SLURM, over which the devices of a cell are spread, equally many on each."""
    gpus: Count | None = None
    """Of each node. None means as many as train a cell there, on CUDA."""
    cpus: Annotated[int, Field(ge=1)] | None = None
    """Of a cell; on several nodes, of each device's process."""
    memory: Annotated[str, AfterValidator(_is_memory)] | None = None
    """Such as "16G"."""
    parallel: Annotated[int, Field(ge=1)] | None = None
    """The most cells that run at the same time."""
    copies: Annotated[Word, AfterValidator(_is_folder)] | None = None
    """A folder on a disk of the machine that runs a cell, such as "$TMPDIR": frames of a cache are
    copied there once, and read from there."""
    sbatch: dict[Word, str | int | bool] = {}
    """Further options of sbatch by their long names, such as qos or constraint."""

    @property
    def is_here(self) -> bool:
        """Whether all cells run on this machine."""
        if self.launcher == "slurm":
            return self.executor != "slurm"
        return self.launcher == "local" or self.address == "local"

    @property
    def place(self) -> str:
        """Which machines the jobs get elsewhere, as far as these options say."""
        of_slurm = (self.partition, self.sbatch.get("constraint"))
        return " ".join([self.launcher, *(str(word) for word in of_slurm if word)])

    @property
    def variables(self) -> dict[str, str]:
        """What a cell is told: as many threads as processors, and where copies of frames go."""
        threads = {} if self.cpus is None else {"OMP_NUM_THREADS": str(self.cpus)}
        return threads if self.copies is None else threads | {nearby.VARIABLE: self.copies}

    @property
    def seconds(self) -> float | None:
        """The longest a job may take, where that is said."""
        return _seconds(self.time) if self.time else None


def parsed(options: Sequence[str]) -> dict[str, Any]:
    """The fields that `options` give: `partition=gpu`, `cpus=4`, `sbatch.qos=long`.

    Raises:
        UserError: one is no KEY=VALUE.
    """
    fields: dict[str, Any] = {}
    for option in options:
        key, equals, text = option.partition("=")
        table, _, name = key.rpartition(".")
        if not (equals and name) or table not in ("", "sbatch"):
            raise UserError(f"{option!r} is no option: write KEY=VALUE, such as partition=gpu")
        into = fields.setdefault(table, {}) if table else fields
        into[name] = _value(key, text)
    return fields


def _value(key: str, text: str) -> str | int | bool:
    if key in COUNTS and text.isdecimal():
        return int(text)
    is_switch = key.startswith("sbatch.") and text in ("true", "false")
    return text == "true" if is_switch else text
