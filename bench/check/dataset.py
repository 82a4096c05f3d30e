"""The checks of the data-set contract, for `python -m bench check` and the tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from datasets.contract import (
    Clips,
    Dataset,
    HeldOutName,
    LabelledDataset,
    Spec,
    covariates_of,
    to_bytes,
    to_unit,
)

Kind = TypeVar("Kind", bound=Dataset)

_SPLITS: tuple[HeldOutName, ...] = ("validation", "test")
_COUNT = 8
"""How many clips a check looks at; held-out splits may have fewer."""


def _require(promise: bool, otherwise: str) -> None:
    if not promise:
        raise AssertionError(otherwise)


def _train(dataset: Dataset, seed: int, count: int = _COUNT) -> Tensor:
    return dataset.train_clips(count, torch.Generator().manual_seed(seed))


def _first(dataset: Dataset, split: HeldOutName) -> Tensor:
    return dataset.held_out(split)[:_COUNT]


def _fingerprints(clips: Tensor) -> set[bytes]:
    return {clip.contiguous().numpy().tobytes() for clip in clips}


def _require_clips(dataset: Dataset, clips: Tensor, count: int, what: str) -> None:
    """Raise unless `clips` are `count` of the data set's clips: shape, type and device."""
    shape = (count, dataset.spec.clip_frames, *dataset.spec.frame_shape)
    _require(tuple(clips.shape) == shape, f"{what} are {tuple(clips.shape)}, not {shape}")
    dtype = dataset.spec.dtype
    _require(clips.dtype == dtype, f"{what} are {clips.dtype}, not the {dtype} of the spec")
    _require(clips.device.type == "cpu", f"{what} are on {clips.device}, not the CPU")


def the_spec_is_a_spec(dataset: Dataset) -> None:
    """`spec` is a `Spec`, which refuses sides and numbers of frames that cannot be."""
    _require(isinstance(dataset.spec, Spec), f"spec is {dataset.spec!r:.80}")


def train_clips_have_the_shape_of_the_spec(dataset: Dataset) -> None:
    """As many training clips as asked for, as the spec has them, on the generator's device."""
    for count in (1, _COUNT):
        _require_clips(dataset, _train(dataset, 0, count), count, "training clips")


def pixels_span_their_range(dataset: Dataset) -> None:
    """Values lie in [0,1], not all near 0: bytes scaled to [0,1] before the cast are nearly black.

    float16 must be scaled; uint8 and uint16 use all of their range.
    """
    for name, clips in (
        *((split, _first(dataset, split)) for split in _SPLITS),
        ("training", _train(dataset, 0)),
    ):
        least, most = map(float, to_unit(clips).aminmax())
        _require(least >= 0 and most <= 1, f"the {name} clips lie in [{least:g},{most:g}]")
        bright = int(to_bytes(clips).max()) > 1
        _require(bright, f"no value of the {name} clips is above 1/255: they are black")


def the_generator_decides_the_train_clips(dataset: Dataset) -> None:
    """The same generator state gives the same training clips."""
    _require(
        torch.equal(_train(dataset, 0), _train(dataset, 0)),
        "the same generator state gave other training clips: something else is random in them",
    )


def train_clips_go_on(dataset: Dataset) -> None:
    """Another state gives other clips, and drawing advances the state."""
    generator = torch.Generator().manual_seed(0)
    first = dataset.train_clips(_COUNT, generator)
    _require(
        not torch.equal(first, dataset.train_clips(_COUNT, generator)),
        "drawing twice from one generator gave the same training clips: its state stands still",
    )
    _require(
        not torch.equal(first, _train(dataset, 1)),
        "two seeds gave the same training clips: the generator is not used",
    )


def held_out_clips_have_the_shape_of_the_spec(dataset: Dataset) -> None:
    """A held-out slice is as the spec has it, on the CPU, and ends where the split does."""
    for split in _SPLITS:
        clips = dataset.held_out(split)
        _require(len(clips) > 0, f"the {split} split is empty")
        few = min(_COUNT, len(clips))
        _require_clips(dataset, clips[:_COUNT], few, f"{split} clips")
        past_the_end = clips[len(clips) - 1 : len(clips) + 3]
        _require_clips(dataset, past_the_end, 1, f"{split} clips sliced past the end")


def held_out_clips_are_fixed(dataset: Dataset) -> None:
    """Every look at a held-out split shows the same pixels, also after training draws."""
    for split in _SPLITS:
        first = _first(dataset, split)
        _train(dataset, 2)
        _require(torch.equal(first, _first(dataset, split)), f"the {split} clips changed")


def a_slice_depends_on_its_place_alone(dataset: Dataset) -> None:
    """A clip is the same whichever slice it is read in."""
    for split in _SPLITS:
        clips: Clips = dataset.held_out(split)
        together = clips[:_COUNT]
        alone = torch.cat([clips[i : i + 1] for i in reversed(range(len(together)))]).flip(0)
        _require(
            torch.equal(together, alone), f"{split} clips differ when read one by one, last first"
        )


def no_clip_is_in_two_splits(dataset: Dataset) -> None:
    """No clip looked at is in two of training, validation and test."""
    train, validation, test = (
        _fingerprints(clips)
        for clips in (_train(dataset, 0, 64), *(_first(dataset, split) for split in _SPLITS))
    )
    _require(not train & validation, "a training clip is a validation clip")
    _require(not train & test, "a training clip is a test clip")
    _require(not validation & test, "a validation clip is a test clip")


def the_digest_names_the_pixels(dataset: Dataset) -> None:
    """The digest is 32 hexadecimal digits, the same twice, another for another split."""
    counts = {split: min(_COUNT, len(dataset.held_out(split))) for split in _SPLITS}
    digests = {split: dataset.digest(split, counts[split]) for split in _SPLITS}
    for split, digest in digests.items():
        _require(
            len(digest) == 32 and set(digest) <= set("0123456789abcdef"),
            f"the {split} digest {digest!r} is not 32 hexadecimal digits",
        )
        _require(digest == dataset.digest(split, counts[split]), f"the {split} digest changed")
    _require(digests["validation"] != digests["test"], "validation and test have one digest")


def clusters_number_the_held_out_clips(dataset: Dataset) -> None:
    """Each held-out clip has a cluster, int64 [count], the same at every call, and one has a name.

    Those of fewer clips are the first of those of more.
    """
    name = dataset.cluster_name
    _require(isinstance(name, str) and name.isprintable() and bool(name), f"no name: {name!r}")
    for split in _SPLITS:
        count = min(_COUNT, len(dataset.held_out(split)))
        clusters, what = dataset.clusters(split, count), f"the {split} clusters"
        _require(isinstance(clusters, Tensor), f"{what} are {type(clusters).__name__}, no tensor")
        shape, dtype = tuple(clusters.shape), clusters.dtype
        _require(shape == (count,), f"{what} are {shape}, not ({count},): one for each clip")
        _require(dtype == torch.int64, f"{what} are {dtype}, not torch.int64")
        again, fewer = (dataset.clusters(split, asked) for asked in (count, max(count - 1, 0)))
        _require(torch.equal(clusters, again), f"{what} changed")
        _require(torch.equal(clusters[:-1], fewer), f"{what} depend on how many are asked for")


def _train_with_covariates(dataset: Dataset, seed: int) -> tuple[Tensor, Tensor]:
    return dataset.train_clips_with_covariates(_COUNT, torch.Generator().manual_seed(seed))


def _require_covariates(dataset: Dataset, covariates: Tensor, count: int, what: str) -> None:
    """Raise unless `covariates` are those of `count` clips: shape, type, device, finite numbers."""
    shape = (count, dataset.spec.clip_frames, len(dataset.spec.covariates))
    _require(tuple(covariates.shape) == shape, f"{what} are {tuple(covariates.shape)}, not {shape}")
    _require(covariates.dtype == torch.float32, f"{what} are {covariates.dtype}, not float32")
    _require(covariates.device.type == "cpu", f"{what} are on {covariates.device}, not the CPU")
    _require(bool(covariates.isfinite().all()), f"{what} hold NaN or infinity")


def train_clips_have_covariates(dataset: Dataset) -> None:
    """Each frame of a training clip has its numbers, float32 and finite; the clips are the same."""
    clips, covariates = _train_with_covariates(dataset, 0)
    _require_covariates(dataset, covariates, _COUNT, "training covariates")
    _require(
        torch.equal(clips, _train(dataset, 0)),
        "the same generator state gave other clips with covariates than without",
    )


def the_generator_decides_the_covariates(dataset: Dataset) -> None:
    """The same generator state gives the same training covariates."""
    first, second = (_train_with_covariates(dataset, 0)[1] for _ in range(2))
    _require(
        torch.equal(first, second),
        "the same generator state gave other covariates: something else is random in them",
    )


def held_out_covariates_are_fixed(dataset: Dataset) -> None:
    """A held-out clip has the same numbers at every look, whichever slice it is read in."""
    for split in _SPLITS:
        clips = dataset.held_out(split)
        count = min(_COUNT, len(clips))
        together = covariates_of(clips, slice(0, _COUNT))
        _require_covariates(dataset, together, count, f"{split} covariates")
        _train_with_covariates(dataset, 2)
        alone = [covariates_of(clips, slice(i, i + 1)) for i in reversed(range(count))]
        _require(
            torch.equal(together, torch.cat(alone).flip(0)),
            f"{split} covariates differ when read one by one, last first",
        )


def _require_labels(dataset: LabelledDataset, labels: Tensor, count: int, what: str) -> None:
    """Raise unless `labels` are `count` numbers of the data set's classes, on the CPU."""
    _require(tuple(labels.shape) == (count,), f"{what} are {tuple(labels.shape)}, not ({count},)")
    _require(labels.dtype == torch.int64, f"{what} are {labels.dtype}, not torch.int64")
    _require(labels.device.type == "cpu", f"{what} are on {labels.device}, not the CPU")
    classes = len(dataset.spec.classes)
    _require(
        bool(((labels >= 0) & (labels < classes)).all()),
        f"{what} go from {int(labels.min())} to {int(labels.max())}, classes from 0 to"
        f" {classes - 1}",
    )


def _train_labelled(dataset: LabelledDataset, seed: int) -> tuple[Tensor, Tensor]:
    return dataset.train_labelled_clips(_COUNT, torch.Generator().manual_seed(seed))


def classes_have_names_of_their_own(dataset: LabelledDataset) -> None:
    """There are at least two classes, no two of one name, and no frames to predict."""
    spec = dataset.spec
    _require(len(spec.classes) >= 2, f"there are {len(spec.classes)} classes to tell apart")
    _require(len(set(spec.classes)) == len(spec.classes), "two classes have one name")
    _require(spec.horizon == 0, f"the horizon of clips to recognise is {spec.horizon}, not 0")


def train_labels_are_classes(dataset: LabelledDataset) -> None:
    """Each training clip has a class, int64 [count], on the generator's device."""
    clips, labels = _train_labelled(dataset, 0)
    _require_clips(dataset, clips, _COUNT, "labelled training clips")
    _require_labels(dataset, labels, _COUNT, "training labels")


def the_generator_decides_the_train_labels(dataset: LabelledDataset) -> None:
    """The same generator state gives the same clips with the same labels, labelled or not."""
    clips, labels = _train_labelled(dataset, 0)
    same_clips, same_labels = _train_labelled(dataset, 0)
    _require(
        torch.equal(clips, same_clips) and torch.equal(labels, same_labels),
        "the same generator state gave other labelled clips: something else is random in them",
    )
    _require(
        torch.equal(clips, _train(dataset, 0)),
        "the same generator state gave other clips with labels than without",
    )


def held_out_labels_are_classes(dataset: LabelledDataset) -> None:
    """Each held-out clip has a class and the number of its video, int64 [N], always the same."""
    for split in _SPLITS:
        clips = dataset.held_out(split)
        labels, videos = clips.labels, clips.videos
        _require_labels(dataset, labels, len(clips), f"{split} labels")
        _require(
            videos.shape == labels.shape and videos.dtype == torch.int64,
            f"{split} videos are {videos.dtype} {tuple(videos.shape)}, not int64 ({len(clips)},)",
        )
        _train_labelled(dataset, 2)
        again = dataset.held_out(split)
        _require(
            torch.equal(labels, again.labels) and torch.equal(videos, again.videos),
            f"the {split} labels or videos changed",
        )


def a_video_has_one_label(dataset: LabelledDataset) -> None:
    """All held-out clips of one video are of one class."""
    for split in _SPLITS:
        clips = dataset.held_out(split)
        pairs = set(zip(clips.videos.tolist(), clips.labels.tolist(), strict=True))
        _require(
            len(pairs) == len({video for video, _ in pairs}),
            f"a {split} video has clips of two classes",
        )


def checks_of(dataset: Dataset) -> Mapping[str, Callable[[Any], None]]:
    """The checks that apply to `dataset`."""
    labelled = LABEL_CHECKS if isinstance(dataset, LabelledDataset) else {}
    return CHECKS | labelled | (COVARIATE_CHECKS if dataset.spec.covariates else {})


def _by_promise(*checks: Callable[[Kind], None]) -> dict[str, Callable[[Kind], None]]:
    return {check.__name__.replace("_", " "): check for check in checks}


CHECKS = _by_promise(
    the_spec_is_a_spec,
    train_clips_have_the_shape_of_the_spec,
    pixels_span_their_range,
    the_generator_decides_the_train_clips,
    train_clips_go_on,
    held_out_clips_have_the_shape_of_the_spec,
    held_out_clips_are_fixed,
    a_slice_depends_on_its_place_alone,
    no_clip_is_in_two_splits,
    the_digest_names_the_pixels,
    clusters_number_the_held_out_clips,
)
"""Each check by the promise it tests; where that is broken it raises AssertionError, one line."""

COVARIATE_CHECKS = _by_promise(
    train_clips_have_covariates,
    the_generator_decides_the_covariates,
    held_out_covariates_are_fixed,
)
"""Further checks of a data set whose spec names covariates."""

LABEL_CHECKS = _by_promise(
    classes_have_names_of_their_own,
    train_labels_are_classes,
    the_generator_decides_the_train_labels,
    held_out_labels_are_classes,
    a_video_has_one_label,
)
"""Further checks of a `LabelledDataset`."""
