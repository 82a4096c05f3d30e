from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from datasets.contract import DataMissing
from datasets.something_something_v2 import (
    ScaledDown,
    SomethingSomethingV2,
    find_videos,
    mirrored,
)
from datasets.sources.folders import find
from datasets.video.source import SourceWrong
from tests.datasets.prepare_here import prepare_here
from tests.datasets.small_sources import something_labels, something_list, something_lists

CLASSES = [
    "Turning something right",
    "Pulling something from left to right",
    "Pulling something from right to left",
    "Dropping something",
]
MIRRORED = torch.tensor([-1, 2, 1, 3])
FRAMES, SIZE = 8, 20
TRAINING, TEST = range(1001, 1041), range(45, 52)
LENGTHS = {45: 3, 46: 21}
"""Frames of the videos that have not 8: one is shorter than a clip, one longer."""


def _class(video: int) -> int:
    return video % len(CLASSES)


def _write_video(path: Path, video: int) -> None:
    """107x60 at 12 frames a second: red, a dark and a bright half of a square, red.

    In the square green tells the class (64 each) and blue the time (12 each frame); the green of
    its uppermost rows tells the video.
    """
    with av.open(path, "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=12)
        stream.width, stream.height, stream.pix_fmt = 107, 60, "yuv444p"
        stream.options = {"deadline": "realtime", "cpu-used": "8", "crf": "4", "b": "0"}
        for t in range(LENGTHS.get(video, FRAMES)):
            picture = np.zeros((60, 107, 3), np.uint8)
            picture[:, :, 0] = 255
            picture[:, 23:84] = (40, 24 + 64 * _class(video), 12 * t)
            picture[:, 53:84, 0] = 120
            picture[:6, 23:84, 1] = 3 * (video % 79)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


def _list(videos: range) -> list[dict[str, object]]:
    return something_list({video: CLASSES[_class(video)] for video in videos})


LISTS = {
    "labels": something_labels(CLASSES),
    "train": _list(TRAINING),
    "validation": _list(TEST),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the official archives leave it, whole."""
    folder = tmp_path_factory.mktemp("ssv2")
    something_lists(folder / "labels", **LISTS)
    (folder / "20bn-something-something-v2").mkdir()
    for video in (*TRAINING, *TEST):
        _write_video(folder / "20bn-something-something-v2" / f"{video}.webm", video)
    return folder


@pytest.fixture(scope="module")
def made(
    source: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., SomethingSomethingV2]]:
    """Opens the data set prepared of `source`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTFRAME_DATA", str(tmp_path_factory.mktemp("data")))
        prepare_here(SomethingSomethingV2.preparation(size=SIZE), source)

        def open_it(clip_frames: int = FRAMES, **options: Any) -> SomethingSomethingV2:
            return SomethingSomethingV2(clip_frames, size=SIZE, **options)

        yield open_it


def _middle(clips: Tensor) -> Tensor:
    """Mean colours [N,T,3] of the left and of the right half's middle, [2,N,T,3]."""
    rows = slice(clips.shape[3] // 4, -(clips.shape[3] // 4))
    quarter = clips.shape[4] // 4
    halves = clips[..., rows, quarter : quarter + 2], clips[..., rows, -quarter - 2 : -quarter]
    return torch.stack([half.float().mean((3, 4)) for half in halves])


def _seen_classes(clips: Tensor) -> Tensor:
    """The class that the pixels tell, int64 [N]."""
    return ((_middle(clips)[0, :, :, 1].mean(1) - 24) / 64).round().long()


def _seen_times(clips: Tensor) -> Tensor:
    """Which frame of its video each frame is, int64 [N,T]."""
    return (_middle(clips)[..., 2].mean(0) / 12).round().long()


def test_the_real_labels_mirror_three_pairs_and_leave_one_alone() -> None:
    path = find("ssv2/something-something-v2-labels.json")
    if path is None:
        pytest.skip("ssv2/something-something-v2-labels.json is not in the data folder")
    numbers = {name: int(number) for name, number in json.loads(path.read_text()).items()}
    classes = sorted(numbers, key=numbers.__getitem__)
    assert len(classes) == 174
    others = {place: other for place, other in enumerate(mirrored(classes)) if other != place}
    assert others.pop(classes.index(next(c for c in classes if "pulling it right out" in c))) == -1
    assert others == {86: 87, 87: 86, 93: 94, 94: 93, 166: 167, 167: 166}


def test_mirrored_changes_words_not_their_parts() -> None:
    assert mirrored(["put upright", "left of", "right of", "turn left", "a leftover"]) == [
        0,
        2,
        1,
        -1,
        4,
    ]


def test_the_official_lists_split_it(made: Callable[..., SomethingSomethingV2]) -> None:
    dataset = made()
    names = {split: {clip.name for clip in clips} for split, clips in dataset.splits.items()}
    assert names["test"] == {str(video) for video in TEST}
    assert names["train"] | names["validation"] == {str(video) for video in TRAINING}
    assert not names["train"] & names["validation"]
    # By a hash: the same on every machine, whatever else is there.
    assert names["validation"] == {
        str(video)
        for video in TRAINING
        if int(hashlib.sha256(str(video).encode()).hexdigest()[:16], 16) % 10 == 0
    }
    assert dataset.notice is None


def test_its_classes_are_the_file_s_in_the_order_of_their_numbers(
    made: Callable[..., SomethingSomethingV2],
) -> None:
    spec = made().spec
    assert spec.classes == tuple(CLASSES)
    assert (spec.frame_shape, spec.context_frames, spec.horizon) == ((3, SIZE, SIZE), FRAMES, 0)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_held_out_clips_show_what_their_labels_say(
    made: Callable[..., SomethingSomethingV2], split: Any
) -> None:
    dataset = made(per_video=2)
    clips = dataset.held_out(split)
    videos = [int(dataset.splits[split][number].name) for number in clips.videos]
    assert sorted(videos) == sorted(2 * [int(clip.name) for clip in dataset.splits[split]])
    assert clips.labels.tolist() == [_class(video) for video in videos]
    assert torch.equal(_seen_classes(clips[:]), clips.labels)


def test_held_out_clips_lie_in_the_middle_and_short_ones_repeat_their_last_frame(
    made: Callable[..., SomethingSomethingV2],
) -> None:
    dataset = made()
    clips = dataset.held_out("test")
    names = [int(dataset.splits["test"][number].name) for number in clips.videos]
    times = dict(zip(names, _seen_times(clips[:]).tolist(), strict=True))
    assert times.pop(45) == [0, 1, 2, 2, 2, 2, 2, 2]
    assert times.pop(46) == [6, 7, 8, 9, 10, 11, 12, 13]
    assert all(shown == list(range(FRAMES)) for shown in times.values())


def test_only_the_square_in_the_middle_is_seen(made: Callable[..., SomethingSomethingV2]) -> None:
    red = made().held_out("test")[:][:, :, 0]
    assert red[..., 1:9].float().mean() == pytest.approx(40, abs=6)
    assert red[..., 11:19].float().mean() == pytest.approx(120, abs=6)
    assert red.max() < 160


def test_training_starts_anywhere_in_a_video(made: Callable[..., SomethingSomethingV2]) -> None:
    dataset = made(clip_frames=3, augment=False)
    clips, labels = dataset.train_labelled_clips(400, torch.Generator().manual_seed(0))
    times = _seen_times(clips)
    assert sorted(times[:, 0].unique().tolist()) == list(range(FRAMES - 2))
    assert torch.equal(times, times[:, :1] + torch.arange(3))
    assert torch.equal(_seen_classes(clips), labels)
    assert bool((_middle(clips)[0, ..., 0] < _middle(clips)[1, ..., 0]).all())  # none mirrored


def test_without_augmentation_training_clips_are_shown_as_held_out_ones(
    made: Callable[..., SomethingSomethingV2],
) -> None:
    """A clip is a whole video here, and below the uppermost rows all of a class are alike."""
    dataset = made(augment=False)
    clips, labels = dataset.train_labelled_clips(30, torch.Generator().manual_seed(0))
    held_out = dataset.held_out("validation")
    for clip, label in zip(held_out[:], held_out.labels, strict=True):
        same = clips[labels == label]
        assert len(same)
        difference = (same.float() - clip.float())[..., 4:, :].abs()
        assert difference.max() < 12


def test_mirrored_training_clips_have_the_counterpart_s_label(
    made: Callable[..., SomethingSomethingV2],
) -> None:
    clips, labels = made().train_labelled_clips(200, torch.Generator().manual_seed(0))
    assert clips.shape == (200, FRAMES, 3, SIZE, SIZE)
    assert clips.dtype == torch.uint8
    left, right = _middle(clips)[..., 0].mean(2)
    flipped, shown = left > right, _seen_classes(clips)
    assert torch.equal(labels, torch.where(flipped, MIRRORED[shown], shown))
    for number in (1, 2, 3):
        assert 0.3 < flipped[shown == number].float().mean() < 0.7
    assert not flipped[shown == 0].any()


def test_training_clips_are_cropped_and_turned_at_random_as_one(
    made: Callable[..., SomethingSomethingV2],
) -> None:
    clips, _ = made().train_labelled_clips(60, torch.Generator().manual_seed(0))
    bright = clips[:, :, 0] > 80
    shares = bright.float().mean((2, 3))
    assert shares[:, 0].std() > 0.05  # the border lies elsewhere in each
    assert (shares - shares[:, :1]).abs().max() < 0.05  # and nowhere else in the next frame
    slanted = bright[:, 0].sum(2).float()  # bright pixels of each row
    assert ((slanted[:, 2] - slanted[:, -3]).abs() > 1).float().mean() > 0.3


def test_frames_are_scaled_as_pillow_does_and_the_same_everywhere(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(256, size=(5, 3, 118, 118), dtype=np.uint8)
    np.save(tmp_path / "frames.npy", noise)
    frames = ScaledDown(tmp_path / "frames.npy", 84)
    small = frames.gather(torch.tensor([[4, 0], [2, 2]]))
    assert frames.shape == (5, 3, 84, 84)
    assert small.shape == (2, 2, 3, 84, 84)
    assert frames.gather(torch.zeros(0, 2, dtype=torch.int64)).shape == (0, 2, 3, 84, 84)
    image = Image.fromarray(noise[4].transpose(1, 2, 0)).resize((84, 84), Image.Resampling.BILINEAR)
    pillow = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    assert (small[0, 0].int() - pillow.int()).abs().max() <= 1
    digest = hashlib.sha256(small.contiguous().numpy().data).hexdigest()
    assert digest[:16] == "01c44fc800972829"


def test_what_is_not_there_is_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some videos of the lists, whose names are those of the second release, behind a link."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name in ("labels", "train", "validation"):
        official = source / "labels" / f"something-something-v2-{name}.json"
        shutil.copy(official, folder / f"{name}.json")
    (tmp_path / "elsewhere").mkdir()
    for video in (*TRAINING[:20], TEST[0]):
        shutil.copy(
            source / "20bn-something-something-v2" / f"{video}.webm", tmp_path / "elsewhere"
        )
    (folder / "videos").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path / "data"))
    prepare_here(SomethingSomethingV2.preparation(size=SIZE), folder)
    dataset = SomethingSomethingV2(FRAMES, size=SIZE)
    assert dataset.notice is not None
    assert dataset.notice.startswith("21 of the 47 videos in the official lists are here")


def test_unprepared_it_says_what_to_get_and_which_line_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path))
    with pytest.raises(DataMissing) as missing:
        SomethingSomethingV2(size=224)
    assert "get the .webm videos" in str(missing.value)
    assert "data prepare 'something_something_v2(size=224)'" in str(missing.value)
    assert "\n" not in str(missing.value)


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "no class": ({"train": [*_list(range(1)), {"id": "7", "template": "Flying"}]}, "'Flying'"),
    "twice": ({"train": _list(range(45, 46))}, "video 45 is listed twice"),
    "no template": ({"train": [{"id": "7"}]}, "a list of"),
    "no list": ({"validation": {"7": "Dropping something"}}, "a list of"),
    "no numbers": ({"labels": CLASSES}, "is not of the form"),
    "a gap": ({"labels": {"Dropping something": "0", "Flying": "2"}}, "is not of the form"),
    "no videos": ({}, "has none of the 47 listed videos, such as 1001.webm"),
}


@pytest.mark.parametrize(("changed", "complaint"), WRONG.values(), ids=WRONG)
def test_wrong_lists_are_refused_in_one_line(
    tmp_path: Path, changed: dict[str, object], complaint: str
) -> None:
    something_lists(tmp_path, **LISTS | changed)
    with pytest.raises(SourceWrong) as wrong:
        find_videos(tmp_path)
    assert complaint in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_absent_and_damaged_lists_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceWrong, match=r"there is no something-something-v2-labels\.json under"):
        find_videos(tmp_path)
    something_lists(tmp_path, **LISTS)
    (tmp_path / "something-something-v2-train.json").write_text("[{")
    with pytest.raises(SourceWrong, match=r"v2-train\.json is not of the form"):
        find_videos(tmp_path)
