import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from bench.check.dataset import CHECKS
from datasets.contract import DataMissing
from datasets.kth import ACTIONS, KTH, Listed, find_videos, mend, read_list, split_by_person
from datasets.sources.folders import find
from datasets.video.cache import Cache, Clip
from datasets.video.prepare import prepare
from datasets.video.source import SourceWrong
from tests.datasets.prepare_here import prepare_here
from tests.datasets.small_sources import kth_list
from tests.datasets.video.counter import counter_video, numbers_of

FRAMES = 130
COUNTED = {
    f"person{person:02d}_{action}_d1": 256 * place
    for place, (person, action) in enumerate(
        [
            (1, "walking"),
            (13, "boxing"),
            (14, "walking"),
            (16, "boxing"),
            (17, "walking"),
            (25, "boxing"),
        ],
        start=1,
    )
}
"""Videos, and the number that the first frame of each shows; the frames count from there."""

RANGES = ((0, 30), (40, 75), (75, FRAMES))
"""Their clips, from 0 on: what the list below says, mended and cut to what is there."""

PUBLISHED = "frames\t1-30, 76-999, 41-75"


@pytest.fixture(scope="module")
def official_list() -> Path:
    path = find("kth/00sequences.txt")
    if path is None:
        pytest.skip("00sequences.txt of KTH is not in the data folder")
    return path


@pytest.fixture(scope="module")
def counters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """KTH at 32x32, prepared from six videos whose frames count; three of them are not there."""
    folder = tmp_path_factory.mktemp("kth")
    for name, first in COUNTED.items():
        action = name.split("_")[1]
        counter_video(folder / action / f"{name}_uncomp.avi", FRAMES, first)
    absent = [f"person0{number}_jogging_d1" for number in (1, 2, 3)]
    kth_list(folder, [f"{name}\t{PUBLISHED}" for name in (*COUNTED, *absent)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTFRAME_DATA", str(tmp_path_factory.mktemp("data")))
        prepare_here(KTH.preparation(size=32), folder)
        yield


def _starts(persons: range, window_frames: int, every: int = 1) -> set[int]:
    """What the first frames of all windows of `persons` show."""
    return {
        first + start
        for name, first in COUNTED.items()
        if int(name[6:8]) in persons
        for begin, end in RANGES
        for start in range(begin, end - window_frames + 1, every)
    }


def test_windows_count_on_within_the_ranges_of_their_persons(counters: None) -> None:
    dataset = KTH(6, 4, size=32)
    assert dataset.spec.frame_shape == (1, 32, 32)
    train = numbers_of(dataset.train_clips(3_000, torch.Generator().manual_seed(0)))
    assert (train.diff(dim=1) == 1).all()
    assert set(train[:, 0].tolist()) == _starts(range(1, 14), 10)
    for side, persons in (("validation", range(14, 17)), ("test", range(17, 26))):
        clips = dataset.held_out(side)
        shown = numbers_of(clips[: len(clips)])
        assert (shown.diff(dim=1) == 1).all()
        assert sorted(shown[:, 0].tolist()) == sorted(_starts(persons, 10, every=10))


def test_windows_of_one_person_are_a_cluster(counters: None) -> None:
    dataset = KTH(6, 4, size=32)
    shown = numbers_of(dataset.held_out("test")[:])[:, 0]
    clusters = dataset.clusters("test", len(shown)).tolist()
    assert len(set(zip(clusters, (shown // 256).tolist(), strict=True))) == len(set(clusters)) == 2


def test_a_range_that_is_too_short_gives_no_window(counters: None) -> None:
    dataset = KTH(20, 20, size=32)
    test = dataset.held_out("test")
    assert set(numbers_of(test[: len(test)])[:, 0].tolist()) == _starts(range(17, 26), 40, every=40)


def test_what_is_absent_is_told(counters: None) -> None:
    assert KTH(size=32, actions=("walking", "boxing")).notice is None
    notice = KTH(size=32).notice
    assert notice is not None
    assert notice.startswith("6 of the 9 videos in 00sequences.txt are here")
    mended = Cache.open(KTH.preparation(size=32)).facts["mended"]
    assert mended == {
        name: PUBLISHED.removeprefix("frames\t")
        for name in (*COUNTED, *(f"person0{person}_jogging_d1" for person in (1, 2, 3)))
    }


def test_actions_filter(counters: None) -> None:
    for actions in ("boxing", ("boxing",)):
        dataset = KTH(size=32, actions=actions)
        clips = [clip for clips in dataset.splits.values() for clip in clips]
        assert {clip.tags["action"] for clip in clips} == {"boxing"}
        assert len(clips) == 3 * len(RANGES)
    with pytest.raises(ValueError, match="no action 'waving': there are boxing, handclapping"):
        KTH(size=32, actions=("boxing", "waving"))
    with pytest.raises(DataMissing, match="kth has no train clips"):
        KTH(size=32, actions="jogging")


def test_sizes_have_caches_of_their_own() -> None:
    assert KTH.preparation(horizon=40).folder == "kth-128x128"
    assert KTH.preparation(size=64).folder == "kth-64x64"
    assert "'kth(size=64)'" in KTH.preparation(size=64).command


def test_the_real_list_is_read_whole_and_mended(official_list: Path) -> None:
    listed = read_list(official_list)
    actions = Counter(video.action for video in listed.values())
    assert actions == dict.fromkeys(ACTIONS, 100) | {"handclapping": 99}
    assert "person13_handclapping_d3" not in listed
    ranges = [it for video in listed.values() for it in video.ranges]
    assert len(ranges) == 2_391
    for video in listed.values():
        ends = [frame for it in video.ranges for frame in it]
        assert ends == sorted(set(ends))
        assert ends[0] == 1
    assert [sum(last - first < least for first, last in ranges) for least in (29, 49)] == [7, 269]
    mended = {name: it.ranges for name, it in listed.items() if it.mended}
    assert mended == {
        "person03_walking_d4": ((1, 92), (118, 216), (232, 338), (339, 432)),
        "person07_jogging_d4": ((1, 64), (194, 264), (270, 332), (490, 570)),
        "person07_running_d4": ((1, 52), (68, 115), (224, 274), (310, 358)),
        "person12_handclapping_d4": ((1, 133), (134, 238), (239, 344), (345, 479)),
        "person15_handclapping_d2": ((1, 85), (86, 155), (156, 228), (229, 285)),
        "person16_handwaving_d4": ((1, 104), (105, 206), (207, 311), (312, 456)),
        "person17_boxing_d1": ((1, 110), (111, 192), (193, 306), (307, 378)),
        "person21_boxing_d2": ((1, 112), (113, 162), (163, 254), (255, 408)),
        "person21_handclapping_d1": ((1, 118), (119, 224), (225, 365), (366, 500)),
    }


def test_persons_of_the_real_list_are_on_one_side_each(official_list: Path, tmp_path: Path) -> None:
    shutil.copy(official_list, tmp_path)
    for name in read_list(official_list):
        (tmp_path / f"{name}_uncomp.avi").touch()
    sources = find_videos(tmp_path)
    assert len(sources.videos) == 599
    splits = split_by_person([Clip(video.name, 0, 1, video.tags) for video in sources.videos])
    persons = {side: {clip.tags["person"] for clip in clips} for side, clips in splits.items()}
    assert {side: sorted(map(int, them)) for side, them in persons.items()} == {
        "train": [*range(1, 14)],
        "validation": [*range(14, 17)],
        "test": [*range(17, 26)],
    }
    assert all(clip.name[6:8] == clip.tags["person"] for clips in splits.values() for clip in clips)
    assert sum(map(len, splits.values())) == 599


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(0, 40)), min_size=1, max_size=5))
def test_mended_ranges_follow_each_other(drawn: list[tuple[int, int]]) -> None:
    ranges = [(first, first + more) for first, more in drawn]
    kept = mend(ranges)
    assume(all(first <= last for first, last in kept))  # the list is refused else
    frames = [frame for first, last in kept for frame in range(first, last + 1)]
    assert frames == sorted(set(frames))
    assert set(frames) == {n for first, last in ranges for n in range(first, last + 1)}


def test_a_video_that_is_not_in_the_list_is_left_out(tmp_path: Path) -> None:
    for name in ("person01_boxing_d1", "person01_boxing_d2", "person13_handclapping_d3"):
        (tmp_path / f"{name}_uncomp.avi").touch()
    (tmp_path / "person01_boxing_d1.avi").touch()
    lines = ["person01_boxing_d1\tframes 1-95, 96-185", "person13_handclapping_d3\t*missing*"]
    kth_list(tmp_path, lines)
    sources = find_videos(tmp_path)
    assert [(video.name, video.ranges) for video in sources.videos] == [
        ("person01_boxing_d1", ((0, 95), (95, 185)))
    ]
    assert sources.facts["not_in_list"] == ["person01_boxing_d2", "person13_handclapping_d3"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("person01_boxing_d1 frames 1-95, 96", "'person01_boxing_d1 frames 1-95, 96' is not"),
        ("person01_boxing_d1 frames", "'person01_boxing_d1 frames' is not"),
        ("person01 boxing frames 1-95", "is not personNN_ACTION_dN frames A-B"),
        ("person01_boxing_d1 frames 1-95, 50-60", "has a range that is empty"),
        ("person01_boxing_d1 frames 1-95, 180-96", "has a range that is empty"),
        ("person01_boxing_d1 frames 0-95", "has a range that is empty"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path: Path, line: str, why: str) -> None:
    path = kth_list(tmp_path, ["person02_boxing_d1 frames 1-9", line])
    with pytest.raises(SourceWrong, match=f"00sequences.txt, line 3: .*{why}"):
        read_list(path)


def test_videos_without_the_list_are_refused(tmp_path: Path) -> None:
    assert not find_videos(tmp_path).videos
    (tmp_path / "person01_boxing_d1_uncomp.avi").touch()
    with pytest.raises(SourceWrong, match=r"no 00sequences\.txt: get .*cvap"):
        find_videos(tmp_path)


def test_real_videos(official_list: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = read_list(official_list)
    names = ["person07_walking_d2", "person14_walking_d2", "person20_walking_d3"]
    for name in names:
        path = official_list.parent / "walking" / f"{name}_uncomp.avi"
        if not path.exists():
            pytest.skip(f"{path.name} of KTH is not in the data folder")
        (tmp_path / path.name).symlink_to(path.resolve())
    shutil.copy(official_list, tmp_path)
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path / "data"))
    assert prepare(KTH.preparation(), tmp_path, workers=2).decoded == 3
    clips = Cache.open(KTH.preparation()).clips
    assert [clip.frames for clip in clips] == [
        _length(listed[name], n) for name in names for n in range(4)
    ]
    for promise in CHECKS.values():
        promise(KTH())


def _length(video: Listed, number: int) -> int:
    first, last = video.ranges[number]
    return last - first + 1
