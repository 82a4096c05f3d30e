"""The verb `predict`: applies a finished cell's model to a user's own clips."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench import atomic
from bench.console.bar import Bar
from bench.console.waiting import waiting
from bench.errors import UserError
from bench.escape import csv_cell, one_line
from bench.predict import own_clips
from bench.predict.files import Continuation, Style, files
from bench.predict.own_clips import OwnClip, OwnClips
from bench.predict.trained import Trained, load
from bench.train.held_out import to_float
from bench.units import byte_size, listed

BATCH = 16
LONGEST = 10_000  # frames after a clip
FRAMES_AT_ONCE = 2_000  # in a batch at most
NAMED = 5  # classes of each clip
RECOGNISED = "recognised.csv"


def predict(
    asked: str,
    uri: str,
    place: Path,
    out: Path,
    horizon: int | None,
    style: Style,
    device: str,
    overwrite: bool,
) -> int:
    """Exit code 0 once every clip is predicted, 1 where some cannot be read; prints the output.

    Args:
        asked: an MLflow run, or the name of a cell.
        uri: the MLflow store that holds it.
        place: the clips.
        out: the folder to write to.
        horizon: how many frames to predict (default: as many as in training).
        style: the form to write them in.
        device: where to compute.
        overwrite: whether `out` may hold something.

    Raises:
        UserError: there is no such model, no clip that can be read, or `out` holds something or
            cannot be written to.
    """
    if horizon is not None and horizon < 1:
        raise UserError(f"--horizon is a number from 1 on, not {horizon}")
    if horizon is not None and horizon > LONGEST:
        raise UserError(
            f"--horizon {horizon:,} is too far: ask for fewer frames, {LONGEST:,} at most"
        )
    sources = own_clips.find(place)
    _refuse_overlap(place, out)
    if out.exists() and not (out.is_dir() and (overwrite or not any(out.iterdir()))):
        raise UserError(f"{out} is there already: name another folder, or say --overwrite")
    with waiting(f"loading {one_line(asked)}"):
        trained = load(asked, uri, device)
    run = trained.run
    if trained.spec.covariates:
        names = listed([each.name for each in trained.spec.covariates])
        raise UserError(
            f"{run.name} is given covariates ({names}), which files of clips have not: use"
            " nextframe.load(...).predict from Python"
        )
    suite = run.params.get("suite", "unknown")
    _say(f"{one_line(run.name)} of the suite {one_line(suite)}, run {run.run_id}")
    if trained.notice:
        sys.stderr.write(f"note: {trained.notice}\n")
    clips = OwnClips(sources, trained.frame_format, trained.window)
    try:
        if trained.spec.classes:
            _recognise(trained, clips, out)
        else:
            _continue(trained, clips, horizon or trained.spec.horizon, style, out)
    except OSError as error:
        raise UserError(f"{out} cannot be written to: {error.strerror or error}") from error
    for damaged in clips.damaged:
        sys.stderr.write(f"left out: {one_line(damaged.name)}: {one_line(damaged.reason)}\n")
    for remark, count in clips.remarks.items():
        sys.stderr.write(f"note: {count:,} with {remark}\n")
    return 1 if clips.damaged else 0


def _refuse_overlap(place: Path, out: Path) -> None:
    """Raise UserError where writing to `out` would touch the clips at `place`."""
    clips, target = place.resolve(), out.resolve()
    if clips == target or clips in target.parents or target in clips.parents:
        raise UserError(f"--out {out} and --input {place} overlap: write to a folder apart from it")


def _continue(trained: Trained, clips: OwnClips, horizon: int, style: Style, out: Path) -> None:
    """Write the `horizon` frames that follow each clip."""
    _refuse_too_many(horizon, math.prod(trained.spec.frame_shape))
    window, written = trained.window, files(style, out)
    done = short = 0
    size = max(1, min(BATCH, FRAMES_AT_ONCE // (window.count + horizon)))
    for batch in _batches(clips, size, horizon):
        prediction = _bytes(_through(trained, batch, horizon))
        expected = len(batch), horizon, *trained.spec.frame_shape
        if prediction.shape != expected:
            raise UserError(f"{trained.run.name} gives {prediction.shape}, not frames {expected}")
        for clip, frames in zip(batch, prediction, strict=True):
            first = clip.frames + window.step
            numbers = range(first, first + horizon * window.step, window.step)
            written.write(Continuation(clip.name, clip.shown, frames, numbers))
            short += len(clip.shown) < window.count
        done += len(batch)
    written.close()
    _say(f"predicted {horizon} frames after each clip, {done:,} in all: {out}")
    if short:
        are = "is" if short == 1 else "are"
        _say(f"{short:,} of them {are} shorter than the {window.span} frames it was trained to see")


def _refuse_too_many(frames: int, values: int) -> None:
    """Raise UserError where so many frames of so many values are more than memory holds."""
    needed = (
        4 * 4 * frames * values
    )  # float32: one by one, as a clip, and twice on the way to bytes
    free = psutil.virtual_memory().available
    if needed > free:
        raise UserError(
            f"--horizon {frames:,} needs {byte_size(needed)} of memory, and {byte_size(free)} are"
            " free: ask for fewer frames"
        )


def _recognise(trained: Trained, clips: OwnClips, out: Path) -> None:
    """Write the likeliest classes of each clip, with their probabilities."""
    classes, named = trained.spec.classes, 0
    size = max(1, min(BATCH, FRAMES_AT_ONCE // trained.window.count))
    lines: list[tuple[object, ...]] = [("clip", "rank", "class", "probability")]
    for batch in _batches(clips, size, 0):
        likeliest = _through(trained, batch).float().softmax(1).topk(min(NAMED, len(classes)))
        for clip, shares, places in zip(batch, *(x.tolist() for x in likeliest), strict=True):
            for rank, (share, place) in enumerate(zip(shares, places, strict=True), 1):
                lines.append((clip.name, rank, classes[place], f"{share:.6f}"))
        named += len(batch)
    out.mkdir(parents=True, exist_ok=True)
    with (
        atomic.replacing(out / RECOGNISED) as path,
        path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([csv_cell(value) for value in line] for line in lines)
    _say(f"named the likeliest classes of each clip, {named:,} in all: {out / RECOGNISED}")


def _batches(clips: OwnClips, size: int, horizon: int) -> Iterator[list[OwnClip]]:
    """The clips, up to `size` at once; shows how far it is.

    Raises:
        UserError: none of them can be read.
    """
    done = 0
    with Bar("predicting") as bar:
        for batch in clips.batches(size):
            yield batch
            done += len(batch)
            damaged = len(clips.damaged)
            bar.show(done + damaged, len(clips), done * horizon, damaged)
    if not done:
        first = clips.damaged[0]
        raise UserError(f"no clip can be read, such as {first.name}: {first.reason}")


@torch.no_grad()
def _through(trained: Trained, batch: list[OwnClip], *arguments: int) -> Tensor:
    """The output of the model for the frames it is shown."""
    shown = torch.from_numpy(np.stack([clip.shown for clip in batch]))  # and no later frame
    try:
        output: Tensor = trained.model(to_float(shown, trained.device), *arguments)
    except Exception as error:  # a model is anybody's code
        why = one_line(str(error), 300) or "without a word"
        name = trained.run.name
        raise UserError(f"{name} cannot predict: {type(error).__name__}: {why}") from error
    return output


def _bytes(prediction: Tensor) -> NDArray[np.uint8]:
    """`prediction` clipped to [0,1] and rounded to bytes."""
    frames = (prediction.float().clamp(0, 1) * 255).round().nan_to_num().byte().cpu().numpy()
    return np.asarray(frames, np.uint8)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
