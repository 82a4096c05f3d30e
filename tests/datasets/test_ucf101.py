import hashlib
import itertools
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.check.dataset import CHECKS
from datasets.contract import Clips, DataMissing, Dataset
from datasets.sources.folders import find
from datasets.sources.ucf101_lists import find_clips
from datasets.ucf101 import (
    UCF101,
    UCF101Actions,
    chosen_classes,
    official_splits,
    share_of,
    sorted_as_text,
)
from datasets.ucf101_study import CLASSES, UCF101Study, study_splits
from datasets.video.cache import Cache, Clip, Frames
from datasets.video.prepare import prepare
from datasets.video.source import Sources, SourceWrong
from datasets.video.windows import Origin
from tests.datasets.prepare_here import prepare_here
from tests.datasets.small_sources import ucf101 as study_clips
from tests.datasets.small_sources import ucf101_lists
from tests.datasets.video.counter import counter_video, numbers_of

FRAMES = 105
"""In each counter clip: enough for the order of numbers and that of their text to differ."""

COUNTED = {
    f"{name}/v_{name}_g{group:02d}_c01": 256 * place
    for place, (name, group) in enumerate(
        itertools.product(("Archery", "Surfing"), (1, 7, 8, 22, 23, 25)), 1
    )
}
"""Clips by name, and the number that the first frame of each shows; the frames count from there."""

SIDE = {1: "test", 7: "test", 8: "train", 22: "train", 23: "validation", 25: "validation"}


@pytest.fixture(scope="module")
def official_lists() -> Path:
    lists = find("ucf101/ucfTrainTestlist")
    if lists is None:
        pytest.skip("the official lists of UCF101 are not in the data folder")
    return lists


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder beside no shared data."""
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture(scope="module")
def counters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """UCF101 prepared from twelve clips whose frames count, of two classes."""
    folder = tmp_path_factory.mktemp("ucf101")
    for name, first in COUNTED.items():
        counter_video(folder / "UCF-101" / f"{name}.avi", FRAMES, first)
    shutil.copy(folder / "UCF-101/Archery/v_Archery_g01_c01.avi", folder / "v_Archery_g01_c09.avi")
    ucf101_lists(folder, COUNTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTFRAME_DATA", str(tmp_path_factory.mktemp("data")))
        for size in (64, (24, 32)):
            prepare_here(UCF101.preparation(size=size), folder)
        yield


def _cache(tmp_path: Path, sources: Sources) -> Cache:
    """The cache of one-frame clips of `sources`, without their frames."""
    np.save(tmp_path / "frames.npy", np.zeros((1, 3, 1, 1), np.uint8))
    clips = tuple(Clip(video.name, 0, 1, video.tags) for video in sources.videos)
    return Cache(tmp_path, clips, Frames(tmp_path / "frames.npy"), sources.facts, ())


def _all(clips: Clips) -> Tensor:
    return numbers_of(clips[: len(clips)])


def _drawn(dataset: Dataset, count: int = 300) -> Tensor:
    return numbers_of(dataset.train_clips(count, torch.Generator().manual_seed(0)))


def _firsts(side: str) -> set[int]:
    """The number of the first frame of each counter clip on that side."""
    sides = {first: SIDE[int(name[-6:-4])] for name, first in COUNTED.items()}
    return {first for first, it in sides.items() if it == side}


def test_real_lists_put_every_clip_on_one_side_by_group(
    official_lists: Path, tmp_path: Path
) -> None:
    listed = [
        line.split()[0]
        for name in ("trainlist01.txt", "testlist01.txt")
        for line in (official_lists / name).read_text().splitlines()
    ]
    assert len(listed) == 13_320
    for name in listed:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    shutil.copytree(official_lists, tmp_path / "lists")

    sources = find_clips(tmp_path)
    cache = _cache(tmp_path, sources)
    assert len(chosen_classes(cache, ())) == 101
    assert sources.facts["in_no_list"] == []
    splits = official_splits(cache, 1)
    names = [clip.name for clips in splits.values() for clip in clips]
    assert sorted(f"{name}.avi" for name in names) == sorted(listed)
    assert len(splits["test"]) == 3_783
    assert len(splits["train"]) + len(splits["validation"]) == 9_537
    groups = {
        side: {(clip.tags["class"], clip.tags["group"]) for clip in clips}
        for side, clips in splits.items()
    }
    assert sum(map(len, groups.values())) == len(set.union(*groups.values())) == 101 * 25
    numbers = {side: sorted({int(group[1:]) for _, group in it}) for side, it in groups.items()}
    assert numbers == {
        "train": [*range(8, 23)],
        "validation": [23, 24, 25],
        "test": [*range(1, 8)],
    }


def test_windows_count_on_within_the_clips_of_their_split(counters: None) -> None:
    dataset = UCF101(10, 5)
    seen = {side: _all(dataset.held_out(side)) for side in ("validation", "test")}
    seen["train"] = _drawn(dataset)
    for side, shown in seen.items():
        assert (shown.diff(dim=1) == 1).all()
        assert (shown[:, 0] // 256 == shown[:, -1] // 256).all()
        assert set((shown[:, 0] // 256 * 256).tolist()) == _firsts(side)
    for side in ("validation", "test"):
        starts = {first + step for first in _firsts(side) for step in range(0, FRAMES - 14, 15)}
        assert sorted(seen[side][:, 0].tolist()) == sorted(starts)


@pytest.mark.parametrize("cls", [UCF101, UCF101Actions])
def test_clips_of_one_group_of_a_class_are_a_cluster(
    counters: None, cls: type[UCF101 | UCF101Actions]
) -> None:
    dataset = cls()
    shown = _all(dataset.held_out("test"))[:, 0] // 256
    clusters = dataset.clusters("test", len(shown)).tolist()
    assert len(set(zip(clusters, shown.tolist(), strict=True))) == len(set(clusters)) == 4
    alike = Clip("other", 0, 1, {"class": "Archery", "group": "g01"})
    assert dataset.cluster_of(Origin(alike, 9)) == dataset.cluster_of(Origin(alike, 0))


def test_a_frame_step_leaves_frames_out(counters: None) -> None:
    dataset = UCF101(4, 2, frame_step=7)
    for shown in (_drawn(dataset, 50), _all(dataset.held_out("test"))):
        assert (shown.diff(dim=1) == 7).all()
        assert (shown[:, 0] // 256 == shown[:, -1] // 256).all()


def test_frames_may_be_rectangles(counters: None) -> None:
    dataset = UCF101(2, 2, size=(24, 32))
    assert dataset.spec.frame_shape == (3, 24, 32)
    assert (_drawn(dataset, 20).diff(dim=1) == 1).all()


def test_a_share_of_the_training_leaves_the_rest_as_it_is(counters: None) -> None:
    whole = UCF101(10, 5)
    for share, groups in ((0.01, 1), (0.5, 2), (1, 4)):
        part = UCF101(10, 5, train_share=share)
        assert len(part.splits["train"]) == groups  # of one clip each
        firsts = {256 * (number // 256) for number in _drawn(part)[:, 0].tolist()}
        assert len(firsts) == groups
        assert firsts <= _firsts("train")
        for side in ("validation", "test"):
            count = len(whole.held_out(side))
            assert part.digest(side, count) == whole.digest(side, count)
    for wrong in (0, -0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="train_share is above 0 and at most 1, not"):
            UCF101(train_share=wrong)


def test_shares_lie_within_each_other_and_keep_groups_whole() -> None:
    clips = [
        Clip(f"{name}/g{group:02d}_c{place}", 0, 1, {"class": name, "group": f"g{group:02d}"})
        for name in CLASSES
        for group in range(1, 26)
        for place in range(1, 5)
    ]
    parts = [share_of(clips, share) for share in (0.001, 0.01, 0.1, 0.5, 1)]
    assert [len(part) for part in parts] == [4, 4, 48, 248, 500]
    for smaller, larger in itertools.pairwise(parts):
        assert {clip.name for clip in smaller} <= {clip.name for clip in larger}
    assert [clip.name for clip in share_of(clips[::-1], 0.1)] == [c.name for c in parts[2]][::-1]
    assert len({clip.tags["class"] for clip in parts[2]}) == len(CLASSES)  # shuffled


def test_frames_as_published_are_sorted_as_text(counters: None) -> None:
    dataset = UCF101(FRAMES - 2, 2, frame_order="as_published")
    order = sorted(str(n) for n in range(FRAMES))
    for shown in (_drawn(dataset, 20), _all(dataset.held_out("test"))):
        assert all([str(n) for n in window] == order for window in (shown % 256).tolist())
    with pytest.raises(ValueError, match="natural or as_published, not 'sorted'"):
        UCF101(frame_order="sorted")  # type: ignore[arg-type]


def test_preparations_are_told_apart_by_size() -> None:
    assert UCF101.preparation().folder == "ucf101-64x64"
    assert UCF101.preparation(size=(64, 64), classes=("Archery",)) == UCF101.preparation()
    wide = UCF101Actions.preparation(size=(120, 160), clip_frames=8)
    assert wide.folder == "ucf101-120x160"
    assert "'ucf101(size=(120, 160))'" in wide.command
    assert UCF101Study.preparation(horizon=5) == UCF101.preparation()


def test_classes_filter(counters: None) -> None:
    surfing = {first for name, first in COUNTED.items() if name.startswith("Surfing")}
    for classes in ("Surfing", ("Surfing",)):
        dataset = UCF101(5, 1, classes=classes)
        assert set((_drawn(dataset)[:, 0] // 256 * 256).tolist()) == _firsts("train") & surfing
        assert dataset.notice is None
    with pytest.raises(ValueError, match="no class 'Surfin': did you mean 'Surfing'"):
        UCF101(classes=("Surfin", "Archery"))


@pytest.mark.usefixtures("counters")
def test_a_clip_in_no_list_is_in_no_split() -> None:
    cache = Cache.open(UCF101.preparation())
    assert cache.facts["in_no_list"] == ["Archery/v_Archery_g01_c09"]
    assert len(cache.clips) == len(COUNTED) + 1
    for dataset in (UCF101(), UCF101Actions()):
        names = [clip.name for clips in dataset.splits.values() for clip in clips]
        assert sorted(names) == sorted(COUNTED)


def test_a_split_needs_its_lists(counters: None) -> None:
    for cls in (UCF101, UCF101Actions):
        with pytest.raises(DataMissing, match=r"trainlist02\.txt and testlist02\.txt"):
            cls(split=2)
        with pytest.raises(ValueError, match="split must be a whole number from 1 to 3, not 4"):
            cls(split=4)


def test_lists_can_be_added_later(data_folder: Path, tmp_path: Path) -> None:
    names = ["Surfing/v_Surfing_g01_c01", "Surfing/v_Surfing_g08_c01", "Surfing/v_Surfing_g23_c01"]
    for first, name in enumerate(names):
        counter_video(tmp_path / "source" / f"{name}.avi", 30, 256 * first)
    ucf101_lists(tmp_path / "source", names)
    assert prepare_here(UCF101.preparation(), tmp_path / "source").decoded == 3
    ucf101_lists(tmp_path / "source", [*names, "Archery/v_Archery_g25_c01"], number=3)
    assert prepare_here(UCF101.preparation(), tmp_path / "source").decoded == 0
    assert UCF101().notice is None
    dataset = UCF101(split=3)
    assert dataset.notice is not None
    assert dataset.notice.startswith("3 of the 4 clips in the official lists are here")
    assert UCF101(split=3, classes="Surfing").notice is None
    with pytest.raises(DataMissing, match="no clip of Archery was prepared"):
        UCF101(split=3, classes=("Archery", "Surfing"))
    with pytest.raises(DataMissing, match="no clip of BreastStroke, Kayaking, Rafting, Rowing was"):
        UCF101Study()


def test_clips_without_lists_are_refused(tmp_path: Path) -> None:
    (tmp_path / "v_Archery_g01_c01.avi").touch()
    (tmp_path / "trainlist01.txt").touch()
    with pytest.raises(SourceWrong, match=r"testlist01\.txt"):
        find_clips(tmp_path)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("Archery/v_Archery_g08_c02.avi", "line 3: clips of Archery's group g08 are in trainlist"),
        ("Archery/v_Archery_g08_c01.avi", "line 3: clips of Archery's group g08 are in trainlist"),
        ("v_Archery_g01_c02.avi", "line 3: 'v_Archery_g01_c02.avi' is not Class/"),
        ("\0\xff", "is no text"),
    ],
)
def test_wrong_lists_are_refused(tmp_path: Path, line: str, why: str) -> None:
    ucf101_lists(tmp_path, ["Archery/v_Archery_g01_c01", "Archery/v_Archery_g08_c01"])
    (tmp_path / "v_Archery_g01_c01.avi").touch()
    with (tmp_path / "ucfTrainTestlist/testlist01.txt").open("ab") as file:
        file.write(f"\r\n{line}\r\n".encode("latin-1"))
    with pytest.raises(SourceWrong, match="testlist01.txt,? " + why):
        find_clips(tmp_path)


def test_actions_are_those_of_the_clips(counters: None) -> None:
    dataset = UCF101Actions(8, frame_step=3, per_video=2)
    assert dataset.spec.classes == ("Archery", "Surfing")
    clips, labels = dataset.train_labelled_clips(60, torch.Generator().manual_seed(0))
    test = dataset.held_out("test")
    assert len(test) == 2 * len(_firsts("test"))
    for shown, of, side in (
        (numbers_of(clips), labels, "train"),
        (_all(test), test.labels, "test"),
    ):
        assert (shown.diff(dim=1) == 3).all()
        assert set((shown[:, 0] // 256 * 256).tolist()) == _firsts(side)
        names = {first: name.partition("/")[0] for name, first in COUNTED.items()}
        said = [dataset.spec.classes[label] for label in of.tolist()]
        assert said == [names[first] for first in (shown[:, 0] // 256 * 256).tolist()]


def _study_clips() -> list[Clip]:
    """The clips of the study's classes and of one more, four to each of 25 groups."""
    return [
        Clip(f"{name}/v_{name}_g{group:02d}_c{place:02d}", 0, 1, {"class": name})
        for name in (*CLASSES, "Archery")
        for group in range(1, 26)
        for place in range(1, 5)
    ]


def test_the_study_draws_fifty_clips_a_class_and_always_the_same() -> None:
    splits = study_splits(_study_clips())
    for side, count in (("train", 40), ("validation", 5), ("test", 5)):
        counts = Counter(clip.tags["class"] for clip in splits[side])
        assert counts == dict.fromkeys(CLASSES, count)
    names = [sorted(clip.name for clip in splits[side]) for side in ("train", "validation", "test")]
    of_class = defaultdict(list)
    for name in sorted(itertools.chain(*names)):
        of_class[name.partition("/")[0]].append(name)
    assert all(them[-1].endswith("_g13_c02") for them in of_class.values())
    assert sum(map(len, names)) == len(set(itertools.chain(*names))) == 250
    again = study_splits(_study_clips()[::-1])
    assert [sorted(clip.name for clip in again[side]) for side in splits] == names
    digest = hashlib.sha256("\n".join(itertools.chain(*names)).encode()).hexdigest()
    assert digest[:16] == "057289c87cf24655"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ten counter clips of each of the study's classes, of 105 frames and some more."""
    folder = tmp_path_factory.mktemp("study")
    study_clips(folder, FRAMES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTFRAME_DATA", str(tmp_path_factory.mktemp("data")))
        prepare_here(UCF101Study.preparation(), folder)
        yield


def test_the_study_looks_at_every_window(study: None) -> None:
    dataset = UCF101Study(4, 2)
    assert dataset.notice is not None
    assert "50 of its 250 clips are here" in dataset.notice
    for side in ("validation", "test"):
        shown = _all(dataset.held_out(side))
        clips = dataset.splits[side]
        assert len(clips) == 5
        assert len(shown) == sum(clip.frames - 5 for clip in clips)
        assert (shown.diff(dim=1) == 1).all()
    assert (_drawn(dataset).diff(dim=1) == 1).all()


def test_the_study_as_published_sorts_frames_as_text(study: None) -> None:
    dataset = UCF101Study(FRAMES - 2, 2, frame_order="as_published")
    whole = {frames: sorted(str(n) for n in range(frames)) for frames in range(FRAMES, FRAMES + 3)}
    for shown in (_drawn(dataset, 20), _all(dataset.held_out("test"))):
        for window in (shown % 256).tolist():
            text = [str(n) for n in window]
            assert any(
                text == order[start : start + FRAMES]
                for order in whole.values()
                for start in range(len(order) - FRAMES + 1)
            )
    assert [*sorted_as_text(102)[:8]] == [0, 1, 10, 100, 101, 11, 12, 13]
    with pytest.raises(ValueError, match="natural or as_published, not 'sorted'"):
        UCF101Study(frame_order="sorted")  # type: ignore[arg-type]


def test_real_clips(data_folder: Path, tmp_path: Path, official_lists: Path) -> None:
    source = official_lists.parent / "UCF-101"
    names = [
        *(f"Archery/v_Archery_g{group}_c01.avi" for group in ("01", "09", "10", "24")),
        "HorseRace/v_HorseRace_g20_c01.avi",  # which declares 367 frames
    ]
    (tmp_path / "source").mkdir()
    for name in names:
        if not (source / name).exists():
            pytest.skip(f"{name} is not in the data folder")
        (tmp_path / "source" / Path(name).name).symlink_to((source / name).resolve())
    (tmp_path / "source/lists").symlink_to(official_lists.resolve())
    prepared = prepare(UCF101.preparation(), tmp_path / "source", workers=2)
    assert not prepared.damaged
    for cls in (UCF101, UCF101Actions):
        dataset = cls(classes=("Archery", "HorseRace"))
        counts = {side: len(clips) for side, clips in dataset.splits.items()}
        assert counts == {"train": 3, "validation": 1, "test": 1}
        assert dataset.notice is not None
        assert dataset.notice.startswith("5 of the ")
    frames = {clip.name: clip.frames for clip in Cache.open(UCF101.preparation()).clips}
    assert frames["HorseRace/v_HorseRace_g20_c01"] == 365
    for promise in CHECKS.values():
        promise(UCF101())
