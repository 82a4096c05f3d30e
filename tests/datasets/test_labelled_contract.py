"""The contract of labelled data sets passes a sound one, and catches those that break it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.check.dataset import CHECKS, LABEL_CHECKS, checks_of
from datasets.contract import Clips, Dataset, HeldOutName, LabelledClips, LabelledDataset, Spec

SEEDS: dict[HeldOutName, int] = {"validation": 1001, "test": 1002}


def _noise(count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(256, (count, 4, 1, 8, 8), generator=generator, dtype=torch.uint8)


class _Clips:
    """Two noisy clips of each of three videos."""

    def __init__(self, split: HeldOutName) -> None:
        self._clips = _noise(6, torch.Generator().manual_seed(SEEDS[split]))
        self.videos = torch.arange(6) // 2
        self.labels = self.videos % 2

    def __len__(self) -> int:
        return 6

    def __getitem__(self, window: slice, /) -> Tensor:
        return self._clips[window]


class Sound(LabelledDataset):
    """Noise that keeps every promise; each of its subclasses breaks one."""

    name = "sound"
    spec = Spec((1, 8, 8), 4, 0, ("still", "moving"))

    def train_labelled_clips(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        labels = torch.randint(2, (count,), generator=generator)
        return _noise(count, generator), labels

    def held_out(self, split: HeldOutName) -> LabelledClips:
        return _Clips(split)


class OneName(Sound):
    spec = Spec((1, 8, 8), 4, 0, ("still", "still"))


class FramesToPredict(Sound):
    spec = Spec((1, 8, 8), 3, 1, ("still", "moving"))


class LabelsFromOne(Sound):
    def train_labelled_clips(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        clips, labels = super().train_labelled_clips(count, generator)
        return clips, labels + 1


class OneHot(Sound):
    def train_labelled_clips(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        clips, labels = super().train_labelled_clips(count, generator)
        return clips, torch.eye(2)[labels]


class OtherLabels(Sound):
    def train_labelled_clips(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return super().train_labelled_clips(count, generator)[0], torch.randint(2, (count,))


class OtherClipsWithoutLabels(Sound):
    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        return _noise(count, generator)


class HeldOutLabelsOfVideos(Sound):
    def held_out(self, split: HeldOutName) -> LabelledClips:
        clips = _Clips(split)
        clips.labels = clips.labels[::2]
        return clips


class NoVideos(Sound):
    def held_out(self, split: HeldOutName) -> LabelledClips:
        clips = _Clips(split)
        clips.videos = clips.videos[:0]
        return clips


class ShuffledLabels(Sound):
    def held_out(self, split: HeldOutName) -> LabelledClips:
        clips = _Clips(split)
        clips.labels = clips.labels if torch.rand(()) < 0.5 else 1 - clips.labels
        return clips


class TwoLabelsAVideo(Sound):
    def held_out(self, split: HeldOutName) -> LabelledClips:
        clips = _Clips(split)
        clips.labels = torch.arange(6) % 2
        return clips


BROKEN = {
    OneName: "classes have names of their own",
    FramesToPredict: "classes have names of their own",
    LabelsFromOne: "train labels are classes",
    OneHot: "train labels are classes",
    OtherLabels: "the generator decides the train labels",
    OtherClipsWithoutLabels: "the generator decides the train labels",
    HeldOutLabelsOfVideos: "held out labels are classes",
    NoVideos: "held out labels are classes",
    ShuffledLabels: "held out labels are classes",
    TwoLabelsAVideo: "a video has one label",
}


class Unlabelled(Dataset):
    spec = Spec((1, 8, 8), 3, 1)

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        return _noise(count, generator)

    def held_out(self, split: HeldOutName) -> Clips:
        return _Clips(split)


def test_labels_are_looked_at_where_there_are_any() -> None:
    assert set(checks_of(Unlabelled())) == set(CHECKS)
    assert set(checks_of(Sound())) == {*CHECKS, *LABEL_CHECKS}


@pytest.mark.parametrize("promise", checks_of(Sound()))
def test_a_sound_data_set_passes(promise: str) -> None:
    checks_of(Sound())[promise](Sound())


@pytest.mark.parametrize(("broken", "promise"), BROKEN.items())
def test_a_broken_promise_is_noticed_in_one_line(
    broken: type[LabelledDataset], promise: str
) -> None:
    torch.manual_seed(0)
    with pytest.raises(AssertionError) as complaint:
        LABEL_CHECKS[promise](broken())
    assert str(complaint.value)
    assert "\n" not in str(complaint.value)


def test_every_check_has_been_seen_to_fail() -> None:
    assert set(BROKEN.values()) == set(LABEL_CHECKS)
