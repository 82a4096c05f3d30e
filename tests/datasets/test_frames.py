import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.suite.reference import Reference
from datasets.contract import DataMissing
from datasets.frames import Frames
from datasets.video.cache import Cache
from datasets.video.dataset import SPLITS
from datasets.video.source import Sources, SourceWrong
from tests.datasets.prepare_here import prepare_here
from tests.datasets.video.counter import counter_video, number, picture

LONG = 105
"""Frames in a clip: enough for the order of numbers and that of their text to differ."""

FIRST = {"walk": 0, "a/b/run": 256, "digits#1": 512, "digits#2": 768, "one": 1024, "spare": 1280}
"""What the first frame of each clip of `mixture` shows; the next ones count on."""

CALLED: list[Callable[[int], str]] = [
    lambda n: f"{n}.png",
    lambda n: f"frame-{n}.png",
    lambda n: f"img{n}.JPG",
    lambda n: f"take 2 of 13 (frame {n}).png",
    lambda n: f"1.5x_{n}.bmp",
    lambda n: f"{n:02}.webp",
]
"""Names of images that go wrong when they are sorted as text."""


def _find(folder: Path) -> Sources:
    return Frames.preparation().find(folder)


def _split_of(folder: Path) -> dict[str, str]:
    split_of: dict[str, str] = _find(folder).facts["split_of"]
    return split_of


def _touch(folder: Path, *names: str) -> Path:
    """A folder with empty files of these names: enough to be found."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def _counted(name: str, frames: int = LONG) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    return [picture(FIRST[name] + n, 16, 16) for n in range(frames)]


def _images(folder: Path, frames: list[Any], called: Callable[[int], str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for n, frame in enumerate(frames, 1):
        Image.fromarray(frame).save(folder / called(n))


def _mixture(folder: Path) -> None:
    """Clips of every form, and lists that leave `spare` out."""
    _images(folder / "walk", _counted("walk"), lambda n: f"frame-{n}.png")
    _images(folder / "spare", _counted("spare"), lambda n: f"{n}.png")
    counter_video(folder / "a/b/run.avi", LONG, FIRST["a/b/run"])
    digits = [_counted("digits#1"), _counted("digits#2")]
    np.save(folder / "digits.npy", np.array(digits))
    np.save(folder / "one.npy", np.array(_counted("one"))[..., 0])
    (folder / "train.txt").write_bytes(b"\xef\xbb\xbfwalk\r\n\r\na/b/run.avi\r\n")
    (folder / "val.txt").write_text("digits#1\n./digits#2\n")
    (folder / "test.txt").write_text("one.npy")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Frames]:
    """Prepared from `_mixture`."""
    folder = tmp_path_factory.mktemp("own")
    _mixture(folder / "clips")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("NEXTFRAME_DATA", str(folder / "data"))
        prepare_here(Frames.preparation(name="own", size=16), folder / "clips")
        yield Frames(11, 11, name="own", size=16)


def test_every_form_of_clip_comes_out_in_order(dataset: Frames) -> None:
    cache = Cache.open(Frames.preparation(name="own", size=16))
    shown = {
        clip.name: [
            number(f) for f in cache.frames.gather(clip.first + torch.arange(clip.frames)).numpy()
        ]
        for clip in cache.clips
    }
    assert shown == {
        name: list(range(first, first + LONG)) for name, first in FIRST.items() if name != "spare"
    }


def test_lists_name_clips_with_or_without_suffix_and_leave_the_others_out(dataset: Frames) -> None:
    names = {split: {clip.name for clip in clips} for split, clips in dataset.splits.items()}
    assert names == {
        "train": {"walk", "a/b/run"},
        "validation": {"digits#1", "digits#2"},
        "test": {"one"},
    }
    for word in ("by lists", "1 in no list"):
        assert word in (dataset.notice or "")


def test_clips_of_an_array_are_clusters_of_their_own(dataset: Frames) -> None:
    validation = dataset.held_out("validation")[:]
    shown = [number(clip[0].numpy()) // 256 for clip in validation]
    clusters = dataset.clusters("validation", len(validation)).tolist()
    assert len(set(zip(clusters, shown, strict=True))) == len(set(clusters)) == 2


def test_a_window_counts_on_and_stays_in_its_clip(dataset: Frames) -> None:
    clips = dataset.train_clips(200, torch.Generator().manual_seed(0))
    for clip in clips.numpy():
        shown = [number(frame) for frame in clip]
        assert shown == list(range(shown[0], shown[0] + 22))
        assert any(
            first <= shown[0] <= first + LONG - 22 for first in (FIRST["walk"], FIRST["a/b/run"])
        )


def test_every_third_frame(dataset: Frames) -> None:
    thirds = Frames(2, 2, name="own", size=16, frame_step=3)
    for clip in thirds.held_out("test")[:].numpy():
        shown = [number(frame) for frame in clip]
        assert [later - earlier for earlier, later in pairwise(shown)] == [3, 3, 3]


@pytest.mark.parametrize("called", CALLED, ids=[called(1) for called in CALLED])
def test_images_are_in_natural_order(tmp_path: Path, called: Callable[[int], str]) -> None:
    expected = [called(n) for n in range(1, 131)]
    _touch(tmp_path, "train/a.avi", "val/b.avi", *(f"test/{name}" for name in expected))
    (clip,) = [source for source in _find(tmp_path).videos if source.name == "test"]
    assert [path.name for path in clip.paths] == expected
    assert expected != sorted(expected)


def test_folders_split_and_an_array_is_as_good_as_a_folder(tmp_path: Path) -> None:
    _touch(
        tmp_path, "Train/x/1.avi", "train_2/3.avi", "valid/1.mp4", "val.avi.d/2.avi", "loose.avi"
    )
    np.save(tmp_path / "test.npy", np.zeros((3, 4, 8, 8, 1), np.uint8))
    found = _find(tmp_path)
    assert found.facts["split_by"] == "folders"
    assert found.facts["split_of"] == {
        "Train/x/1": "train",
        "valid/1": "validation",
        **{f"test#{n}": "test" for n in (1, 2, 3)},
    }
    assert found.facts["left_out"] == 3
    assert {source.name for source in found.videos} == {"Train/x/1", "valid/1", "test"}


def test_without_validation_a_tenth_of_training_is_taken(tmp_path: Path) -> None:
    _touch(tmp_path, *(f"{split}/{n}.avi" for split in ("train", "test") for n in range(300)))
    found = _find(tmp_path)
    by_split = {
        split: {c for c, its in found.facts["split_of"].items() if its == split}
        for split in ("train", "validation", "test")
    }
    assert by_split["test"] == {f"test/{n}" for n in range(300)}
    assert by_split["validation"] | by_split["train"] == {f"train/{n}" for n in range(300)}
    assert 15 <= len(by_split["validation"]) <= 45
    assert found.facts["split_by"] == "folders, validation by the hash of their names"


def test_lists_come_before_folders(tmp_path: Path) -> None:
    _touch(tmp_path, "train/1.avi", "test/2.avi", "3.avi")
    for name, clip in (("train", "test/2"), ("validation", "3"), ("test", "train/1")):
        (tmp_path / f"{name}.txt").write_text(clip)
    assert _split_of(tmp_path) == {"test/2": "train", "3": "validation", "train/1": "test"}


def test_the_hash_gives_80_10_10_by_whole_clips(tmp_path: Path) -> None:
    _touch(tmp_path, *(f"{n}.avi" for n in range(1000)))
    splits = list(_split_of(tmp_path).values())
    assert len(splits) == 1000
    assert 70 <= splits.count("validation") <= 130
    assert 70 <= splits.count("test") <= 130
    assert _find(tmp_path).facts["split_by"] == "the hash of their names"


def test_the_hash_is_the_same_everywhere_and_for_ever(tmp_path: Path) -> None:
    _touch(tmp_path, *(f"clip{n}.avi" for n in range(60)))
    held_out = {clip: split for clip, split in _split_of(tmp_path).items() if split != "train"}
    validation, test = ("clip24", "clip29", "clip47", "clip49"), ("clip12", "clip35")
    assert held_out == {
        **dict.fromkeys(validation, "validation"),
        **dict.fromkeys(test, "test"),
    }


@given(st.sets(st.integers(0, 10_000), min_size=3, max_size=12))
@settings(max_examples=25)
def test_a_folder_of_few_clips_has_every_split(
    tmp_path_factory: pytest.TempPathFactory, clips: set[int]
) -> None:
    folder = _touch(tmp_path_factory.mktemp("few"), *(f"{number}.avi" for number in clips))
    counts = Counter(_split_of(folder).values())
    assert counts.keys() == {"train", "validation", "test"}
    assert counts.total() == len(clips)


@pytest.mark.parametrize("names", [["a.npy"], ["a.npy", "b.npy"]])
def test_one_or_two_clips_are_cut_in_time_and_share_no_frames(
    tmp_path: Path, empty_folder: Path, names: list[str]
) -> None:
    source = tmp_path / "clips"
    source.mkdir()
    for n, name in enumerate(names):
        np.save(source / name, np.stack([picture(100 * n + i, 16, 16) for i in range(100)]))
    if len(names) == 1:
        np.save(source / "short.npy", np.stack([picture(300 + i, 16, 16) for i in range(19)]))
    prepare_here(Frames.preparation(size=16), source)
    dataset = Frames(2, 2, size=16)
    for name in {clip.name for clip in dataset.splits["train"]}:
        parts = [[c for c in dataset.splits[s] if c.name == name] for s in SPLITS]
        [(train, validation, test)] = zip(*parts, strict=True)
        begins = train.first
        assert [part.frames for part in (train, validation, test)] == [72, 10, 10]
        assert [part.first - begins for part in (validation, test)] == [76, 90]
    assert dataset.epoch_clips == len(names) * (72 - 3)
    told = "cut in time: first what trains, then 10 % for validation, then 10 % for test, with 4"
    assert told in (dataset.notice or "")
    assert ("1 shorter than 20 frames" in (dataset.notice or "")) == (len(names) == 1)
    assert dataset.clusters("test", 2 * len(names)).unique().numel() == len(names)
    with pytest.raises(DataMissing, match="the longest clip has 100 frames, of which validation"):
        Frames(20, 20, size=16)


def test_a_clip_that_trains_alone_is_cut_for_validation(tmp_path: Path, empty_folder: Path) -> None:
    for n, split in enumerate(("train", "test")):
        (tmp_path / "clips" / split).mkdir(parents=True)
        frames = np.stack([picture(100 * n + i, 16, 16) for i in range(30)])
        np.save(tmp_path / "clips" / split / "a.npy", frames)
    prepare_here(Frames.preparation(size=16), tmp_path / "clips")
    dataset = Frames(2, 2, size=16)
    assert {s: [c.frames for c in dataset.splits[s]] for s in SPLITS} == {
        "train": [22],
        "validation": [4],
        "test": [30],
    }
    assert "split by folders, validation by time" in (dataset.notice or "")


@settings(max_examples=25)
@given(st.sets(st.integers(40, 99)))
def test_a_clip_stays_in_its_split_when_others_come(
    tmp_path_factory: pytest.TempPathFactory, others: set[int]
) -> None:
    few = [f"{n}.avi" for n in range(40)]
    before = _split_of(_touch(tmp_path_factory.mktemp("few"), *few))
    more = _touch(tmp_path_factory.mktemp("more"), *few, *(f"{n}.mp4" for n in others))
    after = _split_of(more)
    assert len(after) == 40 + len(others)
    assert before.items() <= after.items()


def test_what_is_left_out_is_told_and_copies_do_not_cross_splits(
    tmp_path: Path, empty_folder: Path
) -> None:
    source = tmp_path / "clips"
    for n, clip in enumerate(("train/a", "train/b", "val/c", "test/d"), 1):
        _images(
            source / clip, [picture(100 * n + i, 16, 16) for i in range(6)], lambda n: f"{n}.png"
        )
    _images(source / "train/short", [picture(i, 16, 16) for i in range(3)], lambda n: f"{n}.png")
    for copy in ("train/copy_of_d", "train/copy_of_c", "val/copy_of_d", "train/copy_of_a"):
        original = {"a": "train/a", "c": "val/c", "d": "test/d"}[copy[-1]]
        _images(source / copy, [], str)
        for image in (source / original).iterdir():
            (source / copy / f"img_{image.name}").write_bytes(image.read_bytes())
    (source / "train/broken.mp4").write_text("no video")
    prepare_here(Frames.preparation(size=16), source, max_damaged_share=0.2)
    dataset = Frames(3, 3, size=16)
    names = {split: [clip.name for clip in clips] for split, clips in dataset.splits.items()}
    assert names == {
        "train": ["train/a", "train/b", "train/copy_of_a", "train/short"],
        "validation": ["val/c"],
        "test": ["test/d"],
    }
    for word in ("by folders", "1 damaged", "1 shorter than 6 frames", "3 copied"):
        assert word in (dataset.notice or "")
    with pytest.raises(DataMissing, match="no clip is 7 frames long"):
        Frames(3, 4, size=16)


def test_where_only_damaged_clips_would_validate_the_line_says_what_helps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path / "data"))
    source = _touch(tmp_path / "clips", "9.npy")  # the hash has it validate
    for n in (0, 1, 3, 5):
        np.save(source / f"{n}.npy", np.stack([picture(100 * n + i, 16, 16) for i in range(8)]))
    prepare_here(Frames.preparation(size=16), source, max_damaged_share=0.5)
    with pytest.raises(DataMissing, match=r"no validation clips .*: take damaged ones"):
        Frames(3, 3, size=16)
    (source / "9.npy").unlink()
    prepare_here(Frames.preparation(size=16), source)
    assert all(Frames(3, 3, size=16).splits.values())


@pytest.mark.parametrize("suffix", [".tif", ".gif"])
def test_copies_of_stacks_do_not_cross_splits(
    tmp_path: Path, empty_folder: Path, suffix: str
) -> None:
    for n, clip in enumerate(("train/a", "train/b", "val/c", "test/d")):
        pages = [Image.fromarray(picture(100 * n + i, 16, 16)) for i in range(6)]
        path = _touch(tmp_path / "clips", f"{clip}{suffix}") / f"{clip}{suffix}"
        pages[0].save(path, save_all=True, append_images=pages[1:])
    copy = tmp_path / f"clips/train/copy{suffix}"
    copy.write_bytes((tmp_path / f"clips/test/d{suffix}").read_bytes())
    prepare_here(Frames.preparation(size=16), tmp_path / "clips")
    names = [clip.name for clip in Frames(3, 3, size=16).splits["train"]]
    assert names == ["train/a", "train/b"]


def test_copies_in_arrays_are_known_wherever_they_lie(tmp_path: Path, empty_folder: Path) -> None:
    clips = np.array([[picture(100 * n + i, 16, 16) for i in range(4)] for n in range(5)])
    np.save(tmp_path / "train.npy", clips)
    np.save(tmp_path / "val.npy", clips[[3, 1]])
    np.savez(tmp_path / "test.npz", clips[1], np.asfortranarray(clips[0])[None])
    prepare_here(Frames.preparation(size=16), tmp_path)
    dataset = Frames(2, 2, size=16)
    names = {split: [clip.name for clip in clips] for split, clips in dataset.splits.items()}
    assert names == {
        "train": ["train#3", "train#5"],
        "validation": ["val#1"],
        "test": ["test#1", "test#2"],
    }
    (tmp_path / "test.txt").write_text("train#3")
    (tmp_path / "val.txt").write_text("val")
    (tmp_path / "train.txt").write_text("train#1\ntest#2\ntrain#5")
    assert prepare_here(Frames.preparation(size=16), tmp_path).decoded == 0
    assert len(Frames(2, 2, size=16).splits["train"]) == 3


def test_what_is_no_clip_is_told(tmp_path: Path, empty_folder: Path) -> None:
    source = tmp_path / "clips"
    for n, split in enumerate(("train", "val", "test")):
        _images(
            source / split / "walk",
            [picture(10 * n + i, 16, 16) for i in range(8)],
            lambda n: f"{n + 10 * (n > 4)}.png",
        )
    Image.fromarray(picture(0)).save(source / "train/poster.png")
    (source / "train/sim.h5").touch()
    (source / "notes.md").touch()
    prepare_here(Frames.preparation(size=16), source)
    dataset = Frames(2, 2, size=16)
    assert [clip.name for clip in dataset.splits["test"]] == ["test/walk#1", "test/walk#2"]
    clusters = dataset.clusters("test", len(dataset.held_out("test")))
    assert clusters.tolist() == [0] * len(clusters)  # one recording, whatever it was cut into
    for words in ("train/poster.png", "train/sim.h5", "3 cut where", "train/walk, val"):
        assert words in (dataset.notice or "")
    assert "notes" not in (dataset.notice or "")


def test_what_is_cut_from_one_folder_of_images_stays_in_one_split(tmp_path: Path) -> None:
    names = [f"clip{n}/{number}.png" for n in range(60) for number in (1, 2, 3, 11, 12, 13)]
    split_of = _split_of(_touch(tmp_path, *names))
    assert {split_of[f"clip{n}#1"] for n in (12, 35)} == {"test"}
    assert all(split_of[f"clip{n}#1"] == split_of[f"clip{n}#2"] for n in range(60))


def test_names_that_are_not_utf8_are_prepared(tmp_path: Path, empty_folder: Path) -> None:
    for n, split in enumerate(("train", "val", "test")):
        place = tmp_path / "clips" / split
        place.mkdir(parents=True)
        frames = np.stack([picture(10 * n + i, 16, 16) for i in range(4)])
        np.save(tmp_path / "frames.npy", frames)
        try:
            (tmp_path / "frames.npy").rename(place / os.fsdecode(b"caf\xe9.npy"))
        except OSError:
            pytest.skip("this file system takes no names that are not UTF-8")
    prepare_here(Frames.preparation(size=16), tmp_path / "clips")
    dataset = Frames(2, 2, size=16)
    assert [clip.name for clip in dataset.splits["test"]] == [r"test/caf\xe9"]


def _a_file(folder: Path) -> None:
    folder.rmdir()
    folder.touch()


def _images_at_the_top(folder: Path) -> None:
    _touch(folder, "1.png", "2.png")


def _only_train(folder: Path) -> None:
    _touch(folder, "train/a.avi", "train/b.avi", "c.avi")


def _only_a_list_of_tests(folder: Path) -> None:
    _touch(folder, "a.avi", "b.avi", "c.avi", "test.txt")


def _two_for_validation(folder: Path) -> None:
    _touch(folder, "train/a.avi", "val/b.avi", "validation/c.avi", "test/d.avi")


def _two_of_a_name(folder: Path) -> None:
    _touch(folder, "x/a.avi", "x/a.mp4", "b.avi")


def _a_folder_and_a_video_of_a_name(folder: Path) -> None:
    _touch(folder, "a/1.png", "a/2.png", "a.avi", "b.avi")


def _listed(**lists: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        _touch(folder, "a.avi", "b.avi", "c.avi")
        for name, text in lists.items():
            (folder / f"{name}.txt").write_text(text)

    return write


def _a_loop(folder: Path) -> None:
    _touch(folder, "a.avi", "b.avi", "c.avi", "in/d.avi")
    (folder / "in" / "again").symlink_to(folder)


def _a_pipe_for_a_list(folder: Path) -> None:
    _touch(folder, "a.avi", "b.avi", "c.avi")
    os.mkfifo(folder / "train.txt")
    (folder / "test.txt").write_text("a")


WRONG = {
    "nothing": (lambda folder: None, "holds no clip: that is a video, an array, a stack or a"),
    "other files": (lambda folder: _touch(folder, "a.txt", ".b.avi", ".c/d.avi"), "holds no clip"),
    "a file": (_a_file, "is a file: give the folder that holds the clips"),
    "images": (_images_at_the_top, "holds images itself: put each clip's in a subfolder"),
    "train/ alone": (_only_train, "train is for one split, but nothing is called test beside it"),
    "test.txt alone": (
        _only_a_list_of_tests,
        "test.txt is for one split, but nothing is called train",
    ),
    "val/, validation/": (_two_for_validation, "validation are both for validation: keep one"),
    "a name twice": (_two_of_a_name, "two clips are named x/a: rename"),
    "a name twice, as folder": (_a_folder_and_a_video_of_a_name, "two clips are named a: rename"),
    "no such clip": (
        _listed(train="a\nb", validation="c", test="\nd"),
        "test.txt, line 2: there is no clip 'd'",
    ),
    "in two lists": (
        _listed(train="a\nb", validation="c", test="a.avi"),
        "train.txt, line 1: a is in test.txt too",
    ),
    "an empty list": (
        _listed(train="a\nb", validation="c", test=""),
        "has no test clip among 3 (split by lists): name the clips",
    ),
    "a pipe for a list": (_a_pipe_for_a_list, "train.txt is a named pipe, not a file: remove it"),
    "single images": (
        lambda folder: _touch(folder, "a/1.png", "b.h5"),
        "as a single image (a/1.png)",
    ),
    "a loop of links": (_a_loop, "links to a folder whose clips are here already: remove it"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_folder_is_told_in_one_line(tmp_path: Path, wrong: str) -> None:
    make, told = WRONG[wrong]
    folder = tmp_path / "clips"
    folder.mkdir()
    make(folder)
    with pytest.raises(SourceWrong) as complaint:
        _find(folder)
    assert told in str(complaint.value)
    assert "\n" not in str(complaint.value)
    assert str(folder) in str(complaint.value)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"name": "course", "size": (160, 240)},
        {"size": (16, 16), "channels": 1, "fit": "crop"},
    ],
)
def test_the_command_that_is_told_makes_this_very_cache(
    empty_folder: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(DataMissing) as missing:
        Frames(11, 11, frame_step=2, **options)
    words = shlex.split(str(missing.value).split("`")[1])
    assert words[:5] == ["python", "-m", "bench", "data", "prepare"]
    assert Reference.parse(words[5]) == Reference("frames", options)


def test_caches_of_other_options_lie_elsewhere() -> None:
    options: list[dict[str, Any]] = [
        {},
        {"name": "course"},
        {"size": (160, 240)},
        {"size": 160},
        {"channels": 1},
        {"fit": "crop"},
        {"channels": 1, "fit": "crop"},
    ]
    folders = [Frames.preparation(**each).folder for each in options]
    assert len(set(folders)) == len(options)
    assert folders[2] == "frames-frames-160x240"
    assert Frames.preparation(context_frames=3, horizon=1, frame_step=4).folder == folders[0]


@pytest.mark.parametrize(
    "options",
    [
        {"name": "../up"},
        {"name": ""},
        {"size": 0},
        {"size": (1, 2, 3)},
        {"size": (64, "64")},
        {"channels": 2},
        {"fit": "squeeze"},
        {"frame_step": 0},
    ],
    ids=str,
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))) as refusal:
        Frames(**options)
    assert "\n" not in str(refusal.value)
