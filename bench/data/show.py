"""The verb `data show`: a contact sheet and an animation of some clips of a data set."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch

from bench import pictures
from bench.errors import UserError
from bench.suite import catalogue
from bench.suite.reference import Reference
from datasets.contract import Dataset, LabelledDataset, to_bytes
from datasets.video.dataset import SplitName

COLUMNS = 10
MOST_CLIPS = 100
LONGEST_ANIMATION = 200  # frames; longer clips are subsampled


def draw(reference: str, out: Path | None, split: SplitName, count: int) -> tuple[Path, Path]:
    """Writes pictures of `count` clips of `split`, and returns where the two are.

    Args:
        reference: the data set's name, with options.
        out: the folder to write to (default: `results/data/NAME`).
        split: where the clips are from; those to train on are drawn with seed 0.
        count: how many clips.

    Raises:
        UserError: there is no such data set, its data are not here, or `out` cannot be written to.
    """
    if not 1 <= count <= MOST_CLIPS:
        raise UserError(f"--clips is a number from 1 to {MOST_CLIPS}, not {count}")
    dataset = catalogue.require_dataset(reference)
    label = Reference.parse(reference).label(catalogue.dataset(reference).name)
    name, _, options = label.partition("(")  # a name may have folders, and no option does
    folder = re.sub(r"[^\w/-]+", "-", name) + re.sub(r"[^\w.-]+", "-", f"-{options}")
    out = out or Path("results", "data", folder.strip("-/"))
    clips, titles = _clips(dataset, split, count)
    sheet, animation = out / f"{split}.png", out / f"{split}.gif"
    try:
        out.mkdir(parents=True, exist_ok=True)
        _draw(to_bytes(clips).numpy(), titles, dataset.spec.context_frames, sheet, animation)
    except OSError as error:
        raise UserError(f"{out} cannot be written to: {error.strerror or error}") from error
    return sheet, animation


def _draw(
    clips: np.typing.NDArray[np.uint8], titles: list[str], given: int, sheet: Path, animation: Path
) -> None:
    """Write the pictures of `clips` [N,T,C,H,W], whose first `given` frames are context."""
    seen = [pictures.shown(clip, longest_side=pictures.SIDE) for clip in clips]
    chosen = _spread(clips.shape[1], COLUMNS)
    heads = [str(place + 1) for place in chosen]
    rows = [clip[chosen] for clip in seen]
    pictures.contact_sheet(rows, heads, int((chosen < given).sum()), titles).save(sheet)
    chosen = _spread(clips.shape[1], LONGEST_ANIMATION)
    moving = [pictures.bordered(clip[chosen], int((chosen < given).sum())) for clip in seen]
    pictures.write_gif(animation, pictures.side_by_side(moving))


def _clips(dataset: Dataset, split: SplitName, count: int) -> tuple[torch.Tensor, list[str]]:
    """Clips [N,T,C,H,W], and what each shows where that is known, else ""."""
    if split == "train":
        generator = torch.Generator().manual_seed(0)
        if not isinstance(dataset, LabelledDataset):
            return dataset.train_clips(count, generator), [""] * count
        clips, labels = dataset.train_labelled_clips(count, generator)
    else:
        clips = dataset.held_out(split)[0:count]
        if not isinstance(dataset, LabelledDataset):
            return clips, [""] * len(clips)
        labels = dataset.held_out(split).labels[0:count]
    return clips, [dataset.spec.classes[label] for label in labels.tolist()]


def _spread(count: int, most: int) -> np.typing.NDArray[np.int64]:
    """At most `most` of `count` positions, evenly spaced, first and last among them."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
