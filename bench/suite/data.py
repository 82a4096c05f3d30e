"""The data sets of cells: each opened, counted and digested once a process."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from bench import as_started
from bench.errors import UserError
from bench.suite import catalogue, fingerprint
from bench.suite.contents import content_digest
from bench.suite.reference import Reference
from bench.suite.suite import Evaluation
from bench.train.task import task_of
from datasets.contract import DataMissing, Dataset, HeldOutName, TaskName


@cache
def opened(reference: str) -> Dataset:
    """The data set of that name, opened once.

    Raises:
        DataMissing: its data are not on this machine.
    """
    return catalogue.open_dataset(reference)


@cache
def clips_of(reference: str, split: HeldOutName, asked: int) -> int:
    """How many clips of `split` are used where `asked` are: these, or all that there are.

    Raises:
        DataMissing: there are none.
    """
    there = len(opened(reference).held_out(split))
    if not there:
        raise DataMissing(f"{reference} has no {split} clips: prepare more of it")
    return min(asked, there)


@cache
def digest(reference: str, split: HeldOutName, clips: int) -> str:
    """Digest of the pixels of the first `clips` of `split`."""
    return opened(reference).digest(split, clips)


@cache
def climatology(reference: str) -> torch.Tensor | None:
    """The mean training frame [C,H,W] in [0,1] of the data set, where it has one.

    Raises:
        UserError: what it has is no such frame.
    """
    data = opened(reference)
    found = data.climatology()
    if found is None:
        return None
    if found.dtype != torch.float32 or tuple(found.shape) != data.spec.frame_shape:
        what = f"{found.dtype} {tuple(found.shape)}, not torch.float32 {data.spec.frame_shape}"
        raise UserError(f"the climatology of {reference} is {what}")
    return found


@cache
def climatology_digest(reference: str) -> str:
    """Digest of it; "" where there is none."""
    found = climatology(reference)
    return "" if found is None else fingerprint.pixels(found)


@cache
def tested(reference: str, asked: int) -> list[Any]:
    """What figures on up to `asked` of its test clips depend on, from code to climatology.

    Raises:
        DataMissing: there are none.
    """
    data, count = opened(reference), clips_of(reference, "test", asked)
    code = fingerprint.code_digest(type(data))
    clusters = data.clusters("test", count).tolist()
    pixels = digest(reference, "test", count)
    return [code, str(data.spec), pixels, clusters, climatology_digest(reference)]


@cache
def name_of(reference: str) -> str:
    """The name of the data set, with the options asked for."""
    return Reference.parse(reference).label(catalogue.dataset(reference).name)


@cache
def training_digest(task: TaskName, reference: str) -> list[str | None]:
    """Digests of what trains: of some clips, of all frames where a cache has one, and of files."""
    data = opened(reference)

    def draw(count: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        return task_of(task, data.spec).draw(data, count, generator)

    of_files = map(content_digest, data.files)
    return [fingerprint.training_digest(draw), getattr(data, "frames_digest", ""), *of_files]


@cache
def missing(reference: str, held_out: Evaluation, *, tested_only: bool = False) -> str:
    """Why the data set has no held-out clips; "" where it has.

    Of one that a model is only tested on, the clips for validation do not matter.
    """
    try:
        for split, asked in held_out.clips.items():
            if split == "test" or not tested_only:
                digest(reference, split, clips_of(reference, split, asked))
    except DataMissing as error:
        return as_started(str(error))
    return ""
